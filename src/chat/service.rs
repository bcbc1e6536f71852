//! One node's chat: its engines, its sessions, its rooms.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::access::{self, Access, Gate};
use super::admission::{Admission, WorkState};
use super::directory::Directory;
use super::encode;
use super::gaps::Gaps;
use super::rate::RateLimits;
use super::room::{Missing, Need, Room};
use super::rooms::Rooms;
use crate::distribution::{
    self, Concerned, Distribution, Hint, HintSink, MessageHint, Parts, Stage,
};
use crate::model::{ConvId, NodeId, OperatorLimits, Place, Seq, UserName};
use crate::persistence::{EngineError, Following, Operation, Persistence, Rostered};
use crate::protocol::{NoticePush, Push};
use crate::registry::{self, Change, PresenceSink, Registry};

/// How long a hint that is ahead waits for an earlier one before the engine is asked. Concurrent
/// sends overtake each other by far less.
const REORDER_WAIT: Duration = Duration::from_millis(5);
/// Messages that one repair reads at a time.
const REPAIR_LIMIT: usize = 200;
/// Repairs that may fail in a row before the streams are given up.
const REPAIR_ATTEMPTS: u32 = 50;
/// Between two attempts.
const REPAIR_PAUSE: Duration = Duration::from_millis(100);
/// Rooms that are compared with the engine at the same time after the bus was away.
const CHECKS_MAX: usize = 32;
/// Every open conversation is compared with the engine this often, for the hint that was lost without anybody noticing: a part of
/// them at each beat.
const CHECK_BEATS: u32 = 30;
/// Between two beats.
const CHECK_BEAT: Duration = Duration::from_secs(1);
/// How often `listed` pushes that had to wait are looked at.
const LISTED_TICK: Duration = Duration::from_millis(250);

/// What a node's chat can be told.
#[derive(Debug, Clone)]
pub struct ChatSettings {
    /// This server process.
    pub node: NodeId,
    /// How often the server pings, as `hello` says it.
    pub ping: Duration,
    /// What the operator allows a session, as `hello` says it.
    pub limits: OperatorLimits,
    /// Who is let in.
    pub access: Access,
}

