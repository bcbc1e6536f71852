//! The room against every way in which a bus may treat hints.

use std::sync::Arc;

use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::chat::Outbox;
use crate::chat::directory::SessionHandle;
use crate::chat::subscription::SendKey;
use crate::model::{ChannelName, Cid, MessageType};

fn message(seq: u64, from: &str) -> Arc<Message> {
    Arc::new(Message {
        seq: Seq(seq),
        from: UserName::new(from).unwrap(),
        cid: Cid::new(&format!("c{seq}")).unwrap(),
        kind: MessageType::new("text").unwrap(),
        content: "x".to_owned(),
        ts: seq,
        at: seq,
        late: false,
    })
}

fn room() -> Room {
    let place = Place::Channel(ChannelName::new("c").unwrap());
    Room::new(place.conv_id(), Arc::new(place))
}

fn subscriber(user: &str, echo: bool) -> Arc<Subscription> {
    let outbox = Arc::new(Outbox::new(1 << 20));
    let user = UserName::new(user).unwrap();
    let session = SessionHandle::new(SessionId::generate(), user, outbox, None);
    Arc::new(Subscription::new(Arc::new(session), echo, true, None))
}

/// What was pushed after the reply, by number.
fn pushed(subscription: &Subscription) -> Vec<u64> {
    let mut frames = Vec::new();
    subscription.session.outbox.try_take(&mut frames);
    let seq = |frame: &Frame| -> Option<u64> {
        let frame: serde_json::Value = serde_json::from_str(frame.as_str()).ok()?;
        frame.get("msg")?.get("seq")?.as_u64()
    };
    frames.iter().filter_map(seq).collect()
}

/// A send of what [`message`] makes begins.
fn begin(subscription: &Subscription, cid: &str) -> Option<SendKey> {
    let kind = MessageType::new("text").unwrap();
    subscription.send_begins(&Cid::new(cid).unwrap(), &kind, "x")
}

fn epoch() -> Epoch {
    Epoch::new("e").unwrap()
}

/// Opens as a session does: reads what is committed, again if need be.
fn open(room: &Room, subscription: &Arc<Subscription>, committed: u64, stale: u64) -> u64 {
    let mut head = stale;
    while room.go_live(subscription, &epoch(), Seq(head), false, None, "\"reply\"".into())
        == Live::ReadAgain
    {
        assert!(head < committed, "reading again at the committed head must be enough");
        head = committed;
    }
    head
}

/// Fills as the service does.
fn repair(room: &Room, committed: u64) {
    while let Some(Missing { epoch, after, .. }) = room.missing_after() {
        room.fill(&epoch, (after.0 + 1..=committed).map(|seq| message(seq, "ann")).collect());
    }
}

#[derive(Debug, Clone)]
enum Act {
    /// A message is committed; its hint waits in the bus.
    Commit,
    /// The bus delivers one of the hints that wait, and may keep it for another time.
    Deliver { which: usize, again: bool },
    /// The bus loses one of the hints that wait.
    Lose(usize),
    /// A session joins, and its read starts.
    Join,
    /// A read is answered with what was committed when it started.
    Answer(usize),
    /// A session that is live opens again.
    Reopen(usize),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => Just(Act::Commit),
        4 => (any::<usize>(), any::<bool>()).prop_map(|(which, again)| Act::Deliver { which, again }),
        1 => any::<usize>().prop_map(Act::Lose),
        1 => Just(Act::Join),
        2 => any::<usize>().prop_map(Act::Answer),
        1 => any::<usize>().prop_map(Act::Reopen),
    ]
}

/// Sessions with what they read, or with their head.
type Sessions = Vec<(Arc<Subscription>, u64)>;

