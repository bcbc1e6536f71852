//! The tenants of a store in one document of it, the roll, which each of them changes.
//!
//! No clock is compared: each tenant counts its beats, and one whose beats stand still for as long as its lease is over. Whoever
//! is in the way is looked at for that long.
//!
//! Where the store lets only one of several writers be the first, a tenant reads the roll, sees nobody in its way, and is in once its write is
//! done. Where it may let several be the first, it *asks*: it writes that it wants in, reads again, and is in only if it still sees that and
//! nobody in its way. Of two that ask at once each has written before it read, so one at least has seen the other; whoever comes later in the
//! order of asking takes it back and waits (the bakery algorithm, Lamport 1974).

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::entry::{Entry, Standing};
use super::lease::{self, BEATS_PER_LEASE, LOOK_PAUSE, START_TIME, Tenant};
use super::{ClaimError, Company};
use crate::clock;
use crate::model::NodeId;

/// How long an answer is waited for, and how long it is tried against others.
const ANSWER_TIME: Duration = Duration::from_secs(3);
/// What stands still for so long is forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(24 * 3_600);
/// Signs of life of somebody in the way before it is believed: one may be a write of before, come to light late.
const SIGNS: u32 = 2;

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

/// A node that meets others in a roll.
pub struct RollTenant<R> {
    roll: R,
    settings: RollSettings,
}

/// A tenant that is in.
pub struct Seat<L> {
    link: L,
    own: Entry,
    /// The others as they stand still, and since when.
    still: HashMap<String, (Entry, Instant)>,
}

/// A roll as it was read.
struct Read<V> {
    version: V,
    /// The newest entry of this node's name.
    own: Option<Entry>,
    /// The newest entry of each other name.
    others: Vec<Entry>,
}

/// A node on its way in.
#[derive(Default)]
struct Newcomer {
    /// What it was told that it has written: others know from then on that it wants in.
    asked: Option<Entry>,
    /// Of its last write, of which it may not know what became.
    beat: u64,
    /// Who stood still for too long.
    over: Vec<Entry>,
    waits: Vec<Wait>,
}

/// Somebody in the way who is looked at.
struct Wait {
    entry: Entry,
    until: Instant,
    signs: u32,
}

/// What came of a step towards the roll.
enum Step {
    In(Entry),
    /// The roll says that this node asks.
    Asked,
    /// Another one wrote meanwhile.
    Again,
    /// Somebody is in the way.
    Wait(Vec<Entry>),
    /// Another start of this name asked later.
    Replaced,
}

/// What came of a beat.
enum Beat {
    Kept,
    Replaced,
    /// Somebody has come in who must not run beside this node.
    Taken(Entry),
}

impl Newcomer {
    /// Looks at those who are in the way. Whoever goes on beating is the answer.
    fn look(&mut self, in_the_way: Vec<Entry>, store: &'static str) -> Option<Entry> {
        for entry in in_the_way {
            let until = Instant::now() + entry.lease();
            let Some(wait) = self.waits.iter_mut().find(|wait| wait.entry.is_of(&entry)) else {
                tracing::info!(
                    node = %entry.name, store,
                    "a node that must not run beside this one has a lease; waiting whether it renews it"
                );
                self.waits.push(Wait { entry, until, signs: 0 });
                continue;
            };
            if entry.is_newer(&wait.entry) {
                let signs = wait.signs + 1;
                if signs >= SIGNS && entry.standing == Standing::In {
                    return Some(entry);
                }
                *wait = Wait { entry, until, signs };
            } else if Instant::now() > wait.until {
                self.over.push(entry);
            }
        }
        None
    }

    fn is_over(&self, entry: &Entry) -> bool {
        self.over.iter().any(|over| over.is_of(entry) && !entry.is_newer(over))
    }
}

impl<R: Roll> Tenant for RollTenant<R> {
    type Link = Seat<R::Link>;

