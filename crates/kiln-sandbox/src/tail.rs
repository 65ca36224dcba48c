//! The last lines of what commands print.

/// How many lines a failure shows.
const LINES: usize = 40;
/// How much of a line, at most, so that a line without end stays readable.
const LINE: usize = 1000;
/// What is remembered at least.
const BYTES: usize = 64 << 10;

/// Remembers the end of a stream.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    bytes: Vec<u8>,
}

impl Tail {
    /// The stream goes on.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
        // Not at every call, which would move all bytes each time.
        if self.bytes.len() > 2 * BYTES {
            self.bytes.drain(..self.bytes.len() - BYTES);
        }
    }

    /// The last lines.
    pub(crate) fn lines(&self) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.bytes);
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(LINES)..]
            .iter()
            .map(|line| line.chars().take(LINE).collect())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_however_they_come() {
        let lines: Vec<_> = (0..100_000)
            .map(|number| format!("line {number}"))
            .collect();
        let text = lines.join("\n");
        let mut tail = Tail::default();
        for chunk in text.as_bytes().chunks(777) {
            tail.push(chunk);
        }
        let lines = tail.lines();
        assert_eq!(lines.len(), LINES);
        assert_eq!(lines[0], "line 99960");
        assert_eq!(lines[LINES - 1], "line 99999");
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let mut tail = Tail::default();
        tail.push(&vec![b'x'; 10 * BYTES]);
        assert_eq!(tail.lines(), ["x".repeat(LINE)]);
    }
}
