//! Columns of text.

/// How a column stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    /// At its left edge: names.
    Left,
    /// At its right edge: numbers.
    Right,
}

/// Rows as lines, each column as wide as its longest cell, with two blanks between columns.
pub(crate) fn lines(columns: &[Align], rows: &[Vec<String>]) -> Vec<String> {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..columns.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(columns.iter().zip(&widths));
        let cells = cells.map(|(cell, (align, &width))| match align {
            Align::Left => format!("{cell:<width$}"),
            Align::Right => format!("{cell:>width$}"),
        });
        let line = cells.collect::<Vec<_>>().join("  ");
        line.trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_longest_cells() {
        let rows = [["name", "size"], ["ä", "1.0 kB"], ["longer", ""]];
        let rows = rows.map(|row| row.map(str::to_owned).to_vec());
        let lines = lines(&[Align::Left, Align::Right], &rows);
        assert_eq!(lines, ["name      size", "ä       1.0 kB", "longer"]);
    }
}
