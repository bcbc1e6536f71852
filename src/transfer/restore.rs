//! One conversation, put back.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, FuturesOrdered, StreamExt as _, TryStreamExt as _};
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::conversation::Subject;
use super::error::TransferError;
use super::line::{End, Line, Member, Opening, RosterLine};
use crate::model::{
    AckSet, ConvId, Epoch, LIMITS, Lives, Membership, Message, Place, Roster, Seq, life_number,
};
use crate::persistence::{
    AckOutcome, AckRequest, Append, AppendOutcome, Archive, EngineError, Entry, Restored,
    RestoredMember,
};

/// Messages on the way to the engine.
const IN_FLIGHT_MAX: usize = 256;
/// Their content bytes.
const IN_FLIGHT_BYTES_MAX: usize = 4 << 20;
/// Members on the way.
const MEMBERS_AT_ONCE: usize = 16;
/// How often what the engine did not do is tried again in a row, and the pause before each time.
const TRIES_MAX: u32 = 40;
const TRY_PAUSE: Duration = Duration::from_millis(250);

type Sent = (usize, Result<AppendOutcome, EngineError>);

/// Where one conversation goes.
struct Target {
    archive: Arc<dyn Archive>,
    /// The lives of the store.
    lives: Lives,
    /// The one that the conversation is in.
    epoch: Epoch,
    conv: ConvId,
    place: Arc<Place>,
}

/// Puts one conversation back, whose lines come one by one.
pub struct Restore {
    target: Target,
    /// Messages that the engine had before, and that were not compared yet; `None`: there are no more.
    there: Option<VecDeque<Arc<Message>>>,
    /// Everything at or below is in the engine, as it should be.
    done: Seq,
    /// What follows, in the order of numbers: given to the engine, and not known to be stored.
    pending: VecDeque<Message>,
    sent: FuturesOrdered<BoxFuture<'static, Sent>>,
    sent_bytes: usize,
    /// In a row, without a message stored in between.
    failures: u32,
    written: u64,
    members: Vec<Member>,
    roster: Option<RosterLine>,
}

/// What became of a conversation.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    /// Messages in it.
    pub messages: u64,
    /// Those of them that were not there before.
    pub written: u64,
}

impl Restore {
    /// Of an engine in these lives of its store.
    pub fn new(archive: Arc<dyn Archive>, lives: Lives, opening: Opening) -> Self {
        let Opening { conv, place } = opening;
        let epoch = archive.epoch(conv);
        Self {
            target: Target { archive, lives, epoch, conv, place: Arc::new(place) },
            there: Some(VecDeque::new()),
            done: Seq::ZERO,
            pending: VecDeque::new(),
            sent: FuturesOrdered::new(),
            sent_bytes: 0,
            failures: 0,
            written: 0,
            members: Vec::new(),
            roster: None,
        }
    }

    /// Takes lines up to the end of the conversation; without it, it was stopped.
    pub async fn run(mut self, mut lines: mpsc::Receiver<Line>) -> Result<Outcome, TransferError> {
        while let Some(line) = lines.recv().await {
            match line {
                Line::Message(message) => self.message(message).await?,
                Line::Member(member) => self.members.push(member),
                Line::Roster(roster) => self.roster = Some(roster),
                Line::End(end) => return Box::pin(self.end(end)).await,
                Line::Export(_) | Line::Conversation(_) | Line::Complete(_) => {}
            }
        }
        self.settle().await?;
        Err(TransferError::Stopped)
    }

    async fn message(&mut self, message: Message) -> Result<(), TransferError> {
        if let Some(there) = self.next_there().await? {
            if *there != message {
                return Err(self.target.foreign(format!("another message {}", message.seq)));
            }
            self.done = message.seq;
            return Ok(());
        }
        while self.sent.len() >= IN_FLIGHT_MAX || self.sent_bytes >= IN_FLIGHT_BYTES_MAX {
            self.answer().await?;
        }
        self.send(&message);
        self.pending.push_back(message);
        Ok(())
    }

