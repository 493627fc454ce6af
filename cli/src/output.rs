//! Data goes to standard output, talk to standard error.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::exit::Failure;

/// The version of every JSON object that the tool prints. It grows when a field changes its meaning or
/// goes away, not when one is added.
const SCHEMA_VERSION: u32 = 1;

/// How data is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Normal,
    /// One JSON object
    Json,
}

/// Choice of the format.
#[derive(Clone, Debug, Args)]
pub struct OutputArgs {
    /// How to print the result
    #[arg(short = 'o', long, value_name = "FORMAT", value_enum, default_value_t)]
    pub output_format: Format,
    /// The same as --output-format json
    #[arg(long, conflicts_with = "output_format")]
    pub json: bool,
}

impl OutputArgs {
    /// The format chosen.
    fn format(&self) -> Format {
        if self.json { Format::Json } else { self.output_format }
    }

    /// Prints a result to standard output: as JSON, or as the text that `normal` makes of it.
    pub fn print<T: Serialize>(&self, value: &T, normal: impl FnOnce(&T) -> String) -> Result<(), Failure> {
        data(self.render(value, normal)?)
    }

    /// The text that [`print`](Self::print) prints.
    pub fn render<T: Serialize>(
        &self,
        value: &T,
        normal: impl FnOnce(&T) -> String,
    ) -> Result<String, Failure> {
        match self.format() {
            Format::Normal => Ok(normal(value)),
            Format::Json => {
                let value = Versioned { schema_version: SCHEMA_VERSION, value };
                serde_json::to_string_pretty(&value).map_err(|e| Failure::stdout(e.into()))
            }
        }
    }
}

#[derive(Serialize)]
struct Versioned<'a, T> {
    schema_version: u32,
    #[serde(flatten)]
    value: &'a T,
}

/// Prints a line, or several, to standard output.
pub fn data(text: impl fmt::Display) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}").and_then(|()| stdout.flush()).map_err(Failure::stdout)
}

/// Tells the user something that is not data. Where standard error is closed, nobody listens.
pub fn talk(text: impl fmt::Display) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Whether [`step`] says anything.
static VERBOSE: AtomicBool = AtomicBool::new(false);

/// Has each [`step`] told, or none.
pub fn set_verbose(verbose: bool) {
    VERBOSE.store(verbose, Ordering::Relaxed);
}

/// Tells what is done next, or has just been done, where the user wants to know.
pub fn step(text: impl fmt::Display) {
    if VERBOSE.load(Ordering::Relaxed) {
        talk(format_args!("nvme-tcp: {text}"));
    }
}

/// Tells of something that works but should not be left as it is.
pub fn warn(text: impl fmt::Display) {
    talk(format_args!("nvme-tcp: warning: {text}"));
}

/// A bar on standard error; none where that is not a terminal.
pub struct Progress(indicatif::ProgressBar);

impl Progress {
    /// Starts a bar for `what`, of `total` bytes; without a total, as for a pipe, it counts only.
    pub fn start(what: &'static str, total: Option<u64>) -> Self {
        use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
        if !io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let template = match total {
            Some(_) => "{msg:<7} {wide_bar} {bytes:>10} of {total_bytes}  {bytes_per_sec:>14}  {eta:>4}",
            None => "{msg:<7} {bytes:>10}  {bytes_per_sec:>14}  {elapsed:>4}",
        };
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template(template);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message(what);
        // At once, also where the source rests.
        bar.force_draw();
        Self(bar)
    }

    /// `bytes` more are done.
    pub fn advance(&self, bytes: u64) {
        self.0.inc(bytes);
    }
}

impl Drop for Progress {
    /// Takes the bar away, so that what is said next has a line of its own.
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// A table with a line of headings and no frame. Columns whose heading begins with `>` are numbers and
/// stand to the right.
pub fn table<const N: usize>(headings: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    use comfy_table::{CellAlignment, Table, presets};
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(headings.map(|heading| heading.trim_start_matches('>')));
    table.add_rows(rows);
    for (column, heading) in table.column_iter_mut().zip(headings) {
        column.set_padding((0, 2));
        if heading.starts_with('>') {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// A table of names and what they are, without headings or frame.
pub fn pairs(rows: impl IntoIterator<Item = [String; 2]>) -> String {
    let rows: Vec<_> = rows.into_iter().collect();
    let width = rows.iter().map(|[name, _]| name.len()).max().unwrap_or(0);
    let lines: Vec<_> = rows.iter().map(|[name, what]| format!("{name:<width$}  {what}")).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_lines_up() {
        let rows =
            [["a.img".to_owned(), "256 MiB".to_owned()], ["long-name.img".to_owned(), "4 B".to_owned()]];
        let expected = "\
name              size
a.img          256 MiB
long-name.img      4 B";
        assert_eq!(table(["name", ">size"], rows), expected);
    }

    #[test]
    fn no_bar_where_there_is_no_terminal() {
        if io::stderr().is_terminal() {
            eprintln!("SKIPPED no_bar_where_there_is_no_terminal: standard error is a terminal");
            return;
        }
        let progress = Progress::start("write", Some(10));
        progress.advance(10);
        assert!(progress.0.is_hidden());
        assert_eq!(progress.0.position(), 10);
    }

    #[test]
    fn json_carries_the_schemas_version() {
        #[derive(Serialize)]
        struct Result {
            bytes: u64,
        }
        let value = Versioned { schema_version: SCHEMA_VERSION, value: &Result { bytes: 7 } };
        assert_eq!(serde_json::to_string(&value).unwrap(), r#"{"schema_version":1,"bytes":7}"#);
    }
}
