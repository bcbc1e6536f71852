//! The room of a group: who is pushed what while members come and go.

use super::*;
use crate::model::{GroupAct, GroupId};

fn name(name: &str) -> UserName {
    UserName::new(name).unwrap()
}

fn group() -> Room {
    let place = Place::Group(GroupId::generate());
    Room::new(place.conv_id(), Arc::new(place))
}

fn roster(before: &Arc<Roster>, by: &str, act: GroupAct) -> Arc<Roster> {
    Arc::new(before.after(&name(by), &act, (Seq(0), &epoch())).unwrap().unwrap())
}

/// Of Ann, who owns it, and Bob.
fn of_two() -> Arc<Roster> {
    let made = roster(&Arc::default(), "ann", GroupAct::Create);
    roster(&made, "ann", GroupAct::Invite(name("bob")))
}

fn goes_live(room: &Room, user: &str, roster: &Arc<Roster>) -> (Arc<Subscription>, Live) {
    let subscription = subscriber(user, true);
    room.join(Arc::clone(&subscription));
    let reply = "\"reply\"".into();
    let live = room.go_live(&subscription, &epoch(), Seq(0), false, Some(roster), reply);
    (subscription, live)
}

fn frames(subscription: &Subscription) -> String {
    let mut frames = Vec::new();
    subscription.session.outbox.try_take(&mut frames);
    frames.iter().map(|frame| frame.as_str()).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_message_of_a_later_roster_waits_until_it_is_known_who_is_left() {
    let (room, two) = (group(), of_two());
    let (ann, _) = goes_live(&room, "ann", &two);
    let (bob, _) = goes_live(&room, "bob", &two);
    assert_eq!(room.take(&epoch(), message(1, "ann"), two.version), Need::Nothing);
    let alone = roster(&two, "ann", GroupAct::Remove(name("bob")));
    assert_eq!(room.take(&epoch(), message(2, "ann"), alone.version), Need::Fill);
    assert_eq!((pushed(&ann), pushed(&bob)), (vec![1], vec![1]));
    room.learn(&epoch(), &alone);
    let (of_ann, of_bob) = (frames(&ann), frames(&bob));
    assert!(of_ann.contains("\"seq\":2") && of_ann.contains("\"joined\":false"), "{of_ann}");
    assert!(of_bob.contains("\"removed\"") && !of_bob.contains("\"msg\""), "{of_bob}");
    assert!(bob.is_closed());
    // An older one changes nothing any more, nor does one of another life.
    room.learn(&epoch(), &two);
    room.learn(&Epoch::new("other").unwrap(), &two);
    assert_eq!(room.heard_roster(&epoch(), alone.version), Need::Nothing);
    room.take(&epoch(), message(3, "ann"), alone.version);
    assert_eq!((pushed(&ann), frames(&bob)), (vec![3], String::new()));
}

#[test]
fn who_was_invited_again_meanwhile_has_to_open_again() {
    let (room, two) = (group(), of_two());
    let (bob, _) = goes_live(&room, "bob", &two);
    let alone = roster(&two, "ann", GroupAct::Remove(name("bob")));
    let again = roster(&alone, "ann", GroupAct::Invite(name("bob")));
    room.learn(&epoch(), &again);
    assert!(bob.is_closed() && frames(&bob).contains("\"removed\""));
}

#[test]
fn nobody_goes_live_with_a_membership_that_is_over() {
    let (room, two) = (group(), of_two());
    let (ann, live) = goes_live(&room, "ann", &two);
    assert_eq!(live, Live::Yes);
    let alone = roster(&two, "ann", GroupAct::Remove(name("bob")));
    room.learn(&epoch(), &alone);
    // He had read the roster before.
    let (bob, live) = goes_live(&room, "bob", &two);
    assert_eq!((live, frames(&bob)), (Live::NotMember, String::new()));
    assert!(!room.give_up_joining(&bob, None));
    // Whoever reads a newer one brings it along.
    let with_eve = roster(&alone, "ann", GroupAct::Invite(name("eve")));
    let (_, live) = goes_live(&room, "eve", &with_eve);
    assert_eq!(live, Live::Yes);
    assert!(frames(&ann).contains("\"eve\""));
}