    async fn come_in(&self) -> Result<Self::Link, ClaimError> {
        let unheard = |reason: Failure| {
            ClaimError(format!("{} does not answer as it should: {reason}", self.roll.address()))
        };
        let link = self.roll.dial().await.map_err(unheard)?;
        let mut newcomer = Newcomer::default();
        // From the last answer that led somewhere.
        let mut deadline = Instant::now() + START_TIME;
        let refused = loop {
            let step = Box::pin(self.step(&link, &mut newcomer)).await;
            if matches!(step, Ok(Step::Asked | Step::Wait(_))) {
                deadline = Instant::now() + START_TIME;
            }
            match step {
                Ok(Step::In(own)) => return Ok(Seat { link, own, still: HashMap::new() }),
                Ok(Step::Replaced) => {
                    break ClaimError(lease::started_again(&self.settings.name));
                }
                Ok(Step::Again) if Instant::now() > deadline => {
                    break unheard("others change it all the time".into());
                }
                Ok(Step::Asked | Step::Again) => continue,
                Ok(Step::Wait(in_the_way)) => {
                    if let Some(holder) = newcomer.look(in_the_way, R::STORE) {
                        break self.refusal(&holder);
                    }
                }
                Err(reason) if Instant::now() > deadline => break unheard(reason),
                Err(_) => {}
            }
            sleep(LOOK_PAUSE).await;
        };
        // Whatever of it is there; what comes later is over after its lease.
        self.leave(&link, newcomer.beat).await;
        Err(refused)
    }

