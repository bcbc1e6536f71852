//! Operations as Porcupine takes them.
//!
//! A line is JSON that `encoding/json` decodes into a `porcupine.Operation` (`ClientId`, `Input`, `Call`, `Output`, `Return`; times in ns, see
//! <https://github.com/anishathalye/porcupine/blob/master/model.go>), in the order of the ends. What failed is left out. An append of unknown
//! outcome returns at the end of time, `math.MaxInt64`, and its output says nothing, as its author advises in
//! <https://github.com/anishathalye/porcupine/issues/8>; a read has always an end. Both ends belong to an operation there, so equal times overlap.
//!
//! | | `Input` | `Output` |
//! |---|---|---|
//! | append | `{"op":"append","conv":"…","element":7}` | `{"seq":3}`: the place in the list, from 1; unknown: `null` |
//! | read | `{"op":"read","conv":"…"}` | `{"elements":[4,7]}`: the whole list |
//!
//! The model is a list for each conversation, so that `Partition` is by `Input.conv`. `Init` is the empty list. A `Step` of an append is legal if `Output`
//! is `null` or its `seq` is the length and one; then the element is added. That of a read is legal if its elements are the list.

use std::io::{self, Write};

use serde::Serialize;

use super::step::{Moment, Step};
use crate::model::Seq;

/// Writes steps for Porcupine.
#[derive(Debug, Clone, Copy)]
pub struct Porcupine;

/// Field by field a `porcupine.Operation`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Line<'a> {
    client_id: u64,
    input: Input<'a>,
    call: i64,
    output: Option<Output<'a>>,
    r#return: i64,
}

#[derive(Debug, Serialize)]
#[serde(tag = "op", rename_all = "snake_case")]
enum Input<'a> {
    Append { conv: &'a str, element: u64 },
    Read { conv: &'a str },
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Output<'a> {
    Seq(Seq),
    Elements(&'a [u64]),
}

impl Porcupine {
    /// Writes one line where an operation ends.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write(self, step: &Step<'_>, writer: &mut impl Write) -> io::Result<()> {
        let &Step { operation, time_ns, moment } = step;
        let conv: &str = &operation.conv;
        let input = match operation.element {
            Some(element) => Input::Append { conv, element },
            None => Input::Read { conv },
        };
        let (output, r#return) = match moment {
            Moment::Stored(seq) => (Some(Output::Seq(seq)), nanoseconds(time_ns)),
            Moment::Shown(elements) => (Some(Output::Elements(elements)), nanoseconds(time_ns)),
            Moment::Unknown if operation.element.is_some() => (None, i64::MAX),
            Moment::Begun | Moment::Failed | Moment::Unknown => return Ok(()),
        };
        let call = nanoseconds(operation.begun_ns);
        let line = Line { client_id: operation.process, input, call, output, r#return };
        serde_json::to_writer(&mut *writer, &line)?;
        writer.write_all(b"\n")
    }
}

/// Go's `int64`: three hundred years.
fn nanoseconds(time_ns: u64) -> i64 {
    i64::try_from(time_ns).unwrap_or(i64::MAX)
}
