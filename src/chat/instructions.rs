//! What it costs to encode a frame, to take a message to everyone who has its conversation open, and to answer a `send`.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use super::{Access, ChatService, ChatSettings, Frame, Outbox, Session, encode};
use crate::distribution::local::LocalDistribution;
use crate::distribution::{Distribution as _, Hint, MessageHint};
use crate::instructions::{CONTENT, Operation, mark};
use crate::model::{
    ChannelName, Cid, ConvId, Message, MessageType, NodeId, OperatorLimits, Place, Seq, UserName,
};
use crate::persistence::local::{LocalSettings, SyncPolicy, open};
use crate::protocol::{MsgPush, Push, Reply, SendReply};
use crate::registry::local::LocalRegistry;

/// Encodings, a message told to 1, 10 and 100 sessions, and the whole way of a `send`.
pub(crate) fn operations() -> Vec<Operation> {
    vec![
        Operation::new("encode.message", 1_000, |times| {
            let push = Push::Msg(MsgPush { conv: news().conv_id(), message: message(7) });
            mark();
            for _ in 0..times {
                drop(black_box(encode::push(black_box(&push))));
            }
            mark();
        }),
        Operation::new("encode.send_answer", 1_000, |times| {
            let now = message(7).at;
            let answer = SendReply { seq: Seq(7), ts: now, late: false, dup: false, at: now };
            mark();
            for id in 1..=times as u64 {
                drop(black_box(encode::reply(id, Ok(Reply::Send(black_box(answer))))));
            }
            mark();
        }),
        Operation::new("fan_out.1", 500, |times| fan_out(times, 1)),
        Operation::new("fan_out.10", 200, |times| fan_out(times, 10)),
        Operation::new("fan_out.100", 100, |times| fan_out(times, 100)),
        Operation::new("send_to_answer", 500, send_to_answer),
    ]
}

fn news() -> Place {
    Place::Channel(ChannelName::new("news").unwrap())
}

fn message(seq: u64) -> Arc<Message> {
    let at = 1_700_000_000_000 + seq;
    Arc::new(Message {
        seq: Seq(seq),
        from: UserName::new("ann").unwrap(),
        cid: Cid::new(&format!("c-{seq}")).unwrap(),
        kind: MessageType::new("text").unwrap(),
        content: CONTENT.to_owned(),
        ts: at,
        at,
        late: false,
    })
}

/// Its clock stands still, so that nothing is due between the marks.
fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

/// A node without a network, in memory.
struct Node {
    service: Arc<ChatService>,
    bus: Arc<LocalDistribution>,
}

impl Node {
    async fn start() -> Self {
        let settings = LocalSettings {
            data_dir: "unused".into(),
            sync: SyncPolicy::Memory,
            reserve_bytes: 0,
            cache_bytes: 1 << 20,
        };
        let (engine, _fatal) = open(settings).unwrap();
        let settings = ChatSettings {
            node: NodeId::generate(),
            ping: Duration::from_secs(25),
            limits: OperatorLimits::default(),
            access: Access::default(),
        };
        let (bus, registry) = (Arc::default(), Arc::new(LocalRegistry::default()));
        let on: Arc<LocalDistribution> = Arc::clone(&bus);
        let service = ChatService::start(engine, on, registry, settings).await.unwrap();
        Self { service, bus }
    }
}

/// A session that has the channel open.
struct Member {
    session: Session,
    outbox: Arc<Outbox>,
    frames: Vec<Frame>,
}

impl Member {
    async fn join(node: &Node, at: usize) -> Self {
        let outbox = Arc::new(Outbox::new(1 << 20));
        let session = Session::new(Arc::clone(&node.service), Arc::clone(&outbox));
        let mut member = Self { session, outbox, frames: Vec::new() };
        member.say(&format!(r#"{{"id":1,"hello":{{"user":"user-{at}"}}}}"#)).await;
        member.say(r#"{"id":2,"open":{"to":{"channel":"news"}}}"#).await;
        // Two answers, and perhaps that the channel is in its list now.
        assert!(member.hear() >= 2);
        member
    }

    async fn say(&mut self, text: &str) {
        // As a connection does it.
        Box::pin(self.session.handle(text)).await.unwrap();
    }

    /// Takes what it was told: how many frames.
    fn hear(&mut self) -> usize {
        self.outbox.try_take(&mut self.frames);
        self.outbox.wrote();
        let count = self.frames.len();
        self.frames.clear();
        count
    }
}

fn fan_out(times: usize, members: usize) {
    runtime().block_on(async {
        let node = Node::start().await;
        let mut joined = Vec::new();
        for at in 0..members {
            joined.push(Member::join(&node, at).await);
        }
        let (place, conv) = (Arc::new(news()), news().conv_id());
        let epoch = node.service.persistence().epoch(conv);
        // The room asks nobody whether they are stored.
        let hint = |seq: usize| {
            Hint::Message(MessageHint {
                conv,
                place: Arc::clone(&place),
                epoch: epoch.clone(),
                node: node.service.settings.node.clone(),
                message: message(seq as u64),
                became: Vec::new(),
                roster: 0,
                stored_us: 0,
            })
        };
        let warm_up = times / 5;
        let hints: Vec<Hint> = (1..=warm_up + times).map(hint).collect();
        let mut heard = 0;
        for (at, hint) in hints.into_iter().enumerate() {
            if at == warm_up {
                mark();
            }
            node.bus.publish(hint);
            for member in &mut joined {
                heard += member.hear();
            }
        }
        mark();
        assert_eq!(heard, (warm_up + times) * members);
    });
}

fn send_to_answer(times: usize) {
    runtime().block_on(async {
        let node = Node::start().await;
        let mut member = Member::join(&node, 0).await;
        let conv: ConvId = news().conv_id();
        let frame = |at: usize| {
            let body = format!(r#""cid":"c-{at}","type":"text","content":"{CONTENT}""#);
            format!(r#"{{"id":{},"send":{{"conv":"{conv}",{body}}}}}"#, at + 3)
        };
        let warm_up = times;
        let frames: Vec<String> = (0..warm_up + times).map(frame).collect();
        let mut heard = 0;
        for (at, frame) in frames.iter().enumerate() {
            if at == warm_up {
                mark();
            }
            member.say(frame).await;
            heard += member.hear();
        }
        mark();
        // The answer, and the message itself.
        assert_eq!(heard, 2 * (warm_up + times));
    });
}