proptest! {
    #[test]
    fn each_session_gets_each_message_above_its_head_once_in_order(
        acts in prop::collection::vec(act(), 0..120)
    ) {
        let room = room();
        let (mut committed, mut bus) = (0, Vec::new());
        let (mut joining, mut live): (Sessions, Sessions) = (Vec::new(), Vec::new());
        let answer = |room: &Room, (subscription, read): (Arc<Subscription>, u64), committed| {
            let head = open(room, &subscription, committed, read);
            (subscription, head)
        };
        for act in acts {
            match act {
                Act::Commit => {
                    committed += 1;
                    bus.push(committed);
                }
                Act::Deliver { which, again } if !bus.is_empty() => {
                    let at = which % bus.len();
                    let seq = if again { bus[at] } else { bus.swap_remove(at) };
                    room.take(&epoch(), message(seq, "ann"), 0);
                }
                Act::Lose(which) if !bus.is_empty() => {
                    let at = which % bus.len();
                    bus.swap_remove(at);
                }
                Act::Join => {
                    let subscription = subscriber("bob", true);
                    room.join(Arc::clone(&subscription));
                    joining.push((subscription, committed));
                }
                Act::Answer(which) if !joining.is_empty() => {
                    let at = which % joining.len();
                    live.push(answer(&room, joining.swap_remove(at), committed));
                }
                Act::Reopen(which) if !live.is_empty() => {
                    let at = which % live.len();
                    let (earlier, _) = live.swap_remove(at);
                    let again = Arc::new(Subscription::new(Arc::clone(&earlier.session), true, true, None));
                    pushed(&earlier);
                    room.join(Arc::clone(&again));
                    joining.push((again, committed));
                }
                _ => {}
            }
        }
        for joined in joining {
            live.push(answer(&room, joined, committed));
        }
        // A lost hint is noticed by the next one, or by the next open: one more message settles it.
        committed += 1;
        room.take(&epoch(), message(committed, "ann"), 0);
        repair(&room, committed);
        for (subscription, head) in live {
            prop_assert_eq!(pushed(&subscription), (head + 1..=committed).collect::<Vec<_>>());
        }
    }
}

#[test]
fn without_echo_only_this_sessions_own_sends_are_left_out() {
    let room = room();
    let (quiet, other) = (subscriber("ann", false), subscriber("ann", true));
    for subscription in [&quiet, &other] {
        room.join(Arc::clone(subscription));
        open(&room, subscription, 0, 0);
    }
    begin(&quiet, "c1");
    room.take(&epoch(), message(1, "ann"), 0);
    room.take(&epoch(), message(2, "ann"), 0);
    assert_eq!(pushed(&quiet), vec![2]);
    assert_eq!(pushed(&other), vec![1, 2]);
}

#[test]
fn another_epoch_is_never_delivered_and_a_reset_closes_the_stream() {
    let room = room();
    let subscription = subscriber("ann", true);
    room.join(Arc::clone(&subscription));
    open(&room, &subscription, 0, 0);
    let other = Epoch::new("other").unwrap();
    assert_eq!(room.take(&other, message(1, "bob"), 0), Need::Nothing);
    assert_eq!(pushed(&subscription), Vec::<u64>::new());
    room.reset(&other);
    assert!(subscription.is_closed());
    assert!(room.is_empty());
    let mut frames = Vec::new();
    subscription.session.outbox.try_take(&mut frames);
    assert!(frames[0].as_str().contains("\"reset\""), "{frames:?}");
}

#[test]
fn hints_of_another_life_that_came_before_the_stream_are_not_delivered() {
    let other = Epoch::new("other").unwrap();
    let opened = |take: &dyn Fn(&Room)| {
        let (room, subscription) = (room(), subscriber("ann", true));
        room.join(Arc::clone(&subscription));
        take(&room);
        open(&room, &subscription, 1, 1);
        (pushed(&subscription), room.need())
    };
    let late = opened(&|room| {
        room.take(&other, message(2, "bob"), 0);
        room.heard(&other, Seq(9));
    });
    assert_eq!(late, (vec![], Need::Nothing));
    // What was forgotten for it may be missing.
    let mixed = opened(&|room| {
        room.take(&epoch(), message(2, "bob"), 0);
        room.take(&other, message(2, "cay"), 0);
    });
    assert_eq!(mixed, (vec![], Need::Fill));
}

#[test]
fn a_failed_reopen_leaves_the_earlier_stream_whole() {
    let room = room();
    let earlier = subscriber("ann", true);
    room.join(Arc::clone(&earlier));
    open(&room, &earlier, 0, 0);
    room.take(&epoch(), message(1, "bob"), 0);
    let again = Arc::new(Subscription::new(Arc::clone(&earlier.session), true, true, None));
    room.join(Arc::clone(&again));
    room.take(&epoch(), message(2, "bob"), 0);
    assert!(room.give_up_joining(&again, Some(&earlier)));
    room.take(&epoch(), message(3, "bob"), 0);
    assert_eq!(pushed(&earlier), vec![1, 2, 3]);
}

