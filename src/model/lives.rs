//! The lives of a store as a whole.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Epoch;

/// Which lives a store is in: one, or, where parts of it can come back with less each on its own, one for each part. As JSON a string, or a
/// list of several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "OneOrMore", try_from = "OneOrMore")]
pub struct Lives(Vec<Epoch>);

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(Epoch),
    More(Vec<Epoch>),
}

impl Lives {
    /// Of a store with these parts; at least one.
    pub fn of(parts: impl IntoIterator<Item = Epoch>) -> Self {
        let mut lives: Vec<_> = parts.into_iter().collect();
        lives.sort();
        lives.dedup();
        Self(lives)
    }

    /// Whether the store, or a part of it, is in this life.
    pub fn contain(&self, life: &Epoch) -> bool {
        self.0.contains(life)
    }

    /// Whether two stores have a part in common.
    pub fn meet(&self, other: &Self) -> bool {
        self.0.iter().any(|life| other.contain(life))
    }
}

impl From<Epoch> for Lives {
    fn from(life: Epoch) -> Self {
        Self(vec![life])
    }
}

impl From<Lives> for OneOrMore {
    fn from(Lives(mut lives): Lives) -> Self {
        match lives.pop() {
            Some(only) if lives.is_empty() => Self::One(only),
            last => Self::More(lives.into_iter().chain(last).collect()),
        }
    }
}

impl TryFrom<OneOrMore> for Lives {
    type Error = &'static str;

    fn try_from(found: OneOrMore) -> Result<Self, Self::Error> {
        match found {
            OneOrMore::One(life) => Ok(life.into()),
            OneOrMore::More(lives) if lives.is_empty() => Err("a store is in some life"),
            OneOrMore::More(lives) => Ok(Self::of(lives)),
        }
    }
}

/// With commas between.
impl fmt::Display for Lives {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, life) in self.0.iter().enumerate() {
            let before = if at == 0 { "" } else { ", " };
            write!(f, "{before}{life}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_a_string_and_several_are_a_list_in_order() {
        let life = |name| Epoch::new(name).unwrap();
        let one = Lives::from(life("a"));
        let more = Lives::of([life("c"), life("b"), life("c")]);
        for (lives, json, shown) in [(&one, r#""a""#, "a"), (&more, r#"["b","c"]"#, "b, c")] {
            assert_eq!(serde_json::to_string(lives).unwrap(), json);
            assert_eq!(serde_json::from_str::<Lives>(json).unwrap(), *lives);
            assert_eq!(lives.to_string(), shown);
        }
        assert!(serde_json::from_str::<Lives>("[]").is_err());
        assert!(!one.meet(&more) && more.meet(&life("b").into()) && more.contain(&life("c")));
    }
}
