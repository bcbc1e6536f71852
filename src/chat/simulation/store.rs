//! The message engine of a simulated world: the specification, behind a way to it that loses, delays and reorders.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use rand::Rng;
use rand::rngs::SmallRng;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::broken::Broken;
use super::weather::{End, Weather};
use super::world::Clock;
use crate::harness::seeds::dice;
use crate::model::{ConvId, Durability, Epoch, GroupAct, Place, Seq, UserName};
use crate::persistence::conformance::model::{self, Model};
use crate::persistence::{
    AckOutcome, AckRequest, Append, AppendOutcome, EngineError, Following, GroupOutcome,
    GroupRequest, LatePage, Mine, OpenQuery, Opened, Page, Persistence, RangeQuery, Rostered,
    Summary,
};

/// The store that all nodes share.
pub struct Store {
    model: Mutex<Model>,
    weather: Arc<Weather>,
    clock: Clock,
    broken: Option<Broken>,
    /// Conversations as they were a while ago, for a store that answers with them.
    stale: Mutex<BTreeMap<ConvId, model::Conversation>>,
}

/// A node's way to the store.
pub struct StoreNode {
    store: Arc<Store>,
    /// The clock of its machine, ms ahead of the right one.
    offset_ms: i64,
    dice: Mutex<SmallRng>,
    lanes: Mutex<BTreeMap<ConvId, Arc<Mutex<Lane>>>>,
    epoch: Mutex<Epoch>,
    renewals: watch::Sender<u64>,
    /// The node was killed.
    dead: CancellationToken,
}

/// The appends of a node to a conversation: done in the order of the calls.
#[derive(Default)]
struct Lane {
    waiting: VecDeque<Waiting>,
    last_at: Option<Instant>,
}

struct Waiting {
    append: Append,
    after_ms: u64,
    end: End,
    answer: oneshot::Sender<Result<AppendOutcome, EngineError>>,
}

impl Store {
    /// An empty store.
    pub fn new(weather: Arc<Weather>, clock: Clock, broken: Option<Broken>) -> Arc<Self> {
        let model = Mutex::new(Model::new(epoch_of(1)));
        Arc::new(Self { model, weather, clock, broken, stale: Mutex::default() })
    }

    /// The groups are there, with everybody in them; the first user owns them.
    pub fn make_groups(&self, places: &[Arc<Place>], users: &[UserName]) {
        let mut model = self.model.lock().unwrap();
        for place in places.iter().filter(|place| matches!(***place, Place::Group(_))) {
            let invites = users[1..].iter().cloned().map(GroupAct::Invite);
            for act in std::iter::once(GroupAct::Create).chain(invites) {
                let (conv, by) = (place.conv_id(), users[0].clone());
                model.regroup(&GroupRequest { conv, place: Arc::clone(place), by, act });
            }
        }
    }

    /// A node's way to it.
    pub fn node(
        self: &Arc<Self>,
        seed: u64,
        name: &str,
        offset_ms: i64,
        dead: CancellationToken,
    ) -> Arc<StoreNode> {
        let node = StoreNode {
            store: Arc::clone(self),
            offset_ms,
            dice: Mutex::new(dice(seed, &format!("store of {name}"))),
            lanes: Mutex::default(),
            epoch: Mutex::new(self.model.lock().unwrap().epoch.clone()),
            renewals: watch::channel(0).0,
            dead,
        };
        Arc::new(node)
    }

    /// The store comes back without the newest messages: with a new life.
    pub fn lose(&self, convs: &[ConvId], dice: &mut SmallRng) {
        let mut model = self.model.lock().unwrap();
        let life = model.epoch.as_str()[1..].parse::<u64>().unwrap();
        model.epoch = epoch_of(life + 1);
        for &conv in convs {
            let conversation = model.conversation_mut(conv);
            let head = conversation.head().0.saturating_sub(dice.random_range(0..4));
            conversation.messages.truncate(head as usize);
            for acked in conversation.acked.values_mut() {
                acked.retain(|&seq| seq <= head);
            }
        }
        self.stale.lock().unwrap().clear();
    }

