//! The tenants of a store in one document of it, the roll, which each of them changes.
//!
//! No clock is compared: each tenant counts its beats, and one whose beats stand still for as long as its lease is over. Whoever
//! is in the way is looked at for that long.
//!
//! Where the store lets only one of several writers be the first, a tenant reads the roll, sees nobody in its way, and is in once its write is
//! done. Where it may let several be the first, it *asks*: it writes that it wants in, reads again, and is in only if still nobody is in the way.
//! Of two that ask at once each has written before it read, so one at least has seen the other; whoever comes later in the order of
//! asking takes it back and waits (the bakery algorithm, Lamport 1974).

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::lease::{self, BEATS_PER_LEASE, LOOK_PAUSE, START_TIME, Tenant};
use super::{ClaimError, Company};
use crate::clock;
use crate::model::NodeId;

/// How long an answer is waited for, and how long it is tried against others.
const ANSWER_TIME: Duration = Duration::from_secs(3);
/// What is left of tenants that may have company is forgotten after this.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(24 * 3_600);

/// Why the store did not answer as it should.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What a tenant is.
#[derive(Debug, Clone)]
pub struct RollSettings {
    /// What is the same after a restart of this node, and no other node's.
    pub name: String,
    /// This server process.
    pub node: NodeId,
    /// With whom it may share.
    pub company: Company,
    /// How long it counts as running without a sign of it.
    pub lease: Duration,
}

/// Where a roll is kept.
pub trait Roll: Send + Sync + 'static {
    /// The way there.
    type Link: Send + Sync + 'static;
    /// What a write depends on.
    type Version: Send;
    /// Whether of those who write upon one version only one is told that it is done.
    const IS_EXCLUSIVE: bool;
    /// Who tells of it in logs.
    const STORE: &'static str;

    /// The variable that says where the store is, and its value.
    fn address(&self) -> String;

    /// Which roll of the store it is; other rolls are not in the way.
    fn place(&self) -> String;

    /// Finds the way.
    fn dial(&self) -> impl Future<Output = Result<Self::Link, Failure>> + Send;

    /// All entries that somebody wrote and nobody has replaced, in any order.
    fn read(
        &self,
        link: &Self::Link,
    ) -> impl Future<Output = Result<(Self::Version, Vec<Entry>), Failure>> + Send;

    /// Replaces what was read; `false`: somebody else was faster. An error: it may have been done, or will be.
    fn write(
        &self,
        link: &Self::Link,
        version: Self::Version,
        entries: &[Entry],
    ) -> impl Future<Output = Result<bool, Failure>> + Send;
}

/// One of those in the roll.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    name: String,
    /// Which start of it.
    start: String,
    beat: u64,
    lease_ms: u64,
    /// Why it is alone; empty when it is not.
    because: String,
    /// When it beat last, by its own clock: only to forget what is left of it.
    at_ms: u64,
    /// The order of asking. Of one name the last start that asked is the one that counts.
    #[serde(default)]
    since: u64,
    #[serde(default)]
    standing: Standing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Standing {
    #[default]
    In,
    Asking,
    Gone,
}

impl Entry {
    /// What is greater is newer, of one name.
    fn age(&self) -> (u64, &str, u64) {
        (self.since, &self.start, self.beat)
    }

    /// Whether it asked before the other one did.
    fn is_before(&self, other: &Self) -> bool {
        (self.since, &self.start) < (other.since, &other.start)
    }

    fn is_of(&self, other: &Self) -> bool {
        self.name == other.name && self.start == other.start
    }
}

/// A node that meets others in a roll.
pub struct RollTenant<R> {
    roll: R,
    settings: RollSettings,
}

/// A tenant that is in.
pub struct Seat<L> {
    link: L,
    own: Entry,
}

/// A node on its way in.
#[derive(Default)]
struct Newcomer {
    /// What it was told that it has written: others know from then on that it wants in.
    asked: Option<Entry>,
    /// Of its last write, of which it may not know what became.
    beat: u64,
}

/// What came of a step towards the roll.
enum Step {
    In(Entry),
    /// Another look tells.
    Again,
    /// Somebody is in the way.
    Wait(Entry),
    /// Another start of this name asked later.
    Replaced,
}

/// What came of a beat.
enum Beat {
    Kept(Entry),
    Replaced,
    /// Somebody has come in who must not run beside this node.
    Taken(Entry),
}

impl<R: Roll> Tenant for RollTenant<R> {
    type Link = Seat<R::Link>;

