//! A connection of a simulated client: a real session behind a network with delays, and what its client sees of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::Rng;
use rand::rngs::SmallRng;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::broken::Broken;
use super::node::Node;
use super::weather::between;
use super::world::World;
use crate::chat::{Frame, Outbox, Session, Taken};
use crate::harness::seeds::dice;
use crate::history::simulated::{TracedOperation, TracedSession, item_of, seen_of};
use crate::history::{Asked, Failure, Seen};
use crate::model::{ConvId, Epoch, Seq, UserName};
use crate::protocol::{Command, Hello, Push, Reply, Request, ServerFrame};

/// What may wait for one reader: little, so that some prove too slow.
const OUTBOX_BYTES: usize = 32 << 10;
/// Longer than a server may take.
const PATIENCE: Duration = Duration::from_secs(8);

/// What a device knows of a conversation, over all of its connections.
#[derive(Debug, Clone)]
pub struct Sight {
    /// The life of the store.
    pub epoch: Epoch,
    /// The highest number seen.
    pub seq: Seq,
    /// Open in the present connection.
    pub is_open: bool,
}

/// What a device knows.
pub type Sights = Arc<Mutex<BTreeMap<ConvId, Sight>>>;

/// A session that said `hello`, seen from its client.
pub struct Connection {
    client: Arc<Client>,
    to_server: mpsc::UnboundedSender<String>,
}

struct Client {
    world: Arc<World>,
    log: TracedSession,
    sights: Sights,
    asked: Mutex<Waiting>,
    over: CancellationToken,
    is_slow: bool,
}

#[derive(Default)]
struct Waiting {
    last_id: u64,
    commands: BTreeMap<u64, Waits>,
}

struct Waits {
    /// `None`: not in the history.
    operation: Option<TracedOperation>,
    conv: Option<ConvId>,
    answer: oneshot::Sender<Reply>,
}

impl Connection {
    /// Connects and says `hello`. `None`: not let in.
    pub async fn dial(
        world: &Arc<World>,
        node: &Arc<Node>,
        user: &UserName,
        sights: &Sights,
        is_slow: bool,
    ) -> Option<Self> {
        let number = world.next_connection();
        let mut dice = dice(world.seed, &format!("connection {number}"));
        let outbox = Arc::new(Outbox::new(OUTBOX_BYTES));
        let mut session = Session::new(Arc::clone(&node.service), Arc::clone(&outbox));
        sleep(world.way(&mut dice)).await;
        let hello = Hello { user: Some(user.clone()), ..Hello::default() };
        let hello = Request { id: 1, command: Command::Hello(hello) };
        session.handle(&serde_json::to_string(&hello).unwrap()).await.ok()?;
        sleep(world.way(&mut dice)).await;
        if node.is_ending() || !session.is_greeted() {
            session.end().await;
            return None;
        }
        sights.lock().unwrap().values_mut().for_each(|sight| sight.is_open = false);
        let client = Arc::new(Client {
            world: Arc::clone(world),
            log: world.trace.session(user.as_str(), &node.name, "none"),
            sights: Arc::clone(sights),
            asked: Mutex::new(Waiting { last_id: 1, commands: BTreeMap::new() }),
            over: CancellationToken::new(),
            is_slow,
        });
        let (to_server, from_client) = mpsc::unbounded_channel();
        let up = Arc::clone(&client).carry_up(
            session,
            Arc::clone(node),
            from_client,
            dice.clone(),
            Arc::clone(&outbox),
        );
        node.sessions.spawn(up);
        tokio::spawn(Arc::clone(&client).carry_down(Arc::clone(node), outbox, dice));
        Some(Self { client, to_server })
    }

    /// Writes a command. What comes back is an answer, or nothing: then nobody knows.
    pub fn ask(&self, conv: Option<ConvId>, asked: Option<Asked>, command: Command) -> Answer {
        let (answer, receiver) = oneshot::channel();
        let operation = asked.map(|asked| self.client.log.invoke(conv, asked));
        let id = {
            let mut waiting = self.client.asked.lock().unwrap();
            waiting.last_id += 1;
            let id = waiting.last_id;
            waiting.commands.insert(id, Waits { operation, conv, answer });
            id
        };
        let text = serde_json::to_string(&Request { id, command }).unwrap();
        let is_gone = self.is_over() || self.to_server.send(text).is_err();
        if is_gone {
            self.client.give_up(id);
        }
        Answer { client: Arc::clone(&self.client), id, receiver }
    }

    /// A command and its answer.
    pub async fn call(
        &self,
        conv: Option<ConvId>,
        asked: Asked,
        command: Command,
    ) -> Option<Reply> {
        self.ask(conv, Some(asked), command).end().await
    }

    /// A number for all pages of one read.
    pub fn new_chain(&self) -> u64 {
        self.client.log.new_chain()
    }

    /// Whether nothing comes any more.
    pub fn is_over(&self) -> bool {
        self.client.over.is_cancelled()
    }

    /// Drops the socket.
    pub fn hang_up(&self) {
        self.client.end(None, true);
    }
}

/// An answer on its way.
pub struct Answer {
    client: Arc<Client>,
    id: u64,
    receiver: oneshot::Receiver<Reply>,
}

impl Answer {
    /// Waits for it, but not for ever.
    pub async fn end(self) -> Option<Reply> {
        match timeout(PATIENCE, self.receiver).await {
            Ok(answer) => answer.ok(),
            Err(_) => {
                self.client.give_up(self.id);
                None
            }
        }
    }
}