    /// The next message that the engine had before.
    async fn next_there(&mut self) -> Result<Option<Arc<Message>>, TransferError> {
        let Some(mut there) = self.there.take() else { return Ok(None) };
        if there.is_empty() {
            there = self.target.page(self.done).await?.into();
        }
        let next = there.pop_front();
        self.there = next.is_some().then_some(there);
        Ok(next)
    }

    fn send(&mut self, message: &Message) {
        let Target { archive, conv, place, .. } = &self.target;
        let bytes = message.content.len();
        let append = archive.append(Append {
            conv: *conv,
            place: Arc::clone(place),
            sender: message.from.clone(),
            cid: message.cid.clone(),
            kind: message.kind.clone(),
            content: message.content.clone(),
            ts: Some(message.ts),
            future_skew_ms_max: 0,
            restored: Some(Restored { seq: message.seq, at: message.at }),
        });
        self.sent_bytes += bytes;
        self.sent.push_back(append.map(move |outcome| (bytes, outcome)).boxed());
    }

    /// Waits for one answer; where it is another than that the message is stored, for all of them, and begins again behind what is.
    async fn answer(&mut self) -> Result<(), TransferError> {
        let Some((bytes, outcome)) = self.sent.next().await else { return Ok(()) };
        self.sent_bytes -= bytes;
        match outcome {
            Ok(AppendOutcome::Stored(stored)) => {
                self.target.same_life(&stored.epoch)?;
                self.stored(&stored.message)
            }
            Ok(_) => self.begin_again(None).await,
            Err(error) => self.begin_again(Some(error)).await,
        }
    }

    /// A message is stored, and should be the first that was pending.
    fn stored(&mut self, message: &Message) -> Result<(), TransferError> {
        if self.pending.pop_front().as_ref() != Some(message) {
            return Err(self.target.foreign(format!("another message {}", message.seq)));
        }
        self.done = message.seq;
        self.written += 1;
        self.failures = 0;
        Ok(())
    }

    /// After a refusal or without an answer: what the engine has by now is done, the rest is sent again.
    async fn begin_again(&mut self, mut error: Option<EngineError>) -> Result<(), TransferError> {
        while let Some((_, outcome)) = self.sent.next().await {
            error = outcome.err().or(error);
        }
        self.sent_bytes = 0;
        self.failures += 1;
        match error {
            Some(error) if !is_busy(&error) || self.failures > TRIES_MAX => {
                return Err(error.into());
            }
            None if self.failures > TRIES_MAX => {
                let what = "others write to it all the time".to_owned();
                return Err(TransferError::Disturbed { conv: self.target.conv, what });
            }
            _ => sleep(TRY_PAUSE).await,
        }
        loop {
            let page = self.target.page(self.done).await?;
            if page.is_empty() {
                break;
            }
            for message in page {
                self.stored(&message)?;
            }
        }
        let rest: Vec<Message> = self.pending.iter().cloned().collect();
        rest.iter().for_each(|message| self.send(message));
        Ok(())
    }

    /// Everything sent is stored.
    async fn settle(&mut self) -> Result<(), TransferError> {
        while !self.pending.is_empty() {
            self.answer().await?;
        }
        Ok(())
    }

    async fn end(mut self, end: End) -> Result<Outcome, TransferError> {
        self.settle().await?;
        if self.next_there().await?.is_some() {
            return Err(self.target.foreign(format!("more than {} messages", end.messages)));
        }
        let Self { target, members, roster, written, .. } = self;
        target.rest(members, roster, &end).await?;
        Ok(Outcome { messages: end.messages, written })
    }
}

impl Target {
    /// What the engine has above a number.
    async fn page(&self, after: Seq) -> Result<Vec<Arc<Message>>, TransferError> {
        let following =
            again(|| self.archive.after(self.conv, after, LIMITS.read_limit_max)).await?;
        self.same_life(&following.epoch)?;
        Ok(following.page.items)
    }

