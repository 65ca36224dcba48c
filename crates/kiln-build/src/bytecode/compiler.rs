//! The conversation with one worker of `compile.py`, whose head documents it.

use std::io::{self, Read, Write};

use kiln_package::bytecode::MAX_MODULE;

/// Asks for the compiled form of a source.
pub(super) fn ask(mut worker: impl Write, path: &str, source: &[u8]) -> io::Result<()> {
    let mut head = Vec::with_capacity(2 * size_of::<u32>() + path.len());
    for text in [path.as_bytes(), source] {
        let length = u32::try_from(text.len()).map_err(io::Error::other)?;
        head.extend(length.to_le_bytes());
    }
    head.extend(path.as_bytes());
    worker.write_all(&head)?;
    worker.write_all(source)
}

/// The answer: a module file as Python wrote it, or none if the source does not compile.
pub(crate) fn answer(mut worker: impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; size_of::<u32>()];
    worker.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length);
    if length == 0 {
        return Ok(None);
    }
    if usize::try_from(length).is_ok_and(|length| length > MAX_MODULE) {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut module = Vec::new();
    // Memory grows with what comes, not with what is announced.
    worker.take(length.into()).read_to_end(&mut module)?;
    if module.len() as u64 != u64::from(length) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some(module))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn answers_are_modules_or_none() {
        let mut said = &b"\x03\0\0\0abc\0\0\0\0\x01\0\0\0d"[..];
        assert_eq!(answer(&mut said).unwrap().as_deref(), Some(&b"abc"[..]));
        assert_eq!(answer(&mut said).unwrap(), None);
        assert_eq!(answer(&mut said).unwrap().as_deref(), Some(&b"d"[..]));
        assert!(answer(&mut said).is_err());
    }

    #[test]
    fn an_answer_that_breaks_off_or_is_too_long_is_none() {
        for (said, kind) in [
            (&b"\x03\0\0\0ab"[..], io::ErrorKind::UnexpectedEof),
            (b"\x03\0", io::ErrorKind::UnexpectedEof),
            (b"\xff\xff\xff\xff", io::ErrorKind::FileTooLarge),
        ] {
            assert_eq!(answer(said).unwrap_err().kind(), kind);
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(said: Vec<u8>) {
            let _ = answer(&said[..]);
        }
    }
}