impl Client {
    /// Takes commands to the session, one after the other, as the socket's reader does.
    async fn carry_up(
        self: Arc<Self>,
        mut session: Session,
        node: Arc<Node>,
        mut from_client: mpsc::UnboundedReceiver<String>,
        mut dice: SmallRng,
        outbox: Arc<Outbox>,
    ) {
        let talk = async {
            while let Some(text) = from_client.recv().await {
                sleep(self.world.way(&mut dice)).await;
                if let Err(code) = session.handle(&text).await {
                    outbox.close(code);
                    return;
                }
            }
        };
        tokio::select! {
            biased;
            () = node.dead.cancelled() => return,
            () = self.over.cancelled() => {}
            () = node.stopping.cancelled() => outbox.close(crate::protocol::CloseCode::SHUTDOWN),
            () = talk => {}
        }
        session.end().await;
    }

    /// Brings frames to the client, as fast as it reads.
    async fn carry_down(self: Arc<Self>, node: Arc<Node>, outbox: Arc<Outbox>, mut dice: SmallRng) {
        let talk = async {
            let mut frames = Vec::new();
            loop {
                let taken = outbox.take(&mut frames).await;
                let way = match self.is_slow && !self.world.weather.is_calm() {
                    true => Duration::from_millis(between(&mut dice, 0..=2_000)),
                    false => self.world.way(&mut dice),
                };
                // The way of a reader that stands still ends when too much waits for it.
                tokio::select! {
                    biased;
                    _ = outbox.until_cut() => {}
                    () = sleep(way) => {}
                }
                if let Taken::Closed(code) = taken {
                    return code.code;
                }
                self.spoil(&mut frames, &mut dice);
                frames.drain(..).for_each(|frame| self.receive(&frame));
                outbox.wrote();
            }
        };
        tokio::select! {
            biased;
            () = self.over.cancelled() => {}
            () = node.dead.cancelled() => self.end(None, false),
            code = talk => self.end(Some(code), false),
        }
    }

    fn spoil(&self, frames: &mut Vec<Frame>, dice: &mut SmallRng) {
        let is_push = |frame: &Frame| frame.as_str().starts_with("{\"msg\"");
        match self.world.broken {
            Some(Broken::LostFrames) => {
                frames.retain(|frame| !is_push(frame) || dice.random_bool(0.98));
            }
            Some(Broken::SwappedFrames) => {
                let pushes: Vec<usize> =
                    (0..frames.len()).filter(|&at| is_push(&frames[at])).collect();
                if let [.., one, other] = pushes[..] {
                    frames.swap(one, other);
                }
            }
            _ => {}
        }
    }

    fn receive(&self, frame: &Frame) {
        if self.over.is_cancelled() {
            return;
        }
        match ServerFrame::parse(frame.as_str()).unwrap() {
            ServerFrame::Reply { id, reply } => self.answered(id.unwrap(), reply),
            ServerFrame::Push(Push::Msg(push)) => {
                let seen = Seen::Recv { epoch: String::new(), item: item_of(&push.message) };
                self.log.happened(Some(push.conv), seen);
                self.saw(push.conv, push.message.seq);
            }
            ServerFrame::Push(Push::Reset(reset)) => {
                let seen = Seen::Reset { epoch: reset.epoch.to_string() };
                self.log.happened(Some(reset.conv), seen);
                self.set_closed(reset.conv);
            }
            ServerFrame::Push(Push::Removed(removed)) => {
                self.log.happened(Some(removed.conv), Seen::Removed {});
                self.set_closed(removed.conv);
            }
            ServerFrame::Push(_) => {}
        }
    }

    fn answered(&self, id: u64, reply: Reply) {
        let Some(waits) = self.asked.lock().unwrap().commands.remove(&id) else { return };
        let Waits { operation, conv, answer } = waits;
        match (&reply, conv) {
            (Reply::Open(open), Some(conv)) => {
                let sight = Sight { epoch: open.epoch.clone(), seq: open.head, is_open: true };
                self.sights.lock().unwrap().insert(conv, sight);
            }
            (Reply::Send(send), Some(conv)) => self.saw(conv, send.seq),
            (Reply::Leave(_), Some(conv)) => self.set_closed(conv),
            (Reply::Error(error), Some(conv))
                if error.code == crate::protocol::ErrorCode::NotFound =>
            {
                self.set_closed(conv);
            }
            _ => {}
        }
        if let Some(operation) = operation {
            match &reply {
                Reply::Error(error) => {
                    let failure =
                        Failure { code: Some(error.code), message: error.message.clone() };
                    match error.definite {
                        true => self.log.fail(operation, failure),
                        false => self.log.info(operation, failure),
                    }
                }
                reply => self.log.ok(operation, seen_of(reply)),
            }
        }
        // Whoever asked may have given up.
        let _ = answer.send(reply);
    }

    fn saw(&self, conv: ConvId, seq: Seq) {
        if let Some(sight) = self.sights.lock().unwrap().get_mut(&conv) {
            sight.seq = sight.seq.max(seq);
        }
    }

    fn set_closed(&self, conv: ConvId) {
        if let Some(sight) = self.sights.lock().unwrap().get_mut(&conv) {
            sight.is_open = false;
        }
    }

    fn give_up(&self, id: u64) {
        let waits = self.asked.lock().unwrap().commands.remove(&id);
        if let Some(operation) = waits.and_then(|waits| waits.operation) {
            let message = "no answer".to_owned();
            self.log.info(operation, Failure { code: None, message });
        }
    }

    fn end(&self, code: Option<u16>, by_us: bool) {
        if self.over.is_cancelled() {
            return;
        }
        self.over.cancel();
        let ids: Vec<u64> = self.asked.lock().unwrap().commands.keys().copied().collect();
        ids.into_iter().for_each(|id| self.give_up(id));
        self.log.closed(code, by_us);
    }
}
