//! A conversation whose messages are known by their numbers: the ways of reading a page of it, and whether a page is right.

use std::sync::Arc;

use super::correctness::Correctness;
use super::error::BenchError;
use crate::client::Client;
use crate::model::{ConvId, Message, Order, Seq, UserName};
use crate::protocol::{Ack, Command, Open, Read, ReadKind, Reply, To};

/// Messages on each page.
pub const PAGE: usize = 10;

/// A conversation without late messages, as the client that reads it has it open; nobody else sends while it is read.
#[derive(Debug)]
pub struct Filled {
    open: Open,
    conv: ConvId,
    /// The number of its newest message.
    pub head: Seq,
    /// The time of its oldest message …
    pub ts_oldest: u64,
    /// … and of its newest.
    pub ts_newest: u64,
}

impl Filled {
    /// Opens a filled conversation as its reader, with everything acknowledged: what is measured is the page, not the
    /// counting of unread messages. It must hold exactly `volume` messages.
    pub async fn open(client: &Client, writer: UserName, volume: u64) -> Result<Self, BenchError> {
        let failed = || BenchError::client(format!("opening the conversation of {volume}"));
        let to = To::User(writer);
        let open = Open { to, limit: PAGE, resume: None, echo: false, push: false };
        let opened = client.open(open.clone()).await.map_err(failed())?;
        if opened.head != Seq(volume) {
            return Err(BenchError::Unmeasurable(format!(
                "the conversation of {volume} holds {} messages; take a --user-prefix that the server has not seen",
                opened.head
            )));
        }
        let (conv, head) = (opened.conv, opened.head);
        let kind = ReadKind::Range { from: None, to: None, order: Order::Asc };
        let oldest =
            client.read(Read { conv, kind, limit: 1, cursor: None }).await.map_err(failed())?;
        let ts = |message: Option<&Arc<Message>>| message.map_or(0, |message| message.ts);
        let (ts_oldest, ts_newest) = (ts(oldest.items.first()), ts(opened.items.last()));
        let filled = Self { open, conv, head, ts_oldest, ts_newest };
        filled.acknowledge(client).await?;
        Ok(filled)
    }

    /// Acknowledges everything up to the head.
    pub async fn acknowledge(&self, client: &Client) -> Result<(), BenchError> {
        let ack = Ack { conv: self.conv, up_to: Some(self.head), ranges: None };
        client.ack(ack).await.map_err(BenchError::client("acknowledging"))?;
        Ok(())
    }

    /// Asks for the newest page, and for all that a client that opens the conversation must know.
    pub fn open_command(&self) -> Command {
        Command::Open(self.open.clone())
    }

    /// Asks for the newest page, or for the one that ends at the time `to`.
    pub fn read_command(&self, to: Option<u64>) -> Command {
        let kind = ReadKind::Range { from: None, to, order: Order::Desc };
        Command::Read(Read { conv: self.conv, kind, limit: PAGE, cursor: None })
    }

    /// A fast wrong page is no page: the newest one must be exactly the last ten, any other must be in
    /// order, whole, and not above the asked time.
    pub fn judge(&self, reply: &Reply, to: Option<u64>, counts: &mut Correctness) {
        counts.pages_checked += 1;
        let mut seqs: Vec<Seq> = match reply {
            Reply::Open(opened) => opened.items.iter().rev().map(|message| message.seq).collect(),
            Reply::Read(page) => {
                counts.corrupt +=
                    u64::from(to.is_some_and(|to| page.items.iter().any(|item| item.ts > to)));
                page.items.iter().map(|message| message.seq).collect()
            }
            _ => Vec::new(),
        };
        // The server stamped every message, so `(ts, seq)` order is `seq` order.
        let unsorted = seqs.windows(2).any(|two| two[0] <= two[1]);
        counts.page_unsorted += u64::from(unsorted);
        seqs.sort_unstable_by(|one, other| other.cmp(one));
        let first = if to.is_none() { Some(self.head) } else { seqs.first().copied() };
        let Some(Seq(first)) = first else {
            counts.page_missing += 1;
            return;
        };
        let expected = (1..=first).rev().take(PAGE).map(Seq);
        let missing = expected.filter(|seq| !seqs.contains(seq)).count();
        counts.page_missing += missing as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::content::tests::{conv, message, user};
    use crate::protocol::ReadReply;

    fn judged(seqs: &[u64], to: Option<u64>) -> Correctness {
        let conv = conv("ann", "bob");
        let to_user = To::User(user("bob"));
        let open = Open { to: to_user, limit: PAGE, resume: None, echo: false, push: false };
        let filled = Filled { open, conv, head: Seq(20), ts_oldest: 0, ts_newest: 0 };
        let items = seqs.iter().map(|&seq| Arc::new(message(conv, "ann", seq))).collect();
        let mut counts = Correctness::default();
        filled.judge(&Reply::Read(ReadReply { items, next: None }), to, &mut counts);
        counts
    }

    #[test]
    fn only_the_right_page_is_right() {
        let newest: Vec<u64> = (11..=20).rev().collect();
        assert!(judged(&newest, None).is_clean());
        assert_eq!(judged(&newest[1..], None).page_missing, 1);
        assert_eq!(judged(&[], None).page_missing, 10);
        let mut swapped = newest.clone();
        swapped.swap(0, 1);
        assert_eq!(judged(&swapped, None).page_unsorted, 1);
        let older: Vec<u64> = (1..=5).rev().collect();
        assert!(judged(&older, Some(1_005)).is_clean());
        assert_eq!(judged(&older, Some(1_004)).corrupt, 1, "above the asked time");
        assert_eq!(judged(&[5, 3, 2, 1], Some(1_005)).page_missing, 1);
        assert_eq!(judged(&[], Some(1_005)).page_missing, 1);
    }
}
