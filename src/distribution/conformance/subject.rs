//! What the cases work with: buses, what was heard of them, and hints.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::distribution::local::LocalDistribution;
use crate::distribution::redis::{RedisDistribution, RedisSettings};
use crate::distribution::{Concerned, Distribution, Hint, HintSink, MessageHint};
use crate::model::{
    ChannelName, Cid, ConvId, Epoch, Message, MessageType, NodeId, Place, Seq, UserName,
};
use crate::persistence::conformance::redis::{Server, program};
use crate::persistence::conformance::redis_cluster::Corner;
use crate::services::ServiceKind;

/// Nothing that is waited for takes this long unless it is broken.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where the suite gets nodes from: one bus.
pub trait Factory: Send + Sync + 'static {
    /// One more node.
    fn node(&self) -> Arc<dyn Distribution>;

    /// Whether nodes hear each other.
    fn has_many_nodes(&self) -> bool;
}

/// The bus of one node.
pub struct LocalFactory;

impl Factory for LocalFactory {
    fn node(&self) -> Arc<dyn Distribution> {
        Arc::new(LocalDistribution::default())
    }

    fn has_many_nodes(&self) -> bool {
        false
    }
}

/// A bus on a server of its own.
pub struct RedisFactory {
    /// The server.
    pub server: Server,
}

impl RedisFactory {
    /// On Redis; `None` where it is not installed.
    pub fn redis() -> Option<Self> {
        let program = program(ServiceKind::Redis)?;
        Some(Self { server: Server::start(&program, &[]) })
    }

    /// On Valkey; `None` where it is not installed.
    pub fn valkey() -> Option<Self> {
        let program = program(ServiceKind::Valkey)?;
        Some(Self { server: Server::start(&program, &[]) })
    }
}

impl Factory for RedisFactory {
    fn node(&self) -> Arc<dyn Distribution> {
        let (server, prefix) = (self.server.url().into(), "test:".to_owned());
        let settings = RedisSettings { server, prefix, node: NodeId::generate() };
        Arc::new(RedisDistribution::new(settings).unwrap())
    }

    fn has_many_nodes(&self) -> bool {
        true
    }
}

/// A bus in a cluster, under a prefix of its own.
pub struct ClusterFactory(Corner);

impl ClusterFactory {
    /// `None` where Redis is not installed.
    pub fn find() -> Option<Self> {
        Corner::find().map(Self)
    }
}

impl Factory for ClusterFactory {
    fn node(&self) -> Arc<dyn Distribution> {
        let (server, prefix) = (self.0.server.clone(), self.0.prefix.clone());
        let settings = RedisSettings { server, prefix, node: NodeId::generate() };
        Arc::new(RedisDistribution::new(settings).unwrap())
    }

    fn has_many_nodes(&self) -> bool {
        true
    }
}

/// What one node heard.
#[derive(Default)]
pub struct Heard(Mutex<(Vec<Hint>, Vec<Concerned>)>);

impl HintSink for Heard {
    fn deliver(&self, hint: Hint) {
        self.0.lock().unwrap().0.push(hint);
    }

    fn gap(&self, concerned: Concerned) {
        self.0.lock().unwrap().1.push(concerned);
    }
}

impl Heard {
    /// Waits until what was heard is enough.
    pub async fn until(&self, who: &str, is_enough: impl Fn(&[Hint]) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_enough(&self.0.lock().unwrap().0) {
            let heard = self.0.lock().unwrap().0.len();
            assert!(Instant::now() < deadline, "{who} heard {heard} hints, and not what it should");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Publishes a message of [`place`] again and again until it is heard: what is told before a node is back may be lost, that is what
    /// gaps are for.
    pub async fn until_told(&self, bus: &dyn Distribution, seq: u64, limit: Duration) {
        let (begun, place) = (Instant::now(), place());
        while !self.numbers().contains(&seq) {
            bus.publish(message(&place, seq, "x"));
            tokio::time::sleep(Duration::from_millis(50)).await;
            assert!(begun.elapsed() < limit, "nothing is heard again");
        }
    }

    /// How often a gap was told.
    pub fn gaps(&self) -> usize {
        self.0.lock().unwrap().1.len()
    }

    /// How often a gap of this conversation was told.
    pub fn gaps_of(&self, conv: ConvId) -> usize {
        self.0.lock().unwrap().1.iter().filter(|concerned| concerned.contain(conv)).count()
    }

    /// The numbers of messages, in the order of their coming.
    pub fn numbers(&self) -> Vec<u64> {
        let number = |hint: &Hint| match hint {
            Hint::Message(hint) => Some(hint.message.seq.0),
            _ => None,
        };
        self.0.lock().unwrap().0.iter().filter_map(number).collect()
    }

    /// The numbers of messages of one conversation.
    pub fn numbers_of(&self, conv: ConvId) -> Vec<u64> {
        let number = |hint: &Hint| match hint {
            Hint::Message(hint) if hint.conv == conv => Some(hint.message.seq.0),
            _ => None,
        };
        self.0.lock().unwrap().0.iter().filter_map(number).collect()
    }

    /// The highest number heard of, with or without its message.
    pub fn highest(hints: &[Hint]) -> u64 {
        let number = |hint: &Hint| match hint {
            Hint::Message(hint) => Some(hint.message.seq.0),
            Hint::Head { head, .. } => Some(head.0),
            _ => None,
        };
        hints.iter().filter_map(number).max().unwrap_or_default()
    }
}

/// Some conversation.
pub fn place() -> Arc<Place> {
    Arc::new(Place::Channel(ChannelName::new("general").unwrap()))
}

/// A message that was stored there.
pub fn message(place: &Arc<Place>, seq: u64, content: &str) -> Hint {
    let ann = UserName::new("ann").unwrap();
    Hint::Message(MessageHint {
        conv: place.conv_id(),
        place: Arc::clone(place),
        epoch: Epoch::new("e").unwrap(),
        node: NodeId::new("n").unwrap(),
        message: Arc::new(Message {
            seq: Seq(seq),
            from: ann.clone(),
            cid: Cid::new(&format!("c{seq}")).unwrap(),
            kind: MessageType::new("text").unwrap(),
            content: content.to_owned(),
            ts: 1,
            at: 2,
            late: seq.is_multiple_of(2),
        }),
        became: vec![ann],
        roster: 0,
        stored_us: 1,
    })
}