/// Why a node's chat cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Nothing can be heard from other nodes.
    #[error("the distribution engine cannot start")]
    Distribution(#[from] distribution::StartError),
    /// Nobody could tell who is here.
    #[error("the registry cannot start")]
    Registry(#[from] registry::StartError),
}

/// One node's chat. Sessions come and go; the service lives as long as the process.
pub struct ChatService {
    pub(super) persistence: Arc<dyn Persistence>,
    /// The one operation of the engine that is timed here ([`Timed`](crate::persistence::Timed) has the others).
    pub(super) appends: Operation,
    pub(super) distribution: Arc<dyn Distribution>,
    pub(super) registry: Arc<dyn Registry>,
    pub(super) settings: ChatSettings,
    pub(super) rates: RateLimits,
    /// How much is changed at once …
    pub(super) writes: Arc<Admission>,
    /// … and read.
    pub(super) reads: Arc<Admission>,
    pub(super) rooms: Rooms,
    pub(super) directory: Directory,
    pub(super) gate: Gate,
    draining: AtomicBool,
    /// What is to be compared with the engine.
    gaps: Gaps,
    /// Everything that was begun and must end before the engine does.
    tasks: TaskTracker,
    stop: CancellationToken,
}

fn count_gaps(closed_by: &'static str, count: u64) {
    metrics::counter!("chatctl_stream_gaps_total", "closed_by" => closed_by).increment(count);
}

impl ChatService {
    /// Joins the engines to a node and begins to take hints. An error: the bus or the registry cannot be reached.
    pub async fn start(
        persistence: Arc<dyn Persistence>,
        distribution: Arc<dyn Distribution>,
        registry: Arc<dyn Registry>,
        settings: ChatSettings,
    ) -> Result<Arc<Self>, StartError> {
        // There from the start, so that an alarm sees the first.
        for closed_by in ["hint", "reading"] {
            count_gaps(closed_by, 0);
        }
        let queue_wait_max =
            settings.limits.queue_wait_ms_max.map_or(Duration::MAX, Duration::from_millis);
        let service = Arc::new(Self {
            appends: Operation::new(persistence.name(), "append"),
            persistence,
            rooms: Rooms::new(Arc::clone(&distribution)),
            distribution,
            registry,
            rates: RateLimits::from(&settings.limits),
            writes: Admission::new("writes", queue_wait_max),
            reads: Admission::new("reads", queue_wait_max),
            settings,
            directory: Directory::default(),
            gate: Gate::default(),
            draining: AtomicBool::new(false),
            gaps: Gaps::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        });
        let sink = Arc::new(Sink(Arc::downgrade(&service)));
        service.distribution.start(sink.clone()).await?;
        // Second: what it tells travels over the bus.
        if let Err(error) = service.registry.start(sink).await {
            service.distribution.close().await;
            return Err(error.into());
        }
        match service.settings.access.revocations().start().await {
            Ok(kept) => {
                for revocation in &kept {
                    service.take_away(revocation);
                }
            }
            Err(error) => {
                service.registry.close().await;
                service.distribution.close().await;
                return Err(error.into());
            }
        }
        // This may be a node that was killed between storing and telling.
        service.distribution.publish(Hint::Doubt);
        service.tasks.spawn(follow_gaps(Arc::clone(&service)));
        service.tasks.spawn(check_in_turn(Arc::clone(&service)));
        service.tasks.spawn(flush_listed(Arc::clone(&service)));
        access::begin(&service);
        if let Some(renewals) = service.persistence.renewals() {
            service.tasks.spawn(follow_epochs(Arc::clone(&service), renewals));
        }
        Ok(service)
    }

    /// How many writes and reads may be under way at once; `None`: as many as come.
    pub fn work(&self) -> [(&'static str, WorkState); 2] {
        [("writes", self.writes.look()), ("reads", self.reads.look())]
    }

    /// Who is connected.
    pub fn registry(&self) -> &dyn Registry {
        &*self.registry
    }

    /// The message engine.
    pub fn persistence(&self) -> &dyn Persistence {
        &*self.persistence
    }

    /// Refuses new commands with `draining` and tells every session.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        let notice = encode::push(&Push::Notice(NoticePush::draining()));
        for session in self.directory.all() {
            session.outbox.push(notice.clone());
        }
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Waits until everything begun is answered and published, then closes the engine. Sessions must
    /// have ended.
    pub async fn close(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        // Before the bus: it tells who went.
        self.registry.close().await;
        self.distribution.close().await;
        self.persistence.close().await;
    }

    /// Runs something that outlives the session that began it, and that [`ChatService::close`] waits for.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(work);
    }

    /// What work gives; `None` once the node is told to end.
    pub(super) async fn until_stop<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.stop.run_until_cancelled(work).await
    }

    /// Takes a stored message to everyone on this node.
    fn deliver_message(self: &Arc<Self>, hint: MessageHint) {
        if hint.node != self.settings.node {
            Stage::Travelled.record_since(hint.stored_us);
        }
        let (conv, head) = (hint.conv, hint.message.seq);
        if let Some(room) = self.rooms.get(conv)
            && room.take(&hint.epoch, hint.message, hint.roster) == Need::Fill
        {
            self.repair(conv, room);
        }
        for user in &hint.became {
            self.directory.became(conv, &hint.place, user, head);
        }
        self.directory.mention(conv, &hint.place, head);
    }

    /// Fills a room from the engine, unless what is missing comes by itself in a moment.
    pub(super) fn repair(self: &Arc<Self>, conv: ConvId, room: Arc<Room>) {
        let service = Arc::clone(self);
        self.spawn(async move {
            tokio::time::sleep(REORDER_WAIT).await;
            let closed_by = if room.is_missing() { "reading" } else { "hint" };
            count_gaps(closed_by, 1);
            service.fill(conv, room).await;
        });
    }

    /// Reads from the engine until nothing is missing in a room that is as far as it is known.
    async fn fill(&self, conv: ConvId, room: Arc<Room>) {
        let mut attempts = 0;
        while let Some(Missing { epoch, after, is_known }) = room.missing_after() {
            if room.is_empty() || self.stop.is_cancelled() {
                return;
            }
            match self.read_missing(conv, &room, after).await {
                // The store has another life, or had when this was read: none of it belongs here.
                Ok(found) if found.epoch != epoch => {
                    let _ = room.doubt();
                }
                Ok(Following { epoch, page }) if !page.items.is_empty() => {
                    attempts = 0;
                    metrics::counter!("chatctl_repaired_messages_total")
                        .increment(page.items.len() as u64);
                    room.fill(&epoch, page.items);
                    if page.more {
                        // The need is this task's own: it asks at the head of the loop.
                        let _ = room.doubt();
                    }
                    continue;
                }
                Ok(_) if !is_known => continue,
                Ok(_) => {
                    tracing::warn!(%conv, "a hint named a message that the engine does not show");
                }
                Err(error) => {
                    tracing::warn!(%conv, %error, "a stream could not be filled");
                    let _ = room.doubt();
                }
            }
            let now = self.persistence.epoch(conv);
            if now != epoch {
                room.reset(&now);
                self.rooms.sweep(conv);
                return;
            }
            // Where perhaps nothing is missing nobody is sent away.
            attempts += u32::from(is_known);
            if attempts == REPAIR_ATTEMPTS {
                room.give_up();
                return;
            }
            tokio::time::sleep(REPAIR_PAUSE).await;
        }
    }

    /// What comes after a number; who may see it was asked afterwards, and the room knows.
    async fn read_missing(
        &self,
        conv: ConvId,
        room: &Room,
        after: Seq,
    ) -> Result<Following, EngineError> {
        let following = self.persistence.after(conv, after, REPAIR_LIMIT).await?;
        if matches!(**room.place(), Place::Group(_)) {
            let Rostered { epoch, roster } = self.persistence.roster(conv).await?;
            room.learn(&epoch, &roster);
            self.rooms.sweep(conv);
        }
        Ok(following)
    }

    /// A group may have lost members that this node does not know of.
    pub(super) fn look_at_roster(self: &Arc<Self>, conv: ConvId) {
        if let Some(room) = self.rooms.get(conv)
            && room.doubt() == Need::Fill
        {
            self.repair(conv, room);
        }
    }

    /// Compares rooms with the engine. Rooms that come later read after the gap anyway.
    async fn check_rooms(&self, is_concerned: impl Fn(ConvId) -> bool) {
        let check = |(conv, room): (ConvId, Arc<Room>)| async move {
            if room.doubt() == Need::Fill {
                self.fill(conv, room).await;
            }
        };
        let mut rooms = self.rooms.all();
        rooms.retain(|(conv, _)| is_concerned(*conv));
        // Always in the same order, so that a simulated run can be repeated.
        rooms.sort_unstable_by_key(|(conv, _)| *conv);
        futures_util::stream::iter(rooms).for_each_concurrent(CHECKS_MAX, check).await;
    }

    fn deliver(self: &Arc<Self>, hint: Hint) {
        match hint {
            Hint::Message(hint) => self.deliver_message(hint),
            Hint::Head { conv, place, epoch, head } => {
                if let Some(room) = self.rooms.get(conv)
                    && room.heard(&epoch, head) == Need::Fill
                {
                    self.repair(conv, room);
                }
                self.directory.mention(conv, &place, head);
            }
            Hint::Acked { conv, user, acked, session } => {
                if let Some(room) = self.rooms.get(conv) {
                    room.acked(&user, &acked, &session);
                }
            }
            Hint::Presence { user, online, version } => {
                for room in self.rooms.told_of(&user, version) {
                    room.presence(&user, online);
                }
            }
            Hint::Became { conv, place, user, head } => {
                self.directory.became(conv, &place, &user, head);
                if let Some(room) = self.rooms.get(conv)
                    && room.becomes_mutual(&user)
                {
                    self.tell_presence(room, user);
                }
            }
            Hint::Regrouped { conv, epoch, version, left } => {
                if let Some(room) = self.rooms.get(conv)
                    && room.heard_roster(&epoch, version) == Need::Fill
                {
                    self.repair(conv, room);
                }
                if let Some(user) = left {
                    self.directory.removed(conv, &user);
                }
            }
            Hint::Revoked(revocation) => {
                self.take_away(&revocation);
            }
            Hint::Doubt => self.gaps.add(Concerned::All),
        }
    }

    /// Tells those who had a direct chat open before the other user did whether that one is here, unless a change was told meanwhile.
    fn tell_presence(self: &Arc<Self>, room: Arc<Room>, user: UserName) {
        let service = Arc::clone(self);
        self.spawn(async move {
            let version = service.rooms.presence_version(&user);
            let online = service.registry.online(&user).await;
            if service.rooms.presence_version(&user) == version {
                room.presence(&user, online);
            }
        });
    }

    /// Whether `open` in a direct chat may tell that the other user is connected.
    pub(super) async fn online(&self, place: &Place, user: &UserName) -> Option<bool> {
        let peer = place.peer_of(user)?;
        Some(self.registry.online(peer).await)
    }
}

