//! Fills a conversation through the protocol: several connections of its writer, many sends at a time.

use std::ops::Range;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::error::BenchError;
use super::progress::Progress;
use crate::client::{Address, Answer, Answered, Client, ClientError, ClientOptions, PushHandler};
use crate::harness::content::ContentMaker;
use crate::model::{Cid, ConvId, LIMITS, MessageType, UserName};
use crate::protocol::{Command, Open, Send, To};

/// Least bytes of a content: names of users and cids, of the length that they may have here, must fit.
const SIZE_BYTES_MIN: usize = 200;

/// Unanswered sends of one filling connection.
const FILL_IN_FLIGHT: usize = 256;

/// Connections that fill one conversation together.
const FILLERS: u64 = 4;

/// Times that a command is repeated before the bench gives up.
const ATTEMPTS_MAX: u32 = 20;

/// What a conversation is filled with, and by whom.
#[derive(Debug)]
pub struct Filling<'a> {
    /// The server.
    pub address: &'a Address,
    /// Who sends.
    pub writer: &'a UserName,
    /// The other of the two.
    pub reader: &'a UserName,
    /// Bytes of each message's content.
    pub size_bytes: usize,
    /// Decides contents.
    pub seed: u64,
    /// How long one client may take to connect.
    pub connect_timeout: Duration,
}

impl Filling<'_> {
    /// Sends the messages with these numbers; the number is in the `cid`, so that each is stored once. Which of them comes first is the
    /// server's to say.
    pub async fn fill(&self, numbers: Range<u64>) -> Result<(), BenchError> {
        let progress = Progress::start("filling", Some(numbers.end.saturating_sub(numbers.start)));
        let shares = (0..FILLERS).map(|filler| self.fill_share(filler, numbers.clone(), &progress));
        stream::iter(shares).buffer_unordered(FILLERS as usize).try_collect::<Vec<()>>().await?;
        Ok(())
    }

    /// One connection's share: every so many-th message.
    async fn fill_share(
        &self,
        filler: u64,
        numbers: Range<u64>,
        progress: &Progress,
    ) -> Result<(), BenchError> {
        let client =
            connect(self.address, self.writer, self.connect_timeout, PushHandler::Ignore).await?;
        let open = Open {
            to: To::User(self.reader.clone()),
            limit: 0,
            resume: None,
            echo: false,
            push: false,
        };
        let failed = || BenchError::client(format!("filling up to {} messages", numbers.end));
        let opened = client.open(open).await.map_err(failed())?;
        let maker = ContentMaker::new(self.size_bytes, self.seed);
        let mut unsent = (numbers.start + filler..numbers.end).step_by(FILLERS as usize);
        let mut unanswered = FuturesUnordered::new();
        loop {
            let mut fresh = Vec::new();
            for number in unsent.by_ref().take(FILL_IN_FLIGHT - unanswered.len()) {
                fresh.push(text(&maker, opened.conv, self.writer, "fill", number)?);
            }
            if !fresh.is_empty() {
                let answers = client.submit_many(&fresh).await.map_err(failed())?;
                for (command, answer) in fresh.into_iter().zip(answers) {
                    unanswered.push(settle(&client, command, answer));
                }
            }
            match unanswered.next().await {
                Some(result) => result.map_err(failed())?,
                None => break,
            }
            progress.add(1);
        }
        drop(unanswered);
        client.close().await;
        Ok(())
    }
}

/// Refuses sizes of contents that do not prove where they belong, or that no server takes.
pub fn check_size(size_bytes: usize) -> Result<(), BenchError> {
    match (SIZE_BYTES_MIN..=LIMITS.content_bytes_max).contains(&size_bytes) {
        true => Ok(()),
        false => Err(BenchError::Usage(format!(
            "--size {size_bytes}: give {SIZE_BYTES_MIN} to {} bytes",
            LIMITS.content_bytes_max
        ))),
    }
}

/// A user of the bench.
pub fn user(prefix: &str, suffix: &str) -> Result<UserName, BenchError> {
    UserName::new(&format!("{prefix}-{suffix}"))
        .map_err(|error| BenchError::Usage(format!("--user-prefix: give {error}")))
}

/// Connects `user`, whose pushes go to `pushes`.
pub async fn connect(
    address: &Address,
    user: &UserName,
    connect_timeout: Duration,
    pushes: PushHandler,
) -> Result<Client, BenchError> {
    let options = ClientOptions { connect_timeout, pushes, ..ClientOptions::default() };
    Client::connect(address, user, options)
        .await
        .map_err(BenchError::client(format!("connecting {user}")))
}

/// The message with this number, whose `cid` begins with `what`. Without `ts` nothing is late, whichever connection comes first.
pub fn text(
    maker: &ContentMaker,
    conv: ConvId,
    from: &UserName,
    what: &str,
    number: u64,
) -> Result<Command, BenchError> {
    let cid = Cid::new(&format!("{what}.{number:x}"))
        .map_err(|error| BenchError::Usage(format!("a cid must be {error}")))?;
    let kind = MessageType::new("text")
        .map_err(|error| BenchError::Usage(format!("a type must be {error}")))?;
    let content = maker.make(conv, from, &cid, number);
    Ok(Command::Send(Send { conv, cid, kind, content, ts: None }))
}

/// Waits for the answer to a command, and repeats it while the server says that it may succeed later.
async fn settle(client: &Client, command: Command, answer: Answer) -> Result<(), ClientError> {
    insist(client, &command, answer.await, |_| {}).await.map(|_| ())
}

/// Repeats a command, which must be one that may be repeated, while its `answer` says that it may succeed later. `told` hears of
/// each answer that was none.
pub async fn insist(
    client: &Client,
    command: &Command,
    mut answer: Result<Answered, ClientError>,
    mut told: impl FnMut(&ClientError),
) -> Result<Answered, ClientError> {
    for attempt in 1..ATTEMPTS_MAX {
        let wait = match &answer {
            Err(error) if error.is_retryable() => {
                told(error);
                error.retry_after().unwrap_or(Duration::from_millis(20) * attempt)
            }
            _ => break,
        };
        tokio::time::sleep(wait).await;
        answer = client.call(command).await;
    }
    answer
}
