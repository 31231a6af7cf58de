//! Tables on a terminal: columns side by side, numbers flush right.

/// Which way the cells of a column are pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// The lines of a table, its columns two spaces apart. Rows may be short; nothing follows a line's last cell.
///
/// # Panics
/// If a row has more cells than there are columns.
pub fn lines(columns: &[Align], rows: &[Vec<String>]) -> Vec<String> {
    let width_of = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width_of).collect();
    let line = |row: &Vec<String>| {
        let pad = |(column, cell): (usize, &String)| match columns[column] {
            Align::Left => format!("{cell:<width$}", width = widths[column]),
            Align::Right => format!("{cell:>width$}", width = widths[column]),
        };
        let cells: Vec<String> = row.iter().enumerate().map(pad).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// `1,234,567`.
pub fn thousands(number: usize) -> String {
    atento::train::events::group_thousands(number as u64)
}

/// `3.1 MiB`.
pub fn bytes(number: u64) -> String {
    atento::memory::size_in_words(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["a", "10"].map(str::to_owned).to_vec(), vec!["größer".into(), "1".into()], vec!["x".into()]];
        assert_eq!(lines(&[Align::Left, Align::Right], &rows), ["a       10", "größer   1", "x"]);
    }

    #[test]
    fn sizes_are_told_in_the_nearest_unit() {
        assert_eq!([0, 1023, 1024, 3_250_586].map(bytes), ["0 B", "1023 B", "1.0 KiB", "3.1 MiB"]);
        assert_eq!(thousands(1_234_567), "1,234,567");
    }
}