    fn is(&self, broken: Broken) -> bool {
        self.broken == Some(broken)
    }
}

fn epoch_of(life: u64) -> Epoch {
    Epoch::new(&format!("e{life}")).unwrap()
}

impl StoreNode {
    /// Whatever comes back from the store says which life it is in.
    pub fn notice(&self) {
        let now = self.store.model.lock().unwrap().epoch.clone();
        let mut epoch = self.epoch.lock().unwrap();
        if *epoch != now {
            *epoch = now;
            drop(epoch);
            self.renewals.send_modify(|count| *count += 1);
        }
    }

    /// One call that reads or merges.
    async fn call<T>(&self, work: impl FnOnce(&mut Model) -> T) -> Result<T, EngineError> {
        let fate = self.store.weather.fate(&mut self.dice.lock().unwrap());
        sleep(Duration::from_millis(fate.before_ms)).await;
        if self.dead.is_cancelled() {
            return std::future::pending().await;
        }
        if matches!(fate.end, End::Refused | End::Lost) {
            return Err(error_of(fate.end));
        }
        let value = work(&mut self.store.model.lock().unwrap());
        sleep(Duration::from_millis(fate.after_ms)).await;
        if self.dead.is_cancelled() {
            return std::future::pending().await;
        }
        self.notice();
        if fate.end == End::Well { Ok(value) } else { Err(error_of(fate.end)) }
    }

    fn store_now(&self, append: &Append) -> AppendOutcome {
        let now = self.store.clock.unix_ms().saturating_add_signed(self.offset_ms);
        let clock = model::Clock { at: now, stamp: now };
        let mut model = self.store.model.lock().unwrap();
        if self.store.is(Broken::StaleReads) && self.dice.lock().unwrap().random_bool(0.3) {
            let old = model.conversation(append.conv);
            self.store.stale.lock().unwrap().insert(append.conv, old);
        }
        let outcome = model.append(append, clock);
        match outcome {
            AppendOutcome::Stored(stored) if stored.dup && self.store.is(Broken::ForgottenCids) => {
                AppendOutcome::Stored(model.store(append, clock))
            }
            outcome => outcome,
        }
    }
}

fn error_of(end: End) -> EngineError {
    match end {
        End::Refused => EngineError::Unavailable("refused".to_owned()),
        _ => EngineError::Timeout("no answer".to_owned()),
    }
}

/// Does the first append that waits: each wakes once, so that each is done, and in the order of the calls.
async fn append_next(node: Arc<StoreNode>, lane: Arc<Mutex<Lane>>, at: Instant) {
    sleep_until(at).await;
    let Waiting { append, after_ms, end, answer } = {
        let mut lane = lane.lock().unwrap();
        let swaps = node.store.is(Broken::SwappedAppends) && lane.waiting.len() > 1;
        let first = if swaps { lane.waiting.pop_back() } else { lane.waiting.pop_front() };
        first.unwrap()
    };
    // What a killed node had under way may have been sent or not.
    let is_cut = node.dead.is_cancelled() && node.dice.lock().unwrap().random();
    if is_cut || end == End::Lost {
        sleep(Duration::from_millis(after_ms)).await;
        // A receiver that has gone is no error.
        let _ = answer.send(Err(error_of(End::Lost)));
        return;
    }
    let outcome = node.store_now(&append);
    sleep(Duration::from_millis(after_ms)).await;
    node.notice();
    if node.dead.is_cancelled() {
        return std::future::pending().await;
    }
    let _ = answer.send(match end {
        End::Unanswered if node.store.is(Broken::LyingErrors) => Err(error_of(End::Refused)),
        End::Unanswered => Err(error_of(end)),
        _ => Ok(outcome),
    });
}

/// A node, shared with the appends that it has under way.
pub struct Shared(pub Arc<StoreNode>);

