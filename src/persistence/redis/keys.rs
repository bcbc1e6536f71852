//! Names of keys. Everything of a conversation has its id as hash tag, so that one script may touch all of it; in a partition of a cluster everything
//! that there is has the tag of the partition.

use redis::Cmd;

use super::scripts::Script;
use crate::model::{ConvId, UserName};
use crate::persistence::lineage::Life;

/// Makes keys under one prefix.
#[derive(Debug, Clone)]
pub struct Keys {
    prefix: String,
    /// The hash tag that all keys have; `None`: each kind has its own.
    tag: Option<&'static str>,
}

/// The keys of a conversation: meta, messages, times, late, cids, acknowledgements, roster.
const PARTS: [&str; 7] = ["h", "m", "t", "l", "c", "a", "g"];

impl Keys {
    /// Keys that begin with `prefix`.
    pub fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned(), tag: None }
    }

    /// Keys that begin with `prefix`, which has no braces, and are all in one slot: that of `tag`, of letters and digits.
    pub fn in_slot(prefix: &str, tag: &'static str) -> Self {
        Self { prefix: prefix.to_owned(), tag: Some(tag) }
    }

    /// What all keys begin with.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The lineage of the store.
    pub fn lineage(&self) -> String {
        match self.tag {
            None => format!("{}{{lineage}}", self.prefix),
            Some(tag) => format!("{}{{{tag}}}lineage", self.prefix),
        }
    }

    /// A user's index of conversations.
    pub fn index(&self, user: &UserName) -> String {
        let (before, after) = self.around_owner();
        format!("{}{before}{user}{after}", self.prefix)
    }

    /// The pattern of all [indices](Self::index).
    pub fn indices(&self) -> String {
        let mut pattern = String::new();
        for letter in self.prefix.chars() {
            if matches!(letter, '*' | '?' | '[' | ']' | '\\') {
                pattern.push('\\');
            }
            pattern.push(letter);
        }
        let (before, after) = self.around_owner();
        pattern + &before + "*" + after
    }

    /// Whose index a key is; the inverse of [`index`](Self::index).
    pub fn index_owner(&self, key: &str) -> Option<UserName> {
        let (before, after) = self.around_owner();
        let user = key.strip_prefix(&self.prefix)?.strip_prefix(&before)?.strip_suffix(after)?;
        UserName::new(user).ok()
    }

    /// What stands between the prefix and a user, and behind them.
    fn around_owner(&self) -> (String, &'static str) {
        match self.tag {
            None => ("{u:".to_owned(), "}:mine"),
            Some(tag) => (format!("{{{tag}}}:u:"), ":mine"),
        }
    }

    /// What all keys of a conversation begin with.
    pub fn stem(&self, conv: ConvId) -> String {
        match self.tag {
            None => format!("{}{{{conv}}}:", self.prefix),
            Some(tag) => format!("{}{{{tag}}}:{conv}:", self.prefix),
        }
    }

    /// A call of a conversation's script: its keys, and the generation of `life` as first argument.
    pub fn call(&self, script: &Script, conv: ConvId, life: &Life) -> Cmd {
        let mut cmd = redis::cmd("EVALSHA");
        cmd.arg(&script.sha).arg(PARTS.len());
        let stem = self.stem(conv);
        for part in PARTS {
            cmd.arg([stem.as_str(), part].concat());
        }
        cmd.arg(life.generation);
        cmd
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_known_by_its_key_in_a_slot_of_its_own_and_in_that_of_a_partition() {
        let user = UserName::new("ann").unwrap();
        for (keys, index, indices, lineage) in [
            (Keys::new("a*:"), "a*:{u:ann}:mine", r"a\*:{u:*}:mine", "a*:{lineage}"),
            (
                Keys::in_slot("a*:", "pel"),
                "a*:{pel}:u:ann:mine",
                r"a\*:{pel}:u:*:mine",
                "a*:{pel}lineage",
            ),
        ] {
            assert_eq!((keys.index(&user), keys.indices()), (index.to_owned(), indices.to_owned()));
            assert_eq!(
                (keys.index_owner(index), keys.lineage()),
                (Some(user.clone()), lineage.to_owned())
            );
            assert_eq!(keys.index_owner(lineage), None);
        }
    }
}