    async fn come_in(&self) -> Result<Self::Link, ClaimError> {
        let unheard = |reason: Failure| {
            ClaimError(format!("{} does not answer as it should: {reason}", self.roll.address()))
        };
        let link = self.roll.dial().await.map_err(unheard)?;
        // Who is in the way, and until when it may stand still; and who has stood still for too long.
        let mut seen: Vec<(Entry, Instant)> = Vec::new();
        let mut over = Vec::new();
        let mut newcomer = Newcomer::default();
        let deadline = Instant::now() + START_TIME + self.settings.lease;
        loop {
            match Box::pin(self.step(&link, &mut newcomer, &over)).await {
                Ok(Step::In(own)) => return Ok(Seat { link, own }),
                Ok(Step::Replaced) => {
                    return Err(ClaimError(lease::started_again(&self.settings.name)));
                }
                Ok(Step::Again) if Instant::now() > deadline => {
                    return Err(unheard("others change it all the time".into()));
                }
                Ok(Step::Again) => continue,
                Err(reason) if Instant::now() > deadline => return Err(unheard(reason)),
                Err(_) => {}
                Ok(Step::Wait(holder)) => match seen.iter_mut().find(|(it, _)| it.is_of(&holder)) {
                    Some((before, until)) if *before == holder => {
                        if Instant::now() > *until {
                            over.push(holder);
                        }
                    }
                    Some(_) if holder.standing == Standing::In => {
                        return Err(self.refusal(&holder));
                    }
                    Some(stale) => *stale = waited_for(holder),
                    None => {
                        tracing::info!(
                            node = %holder.name, store = R::STORE,
                            "a node that must not run beside this one has a lease; waiting whether it renews it"
                        );
                        seen.push(waited_for(holder));
                    }
                },
            }
            sleep(LOOK_PAUSE).await;
        }
    }

    async fn stay(
        mut self,
        seat: Self::Link,
        closing: CancellationToken,
        lost: oneshot::Sender<String>,
    ) {
        let Seat { link, mut own } = seat;
        let mut link = Some(link);
        let beat = self.settings.lease / BEATS_PER_LEASE;
        loop {
            if closing.run_until_cancelled(sleep(beat)).await.is_none() {
                if let Some(link) = &link {
                    self.leave(link, &own).await;
                }
                return;
            }
            let Some(known) = &link else {
                link = self.roll.dial().await.ok();
                continue;
            };
            match timeout(ANSWER_TIME, Box::pin(self.beat(known, &own))).await {
                Ok(Ok(Beat::Kept(kept))) => own = kept,
                Ok(Ok(Beat::Replaced)) => {
                    // Two nodes of one name; the registry warns of it.
                    let RollSettings { name, node, .. } = &self.settings;
                    self.settings.name = format!("{name}#{node}");
                    own.name.clone_from(&self.settings.name);
                }
                Ok(Ok(Beat::Taken(holder))) => {
                    let reason = if holder.name == self.settings.name {
                        lease::started_again(&self.settings.name)
                    } else {
                        let ClaimError(reason) = self.refusal(&holder);
                        format!("another node came in after a pause: {reason}")
                    };
                    let _ = lost.send(reason);
                    return;
                }
                // A way mends itself; one that was made while no node was up may not.
                Ok(Err(reason)) => {
                    tracing::debug!(%reason, store = R::STORE, "the lease of this node was not renewed");
                    link = None;
                }
                Err(_) => link = None,
            }
        }
    }
}

/// With the moment from which it is over, if it stands still until then.
fn waited_for(holder: Entry) -> (Entry, Instant) {
    let until = Instant::now() + Duration::from_millis(holder.lease_ms);
    (holder, until)
}

impl<R: Roll> RollTenant<R> {
    /// One that has not asked yet.
    pub fn new(roll: R, settings: RollSettings) -> Self {
        Self { roll, settings }
    }

    fn refusal(&self, holder: &Entry) -> ClaimError {
        let place = format!("at {} in {}", self.roll.address(), self.roll.place());
        lease::refusal(&self.settings.company, &holder.name, &place, &holder.because)
    }

    fn because(&self) -> &str {
        match &self.settings.company {
            Company::Many => "",
            Company::Nobody(because) => because.as_str(),
            Company::Alone(what) => what,
        }
    }

    /// Whether this node must not run beside it, as things stand.
    fn is_in_the_way(&self, entry: &Entry) -> bool {
        let either_is_alone = !self.because().is_empty() || !entry.because.is_empty();
        entry.standing != Standing::Gone && either_is_alone
    }

    fn entry(&self, since: u64, beat: u64, standing: Standing) -> Entry {
        Entry {
            name: self.settings.name.clone(),
            start: self.settings.node.to_string(),
            beat,
            lease_ms: self.settings.lease.as_millis() as u64,
            because: self.because().to_owned(),
            at_ms: clock::unix_ms(),
            since,
            standing,
        }
    }

    /// The newest entry of each name, this node's own apart.
    async fn read(
        &self,
        link: &R::Link,
    ) -> Result<(R::Version, Option<Entry>, Vec<Entry>), Failure> {
        let (version, found) = self.roll.read(link).await?;
        let mut entries: Vec<Entry> = Vec::with_capacity(found.len() + 1);
        for entry in found {
            match entries.iter_mut().find(|known| known.name == entry.name) {
                Some(known) if known.age() < entry.age() => *known = entry,
                Some(_) => {}
                None => entries.push(entry),
            }
        }
        let own = entries.iter().position(|entry| entry.name == self.settings.name);
        let own = own.map(|at| entries.swap_remove(at));
        Ok((version, own, entries))
    }