#[async_trait]
impl Persistence for Shared {
    fn name(&self) -> &'static str {
        "SIMULATED"
    }

    fn durability(&self) -> Durability {
        Durability::NONE
    }

    fn epoch(&self, _: ConvId) -> Epoch {
        self.0.epoch.lock().unwrap().clone()
    }

    fn renewals(&self) -> Option<watch::Receiver<u64>> {
        Some(self.0.renewals.subscribe())
    }

    fn health(&self) -> Result<(), EngineError> {
        Ok(())
    }

    fn append(&self, append: Append) -> BoxFuture<'static, Result<AppendOutcome, EngineError>> {
        let node = Arc::clone(&self.0);
        let fate = node.store.weather.fate(&mut node.dice.lock().unwrap());
        let now = Instant::now();
        if fate.end == End::Refused {
            return Box::pin(async move {
                sleep_until(now + Duration::from_millis(fate.before_ms)).await;
                Err(error_of(fate.end))
            });
        }
        if node.store.is(Broken::EarlyAnswers) && fate.end == End::Lost {
            let would_be = node.store.model.lock().unwrap().conversation(append.conv);
            let (at, stamp) = (node.store.clock.unix_ms(), node.store.clock.unix_ms());
            let mut copy = Model::new(node.store.model.lock().unwrap().epoch.clone());
            *copy.conversation_mut(append.conv) = would_be;
            let outcome = copy.append(&append, model::Clock { at, stamp });
            return Box::pin(std::future::ready(Ok(outcome)));
        }
        let lane = Arc::clone(node.lanes.lock().unwrap().entry(append.conv).or_default());
        let (answer, receiver) = oneshot::channel();
        let at = {
            let mut lane = lane.lock().unwrap();
            let at = now + Duration::from_millis(fate.before_ms);
            let at = lane.last_at.map_or(at, |last_at| last_at.max(at));
            lane.last_at = Some(at);
            let (after_ms, end) = (fate.after_ms, fate.end);
            lane.waiting.push_back(Waiting { append, after_ms, end, answer });
            at
        };
        tokio::spawn(append_next(node, lane, at));
        Box::pin(async move { receiver.await.unwrap_or_else(|_| Err(error_of(End::Lost))) })
    }

    async fn open(&self, query: OpenQuery) -> Result<Opened, EngineError> {
        self.0.call(|model| model.open(&query)).await
    }

    async fn range(&self, query: RangeQuery) -> Result<Page, EngineError> {
        let store = &self.0.store;
        let stale = store.stale.lock().unwrap().get(&query.conv).cloned();
        let read = |model: &mut Model| {
            stale.unwrap_or_else(|| model.conversation(query.conv)).range(&query)
        };
        self.0.call(read).await
    }

    async fn after(
        &self,
        conv: ConvId,
        after: Seq,
        limit: usize,
    ) -> Result<Following, EngineError> {
        let read = |model: &mut Model| {
            let page = model.conversation(conv).after(after, limit);
            Following { epoch: model.epoch.clone(), page }
        };
        self.0.call(read).await
    }

    async fn unread_late(
        &self,
        conv: ConvId,
        user: &UserName,
        after: Seq,
        limit: usize,
    ) -> Result<LatePage, EngineError> {
        self.0.call(|model| model.conversation(conv).late_page(user, after, limit)).await
    }

    async fn ack(&self, request: AckRequest) -> Result<AckOutcome, EngineError> {
        let regresses = self.0.store.is(Broken::RegressingAcks);
        let merge = |model: &mut Model| {
            if regresses {
                model.conversation_mut(request.conv).acked.remove(&request.user);
            }
            model.ack(&request)
        };
        self.0.call(merge).await
    }

    async fn regroup(&self, request: GroupRequest) -> Result<GroupOutcome, EngineError> {
        self.0.call(|model| model.regroup(&request)).await
    }

    async fn roster(&self, conv: ConvId) -> Result<Rostered, EngineError> {
        let read = |model: &mut Model| {
            let (epoch, roster) = (model.epoch.clone(), model.roster(conv));
            Rostered { epoch, roster }
        };
        self.0.call(read).await
    }

    async fn mine(&self, user: &UserName) -> Result<Vec<Mine>, EngineError> {
        self.0.call(|model| model.mine(user)).await
    }

    async fn summary(&self, conv: ConvId, user: &UserName) -> Result<Summary, EngineError> {
        self.0.call(|model| model.conversation(conv).summary(user)).await
    }

    async fn close(&self) {}
}
