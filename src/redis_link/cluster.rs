//! A cluster: which of its primaries has the slot of a key now.

use std::ops::RangeInclusive;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use futures_util::FutureExt as _;
use futures_util::future::{join_all, select_ok};
use redis::aio::MultiplexedConnection;
use redis::{ConnectionAddr, ConnectionInfo, RedisError, RedisResult};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::{ASK_TIME, explain, open, unusable, with_address};

/// Nodes that are remembered beside those that were named.
const LEARNED_MAX: usize = 64;

type Address = (String, u16);

/// Nodes of a cluster, to ask where things are.
pub struct ClusterNodes {
    /// Those that were named.
    addresses: Vec<Address>,
    /// Held while a question is asked: whoever wants to know the same meanwhile waits for its answer, and asks nothing.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Those that the others tell of.
    learned: Vec<Address>,
    last: Option<Answered>,
}

struct Answered {
    at: Instant,
    /// Who has which slots, or why nobody says.
    claims: Result<Arc<Vec<Claim>>, String>,
}

impl ClusterNodes {
    /// Nodes to begin with; the others are learnt from them.
    pub fn new(addresses: Vec<(String, u16)>) -> Self {
        Self { addresses, state: Mutex::default() }
    }

    /// Where the primary is that has the slot of `home`: of all that say so, the one whose claim is the newest. All nodes are asked, at once: one
    /// that is cut off from the others tells of what was.
    pub(super) async fn find(
        &self,
        home: &Home,
        info: &ConnectionInfo,
        authority: Option<&[u8]>,
    ) -> RedisResult<Address> {
        let slot = match home.slot.get() {
            Some(slot) => *slot,
            None => {
                let everybody = self.everybody(&*self.state.lock().await, info);
                let slot = slot_of(&home.key, everybody, info, authority).await?;
                *home.slot.get_or_init(|| slot)
            }
        };
        let came = Instant::now();
        let mut state = self.state.lock().await;
        // Asked before, and answered since: it is as fresh as one's own question.
        let known = state.last.as_ref().filter(|last| last.at >= came);
        let claims = match known {
            Some(last) => last.claims.clone(),
            None => {
                let claims = self.ask_all(&mut state, info, authority).await;
                let last = Answered { at: Instant::now(), claims: claims.clone() };
                state.last = Some(last);
                claims
            }
        };
        drop(state);
        let claims = claims.map_err(failed)?;
        let newest = claims.iter().filter(|claim| claim.has(slot)).max_by_key(|claim| claim.epoch);
        newest.map(|claim| claim.address.clone()).ok_or_else(|| {
            failed(format!("nobody has slot {slot}: see CLUSTER INFO, and give all slots away"))
        })
    }

    /// Everybody who may be asked.
    fn everybody(&self, state: &State, info: &ConnectionInfo) -> Vec<Address> {
        let url = match info.addr() {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                Some((host.clone(), *port))
            }
            // Nodes of a cluster have ports.
            _ => None,
        };
        let mut all: Vec<Address> = Vec::new();
        for address in self.addresses.iter().chain(&url).chain(&state.learned) {
            if !all.contains(address) {
                all.push(address.clone());
            }
        }
        all
    }

    /// Who has which slots, as all that answer say.
    async fn ask_all(
        &self,
        state: &mut State,
        info: &ConnectionInfo,
        authority: Option<&[u8]>,
    ) -> Result<Arc<Vec<Claim>>, String> {
        let is_tls = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
        let everybody = self.everybody(state, info);
        let asked = everybody.iter().map(async |address| {
            in_time(address, info, authority, async |mut connection| {
                let text: String =
                    redis::cmd("CLUSTER").arg("NODES").query_async(&mut connection).await?;
                Ok(nodes(&text, &address.0, is_tls))
            })
            .await
        });
        let (mut found, mut reasons) = (Vec::new(), Vec::new());
        for answer in join_all(asked).await {
            match answer {
                Ok(nodes) => found.extend(nodes),
                Err(reason) => reasons.push(reason),
            }
        }
        if found.is_empty() {
            return Err(reasons.join("; "));
        }
        state.learned.clear();
        for Node { claim: Claim { address, .. }, .. } in found.iter().filter(|node| node.is_up) {
            if state.learned.len() < LEARNED_MAX && !state.learned.contains(address) {
                state.learned.push(address.clone());
            }
        }
        let primaries = found.into_iter().filter(|node| node.is_primary);
        Ok(Arc::new(primaries.map(|node| node.claim).collect()))
    }
}