    fn same_life(&self, epoch: &Epoch) -> Result<(), TransferError> {
        if *epoch == self.epoch {
            return Ok(());
        }
        Err(TransferError::Renewed { what: "import into another, empty store" })
    }

    fn foreign(&self, what: String) -> TransferError {
        TransferError::Foreign { conv: self.conv, what }
    }

    /// All but the messages; and whether it is there.
    async fn rest(
        &self,
        members: Vec<Member>,
        roster: Option<RosterLine>,
        end: &End,
    ) -> Result<(), TransferError> {
        let users = members.iter().map(|member| (member.user.clone(), member.since_us)).collect();
        let restoring = members.into_iter().map(|member| self.member(member).boxed());
        let mut restoring = stream::iter(restoring).buffer_unordered(MEMBERS_AT_ONCE);
        while restoring.try_next().await?.is_some() {}
        drop(restoring);
        if let Some(roster) = roster {
            self.roster(roster).await?;
        }
        let subject = Subject { conv: self.conv, place: Arc::clone(&self.place), users };
        self.compare(subject, end).await
    }

    async fn member(&self, member: Member) -> Result<(), TransferError> {
        let Member { user, since_us, acked } = member;
        let (conv, place) = (self.conv, Arc::clone(&self.place));
        let entry = Entry { user: user.clone(), conv, place, since_us };
        let acked_up_to = acked.as_ref().map(|acked| acked.up_to);
        let restored = RestoredMember { entry, acked_up_to };
        again(|| self.archive.restore_member(restored.clone())).await?;
        let Some(AckSet { up_to, ranges }) = acked.filter(|acked| !acked.ranges.is_empty()) else {
            return Ok(());
        };
        let request = AckRequest { conv, user, up_to, ranges };
        match again(|| self.archive.ack(request.clone())).await? {
            AckOutcome::Merged { .. } => Ok(()),
            AckOutcome::AboveHead | AckOutcome::TooManyRanges => {
                let what = format!("the acknowledgement of {} does not fit", request.user);
                Err(TransferError::Disturbed { conv, what })
            }
        }
    }

    async fn roster(&self, line: RosterLine) -> Result<(), TransferError> {
        let RosterLine { version, owner, members } = line;
        let life = life_number(&self.epoch);
        let members = members.into_iter().map(|member| {
            let (joined, since) = (member.joined, member.since);
            (member.user, Membership { joined, since, life })
        });
        let roster = Roster { version, owner, members: members.collect() };
        match again(|| self.archive.restore_roster(self.conv, roster.clone())).await? {
            true => Ok(()),
            false => Err(self.foreign("another roster".to_owned())),
        }
    }

    /// What the engine has now is what the file had.
    async fn compare(&self, subject: Subject, end: &End) -> Result<(), TransferError> {
        let digest = match subject.begin(&*self.archive, &self.lives).await? {
            Some(part) => part.lines(&*self.archive, |_| Ok(())).await?.1,
            None => String::new(),
        };
        if digest == end.digest {
            return Ok(());
        }
        let what = format!("what was read back is not what was written ({digest}, {})", end.digest);
        Err(TransferError::Disturbed { conv: self.conv, what })
    }
}

/// Whether it may be different in a moment.
fn is_busy(error: &EngineError) -> bool {
    match error {
        EngineError::Unavailable(_) | EngineError::Overloaded(_) | EngineError::Timeout(_) => true,
        EngineError::StorageFull(_) | EngineError::ReadOnly(_) | EngineError::Internal(_) => false,
    }
}

/// Does what may be done twice until it is done, or is not worth another try.
async fn again<T, F>(mut work: impl FnMut() -> F) -> Result<T, EngineError>
where
    F: Future<Output = Result<T, EngineError>>,
{
    let mut tries = 0;
    loop {
        match work().await {
            Err(error) if is_busy(&error) && tries < TRIES_MAX => tries += 1,
            outcome => return outcome,
        }
        sleep(TRY_PAUSE).await;
    }
}