    async fn stay(
        mut self,
        seat: Self::Link,
        closing: CancellationToken,
        lost: oneshot::Sender<String>,
    ) {
        let Seat { link, mut own, mut still } = seat;
        let mut link = Some(link);
        let beat = self.settings.lease / BEATS_PER_LEASE;
        let mut pause = beat;
        loop {
            if closing.run_until_cancelled(sleep(pause)).await.is_none() {
                if let Some(link) = &link {
                    self.leave(link, own.beat).await;
                }
                return;
            }
            if link.is_none() {
                link = self.roll.dial().await.ok();
            }
            // What was lost is made up for.
            pause = beat / 4;
            let Some(known) = &link else { continue };
            match timeout(ANSWER_TIME, Box::pin(self.beat(known, &mut own, &mut still))).await {
                Ok(Ok(Beat::Kept)) => pause = beat,
                Ok(Ok(Beat::Replaced)) => {
                    // Two nodes of one name; the registry warns of it.
                    let RollSettings { name, node, .. } = &self.settings;
                    self.settings.name = format!("{name}#{node}");
                    own.name.clone_from(&self.settings.name);
                    // Until it stands in the roll again nobody sees it.
                    pause = Duration::ZERO;
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

    fn is_ours(&self, entry: &Entry) -> bool {
        entry.start == self.settings.node.as_str()
    }

    fn entry(&self, since: u64, beat: u64, standing: Standing) -> Entry {
        let RollSettings { name, node, lease, .. } = &self.settings;
        Entry {
            name: name.clone(),
            start: node.to_string(),
            beat,
            lease_ms: lease.as_millis() as u64,
            because: self.because().to_owned(),
            at_ms: clock::unix_ms(),
            since,
            standing,
        }
    }

    /// The newest entry of each name.
    async fn read(&self, link: &R::Link) -> Result<Read<R::Version>, Failure> {
        let (version, found) = self.roll.read(link).await?;
        let mut newest: HashMap<String, Entry> = HashMap::with_capacity(found.len());
        for entry in found {
            let is_newer = newest.get(&entry.name).is_none_or(|known| entry.is_newer(known));
            if is_newer {
                newest.insert(entry.name.clone(), entry);
            }
        }
        let own = newest.remove(&self.settings.name);
        Ok(Read { version, own, others: newest.into_values().collect() })
    }

    /// Writes what this node is now beside the others.
    async fn write(
        &self,
        link: &R::Link,
        version: R::Version,
        mut others: Vec<Entry>,
        own: &Entry,
    ) -> Result<bool, Failure> {
        others.push(own.clone());
        self.roll.write(link, version, &others).await
    }

    /// One step towards the roll.
    async fn step(&self, link: &R::Link, newcomer: &mut Newcomer) -> Result<Step, Failure> {
        let Read { version, own, mut others } = self.read(link).await?;
        let newest = others.iter().chain(&own).map(|entry| entry.since).max().unwrap_or(0);
        others.retain(|entry| !newcomer.is_over(entry));
        if let (Some(own), Some(asked)) = (&own, &newcomer.asked)
            && !self.is_ours(own)
            && own.standing != Standing::Gone
            && asked.is_before(own)
        {
            return Ok(match self.is_in_the_way(own) {
                true => Step::Replaced,
                // It finds another name for itself, unless somebody is in the way who may not see it any more.
                false if !others.iter().any(|entry| self.is_in_the_way(entry)) => {
                    Step::In(asked.clone())
                }
                false => Step::Replaced,
            });
        }
        let before = own.as_ref().map_or(0, |own| own.beat).max(newcomer.beat);
        newcomer.beat = before.saturating_add(1);
        // What it has written and others may not see any more is not asked.
        let is_there = |asked: &&Entry| {
            let is_it = |own: &&Entry| self.is_ours(own) && own.since == asked.since;
            own.as_ref().filter(is_it).is_some_and(|own| own.standing != Standing::Gone)
        };
        let asked = newcomer.asked.take().filter(|asked| is_there(&asked));
        let in_the_way: Vec<_> =
            others.iter().filter(|entry| self.is_in_the_way(entry)).cloned().collect();
        if in_the_way.is_empty() {
            let (since, standing) = match &asked {
                Some(asked) => (asked.since, Standing::In),
                None if R::IS_EXCLUSIVE => (newest.saturating_add(1), Standing::In),
                None => (newest.saturating_add(1), Standing::Asking),
            };
            let own = self.entry(since, newcomer.beat, standing);
            newcomer.asked = asked;
            return Ok(match self.write(link, version, others, &own).await? {
                false => Step::Again,
                true if standing == Standing::In => Step::In(own),
                true => {
                    newcomer.asked = Some(own);
                    Step::Asked
                }
            });
        }
        let is_first = |asked: &Entry| {
            let is_behind =
                |other: &Entry| other.standing == Standing::Asking && asked.is_before(other);
            in_the_way.iter().all(is_behind)
        };
        let next = match (asked.filter(is_first), &own) {
            // The others will take it back. Until then it says that it is there.
            (Some(asked), _) => Some(self.entry(asked.since, newcomer.beat, Standing::Asking)),
            // Also what it asked without an answer.
            (None, Some(own)) if self.is_ours(own) && own.standing != Standing::Gone => {
                Some(self.entry(own.since, newcomer.beat, Standing::Gone).gone())
            }
            (None, _) => None,
        };
        if let Some(next) = next {
            let is_asking = next.standing == Standing::Asking;
            // As it was read: it stays what it is while nobody knows of the next.
            newcomer.asked = own.filter(|_| is_asking);
            if !self.write(link, version, others, &next).await? {
                return Ok(Step::Again);
            }
            newcomer.asked = Some(next).filter(|_| is_asking);
        }
        Ok(Step::Wait(in_the_way))
    }

    /// Says that this node goes on, unless somebody has come in meanwhile who is in its way.
    async fn beat(
        &self,
        link: &R::Link,
        own: &mut Entry,
        still: &mut HashMap<String, (Entry, Instant)>,
    ) -> Result<Beat, Failure> {
        let deadline = Instant::now() + ANSWER_TIME;
        loop {
            let Read { version, own: found, mut others } = self.read(link).await?;
            let is_later = |entry: &Entry| entry.standing != Standing::Gone && own.is_before(entry);
            if let Some(found) =
                found.as_ref().filter(|found| !self.is_ours(found)).filter(|found| is_later(found))
            {
                return Ok(match self.is_in_the_way(found) {
                    true => Beat::Taken(found.clone()),
                    false => Beat::Replaced,
                });
            }
            // Whoever came in before this node has been away for longer than its lease: it sees this node, and ends. Whoever asks will see
            // it, and wait. Where this node's entry was taken away, it is the one that was away.
            let has_come_in = |entry: &&Entry| {
                let is_in = entry.standing == Standing::In && self.is_in_the_way(entry);
                is_in && (found.is_none() || is_later(entry))
            };
            if let Some(other) = others.iter().find(has_come_in) {
                return Ok(Beat::Taken(other.clone()));
            }
            others.retain(|entry| !stood_still(entry, still));
            let beat = found.map_or(own.beat, |found| found.beat.max(own.beat));
            *own = self.entry(own.since, beat.saturating_add(1), Standing::In);
            if self.write(link, version, others, own).await? {
                return Ok(Beat::Kept);
            }
            if Instant::now() > deadline {
                return Err("others change the roll all the time".into());
            }
        }
    }

    /// Takes away what this start has in the roll. `last`: the beat of its last write, of which it may not know what became.
    async fn leave(&self, link: &R::Link, last: u64) {
        let gone = async {
            loop {
                let Read { version, own, others } = self.read(link).await?;
                let is_there = |own: &Entry| self.is_ours(own) && own.standing != Standing::Gone;
                let Some(own) = own.filter(is_there) else { return Ok(()) };
                let beat = own.beat.max(last).saturating_add(1);
                let gone = self.entry(own.since, beat, Standing::Gone).gone();
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

/// Whether it is as it was a day ago.
fn stood_still(entry: &Entry, still: &mut HashMap<String, (Entry, Instant)>) -> bool {
    let now = Instant::now();
    let (known, since) = still.entry(entry.name.clone()).or_insert_with(|| (entry.clone(), now));
    if known != entry {
        (*known, *since) = (entry.clone(), now);
    }
    now.duration_since(*since) > FORGOTTEN_AFTER
}
