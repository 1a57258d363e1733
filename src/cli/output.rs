//! Results on standard output: aligned columns for people, JSON for programs.

use std::io::Write;

use prost::Message;

use super::{
    args::Format,
    failure::Failure,
    json::{self, Defaults},
};

/// Prints results in the wanted format.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    format: Format,
}

/// How messages of one kind are listed.
pub(super) struct Listing<M> {
    /// The message's name in the API.
    pub(super) message: &'static str,
    /// Headers, in capitals.
    pub(super) columns: &'static [&'static str],
    /// One line, as many cells as columns.
    pub(super) cells: fn(&M) -> Vec<String>,
}

impl Output {
    /// In this format.
    pub(super) fn new(format: Format) -> Self {
        Self { format }
    }

    /// Whether programs read it.
    pub(super) fn is_json(self) -> bool {
        self.format == Format::Json
    }

    /// One message: `name: value` lines, or JSON.
    pub(super) fn item(self, name: &str, message: &impl Message, fields: &[(&str, String)]) -> Result<(), Failure> {
        match self.format {
            Format::Json => print(&(json::line(name, message, Defaults::Written)? + "\n")),
            Format::Table => print(&item_lines(fields)),
        }
    }

    /// Messages of one kind: a table, or a line of JSON each.
    pub(super) fn list<M: Message>(self, listing: &Listing<M>, messages: &[M]) -> Result<(), Failure> {
        match self.format {
            Format::Json => {
                let lines = messages.iter().map(|message| json::line(listing.message, message, Defaults::Written));
                print(&lines.map(|line| Ok(line? + "\n")).collect::<Result<String, Failure>>()?)
            }
            Format::Table => print(&table(listing.columns, messages.iter().map(listing.cells).collect())),
        }
    }

    /// Messages of one kind as a part of a long table, the first one with headers.
    pub(super) fn page<M>(self, listing: &Listing<M>, messages: &[M], first: bool) -> Result<(), Failure> {
        let text = table(listing.columns, messages.iter().map(listing.cells).collect());
        let header = if first { 0 } else { text.find('\n').map_or(0, |end| end + 1) };
        print(&text[header..])
    }

    /// A remark for people about what was done; programs see the exit code.
    pub(super) fn done(self, text: &str) -> Result<(), Failure> {
        match self.format {
            Format::Json => Ok(()),
            Format::Table => print(&format!("{text}\n")),
        }
    }
}

/// Writes text to standard output at once.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(|error| Failure::writing(&error))
}

/// Text from elsewhere, on one line and without what a terminal would obey.
pub(super) fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\t' => shown.push('\t'),
            control if control.is_control() => shown.extend(control.escape_default()),
            other => shown.push(other),
        }
    }
    shown
}

/// Text for a cell: `-` if it is empty.
pub(super) fn cell(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { plain(text) }
}

/// A flag for a cell.
pub(super) fn yes_or_no(value: bool) -> String {
    if value { "yes" } else { "no" }.to_owned()
}

fn item_lines(fields: &[(&str, String)]) -> String {
    let width = fields.iter().map(|(name, _)| name.len() + 1).max().unwrap_or(0);
    fields.iter().map(|(name, value)| format!("{:width$} {value}\n", format!("{name}:"))).collect()
}

/// Columns as wide as their widest cell.
pub(super) fn table(columns: &[&str], rows: Vec<Vec<String>>) -> String {
    let header: Vec<String> = columns.iter().map(|&column| column.to_owned()).collect();
    let lines: Vec<Vec<String>> = std::iter::once(header).chain(rows).collect();
    let width = |column: usize| lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns.len()).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for line in &lines {
        let padded: Vec<String> = line.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}")).collect();
        text.push_str(padded.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{item_lines, plain, table};

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["orders", "12"], ["ä", "3"]].map(|row| row.map(str::to_owned).to_vec()).to_vec();
        assert_eq!(table(&["NAME", "HEAD"], rows), "NAME    HEAD\norders  12\nä       3\n");
        assert_eq!(table(&["NAME"], Vec::new()), "NAME\n");
    }

    #[test]
    fn items_are_lines_of_names_and_values() {
        let fields = [("name", "orders".to_owned()), ("head", "2".to_owned())];
        assert_eq!(item_lines(&fields), "name: orders\nhead: 2\n");
    }

    #[test]
    fn terminals_get_nothing_to_obey() {
        assert_eq!(plain("a\u{1b}[31m\nb\t\"c\""), "a\\u{1b}[31m\\nb\t\"c\"");
    }
}