/// The bus and the registry hold the service weakly: they must not keep it alive.
struct Sink(std::sync::Weak<ChatService>);

impl HintSink for Sink {
    fn deliver(&self, hint: Hint) {
        if let Some(service) = self.0.upgrade() {
            service.deliver(hint);
        }
    }

    fn gap(&self, concerned: Concerned) {
        if let Some(service) = self.0.upgrade() {
            service.gaps.add(concerned);
        }
    }
}

impl PresenceSink for Sink {
    fn changed(&self, change: Change) {
        let Change { user, online, version } = change;
        if let Some(service) = self.0.upgrade() {
            service.distribution.publish(Hint::Presence { user, online, version });
        }
    }

    fn node_ended(&self) {
        if let Some(service) = self.0.upgrade() {
            service.distribution.publish(Hint::Doubt);
        }
    }
}

/// Compares the rooms with the engine whenever the bus was away; what comes meanwhile is one more time.
async fn follow_gaps(service: Arc<ChatService>) {
    while let Some(told) = service.stop.run_until_cancelled(service.gaps.next()).await {
        metrics::counter!("chatctl_hint_gaps_total").increment(1);
        // Boxed: it holds many reads at once.
        let check = Box::pin(service.check_rooms(|conv| told.contain(conv)));
        if service.stop.run_until_cancelled(check).await.is_none() {
            return;
        }
    }
}

