//! A conversation as its store has it.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::item::Item;

/// A conversation, read from its store without a server in between.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dumped {
    /// Which.
    pub conv: String,
    /// The life of the store.
    pub epoch: String,
    /// All of its messages, ascending by number.
    pub items: Vec<Item>,
    /// [`hash_chain`] of them.
    pub chain: String,
}

/// A hash over messages in their order, each over the one before: two stores that have the same one have the same conversation.
pub fn hash_chain(items: &[Item]) -> String {
    let mut chain = [0; 32];
    for item in items {
        let mut hash = Sha256::new();
        hash.update(chain);
        for text in [&item.cid, &item.digest, &item.from] {
            // Its length first: no two lists of texts look alike.
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        }
        hash.update(item.seq.0.to_be_bytes());
        hash.update(item.ts.to_be_bytes());
        hash.update([u8::from(item.late)]);
        chain = hash.finalize().into();
    }
    chain.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Seq;

    #[test]
    fn whatever_differs_differs_in_the_chain() {
        let item = |seq, cid: &str, from: &str| Item {
            seq: Seq(seq),
            cid: cid.into(),
            digest: "d".into(),
            ts: 7,
            late: false,
            from: from.into(),
        };
        let items = vec![item(1, "a", "ann"), item(2, "b", "bob")];
        let chain = hash_chain(&items);
        assert_eq!(chain, hash_chain(&items.clone()));
        let others = [
            vec![items[1].clone(), items[0].clone()],
            vec![items[0].clone()],
            vec![item(1, "aa", "nn"), items[1].clone()],
            vec![Item { ts: 8, ..items[0].clone() }, items[1].clone()],
            vec![Item { late: true, ..items[0].clone() }, items[1].clone()],
            vec![],
        ];
        for other in others {
            assert_ne!(hash_chain(&other), chain, "{other:?}");
        }
    }
}
