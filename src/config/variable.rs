//! One entry of the table of variables.

/// One thing that a server can be told.
#[derive(Debug, Clone, Copy)]
pub struct Variable {
    /// Its name in the environment and in `.env`.
    pub key: &'static str,
    /// Its flag, without the dashes.
    pub flag: &'static str,
    /// What holds when it is not set; `None`: it has no value then.
    pub default: Option<&'static str>,
    /// What it may be.
    pub kind: Kind,
    /// What it is for.
    pub doc: &'static str,
    /// Its value is never shown.
    pub secret: bool,
}

/// The shape of a variable's value.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// One of these words.
    Choice(&'static [&'static str]),
    /// An integer in this unit, both ends inclusive.
    Number {
        /// Its unit; also the last word of the key.
        unit: &'static str,
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// An IP address and a port.
    Address,
    /// Anything that this describes; the parser of the variable decides.
    Text {
        /// The name of the value in `--help`.
        name: &'static str,
        /// What is allowed, for people.
        allowed: &'static str,
    },
}

impl Kind {
    /// What is allowed, for people: completes "use …".
    pub fn allowed(&self) -> String {
        match self {
            Self::Choice(words) => words.join(", "),
            Self::Number { unit, min, max } => format!("an integer from {min} to {max} ({unit})"),
            Self::Address => {
                "an IP address and a port, such as 127.0.0.1:8080 or [::1]:0".to_owned()
            }
            Self::Text { allowed, .. } => (*allowed).to_owned(),
        }
    }

    /// The name of the value in `--help`.
    pub fn value_name(&self) -> &'static str {
        match self {
            Self::Choice(_) => "WORD",
            Self::Number { unit, .. } => unit,
            Self::Address => "ADDRESS:PORT",
            Self::Text { name, .. } => name,
        }
    }
}
