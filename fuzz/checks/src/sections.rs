//! Several named files in one input, so that a person can write and a fuzzer can change them.

/// What stands before the name of a file, on a line of its own.
const MARK: &[u8] = b"=== ";

/// The files of an input: each is a line `=== NAME` and what follows up to the next such line.
/// The line end before a mark belongs to the mark. What stands before the first is left out.
pub fn sections(data: &[u8]) -> Vec<(&str, &[u8])> {
    let mut found = Vec::new();
    let mut rest = data;
    let mut start = data.starts_with(MARK).then_some(0);
    while let Some(begin) = start.or_else(|| next_mark(rest).map(|at| at + 1)) {
        start = None;
        rest = &rest[begin + MARK.len()..];
        let line = rest.iter().position(|byte| *byte == b'\n');
        let (name, content) = rest.split_at(line.unwrap_or(rest.len()));
        let content = content.get(1..).unwrap_or_default();
        // The line end of the name may be that of the next mark.
        let end = if content.starts_with(MARK) {
            0
        } else {
            next_mark(content).unwrap_or(content.len())
        };
        if let Ok(name) = std::str::from_utf8(name) {
            found.push((name, &content[..end]));
        }
        rest = &rest[line.unwrap_or(rest.len())..];
    }
    found
}

fn next_mark(text: &[u8]) -> Option<usize> {
    text.windows(MARK.len() + 1)
        .position(|window| window[0] == b'\n' && window[1..] == *MARK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_cut_at_its_marks() {
        assert_eq!(
            sections(b"=== a\none\ntwo\n=== b\n=== c\n\n=== d"),
            [("a", &b"one\ntwo"[..]), ("b", b""), ("c", b""), ("d", b"")]
        );
        assert_eq!(sections(b"x\n=== a\ny"), [("a", &b"y"[..])]);
        assert!(sections(b"").is_empty());
        assert!(sections(b" === a\n").is_empty());
    }
}
