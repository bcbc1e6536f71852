//! The hashes of an export.

use sha2::{Digest as _, Sha256};

/// A hash over lines, each over the one before: a line that is altered, missing, added or moved gives another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chain([u8; 32]);

impl Chain {
    /// Takes a line, without its line feed.
    pub fn push(&mut self, line: &[u8]) {
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update(line);
        self.0 = hash.finalize().into();
    }

    /// As it stands in a file.
    pub fn hex(&self) -> String {
        hex(&self.0)
    }
}

/// A hash over texts in their order.
#[derive(Debug, Clone, Default)]
pub struct ContentHash(Sha256);

impl ContentHash {
    /// Takes a text; none of them has a line feed in it.
    pub fn push(&mut self, text: &[u8]) {
        self.0.update(text);
        self.0.update(b"\n");
    }

    /// As it stands in a file.
    pub fn hex(self) -> String {
        hex(&self.0.finalize())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_happens_to_the_lines_shows() {
        let of = |lines: &[&str]| {
            let mut chain = Chain::default();
            lines.iter().for_each(|line| chain.push(line.as_bytes()));
            chain.hex()
        };
        let all = [of(&["a", "b"]), of(&["b", "a"]), of(&["a"]), of(&["ab"]), of(&["a", "b", "b"])];
        for (at, one) in all.iter().enumerate() {
            assert!(all[..at].iter().all(|other| other != one));
        }
    }
}