#[rstest]
fn without_echo_a_send_in_flight_at_a_reopen_is_left_out_too(
    #[values(false, true)] had_echo: bool,
) {
    let room = room();
    let earlier = subscriber("ann", had_echo);
    room.join(Arc::clone(&earlier));
    open(&room, &earlier, 0, 0);
    // The first is shown by the reopen, the second comes after it.
    let first = begin(&earlier, "c1");
    begin(&earlier, "c2");
    let session = Arc::clone(&earlier.session);
    let again = Arc::new(Subscription::new(session, false, true, Some(&earlier)));
    room.join(Arc::clone(&again));
    room.take(&epoch(), message(1, "ann"), 0);
    earlier.send_ends(first, Some(Seq(1)));
    open(&room, &again, 1, 1);
    room.take(&epoch(), message(2, "ann"), 0);
    room.take(&epoch(), message(3, "ann"), 0);
    assert_eq!(pushed(&again), vec![3]);
}

#[test]
fn without_echo_a_refused_conflict_changes_nothing() {
    let room = room();
    let quiet = subscriber("ann", false);
    room.join(Arc::clone(&quiet));
    open(&room, &quiet, 0, 0);
    let conflict = |cid: &str| {
        let kind = MessageType::new("text").unwrap();
        quiet.send_begins(&Cid::new(cid).unwrap(), &kind, "something else")
    };
    // Its own message: the conflict with it must not bring it back.
    let own = begin(&quiet, "c1");
    quiet.send_ends(own, Some(Seq(1)));
    quiet.send_ends(conflict("c1"), None);
    room.take(&epoch(), message(1, "ann"), 0);
    // Another session's message: the conflict with it must not hide it.
    let unanswered = conflict("c2");
    room.take(&epoch(), message(2, "ann"), 0);
    quiet.send_ends(unanswered, None);
    assert_eq!(pushed(&quiet), vec![2]);
}

#[test]
fn a_doubt_is_settled_by_asking_the_engine_once() {
    let (room, ann) = (room(), subscriber("ann", true));
    room.join(Arc::clone(&ann));
    // While the first open is being answered nothing is known to ask after.
    assert_eq!(room.doubt(), Need::Nothing);
    open(&room, &ann, 2, 2);
    assert_eq!(room.need(), Need::Fill);
    repair(&room, 4);
    assert_eq!(pushed(&ann), [3, 4]);
    assert_eq!((room.need(), room.missing_after()), (Need::Nothing, None));

    assert_eq!(room.doubt(), Need::Fill);
    assert_eq!(room.doubt(), Need::Nothing, "somebody is at it");
    let missing = Missing { epoch: epoch(), after: Seq(4), is_known: false };
    assert_eq!(room.missing_after(), Some(missing));
    assert_eq!(room.missing_after(), None, "the engine has no more");

    assert_eq!(room.heard(&epoch(), Seq(4)), Need::Nothing);
    assert_eq!(room.heard(&Epoch::new("another").unwrap(), Seq(9)), Need::Nothing);
    assert_eq!(room.heard(&epoch(), Seq(6)), Need::Fill);
    room.fill(&Epoch::new("another").unwrap(), vec![message(5, "bob"), message(6, "bob")]);
    assert!(pushed(&ann).is_empty(), "numbers of another life are other messages");
    repair(&room, 6);
    assert_eq!(pushed(&ann), [5, 6]);
}

#[test]
fn what_was_held_of_another_life_is_not_delivered_in_the_next() {
    let (room, other) = (room(), Epoch::new("other").unwrap());
    let (ann, bob) = (subscriber("ann", true), subscriber("bob", true));
    room.join(Arc::clone(&ann));
    open(&room, &ann, 0, 0);
    room.join(Arc::clone(&bob));
    room.take(&epoch(), message(1, "eve"), 0);
    // The store comes back with less while bob's open is under way.
    room.reset(&other);
    assert_eq!(room.go_live(&bob, &other, Seq(0), false, None, "\"reply\"".into()), Live::Yes);
    assert_eq!(pushed(&bob), Vec::<u64>::new());
}

#[path = "room_group_tests.rs"]
mod groups;
