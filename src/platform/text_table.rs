//! Tables of text, for terminals.

/// Where the cells of a column have their padding.
#[derive(Debug, Clone, Copy)]
pub enum Align {
    Left,
    Right,
}

/// Returns a line for each row. A column is as wide as its widest cell, and two spaces follow it.
#[must_use]
pub fn lines<const N: usize>(rows: &[[String; N]], columns: [Align; N]) -> Vec<String> {
    let widths: [usize; N] = std::array::from_fn(|column| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or(0)
    });
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).zip(columns);
        let padded = cells.map(|((cell, width), align)| match align {
            Align::Left => format!("{cell:width$}"),
            Align::Right => format!("{cell:>width$}"),
        });
        let line = padded.collect::<Vec<_>>().join("  ");
        line.trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}
