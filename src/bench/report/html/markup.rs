//! Tables and embedded data of a page.

use std::fmt::Write as _;

pub use crate::harness::html::escaped;

/// JSON that stays data inside a `<script>`: no tag ends it, whatever its strings hold.
pub fn embedded_json(json: &str) -> String {
    // Outside of strings JSON has none of these.
    json.replace('&', "\\u0026")
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

/// One cell of a table.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Words.
    Text(String),
    /// A command line or an address.
    Code(String),
    /// A number that is shown as `text`; scripts read the exact one by its name.
    Number {
        /// Unique within its row.
        name: String,
        /// The exact number.
        value: f64,
        /// How people read it.
        text: String,
    },
    /// A number that there is not.
    Absent,
    /// From the least to the most of several runs.
    Range(String),
    /// A bar of this share, 0 to 1, of the widest.
    Bar(f64),
}

impl Cell {
    /// Words.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// Something that was counted.
    pub fn count(name: &str, count: u64) -> Self {
        Self::Number { name: name.to_owned(), value: count as f64, text: grouped(count) }
    }

    /// A figure in the unit that its name says.
    pub fn figure(name: &str, value: f64) -> Self {
        Self::Number { name: name.to_owned(), value, text: number(value) }
    }

    /// A latency, shown in ms to the µs.
    pub fn latency(name: &str, us: Option<f64>) -> Self {
        match us {
            Some(value) => Self::Number { name: name.to_owned(), value, text: milliseconds(value) },
            None => Self::Absent,
        }
    }

    fn write(&self, html: &mut String) {
        // Writing to a String cannot fail.
        let _ = match self {
            Self::Text(text) => write!(html, "<td>{}</td>", escaped(text)),
            Self::Code(text) => write!(html, "<td><code>{}</code></td>", escaped(text)),
            Self::Number { name, value, text } => {
                let name = escaped(name);
                write!(html, "<td class=n data-name=\"{name}\" data-value=\"{value}\">{text}</td>")
            }
            Self::Absent => write!(html, "<td class=n>–</td>"),
            Self::Range(text) => write!(html, "<td class=n>{}</td>", escaped(text)),
            Self::Bar(share) => {
                let width = share.clamp(0.0, 1.0) * 100.0;
                write!(
                    html,
                    "<td class=bar><svg viewBox=\"0 0 100 1\" preserveAspectRatio=none aria-hidden=true>\
                     <rect width=\"{width:.2}\" height=1 /></svg></td>"
                )
            }
        };
    }

    fn is_number(&self) -> bool {
        matches!(self, Self::Number { .. } | Self::Absent | Self::Range(_))
    }
}

/// A table that scrolls in its own box. `key` names it for scripts, its rows are named by their first cell.
pub fn table(key: &str, caption: &str, columns: &[&str], rows: &[Vec<Cell>]) -> String {
    let (key, caption) = (escaped(key), escaped(caption));
    let mut html = format!(
        "<div class=table tabindex=0 role=region aria-label=\"{caption}\">\
         <table data-table=\"{key}\"><caption>{caption}</caption>\n<thead><tr>"
    );
    for (index, column) in columns.iter().enumerate() {
        let number = rows.iter().any(|row| row.get(index).is_some_and(Cell::is_number));
        let class = if number { " class=n" } else { "" };
        let _ = write!(html, "<th scope=col{class}>{}</th>", escaped(column));
    }
    html.push_str("</tr></thead>\n<tbody>\n");
    for row in rows {
        let name = match row.first() {
            Some(Cell::Text(text)) => escaped(text),
            _ => String::new(),
        };
        let _ = write!(html, "<tr data-row=\"{name}\">");
        for (index, cell) in row.iter().enumerate() {
            match (index, cell) {
                (0, Cell::Text(text)) => {
                    let _ = write!(html, "<th scope=row>{}</th>", escaped(text));
                }
                _ => cell.write(&mut html),
            }
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</tbody></table></div>\n");
    html
}

/// A place that the page's script draws a plot into. `attributes` say which.
pub fn plot(kind: &str, caption: &str, note: &str, attributes: &[(&str, String)]) -> String {
    let mut html = format!("<figure class=plot data-plot=\"{}\"", escaped(kind));
    for (name, value) in attributes {
        let _ = write!(html, " data-{name}=\"{}\"", escaped(value));
    }
    let _ = write!(html, "><figcaption>{}", escaped(caption));
    if !note.is_empty() {
        let _ = write!(html, " <small>{}</small>", escaped(note));
    }
    html.push_str("</figcaption></figure>\n");
    html
}

/// A latency in ms: one unit for a whole table, so that its columns compare at a look.
fn milliseconds(us: f64) -> String {
    let text = format!("{:.3}", us / 1_000.0);
    match text.split_once('.') {
        Some((whole, fraction)) => format!("{}.{fraction}", in_threes(whole)),
        None => text,
    }
}

/// A figure with as many digits as mean something.
pub fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 1_000.0 && value > 0.0 => grouped(value.round() as u64),
        size if size >= 1_000.0 => format!("{value:.0}"),
        _ => format!("{value:.3}"),
    }
}

fn grouped(count: u64) -> String {
    in_threes(&count.to_string())
}

/// Digits in groups of three, with spaces that no line breaks at.
fn in_threes(digits: &str) -> String {
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn what_comes_from_outside_stays_text() {
        let evil = "</script><img src=x onerror='alert(1)'>\"&\u{0}";
        let safe = escaped(evil);
        assert!(!safe.contains(['<', '>', '"', '\'', '\u{0}']), "{safe}");
        let json = serde_json::to_string(evil).unwrap();
        let embedded = embedded_json(&json);
        assert!(!embedded.contains(['<', '>', '&']), "{embedded}");
        assert_eq!(serde_json::from_str::<String>(&embedded).unwrap(), evil);
        let row = vec![Cell::text(evil), Cell::Code(evil.into()), Cell::figure(evil, 1.0)];
        let table = table(evil, evil, &[evil], &[row]);
        let plot = plot(evil, evil, evil, &[("run", evil.into())]);
        assert!(!table.contains("<img") && !plot.contains("<img"), "{table}{plot}");
    }

    #[rstest]
    #[case(849.4, "0.849")]
    #[case(999_999.9, "1\u{202f}000.000")]
    #[case(2_000_900.0, "2\u{202f}000.900")]
    #[case(1_234_567_890.0, "1\u{202f}234\u{202f}567.890")]
    #[case(0.0, "0.000")]
    fn latencies_have_one_unit(#[case] us: f64, #[case] text: &str) {
        assert_eq!(milliseconds(us), text);
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!(number(0.25), "0.250");
        assert_eq!(number(12_345.6), "12\u{202f}346");
        assert_eq!(number(-12_345.6), "-12346");
        assert_eq!(grouped(999), "999");
    }
}
