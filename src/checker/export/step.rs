//! What is told of a history: operations on lists, as they begin and end.

use std::sync::Arc;

use crate::model::Seq;

/// An operation on a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Whose: one lane of one session, numbered from 0.
    pub process: u64,
    /// The session.
    pub session: u64,
    /// The list.
    pub conv: Arc<str>,
    /// The element that it appends; `None`: it reads.
    pub element: Option<u64>,
    /// When it began, on the clock of the history.
    pub begun_ns: u64,
}

/// Begin or end of an operation. Steps come in the order of the lines they are made from.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    /// The operation.
    pub operation: &'a Operation,
    /// When, on the clock of the history; never decreasing.
    pub time_ns: u64,
    /// Which.
    pub moment: Moment<'a>,
}

/// Begin, or which end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment<'a> {
    /// It begins.
    Begun,
    /// It appended its element, which has this number in the list.
    Stored(Seq),
    /// It read the whole list: these elements, as they came.
    Shown(&'a [u64]),
    /// It certainly did not and will not happen.
    Failed,
    /// Nobody knows.
    Unknown,
}
