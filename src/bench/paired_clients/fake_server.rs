//! A small chat server in this process, correct or with one fault, that the workload is tested
//! against: what it cannot catch here it would not catch anywhere.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message as Frame;

use super::super::load_profile::LoadProfile;
use super::super::nemesis_plan::NemesisPlan;
use super::super::recorder::RunRecord;
use super::*;
use crate::client::Address;
use crate::model::{
    AllLimits, Cid, ConvId, Durability, Epoch, LIMITS, Message, NodeId, Place, Seq, SessionId,
    UserName,
};
use crate::nemesis::Kind;
use crate::protocol::{
    Command, EngineInfo, ErrorBody, ErrorCode, HelloReply, MsgPush, OpenReply, Push, ReadKind,
    ReadReply, Reply, ReplyFrame, Send, SendReply, To, parse_command,
};

/// What the server does wrong, at every seventh message.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    None,
    DropDelivery,
    DoubleDelivery,
    SwapDeliveries,
    CorruptDelivery,
    ForgetStored,
    RefuseOnce,
    /// Every message is refused when it comes for the first time, for half a second.
    RefuseEachOnce,
    CloseConnection,
    /// The message is stored; then everybody in the conversation is cut off, before anybody hears of it.
    CutOffAll,
}

/// What ends a connection that is told to send it.
const CUT: &str = "cut";

#[derive(Default)]
struct Conversation {
    messages: Vec<Arc<Message>>,
    ts_max: u64,
    sessions: Vec<(UserName, mpsc::UnboundedSender<String>)>,
    held_back: Option<String>,
    refused: usize,
    refused_cids: HashSet<Cid>,
}

struct World {
    fault: Fault,
    conversations: HashMap<ConvId, Conversation>,
    /// Sessions that were cut off.
    cuts: u64,
}

async fn start(fault: Fault) -> (Address, Arc<Mutex<World>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("ws://{}", listener.local_addr().unwrap()).parse().unwrap();
    let world = Arc::new(Mutex::new(World { fault, conversations: HashMap::new(), cuts: 0 }));
    let served = Arc::clone(&world);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, Arc::clone(&served)));
        }
    });
    (address, world)
}

async fn serve(stream: TcpStream, world: Arc<Mutex<World>>) {
    let socket = tokio_tungstenite::accept_async(stream).await.unwrap();
    let (mut sink, mut stream) = socket.split();
    let (sender, mut receiver) = mpsc::unbounded_channel::<String>();
    let mut user = UserName::new("nobody").unwrap();
    loop {
        tokio::select! {
            text = receiver.recv() => {
                let text = text.unwrap();
                if text == CUT || sink.send(Frame::text(text)).await.is_err() {
                    return;
                }
            }
            frame = stream.next() => {
                let Some(Ok(Frame::Text(text))) = frame else { return };
                let (id, command) = parse_command(&text).unwrap();
                let reply = match command {
                    Command::Hello(hello) => {
                        user = hello.user.unwrap();
                        Reply::Hello(Box::new(hello_reply(&user)))
                    }
                    other => match world.lock().unwrap().answer(&user, other, &sender) {
                        Some(reply) => reply,
                        None => return,
                    },
                };
                let reply = serde_json::to_string(&ReplyFrame { id: Some(id), reply }).unwrap();
                sender.send(reply).unwrap();
            }
        }
    }
}

fn hello_reply(user: &UserName) -> HelloReply {
    HelloReply {
        session: SessionId::generate(),
        user: user.clone(),
        node: NodeId::generate(),
        protocol: 1,
        engine: EngineInfo { name: "FAKE".into(), durability: Durability::NONE },
        limits: AllLimits::default(),
        ping_ms: 25_000,
    }
}

impl World {
    fn answer(
        &mut self,
        user: &UserName,
        command: Command,
        sender: &mpsc::UnboundedSender<String>,
    ) -> Option<Reply> {
        Some(match command {
            Command::Open(open) => {
                let To::User(peer) = open.to else { panic!("only direct chats are opened") };
                let conv = Place::direct(user.clone(), peer).conv_id();
                let conversation = self.conversations.entry(conv).or_default();
                conversation.sessions.push((user.clone(), sender.clone()));
                let head = Seq(conversation.messages.len() as u64);
                Reply::Open(Box::new(OpenReply::bare(conv, Epoch::new("e").unwrap(), head)))
            }
            Command::Send(send) => return self.send(user, send),
            Command::Read(read) => {
                let mut items = self.conversations[&read.conv].messages.clone();
                if self.fault == Fault::ForgetStored {
                    items.retain(|message| message.seq.0 % 7 != 0);
                }
                match read.kind {
                    ReadKind::After { after_seq } => {
                        items.retain(|message| message.seq > after_seq);
                    }
                    _ => items.sort_by_key(|message| std::cmp::Reverse(message.position())),
                }
                let next = (items.len() > read.limit).then(|| "cursor".to_owned());
                items.truncate(read.limit);
                Reply::Read(ReadReply { items, next })
            }
            Command::Ping {} => Reply::Ping(crate::protocol::Empty {}),
            other => panic!("the workload does not use {other:?}"),
        })
    }

