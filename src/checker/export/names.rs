//! Elements of lists, by the names of the messages.

use std::collections::HashMap;
use std::sync::Arc;

/// The names that appeared in one conversation: `cid`s by sender.
type Senders = HashMap<Box<str>, HashMap<Box<str>, Name>>;

/// Every name (sender, `cid`, conversation) that appeared so far.
#[derive(Debug, Default)]
pub struct Names {
    by_conv: HashMap<Arc<str>, Senders>,
    count: u64,
}

/// What is known of a name.
#[derive(Debug, Clone, Copy)]
pub struct Name {
    /// Its integer.
    pub element: u64,
    /// Somebody sent it; otherwise it was only seen so far.
    pub is_sent: bool,
}

impl Names {
    /// One copy of the name of a conversation.
    pub fn conv(&mut self, conv: &str) -> Arc<str> {
        if let Some((known, _)) = self.by_conv.get_key_value(conv) {
            return Arc::clone(known);
        }
        let known: Arc<str> = conv.into();
        self.by_conv.insert(Arc::clone(&known), Senders::new());
        known
    }

    /// The element of a name: its own, or the next integer.
    pub fn element(&mut self, conv: &Arc<str>, from: &str, cid: &str) -> u64 {
        self.name(conv, from, cid).element
    }

    /// The same, and from now on it counts as sent. Whether it did before is in what is returned.
    pub fn send(&mut self, conv: &Arc<str>, from: &str, cid: &str) -> Name {
        let name = self.name(conv, from, cid);
        let before = *name;
        name.is_sent = true;
        before
    }

    fn name(&mut self, conv: &Arc<str>, from: &str, cid: &str) -> &mut Name {
        let senders = self.by_conv.entry(Arc::clone(conv)).or_default();
        if !senders.contains_key(from) {
            senders.insert(from.into(), HashMap::new());
        }
        let next = &mut self.count;
        senders.entry(from.into()).or_default().entry(cid.into()).or_insert_with(|| {
            *next += 1;
            Name { element: *next, is_sent: false }
        })
    }
}