/// The slot of a key, as whichever node says that answers first: how they compute it is theirs.
async fn slot_of(
    key: &str,
    nodes: Vec<Address>,
    info: &ConnectionInfo,
    authority: Option<&[u8]>,
) -> RedisResult<u16> {
    let asked = nodes.into_iter().map(|address| {
        async move {
            let ask = async |mut connection: MultiplexedConnection| {
                let mut ask = redis::cmd("CLUSTER");
                ask.arg("KEYSLOT").arg(key).query_async::<u16>(&mut connection).await
            };
            in_time(&address, info, authority, ask).await
        }
        .boxed()
    });
    let (slot, _) = select_ok(asked).await.map_err(failed)?;
    Ok(slot)
}

impl PartialEq for ClusterNodes {
    fn eq(&self, other: &Self) -> bool {
        self.addresses == other.addresses
    }
}

impl Eq for ClusterNodes {}

/// What a client is for: a key, and its slot once that was asked.
pub(super) struct Home {
    key: String,
    slot: OnceLock<u16>,
}

impl Home {
    pub(super) fn new(key: &str) -> Self {
        Self { key: key.to_owned(), slot: OnceLock::new() }
    }

    /// Refuses a server that does not say itself that it has the slot.
    pub(super) async fn check(&self, connection: &mut MultiplexedConnection) -> RedisResult<()> {
        let text: String = redis::cmd("CLUSTER").arg("NODES").query_async(connection).await?;
        let mut nodes = nodes(&text, "", false).into_iter();
        let is_here = |node: Node| {
            node.is_primary && self.slot.get().is_some_and(|&slot| node.claim.has(slot))
        };
        if nodes.find(|node| node.is_myself).is_some_and(is_here) {
            return Ok(());
        }
        Err(unusable(
            "other nodes of its cluster say that it has what is asked for, and it does not: a failover or a move of slots is under way"
                .to_owned(),
        ))
    }
}

/// That a node has slots.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Claim {
    address: Address,
    /// Of two that have the same slot the higher is right.
    epoch: u64,
    slots: Vec<RangeInclusive<u16>>,
}