    fn send(&mut self, user: &UserName, send: Send) -> Option<Reply> {
        let fault = self.fault;
        let conversation = self.conversations.get_mut(&send.conv).unwrap();
        let is_it = |message: &&Arc<Message>| message.from == *user && message.cid == send.cid;
        if let Some(stored) = conversation.messages.iter().find(is_it) {
            let (seq, ts, late) = (stored.seq, stored.ts, stored.late);
            return Some(Reply::Send(SendReply { seq, ts, late, dup: true, at: stored.at }));
        }
        let at = conversation.messages.len() as u64 + 1;
        let struck = at.is_multiple_of(7);
        if struck && fault == Fault::CloseConnection {
            return None;
        }
        if struck && fault == Fault::RefuseOnce && conversation.refused < at as usize / 7 {
            conversation.refused += 1;
            let error = ErrorBody::new(ErrorCode::RateLimited, "slower").retry_after_ms(1);
            return Some(Reply::Error(error));
        }
        if fault == Fault::RefuseEachOnce && conversation.refused_cids.insert(send.cid.clone()) {
            let error = ErrorBody::new(ErrorCode::Overloaded, "later").retry_after_ms(500);
            return Some(Reply::Error(error));
        }
        let ts = send.ts.unwrap();
        let late = ts < conversation.ts_max;
        conversation.ts_max = conversation.ts_max.max(ts);
        let Send { conv, cid, kind, content, .. } = send;
        let message =
            Message { seq: Seq(at), from: user.clone(), cid, kind, content, ts, at, late };
        conversation.messages.push(Arc::new(message.clone()));
        if struck && fault == Fault::CutOffAll {
            self.cuts += conversation.sessions.len() as u64;
            for (_, session) in conversation.sessions.drain(..) {
                let _ = session.send(CUT.to_owned());
            }
            return None;
        }
        let mut pushed = message;
        if struck && fault == Fault::CorruptDelivery {
            pushed.content = pushed.content.to_uppercase();
        }
        let push = Push::Msg(MsgPush { conv, message: Arc::new(pushed) });
        let push = serde_json::to_string(&push).unwrap();
        let held_back = conversation.held_back.take();
        for (_, session) in conversation.sessions.iter().filter(|(name, _)| name != user) {
            let pushed = match (fault, struck) {
                (Fault::DropDelivery | Fault::SwapDeliveries, true) => vec![],
                (Fault::DoubleDelivery, true) => vec![push.clone(), push.clone()],
                _ => vec![push.clone()],
            };
            for text in pushed.into_iter().chain(held_back.clone()) {
                let _ = session.send(text);
            }
        }
        if fault == Fault::SwapDeliveries && struck {
            conversation.held_back = Some(push);
        }
        Some(Reply::Send(SendReply { seq: Seq(at), ts, late, dup: false, at }))
    }
}

fn options() -> PairedClientsOptions {
    PairedClientsOptions {
        clients: 4,
        load: Load::Closed,
        volume: Volume::MessagesPerClient(100),
        fill_to: 0,
        warmup_ms: 0,
        connecting: 64,
        chunk: 20,
        in_flight: 8,
        read_limit: 30,
        size_bytes: 200,
        late_ratio: 0.2,
        seed: 3,
        user_prefix: "bench-test".into(),
        pauses: Vec::new(),
        nemesis: None,
        check: false,
        connect_timeout_ms: 5_000,
        waiting_max: 1_024,
        delivery_wait_ms: 200,
    }
}

async fn run(fault: Fault) -> (Driven, Arc<RunRecord>) {
    run_with(fault, &options()).await
}

async fn run_with(fault: Fault, options: &PairedClientsOptions) -> (Driven, Arc<RunRecord>) {
    let (driven, record, _) = run_counting_cuts(fault, options).await;
    (driven, record)
}

