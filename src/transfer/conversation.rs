//! A conversation as an engine has it, as lines.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use super::chain::ContentHash;
use super::error::TransferError;
use super::line::{Line, Member, Opening, RosterLine, RosterMember};
use crate::model::{ConvId, Epoch, LIMITS, Lives, Message, Place, Seq, UserName};
use crate::persistence::Archive;

/// Members that are asked for at once.
const AT_ONCE: usize = 16;

/// Which conversation, and who may have it: what the lists of users say.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The id of `place`.
    pub conv: ConvId,
    /// What it is.
    pub place: Arc<Place>,
    /// Users, and since when, µs.
    pub users: BTreeMap<UserName, u64>,
}

/// What is read of a conversation at first; the rest of its messages follows.
#[derive(Debug)]
pub struct Part {
    subject: Subject,
    /// The life of the store that it is of.
    epoch: Epoch,
    head: Seq,
    first: Vec<Arc<Message>>,
    members: Vec<Member>,
    roster: Option<RosterLine>,
}

impl Subject {
    /// Up to which number there are messages now, the first of them, and whose the conversation is. `None`: it has nothing to
    /// carry. All of it belongs to one of these lives of the store.
    pub async fn begin(
        mut self,
        archive: &dyn Archive,
        lives: &Lives,
    ) -> Result<Option<Part>, TransferError> {
        let epoch = archive.epoch(self.conv);
        if !lives.contain(&epoch) {
            return Err(renewed());
        }
        // Whose unread messages are counted beside it does not matter.
        let anybody = UserName::new("-").unwrap_or_else(|_| unreachable!("it is a name"));
        let newest = archive.summary(self.conv, &anybody).await?.newest;
        let head = newest.map_or(Seq::ZERO, |message| message.seq);
        let first = page(archive, self.conv, Seq::ZERO, head, &epoch).await?;
        let roster = match *self.place {
            Place::Group(_) => self.roster(archive, head, &epoch).await?,
            Place::Direct(..) | Place::Channel(_) => None,
        };
        self.add_newcomers(&first, &roster);
        let users = std::mem::take(&mut self.users);
        let this = &self;
        let asked = users
            .into_iter()
            .map(|(user, since_us)| this.member(archive, user, since_us, head).boxed());
        let mut asked = stream::iter(asked).buffered(AT_ONCE);
        let mut members = Vec::new();
        while let Some(member) = asked.try_next().await? {
            members.extend(member);
        }
        drop(asked);
        if archive.epoch(self.conv) != epoch {
            return Err(renewed());
        }
        let is_empty = head == Seq::ZERO && members.is_empty() && roster.is_none();
        Ok((!is_empty).then_some(Part { subject: self, epoch, head, first, members, roster }))
    }

    /// Whose it became after the lists of users were read.
    fn add_newcomers(&mut self, first: &[Arc<Message>], roster: &Option<RosterLine>) {
        let since_us = first.first().map_or(0, |message| message.at.saturating_mul(1_000));
        let members = roster.iter().flat_map(|roster| &roster.members).map(|member| &member.user);
        let both = self.place.participants().filter(|_| !first.is_empty());
        for user in members.chain(both) {
            self.users.entry(user.clone()).or_insert(since_us);
        }
    }

    async fn roster(
        &self,
        archive: &dyn Archive,
        head: Seq,
        epoch: &Epoch,
    ) -> Result<Option<RosterLine>, TransferError> {
        let rostered = archive.roster(self.conv).await?;
        if rostered.epoch != *epoch {
            return Err(renewed());
        }
        let roster = &*rostered.roster;
        let members = roster.members.iter().map(|(user, membership)| RosterMember {
            user: user.clone(),
            joined: membership.joined,
            since: membership.read_up_to(epoch).min(head),
        });
        Ok((roster.version > 0).then(|| RosterLine {
            version: roster.version,
            owner: roster.owner.clone(),
            members: members.collect(),
        }))
    }

    /// `None`: an entry of a call that was refused.
    async fn member(
        &self,
        archive: &dyn Archive,
        user: UserName,
        since_us: u64,
        head: Seq,
    ) -> Result<Option<Member>, TransferError> {
        let acked = archive.acked(self.conv, &user).await?.map(|acked| acked.cut_to(head));
        let is_theirs = acked.is_some()
            || match &*self.place {
                Place::Direct(..) => head > Seq::ZERO,
                Place::Channel(_) => false,
                // Also of who is gone: they would find it in its place if they were invited again.
                Place::Group(_) => true,
            };
        Ok(is_theirs.then_some(Member { user, since_us, acked }))
    }
}

impl Part {
    /// Which conversation.
    pub fn conv(&self) -> ConvId {
        self.subject.conv
    }

    /// Gives every line but the last to `each`, and answers the count of messages and the digest.
    pub async fn lines(
        self,
        archive: &dyn Archive,
        mut each: impl FnMut(&[u8]) -> Result<(), TransferError>,
    ) -> Result<(u64, String), TransferError> {
        let Self { subject, epoch, head, first, members, roster } = self;
        let Subject { conv, place, .. } = subject;
        let mut digest = ContentHash::default();
        let mut give = |line: Line<&Message>| {
            let text = text(&line);
            digest.push(&text);
            each(&text)
        };
        let mut last = Seq::ZERO;
        give(Line::Conversation(Opening { conv, place: (*place).clone() }))?;
        let mut messages = first;
        loop {
            for message in &messages {
                give(Line::Message(message))?;
                last = message.seq;
            }
            if last == head {
                break;
            }
            messages = page(archive, conv, last, head, &epoch).await?;
        }
        for member in members {
            give(Line::Member(member))?;
        }
        if let Some(roster) = roster {
            give(Line::Roster(roster))?;
        }
        Ok((head.0, digest.hex()))
    }
}

/// Some messages above a number, up to the head; there are some.
async fn page(
    archive: &dyn Archive,
    conv: ConvId,
    after: Seq,
    head: Seq,
    epoch: &Epoch,
) -> Result<Vec<Arc<Message>>, TransferError> {
    let left = usize::try_from(head.0 - after.0).unwrap_or(usize::MAX);
    if left == 0 {
        return Ok(Vec::new());
    }
    let following = archive.after(conv, after, left.min(LIMITS.read_limit_max)).await?;
    if following.epoch != *epoch || following.page.items.is_empty() {
        return Err(renewed());
    }
    Ok(following.page.items)
}

fn renewed() -> TransferError {
    TransferError::Renewed { what: "begin again with another file" }
}

/// A line as it stands in a file, without its line feed.
pub fn text<M: serde::Serialize>(line: &Line<M>) -> Vec<u8> {
    serde_json::to_vec(line).unwrap_or_else(|_| unreachable!("a line has only string keys"))
}
