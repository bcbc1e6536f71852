//! Each fault of buses and pushes breaks what its name says, and nothing else.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rstest::rstest;

use super::pushes::Pushes;
use super::{Fault, FaultyDistribution};
use crate::distribution::{
    Concerned, Distribution as _, Hint, HintSink, MessageHint, local::LocalDistribution,
};
use crate::model::{
    ChannelName, Cid, ConvId, Epoch, Message, MessageType, NodeId, Place, Seq, SessionId, UserName,
};

fn message(seq: u64, cid: &str) -> Arc<Message> {
    Arc::new(Message {
        seq: Seq(seq),
        from: UserName::new("ann").unwrap(),
        cid: Cid::new(cid).unwrap(),
        kind: MessageType::new("text").unwrap(),
        content: "hello".to_owned(),
        ts: seq,
        at: seq,
        late: false,
    })
}

fn place(name: &str) -> Arc<Place> {
    Arc::new(Place::Channel(ChannelName::new(name).unwrap()))
}

#[rstest]
#[case(Fault::MissPush, &[1, 2, 4, 5])]
#[case(Fault::DoublePush, &[1, 2, 3, 3, 4, 5, 6, 6])]
#[case(Fault::SwapPushes, &[1, 2, 4, 3, 5])]
#[case(Fault::RepeatPush, &[1, 2, 3, 2, 4, 5, 6, 5])]
#[case(Fault::MissOwn, &[1, 2, 4, 5])]
#[case(Fault::MissLate, &[1, 2, 3, 4, 5, 6])]
#[case(Fault::Invent, &[1, 2, 3, 4, 5, 6])]
fn pushes_are_missed_doubled_and_swapped(#[case] fault: Fault, #[case] expected: &[u64]) {
    let pushes = Pushes::new(fault, 3);
    let (session, conv) = (SessionId::generate(), place("c").conv_id());
    let to = (&session, &UserName::new("ann").unwrap());
    let frames: Vec<_> = (1..=6)
        .flat_map(|seq| pushes.before(to, conv, &message(seq, "c"), seq.to_string().into()))
        .map(|frame| frame.parse::<u64>().unwrap())
        .collect();
    assert_eq!(frames, expected);
}

#[test]
fn late_pushes_wait_for_one_that_is_on_time() {
    let pushes = Pushes::new(Fault::HoldLatePush, 1);
    let (session, conv) = (SessionId::generate(), place("c").conv_id());
    let to = (&session, &UserName::new("ann").unwrap());
    let frames: Vec<_> = (1..=6)
        .flat_map(|seq| {
            let late = seq % 3 != 0;
            let message = Message { late, ..(*message(seq, "c")).clone() };
            pushes.before(to, conv, &message, seq.to_string().into())
        })
        .map(|frame| frame.parse::<u64>().unwrap())
        .collect();
    assert_eq!(frames, [3, 1, 2, 6, 4, 5]);
}

#[derive(Default)]
struct Heard(Mutex<Vec<(ConvId, u64, String)>>);

impl HintSink for Heard {
    fn deliver(&self, hint: Hint) {
        let Hint::Message(hint) = hint else { panic!("only messages are published here") };
        let heard = (hint.conv, hint.message.seq.0, hint.message.cid.as_str().to_owned());
        self.0.lock().unwrap().push(heard);
    }

    fn gap(&self, _: Concerned) {}
}

#[rstest]
#[case(None, &["a1", "b2", "a3", "b4"])]
#[case(Some(Fault::DoubleHint), &["a1", "b2", "b2", "a3", "b4", "b4"])]
#[case(Some(Fault::DelayHint), &["a1", "a3", "b2", "b4"])]
#[case(Some(Fault::MisroutePush), &["a1", "a1", "a3", "a3"])]
#[tokio::test]
async fn hints_are_doubled_delayed_and_misrouted(
    #[case] fault: Option<Fault>,
    #[case] expected: &[&str],
) {
    let bus = FaultyDistribution::new(Arc::new(LocalDistribution::default()), fault, 2);
    let heard = Arc::new(Heard::default());
    bus.start(heard.clone()).await.unwrap();
    for (name, seq) in [("a", 1), ("b", 2), ("a", 3), ("b", 4)] {
        bus.publish(Hint::Message(MessageHint {
            conv: place(name).conv_id(),
            place: place(name),
            epoch: Epoch::generate(),
            node: NodeId::generate(),
            message: message(seq, &format!("{name}{seq}")),
            became: Vec::new(),
            roster: 0,
            stored_us: 0,
        }));
    }
    tokio::time::sleep(Duration::from_millis(400)).await;
    let heard = heard.0.lock().unwrap();
    let cids: Vec<&str> = heard.iter().map(|(_, _, cid)| cid.as_str()).collect();
    assert_eq!(cids, expected);
}