async fn run_counting_cuts(
    fault: Fault,
    options: &PairedClientsOptions,
) -> (Driven, Arc<RunRecord>, u64) {
    let (address, world) = start(fault).await;
    let record = Arc::new(RunRecord::new(&LATENCIES));
    let cancel = CancellationToken::new();
    let driven = drive(&[address], options, &record, None, &cancel, async {}).await.unwrap();
    let cuts = world.lock().unwrap().cuts;
    (driven, record, cuts)
}

/// 1 000 a second for 400 ms: as many messages as [`run`] sends.
async fn run_open(fault: Fault) -> (Driven, Arc<RunRecord>) {
    let profile = LoadProfile::constant(1_000.0, Duration::from_millis(400));
    let load = Load::Open { profile, arrivals: Arrivals::Poisson };
    run_with(fault, &PairedClientsOptions { load, ..options() }).await
}

#[tokio::test]
async fn in_an_open_loop_all_that_is_scheduled_is_sent_and_judged() {
    let (Driven { tally, scheduled, dropped, lag, .. }, record) = run_open(Fault::None).await;
    assert!(tally.is_complete() && tally.correctness.is_clean(), "{tally:?}");
    let scheduled = scheduled.unwrap();
    assert!((300..=500).contains(&scheduled), "{scheduled}");
    assert_eq!((tally.begun, tally.sent, tally.dropped, dropped), (scheduled, scheduled, 0, 0));
    assert_eq!(tally.correctness.delivered, scheduled);
    assert!(tally.correctness.pages_checked >= scheduled / 20, "{tally:?}");
    assert_eq!(lag.unwrap().len(), scheduled);
    let counts: Vec<_> = record.totals().iter().map(|(_, total)| total.len()).collect();
    assert_eq!(counts[..2], [scheduled; 2]);
    assert_eq!(counts[4..6], [scheduled; 2], "each time is kept from both begins");
}

#[tokio::test]
async fn an_open_loop_catches_what_a_closed_one_does() {
    for (fault, found) in [
        (Fault::DropDelivery, "lost"),
        (Fault::DoubleDelivery, "duplicated"),
        (Fault::SwapDeliveries, "out_of_order"),
        (Fault::CorruptDelivery, "corrupt"),
        (Fault::ForgetStored, "page_missing"),
    ] {
        let (Driven { tally, .. }, _) = run_open(fault).await;
        let violations = tally.correctness.violations();
        assert!(violations.iter().any(|&(name, count)| name == found && count > 0), "{tally:?}");
    }
}

#[tokio::test]
async fn conversations_are_filled_first_and_that_is_not_measured() {
    let (Driven { tally, filling, .. }, record) =
        run_with(Fault::None, &PairedClientsOptions { fill_to: 1_000, ..options() }).await;
    assert_eq!((tally.sent, tally.correctness.delivered), (1_400, 1_400), "{tally:?}");
    assert!(tally.is_complete() && tally.correctness.is_clean(), "{tally:?}");
    assert_eq!(record.totals()[0].1.len(), 400);
    assert!(filling > Duration::ZERO);
}

#[tokio::test]
async fn a_warm_up_is_not_measured() {
    let profile = LoadProfile::constant(200.0, Duration::from_millis(500));
    let load = Load::Open { profile, arrivals: Arrivals::Constant };
    let options = PairedClientsOptions { load, warmup_ms: 1_000, ..options() };
    let (Driven { tally, scheduled, warming_up, .. }, record) =
        run_with(Fault::None, &options).await;
    assert_eq!((scheduled, tally.begun), (Some(300), 300), "200 to warm up, and 100");
    assert_eq!(record.totals()[0].1.len(), 100);
    assert!(warming_up >= Duration::from_secs(1), "{warming_up:?}");
    let closed = PairedClientsOptions { load: Load::Closed, ..options };
    let (Driven { tally, measured, .. }, record) = run_with(Fault::None, &closed).await;
    assert!(tally.sent > 400 && tally.correctness.is_clean(), "{tally:?}");
    // What was under way at the begin is no part of it.
    let counted = record.totals()[0].1.len();
    assert!((400..=440).contains(&counted) && measured.written == counted, "{counted}");
}

#[tokio::test]
async fn a_correct_server_passes_and_everything_is_measured() {
    let (Driven { tally, .. }, record) = run(Fault::None).await;
    assert!(tally.is_complete() && tally.correctness.is_clean(), "{tally:?}");
    assert_eq!((tally.sent, tally.correctness.delivered), (400, 400));
    assert_eq!((tally.reads, tally.correctness.pages_checked), (40, 40));
    assert!((20..=200).contains(&tally.late), "a fifth is sent late: {}", tally.late);
    let counts: Vec<_> = record.totals().iter().map(|(_, total)| total.len()).collect();
    assert_eq!(counts, [400, 400, 40, 4, 0, 0, 0]);
}

