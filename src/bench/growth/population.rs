//! Fills a store with conversations.

use std::ops::Range;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::desk::Desk;
use crate::bench::error::BenchError;
use crate::bench::filling::{connect, insist, text};
use crate::bench::progress::Progress;
use crate::client::{Client, PushHandler};
use crate::harness::content::ContentMaker;
use crate::model::{LIMITS, UserName};
use crate::protocol::{Command, Open, To};

/// Conversations that one connection begins: fewer than a session may have open, and few for a user.
const OF_ONE_USER: u64 = 250;

/// Connections that begin conversations at the same time.
const CONNECTIONS: usize = 16;

/// Commands of one connection that are unanswered.
const IN_FLIGHT: usize = 16;

/// The conversations of a store beside those that are measured.
#[derive(Debug)]
pub struct Population {
    many: UserName,
    begun: u64,
}

impl Population {
    /// None yet.
    pub fn new(desk: &Desk<'_>) -> Result<Self, BenchError> {
        Ok(Self { many: desk.user("many")?, begun: 0 })
    }

    /// Who has many of them.
    pub fn many(&self) -> &UserName {
        &self.many
    }

    /// How many are the one user's.
    pub fn of_many(&self) -> usize {
        usize::try_from(self.begun).unwrap_or(usize::MAX).min(LIMITS.list_max)
    }

    /// Begins more, until there are `total`. Those up to `list_max` are the one user's, each with another who has written to them.
    pub async fn grow(&mut self, desk: &Desk<'_>, total: u64) -> Result<(), BenchError> {
        let progress = Progress::start("beginning conversations", Some(total - self.begun));
        let list_max = LIMITS.list_max as u64;
        let of_many = self.begun.min(list_max)..total.min(list_max);
        let (many, progress) = (&self.many, &progress);
        let writing = of_many.map(|number| async move {
            let peer = desk.user(&format!("peer{number:x}"))?;
            begin(desk, &peer, std::slice::from_ref(many), progress).await
        });
        stream::iter(writing).buffer_unordered(CONNECTIONS).try_collect::<Vec<()>>().await?;
        let others = self.begun.max(list_max)..total.max(list_max);
        let writing = users(others).map(|numbers| async move {
            let writer = desk.user(&format!("of{:x}", numbers.start))?;
            let peers = numbers.map(|number| desk.user(&format!("other{number:x}")));
            begin(desk, &writer, &peers.collect::<Result<Vec<_>, _>>()?, progress).await
        });
        stream::iter(writing).buffer_unordered(CONNECTIONS).try_collect::<Vec<()>>().await?;
        self.begun = total;
        Ok(())
    }
}

/// The numbers in parts, each of which is one user's.
fn users(numbers: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let end = numbers.end;
    numbers.step_by(OF_ONE_USER as usize).map(move |start| start..end.min(start + OF_ONE_USER))
}

/// `writer` writes the first message to each of `peers`.
pub async fn begin(
    desk: &Desk<'_>,
    writer: &UserName,
    peers: &[UserName],
    progress: &Progress,
) -> Result<(), BenchError> {
    let address = desk.first();
    let client = connect(address, writer, desk.connect_timeout, PushHandler::Ignore).await?;
    let maker = ContentMaker::new(desk.size_bytes, desk.seed);
    let (client, maker) = (&client, &maker);
    let writing = peers.iter().map(|peer| async move {
        write_first(client, maker, writer, peer).await?;
        progress.add(1);
        Ok::<_, BenchError>(())
    });
    stream::iter(writing).buffer_unordered(IN_FLIGHT).try_collect::<Vec<()>>().await?;
    Ok(())
}

async fn write_first(
    client: &Client,
    maker: &ContentMaker,
    writer: &UserName,
    peer: &UserName,
) -> Result<(), BenchError> {
    let failed = || BenchError::client(format!("beginning a conversation with {peer}"));
    let to = To::User(peer.clone());
    let open = Command::Open(Open { to, limit: 0, resume: None, echo: false, push: false });
    let opened = insist(client, &open, client.call(&open).await, |_| {}).await;
    let opened = opened.map_err(failed())?;
    let crate::protocol::Reply::Open(opened) = &opened.reply else {
        return Err(failed()(client.wrong_reply("open", &opened.reply)));
    };
    let send = text(maker, opened.conv, writer, "first", 0)?;
    insist(client, &send, client.call(&send).await, |_| {}).await.map_err(failed())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_conversation_is_some_users_and_only_one() {
        let parts: Vec<_> = users(1_000..1_620).collect();
        assert_eq!(parts, [1_000..1_250, 1_250..1_500, 1_500..1_620]);
        assert_eq!(users(1_000..1_000).count(), 0);
    }
}
