//! Tables of text, for terminals.

/// The width of a report, in columns. Every usual terminal shows as many.
pub const WIDTH: usize = 80;

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

/// Returns a line for each row. If the lines are longer than `width`, the cells of one column are
/// cut off.
#[must_use]
pub fn lines_within<const N: usize>(
    mut rows: Vec<[String; N]>,
    columns: [Align; N],
    cut_column: usize,
    width: usize,
) -> Vec<String> {
    let lines = self::lines(&rows, columns);
    let excess = longest(&lines).saturating_sub(width);
    if excess == 0 {
        return lines;
    }
    let cells = rows.iter().map(|row| row[cut_column].chars().count());
    let kept = cells.max().unwrap_or(0).saturating_sub(excess).max(1);
    for row in &mut rows {
        row[cut_column] = cut(&row[cut_column], kept);
    }
    self::lines(&rows, columns)
}

fn longest(lines: &[String]) -> usize {
    let lengths = lines.iter().map(|line| line.chars().count());
    lengths.max().unwrap_or(0)
}

/// Returns the text if it fits, and otherwise its beginning and an ellipsis.
#[must_use]
pub fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept = text.chars().take(width.saturating_sub(1));
    kept.chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Align; 3] = [Align::Left, Align::Right, Align::Left];

    fn rows(cells: &[[&str; 3]]) -> Vec<[String; 3]> {
        let rows = cells.iter().map(|row| row.map(str::to_owned));
        rows.collect()
    }

    #[test]
    fn a_column_is_as_wide_as_its_widest_cell() {
        let rows = rows(&[["NAME", "N", "X"], ["ü", "1000", "y"], ["longer", "1", ""]]);
        let wanted = ["NAME       N  X", "ü       1000  y", "longer     1"];
        assert_eq!(lines(&rows, COLUMNS), wanted);
        assert!(lines::<3>(&[], COLUMNS).is_empty());
    }

    #[test]
    fn only_a_table_that_is_too_wide_is_cut_and_only_in_one_column() {
        let rows = rows(&[["NAME", "N", "X"], ["a-long-name", "1000", "y"]]);
        let whole = ["NAME            N  X", "a-long-name  1000  y"];
        assert_eq!(lines_within(rows.clone(), COLUMNS, 0, 20), whole);
        let cut = ["NAME          N  X", "a-long-n…  1000  y"];
        assert_eq!(lines_within(rows.clone(), COLUMNS, 0, 18), cut);
        // The other columns have their full width, however little room there is.
        let least = ["…     N  X", "…  1000  y"];
        assert_eq!(lines_within(rows, COLUMNS, 0, 5), least);
    }
}