/// Compares all rooms with the engine, one part after the other.
async fn check_in_turn(service: Arc<ChatService>) {
    for beat in (0..CHECK_BEATS).cycle() {
        let parts = Parts::new(CHECK_BEATS, [beat].into());
        let turn = async {
            tokio::time::sleep(CHECK_BEAT).await;
            // Boxed: it holds many reads at once.
            Box::pin(service.check_rooms(|conv| parts.contain(conv))).await;
        };
        if service.stop.run_until_cancelled(turn).await.is_none() {
            return;
        }
    }
}

/// Ends every stream of an epoch that is over.
async fn follow_epochs(service: Arc<ChatService>, mut renewals: watch::Receiver<u64>) {
    while let Some(Ok(())) = service.stop.run_until_cancelled(renewals.changed()).await {
        tracing::warn!("the message engine is in another epoch: streams of the old one are reset");
        let mut rooms = service.rooms.all();
        rooms.sort_unstable_by_key(|(conv, _)| *conv);
        for (conv, room) in rooms {
            room.reset(&service.persistence.epoch(conv));
            service.rooms.sweep(conv);
        }
    }
}

async fn flush_listed(service: Arc<ChatService>) {
    while service.stop.run_until_cancelled(tokio::time::sleep(LISTED_TICK)).await.is_some() {
        for (conv, place, head) in service.directory.take_group_mentions() {
            // Only who is a member after the message was stored hears of it.
            if let Ok(now) = service.persistence.roster(conv).await {
                service.directory.mention_to(conv, &place, head, &now.roster);
            }
        }
        service.directory.flush();
    }
}
