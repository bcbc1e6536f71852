//! What is wrong with an expression, and where.

use std::fmt;
use std::path::PathBuf;

/// Where an expression was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// Its line, from 1 on.
    pub line: usize,
    /// Characters in the line before the expression.
    pub indent: usize,
}

/// What is wrong with an expression. Shown as a text, the expression, and a caret under the place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// As it was written.
    pub expression: String,
    /// Characters before the place.
    pub column: usize,
    /// What is wrong, and what was expected.
    pub problem: String,
    /// Where the expression was written, if in a file.
    pub place: Option<Place>,
}

impl ParseError {
    /// The same, of an expression in a file.
    #[must_use]
    pub fn at(self, place: Option<Place>) -> Self {
        Self { place, ..self }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Place { file, line, indent }) = &self.place {
            let column = indent + self.column + 1;
            write!(f, "{}, line {line}, column {column}: ", file.display())?;
        }
        // One character of the line is one place of the terminal.
        let shown = |c: char| if c.is_control() { ' ' } else { c };
        let line: String = self.expression.chars().map(shown).collect();
        write!(f, "{}\n  {line}\n  {:indent$}^", self.problem, "", indent = self.column)
    }
}

impl std::error::Error for ParseError {}
