//! The text format of Prometheus, version 0.0.4: families of samples with labels.

use std::fmt::Write;

/// The media type of the format.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What kind of number a family has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It only ever grows, until it starts again at zero.
    Counter,
    Gauge,
}

/// A page that grows.
#[derive(Default)]
pub(super) struct Page {
    text: String,
}

impl Page {
    /// Begins a family; all of its samples follow before the next one.
    pub(super) fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    /// A sample of the present family. `labels` are written by [`label`], with commas between them.
    pub(super) fn sample(&mut self, name: &str, labels: &str, value: f64) {
        match labels {
            "" => self.line(format_args!("{name} {value}")),
            labels => self.line(format_args!("{name}{{{labels}}} {value}")),
        }
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // A text takes everything.
        if writeln!(self.text, "{line}").is_err() {
            debug_assert!(false, "a text takes everything");
        }
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }
}

/// One label.
pub(super) fn label(name: &str, value: &str) -> String {
    let mut text = format!("{name}=\"");
    for symbol in value.chars() {
        match symbol {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_what_prometheus_reads() {
        let mut page = Page::default();
        page.family("a_total", Kind::Counter, "What \\ is\ncounted.");
        page.sample(
            "a_total",
            &label("connector", "a \"b\" \\ \n"),
            12_345_678.0,
        );
        page.family("b", Kind::Gauge, "Something.");
        page.sample("b", "", f64::NAN);
        page.sample("b", "", 0.25);
        let expected = "# HELP a_total What \\\\ is\\ncounted.\n\
            # TYPE a_total counter\n\
            a_total{connector=\"a \\\"b\\\" \\\\ \\n\"} 12345678\n\
            # HELP b Something.\n\
            # TYPE b gauge\n\
            b NaN\n\
            b 0.25\n";
        assert_eq!(page.into_text(), expected);
    }
}
