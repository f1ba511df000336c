//! A table for the terminal, or in Markdown.

use std::fmt::Write;

pub struct Table {
    title: String,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new<const N: usize>(title: impl Into<String>, head: [&str; N]) -> Self {
        Self {
            title: title.into(),
            rows: vec![head.map(str::to_owned).to_vec()],
        }
    }

    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }

    /// The first column is aligned to the left, and all others to the right.
    pub fn text(&self, markdown: bool) -> String {
        let columns = self.rows.first().map_or(0, Vec::len);
        let length = |row: &Vec<String>, column: usize| {
            row.get(column).map_or(0, |cell| cell.chars().count())
        };
        let width = |column| {
            self.rows
                .iter()
                .map(|row| length(row, column))
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let (edge, between) = if markdown { ("|", " | ") } else { ("", "   ") };
        let mut text = if markdown {
            format!("### {}\n\n", self.title)
        } else {
            format!("{}\n", self.title)
        };
        for (number, row) in self.rows.iter().enumerate() {
            let cells = row
                .iter()
                .zip(&widths)
                .enumerate()
                .map(|(column, (cell, width))| {
                    if column == 0 {
                        format!("{cell:<width$}")
                    } else {
                        format!("{cell:>width$}")
                    }
                });
            let line = cells.collect::<Vec<_>>().join(between);
            // Writing to a String cannot fail.
            let _ = if markdown {
                writeln!(text, "{edge} {line} {edge}")
            } else {
                writeln!(text, "  {line}")
            };
            if markdown && number == 0 {
                let rule = widths
                    .iter()
                    .enumerate()
                    .map(|(column, _)| if column == 0 { "---" } else { "---:" });
                let _ = writeln!(text, "| {} |", rule.collect::<Vec<_>>().join(" | "));
            }
        }
        text
    }
}
