//! Names of keys. Everything of a conversation has its id as hash tag, so that one script may touch all of it.

use redis::Cmd;

use super::scripts::Script;
use crate::model::{ConvId, UserName};
use crate::persistence::lineage::Life;

/// Makes keys under one prefix.
#[derive(Debug, Clone)]
pub struct Keys {
    prefix: String,
}

/// The keys of a conversation: meta, messages, times, late, cids, acknowledgements, roster.
const PARTS: [&str; 7] = ["h", "m", "t", "l", "c", "a", "g"];

impl Keys {
    /// Keys that begin with `prefix`.
    pub fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    /// What all keys begin with.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The lineage of the store.
    pub fn lineage(&self) -> String {
        format!("{}{{lineage}}", self.prefix)
    }

    /// A user's index of conversations.
    pub fn index(&self, user: &UserName) -> String {
        format!("{}{{u:{user}}}:mine", self.prefix)
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
        pattern + "{u:*}:mine"
    }

    /// Whose index a key is; the inverse of [`index`](Self::index).
    pub fn index_owner(&self, key: &str) -> Option<UserName> {
        let user = key.strip_prefix(&self.prefix)?.strip_prefix("{u:")?.strip_suffix("}:mine")?;
        UserName::new(user).ok()
    }

    /// A call of a conversation's script: its keys, and the generation of `life` as first argument.
    pub fn call(&self, script: &Script, conv: ConvId, life: &Life) -> Cmd {
        let mut cmd = redis::cmd("EVALSHA");
        cmd.arg(&script.sha).arg(PARTS.len());
        let tag = format!("{}{{{conv}}}:", self.prefix);
        for part in PARTS {
            cmd.arg([tag.as_str(), part].concat());
        }
        cmd.arg(life.generation);
        cmd
    }
}
