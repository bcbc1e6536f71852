//! How a measured value is compared.

/// A comparison; the measured value stands on its left side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `==`
    Equal,
}

impl Operator {
    /// All of them, the longer ones first: `<=` begins with `<`.
    pub const ALL: [(&str, Self); 5] = [
        ("<=", Self::LessOrEqual),
        (">=", Self::GreaterOrEqual),
        ("==", Self::Equal),
        ("<", Self::Less),
        (">", Self::Greater),
    ];

    /// Whether the comparison holds.
    pub fn holds(self, measured: f64, limit: f64) -> bool {
        match self {
            Self::Less => measured < limit,
            Self::LessOrEqual => measured <= limit,
            Self::Greater => measured > limit,
            Self::GreaterOrEqual => measured >= limit,
            Self::Equal => measured == limit,
        }
    }
}
