//! What a command lists: as a table for people, as JSON or YAML for programs.

use serde_json::Value;

use crate::{CliError, output, table, yaml};

/// How something is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// Columns.
    Table,
    /// More columns.
    Wide,
    /// JSON, as complete as there is.
    Json,
    /// The same as YAML.
    Yaml,
}

/// How to show it.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct FormArguments {
    /// How to show it.
    #[arg(
        long = "output",
        short = 'o',
        value_name = "FORM",
        default_value = "table"
    )]
    pub form: Form,
    /// Leave out the line with the columns' names.
    #[arg(long)]
    pub no_headers: bool,
}

impl FormArguments {
    /// Whether there is room for everything.
    pub fn is_wide(self) -> bool {
        self.form == Form::Wide
    }

    /// Prints a value for programs, or what `text` makes for people.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub fn print(self, value: &Value, text: impl FnOnce() -> String) -> Result<(), CliError> {
        match self.form {
            Form::Json => output::line(&format!("{value:#}")),
            Form::Yaml => output::print(&yaml::text(value)),
            Form::Table | Form::Wide => output::print(&text()),
        }
    }

    /// Lines with columns under their names.
    pub fn table<const N: usize>(self, names: [&str; N], rows: Vec<[String; N]>) -> String {
        let mut lines = rows;
        if !self.no_headers {
            lines.insert(0, names.map(str::to_owned));
        }
        columns(&lines)
    }
}

/// Lines with columns as wide as they need, the last as it is.
pub fn columns<const N: usize>(lines: &[[String; N]]) -> String {
    let cells = |column: usize| lines.iter().filter_map(move |line| line.get(column));
    let widths: Vec<usize> = (0..N.saturating_sub(1))
        .map(|column| table::width(0, cells(column).map(String::as_str)) + 1)
        .collect();
    lines
        .iter()
        .map(|line| table::row(&widths, line).trim_end().to_owned() + "\n")
        .collect()
}

/// A text from elsewhere for a terminal: one line, and nothing that moves the cursor.
pub fn plain(text: &str) -> String {
    let shown = |symbol: char| match symbol.is_control() {
        true => symbol.escape_default().to_string(),
        false => symbol.to_string(),
    };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let lines = [["a", "bb", "c"], ["aaa", "b", ""]].map(|line| line.map(str::to_owned));
        assert_eq!(columns(&lines), "a    bb  c\naaa  b\n");
    }

    #[test]
    fn a_text_from_elsewhere_moves_no_cursor() {
        assert_eq!(plain("a\u{1b}[2J\nü"), "a\\u{1b}[2J\\nü");
    }
}