#[tokio::test]
async fn dropped_deliveries_are_lost() {
    let (Driven { tally, .. }, _) = run(Fault::DropDelivery).await;
    assert_eq!((tally.correctness.lost, tally.correctness.gaps), (2 * (200 / 7), 0), "{tally:?}");
}

#[tokio::test]
async fn doubled_deliveries_are_duplicates() {
    let (Driven { tally, .. }, _) = run(Fault::DoubleDelivery).await;
    assert_eq!(tally.correctness.duplicated, 2 * (200 / 7), "{tally:?}");
}

#[tokio::test]
async fn swapped_deliveries_are_out_of_order() {
    let (Driven { tally, .. }, _) = run(Fault::SwapDeliveries).await;
    assert!(tally.correctness.out_of_order > 0, "{tally:?}");
}

#[tokio::test]
async fn altered_deliveries_are_corrupt() {
    let (Driven { tally, .. }, _) = run(Fault::CorruptDelivery).await;
    assert_eq!(tally.correctness.corrupt, 2 * (200 / 7), "{tally:?}");
}

#[tokio::test]
async fn pages_that_lack_messages_are_caught() {
    let (Driven { tally, .. }, _) = run(Fault::ForgetStored).await;
    assert!(tally.correctness.page_missing > 0, "{tally:?}");
    assert_eq!(tally.correctness.lost, 0);
}

#[tokio::test]
async fn refused_sends_are_repeated_and_counted() {
    let (Driven { tally, .. }, _) = run(Fault::RefuseOnce).await;
    assert!(tally.is_complete() && tally.correctness.is_clean(), "{tally:?}");
    assert_eq!(tally.errors["rate_limited"], tally.retries);
    assert_eq!((tally.sent, tally.retries >= 2 * (200 / 7)), (400, true));
}

/// More than a connection has room for wait to be sent again when more is due.
#[tokio::test]
async fn what_is_sent_again_and_what_is_new_do_not_wait_for_each_other() {
    let profile = LoadProfile::constant(2_000.0, Duration::from_millis(1_500));
    let load = Load::Open { profile, arrivals: Arrivals::Constant };
    let options =
        PairedClientsOptions { load, clients: 2, in_flight: LIMITS.in_flight_max, ..options() };
    let running = run_with(Fault::RefuseEachOnce, &options);
    let (Driven { tally, .. }, _) =
        tokio::time::timeout(Duration::from_secs(60), running).await.expect("nothing hangs");
    assert!(tally.is_complete() && tally.correctness.is_clean(), "{tally:?}");
    assert_eq!((tally.sent, tally.errors["overloaded"]), (tally.begun, tally.begun));
    assert!(tally.sent > 1_000, "{tally:?}");
}

#[tokio::test]
async fn a_cut_connection_breaks_its_pair_and_is_no_loss() {
    let (Driven { tally, .. }, _) = run(Fault::CloseConnection).await;
    assert_eq!(tally.broken_pairs, 2, "{tally:?}");
    assert!(!tally.is_complete() && tally.correctness.is_clean(), "{tally:?}");
    assert!(tally.broken[0].contains("closed the connection"), "{tally:?}");
}

#[tokio::test]
async fn beside_a_nemesis_whoever_is_cut_off_comes_back_and_misses_nothing() {
    let plan = NemesisPlan { kinds: vec![Kind::Cut], every_ms: 100, seed: 1 };
    let profile = LoadProfile::constant(1_000.0, Duration::from_millis(400));
    let open = Load::Open { profile, arrivals: Arrivals::Poisson };
    for load in [Load::Closed, open] {
        let volume = Volume::DurationMs(400);
        let nemesis = Some(plan.clone());
        let options = PairedClientsOptions { load, volume, nemesis, ..options() };
        let (Driven { tally, .. }, record, cuts) =
            run_counting_cuts(Fault::CutOffAll, &options).await;
        assert!(tally.is_complete() && tally.correctness.is_clean(), "{tally:?}");
        assert_eq!((tally.begun, tally.correctness.delivered), (tally.sent, tally.sent));
        // At each seventh message, both of the pair but who is on the way back.
        assert!(tally.sent > 20 && cuts >= tally.sent / 7, "{cuts} cuts, {tally:?}");
        assert_eq!(tally.reconnects, cuts, "{tally:?}");
        assert!(tally.retries > 0 && tally.errors["closed"] > 0, "{tally:?}");
        assert_eq!(record.totals()[DELIVERY].1.len(), tally.sent);
    }
}
