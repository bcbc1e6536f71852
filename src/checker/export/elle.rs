//! The list-append form of Elle.
//!
//! A line is an operation map in EDN: a transaction of one micro-operation, `[:append "conversation" element]` or
//! `[:r "conversation" [elements]]` (`nil` while it is not known), with `:index`, `:time`, `:type`, `:process` and `:f`.
//! Operations are in the order of real time, a process alternates `:invoke` and an end, does nothing after `:info`, and no element is
//! invoked twice, as asked for in <https://github.com/jepsen-io/elle#observed-histories> and by `verify-unique-appends` in
//! <https://github.com/jepsen-io/elle/blob/main/src/elle/list_append.clj>. `elle-cli --model list-append FILE.edn` reads it
//! (<https://github.com/ligurio/elle-cli#list-append>; an index for each line, and `:f :txn`), line by line, because it begins with `{`. The grammar is
//! that of <https://github.com/edn-format/edn>.

use std::io::{self, Write};

use super::step::{Moment, Step};

/// Writes steps for Elle.
#[derive(Debug, Default)]
pub struct Elle {
    index: u64,
}

impl Elle {
    /// Writes one line.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write(&mut self, step: &Step<'_>, writer: &mut impl Write) -> io::Result<()> {
        let &Step { operation, time_ns, moment } = step;
        let (index, process) = (self.index, operation.process);
        self.index += 1;
        let kind = match moment {
            Moment::Begun => "invoke",
            Moment::Stored(_) | Moment::Shown(_) => "ok",
            Moment::Failed => "fail",
            Moment::Unknown => "info",
        };
        write!(writer, "{{:index {index}, :time {time_ns}, :type :{kind}, :process {process}, ")?;
        writer.write_all(b":f :txn, :value [[")?;
        match operation.element {
            Some(element) => {
                writer.write_all(b":append ")?;
                string(&operation.conv, writer)?;
                write!(writer, " {element}")?;
            }
            None => {
                writer.write_all(b":r ")?;
                string(&operation.conv, writer)?;
                writer.write_all(b" ")?;
                match moment {
                    Moment::Shown(elements) => list(elements, writer)?,
                    _ => writer.write_all(b"nil")?,
                }
            }
        }
        writer.write_all(b"]]}\n")
    }
}

/// A string of EDN: these escapes and no others are in every reader.
fn string(text: &str, writer: &mut impl Write) -> io::Result<()> {
    writer.write_all(b"\"")?;
    let mut buffer = [0; 4];
    for char in text.chars() {
        let escaped = match char {
            '"' => "\\\"",
            '\\' => "\\\\",
            '\n' => "\\n",
            '\r' => "\\r",
            '\t' => "\\t",
            other => other.encode_utf8(&mut buffer),
        };
        writer.write_all(escaped.as_bytes())?;
    }
    writer.write_all(b"\"")
}

fn list(elements: &[u64], writer: &mut impl Write) -> io::Result<()> {
    writer.write_all(b"[")?;
    for (at, element) in elements.iter().enumerate() {
        let before = if at == 0 { "" } else { " " };
        write!(writer, "{before}{element}")?;
    }
    writer.write_all(b"]")
}