impl Claim {
    fn has(&self, slot: u16) -> bool {
        self.slots.iter().any(|range| range.contains(&slot))
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Node {
    is_myself: bool,
    is_primary: bool,
    /// The others do not call it failed.
    is_up: bool,
    claim: Claim,
}

/// The nodes in the answer of `CLUSTER NODES` that `asked` gave; lines that say something else are left out.
fn nodes(text: &str, asked: &str, is_tls: bool) -> Vec<Node> {
    text.lines().filter_map(|line| node(line, asked, is_tls)).collect()
}

/// `id ip:port@bus[,hostname[,…]] flags primary ping pong epoch link slot…`
fn node(line: &str, asked: &str, is_tls: bool) -> Option<Node> {
    let mut words = line.split_ascii_whitespace();
    let (address, flags) = (words.nth(1)?, words.next()?);
    let epoch = words.nth(3)?.parse().ok()?;
    let mut parts = address.split(',');
    let (ip, port) = parts.next()?.split('@').next()?.rsplit_once(':')?;
    let hostname = parts.next().filter(|name| !name.is_empty() && !name.contains('='));
    let host = match hostname {
        // What its certificate is for.
        Some(name) if is_tls => name,
        // It does not know its own address until another node has told it.
        _ if ip.is_empty() => asked,
        _ => ip,
    };
    // A slot under way stands in brackets: it is still with whoever has it without them.
    let slots = words.skip(1).filter_map(|word| {
        let (first, last) = word.split_once('-').unwrap_or((word, word));
        Some(first.parse().ok()?..=last.parse().ok()?)
    });
    let slots = slots.collect();
    let has = |flag: &str| flags.split(',').any(|found| found == flag);
    if has("noaddr") || has("handshake") {
        return None;
    }
    let claim = Claim { address: (host.to_owned(), port.parse().ok()?), epoch, slots };
    Some(Node { is_myself: has("myself"), is_primary: has("master"), is_up: !has("fail"), claim })
}

/// What one node answers, or why it does not, with its address.
async fn in_time<T>(
    address: &Address,
    info: &ConnectionInfo,
    authority: Option<&[u8]>,
    ask: impl AsyncFnOnce(MultiplexedConnection) -> RedisResult<T>,
) -> Result<T, String> {
    let (host, port) = address;
    let asked = async {
        let client = super::build(with_address(info.clone(), host, *port), authority)?;
        ask(open(&client).await?).await
    };
    match timeout(ASK_TIME, Box::pin(asked)).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) if error.to_string().contains("cluster support disabled") => Err(format!(
            "{host}:{port} is no node of a cluster: name nodes of one, or leave the variable out"
        )),
        Ok(Err(error)) => Err(format!("the node at {host}:{port}: {}", explain(&error))),
        Err(_) => {
            Err(format!("the node at {host}:{port}: no answer in {} ms", ASK_TIME.as_millis()))
        }
    }
}

fn failed(reason: String) -> RedisError {
    let reason = format!("CHATCTL_REDIS_CLUSTER: {reason}");
    RedisError::from((redis::ErrorKind::Client, "the primary is not known", reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "\
        07c3 10.0.0.4:30004@31004,four.example slave e7d1 0 1426238317239 4 connected\n\
        67ed :30002@31002,two.example,shard-id=8f master - 0 1426238316232 2 connected 5461-10922 7 [93-<-292f] [77->-e7d1]\n\
        292f ::1:30003@31003 myself,master - 0 1426238318243 3 connected 10923-16383\n\
        6ec2 10.0.0.5:30005@31005 master,fail - 1426238316232 0 1 connected 5461-10922\n\
        824f :0@0 master,noaddr - 1 0 9 disconnected\n";

    #[test]
    fn the_lines_of_nodes_are_read_as_they_are_meant() {
        let plain = nodes(ANSWER, "asked.example", false);
        let by_tls = nodes(ANSWER, "asked.example", true);
        let hosts = |nodes: &[Node]| {
            let host = |node: &Node| node.claim.address.0.clone();
            nodes.iter().map(host).collect::<Vec<_>>()
        };
        assert_eq!(hosts(&plain), ["10.0.0.4", "asked.example", "::1", "10.0.0.5"]);
        assert_eq!(hosts(&by_tls), ["four.example", "two.example", "::1", "10.0.0.5"]);
        let [replica, two, three, failed] = &plain[..] else { panic!("{plain:?}") };
        assert!(!replica.is_primary && three.is_myself && !failed.is_up && two.is_up);
        assert_eq!((two.claim.epoch, two.claim.address.1), (2, 30_002));
        assert_eq!(two.claim.slots, [5_461..=10_922, 7..=7]);
        assert!(two.claim.has(7) && !two.claim.has(93) && three.claim.has(16_383));
    }

    #[test]
    fn lines_that_say_something_else_are_left_out() {
        for cut in 0..ANSWER.len() {
            let _ = nodes(&ANSWER[..cut], "", true);
        }
        for line in
            ["", "a b c", "id host master - 0 0 1 connected 1", "id h:1 master - 0 0 x up 1"]
        {
            assert_eq!(nodes(line, "", false), []);
        }
    }
}