    /// Writes what this node is now beside the others.
    async fn write(
        &self,
        link: &R::Link,
        version: R::Version,
        mut others: Vec<Entry>,
        own: &Entry,
    ) -> Result<bool, Failure> {
        let forgotten = own.at_ms.saturating_sub(FORGOTTEN_AFTER.as_millis() as u64);
        others.retain(|entry| entry.at_ms > forgotten);
        others.push(own.clone());
        self.roll.write(link, version, &others).await
    }

    /// One step towards the roll, whoever is `over` left out.
    async fn step(
        &self,
        link: &R::Link,
        newcomer: &mut Newcomer,
        over: &[Entry],
    ) -> Result<Step, Failure> {
        let (version, own, mut others) = self.read(link).await?;
        let newest = others.iter().chain(&own).map(|entry| entry.since).max().unwrap_or(0);
        others.retain(|entry| !over.contains(entry));
        if let (Some(own), Some(asked)) = (&own, &newcomer.asked)
            && own.start != asked.start
            && asked.is_before(own)
        {
            return Ok(Step::Replaced);
        }
        newcomer.beat = own.map_or(0, |own| own.beat).max(newcomer.beat) + 1;
        let asked = newcomer.asked.as_ref();
        let since = asked.map_or(newest + 1, |asked| asked.since);
        let in_the_way: Vec<_> = others.iter().filter(|entry| self.is_in_the_way(entry)).collect();
        // One that is in is the answer, also where others ask.
        let holder = in_the_way.iter().min_by_key(|entry| entry.standing as u8);
        let Some(holder) = holder.map(|&holder| holder.clone()) else {
            let is_in = R::IS_EXCLUSIVE || asked.is_some();
            let standing = if is_in { Standing::In } else { Standing::Asking };
            let own = self.entry(since, newcomer.beat, standing);
            if !self.write(link, version, others, &own).await? {
                return Ok(Step::Again);
            }
            if is_in {
                return Ok(Step::In(own));
            }
            newcomer.asked = Some(own);
            return Ok(Step::Again);
        };
        let is_first = |asked: &Entry| {
            let is_behind =
                |other: &&Entry| other.standing == Standing::Asking && asked.is_before(other);
            in_the_way.iter().all(is_behind)
        };
        if asked.is_some_and(|asked| !is_first(asked)) {
            let own = self.entry(since, newcomer.beat, Standing::Gone);
            if !self.write(link, version, others, &own).await? {
                return Ok(Step::Again);
            }
            newcomer.asked = None;
        }
        Ok(Step::Wait(holder))
    }

    /// Says that this node goes on, unless somebody has come in meanwhile who is in its way.
    async fn beat(&self, link: &R::Link, own: &Entry) -> Result<Beat, Failure> {
        let deadline = Instant::now() + ANSWER_TIME;
        loop {
            let (version, found, others) = self.read(link).await?;
            let is_later = |entry: &Entry| {
                let is_other = entry.name != own.name || entry.start != own.start;
                is_other && own.is_before(entry) && entry.standing != Standing::Gone
            };
            if let Some(found) = found.as_ref().filter(|found| is_later(found)) {
                return Ok(match self.is_in_the_way(found) {
                    true => Beat::Taken(found.clone()),
                    false => Beat::Replaced,
                });
            }
            // Whoever was in before has been away for longer than its lease: it sees this node, and ends. Whoever asks will see it, and wait.
            let has_come_in = |entry: &&Entry| {
                entry.standing == Standing::In && self.is_in_the_way(entry) && is_later(entry)
            };
            if let Some(other) = others.iter().find(has_come_in) {
                return Ok(Beat::Taken(other.clone()));
            }
            let beat = found.map_or(own.beat, |found| found.beat.max(own.beat)) + 1;
            let kept = self.entry(own.since, beat, Standing::In);
            if self.write(link, version, others, &kept).await? {
                return Ok(Beat::Kept(kept));
            }
            if Instant::now() > deadline {
                return Err("others change the roll all the time".into());
            }
        }
    }

    async fn leave(&self, link: &R::Link, own: &Entry) {
        let gone = async {
            loop {
                let (version, found, others) = self.read(link).await?;
                let Some(found) = found.filter(|found| found.start == own.start) else {
                    return Ok(());
                };
                // Beyond a beat of which nobody knows what became.
                let beat = found.beat.max(own.beat) + 2;
                let gone = self.entry(own.since, beat, Standing::Gone);
                if self.write(link, version, others, &gone).await? {
                    return Ok::<_, Failure>(());
                }
            }
        };
        if !matches!(timeout(ANSWER_TIME, Box::pin(gone)).await, Ok(Ok(()))) {
            tracing::debug!(store = R::STORE, "the lease of this node ends by itself");
        }
    }
}
