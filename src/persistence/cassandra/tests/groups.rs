//! Groups where it matters how they are stored: at the borders of buckets, in doubt, after a loss; and what they cost.

use crate::persistence::conformance::subject::epoch_of;
use futures_util::future::join;

use super::super::rosters::{self, RosterId};
use super::*;
use crate::model::{GroupAct, GroupId, Place, Roster};
use crate::persistence::conformance::subject::{regrouped, roster, stored as stored_by};
use crate::persistence::{Append, GroupOutcome, GroupRequest};
use rustix::process::{Pid, Signal, kill_process};

fn group(id: &str) -> Room {
    Room::new(Place::Group(GroupId::new(&format!("{id:x<22}")).unwrap()))
}

fn bob() -> UserName {
    UserName::new("bob").unwrap()
}

/// Bob comes, or goes, by turns.
fn turn(number: u64) -> GroupAct {
    if number.is_multiple_of(2) { GroupAct::Invite(bob()) } else { GroupAct::Remove(bob()) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stdout, reason = "its report")]
async fn a_change_and_a_message_race_for_every_next_bucket() {
    /// So small that each round ends with a full one.
    const FEW: u64 = 3;
    let Some(ring) = Ring::start(1, CommitlogSync::Periodic) else { return };
    let settings = ring.keyspace(FEW).await;
    let one: Arc<dyn Persistence> = engine(&settings).await;
    let other: Arc<dyn Persistence> = engine(&settings).await;
    let room = group("race");
    let mut version = regrouped(&one, &room, &ann(), GroupAct::Create).await.0.version;
    let (mut seq, mut changed_first) = (0u64, 0);
    for number in 0..60 {
        while !seq.is_multiple_of(FEW) || seq == 0 {
            seq = stored_by(&one, room.message(&ann(), PAST)).await.message.seq.0;
        }
        let (sender, changer) = if number % 4 < 2 { (&one, &other) } else { (&other, &one) };
        let (sent, (now, _)) = join(
            stored_by(sender, room.message(&ann(), PAST)),
            regrouped(changer, &room, &ann(), turn(number)),
        )
        .await;
        assert_eq!((sent.message.seq.0, now.version), (seq + 1, version + 1));
        assert!((version..=version + 1).contains(&sent.roster), "{} at {version}", sent.roster);
        changed_first += u64::from(sent.roster > version);
        (seq, version) = (seq + 1, version + 1);
        // Where only the change was there to begin a bucket.
        while !seq.is_multiple_of(FEW) {
            seq = stored_by(&other, room.message(&ann(), PAST)).await.message.seq.0;
        }
        if number % 3 == 0 {
            regrouped(&one, &room, &ann(), turn(number + 1)).await;
            let newest = one.summary(room.conv, &ann()).await.unwrap().newest.map(|it| it.seq.0);
            assert_eq!(newest, Some(seq), "the newest stands in the bucket before");
            let mine = other.mine(&ann()).await.unwrap();
            assert_eq!(mine.iter().map(|mine| mine.conv).collect::<Vec<_>>(), [room.conv]);
            version = regrouped(&other, &room, &ann(), turn(number)).await.0.version;
        }
    }
    println!("60 races for a bucket: the change was first in {changed_first}");
    // The same to a server that knows nothing yet.
    let fresh: Arc<dyn Persistence> = engine(&settings).await;
    assert_eq!(roster(&fresh, &room).await.version, version);
    let all = everything(&fresh, room.conv).await;
    assert_eq!(all.len() as u64, seq);
    assert!(all.iter().zip(1..).all(|(message, seq)| message.seq == Seq(seq)), "no hole");
}

/// Asks until it is certain.
async fn insist_on(
    engine: &Arc<dyn Persistence>,
    room: &Room,
    act: GroupAct,
) -> (Arc<Roster>, u64) {
    let mut doubts = 0;
    loop {
        let (conv, place) = (room.conv, Arc::clone(&room.place));
        let request = GroupRequest { conv, place, by: ann(), act: act.clone() };
        let started = Instant::now();
        let outcome = engine.regroup(request).await;
        assert!(started.elapsed() < ANSWER_MAX, "{:?}", started.elapsed());
        match outcome {
            Ok(GroupOutcome::Done { now, .. }) => return (now.roster, doubts),
            Ok(refused) => panic!("{refused:?}"),
            Err(error) => doubts += u64::from(!error.is_definite()),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[expect(clippy::print_stdout, reason = "its report")]
async fn pause(nodes: u8) {
    let Some(ring) = Ring::start(nodes, CommitlogSync::Batch) else { return };
    let settings = ring.keyspace(ROWS).await;
    let one: Arc<dyn Persistence> = engine(&settings).await;
    let other: Arc<dyn Persistence> = engine(&settings).await;
    let room = group("doubt");
    regrouped(&one, &room, &ann(), GroupAct::Create).await;
    let pid = ring.nodes()[0].running().expect("it runs");
    let pid = Pid::from_raw(pid.cast_signed()).unwrap();
    // Short and long ones: answered late, and not at all.
    let pauses = tokio::spawn(async move {
        for pause in [1_800, 5_000, 900, 2_400, 5_000, 1_800, 5_000] {
            tokio::time::sleep(Duration::from_millis(700)).await;
            kill_process(pid, Signal::STOP).unwrap();
            tokio::time::sleep(Duration::from_millis(pause)).await;
            kill_process(pid, Signal::CONT).unwrap();
        }
    });
    let (mut version, mut doubts) = (1, 0);
    while !pauses.is_finished() || version % 2 == 0 {
        let engine = if version % 3 == 0 { &one } else { &other };
        let (now, doubted) = insist_on(engine, &room, turn(version - 1)).await;
        (version, doubts) = (version + 1, doubts + doubted);
        // Each took effect, and took effect once: also those that nobody could answer.
        assert_eq!(now.version, version);
        let is_member = now.membership(&bob()).is_some();
        if version % 4 > 1 {
            continue;
        }
        let sent = loop {
            match one.append(room.message(&bob(), PAST)).await {
                Ok(outcome) => break outcome,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        };
        match sent {
            AppendOutcome::Stored(stored) => assert!(is_member && stored.roster == version),
            AppendOutcome::NotMember => assert!(!is_member),
            other => panic!("{other:?}"),
        }
    }
    pauses.await.unwrap();
    println!("{nodes} nodes: {} changes, {doubts} of them in doubt for a while", version - 1);
    assert!(version > 5);
    let all = everything(&other, room.conv).await;
    assert!(all.iter().zip(1..).all(|(message, seq)| message.seq == Seq(seq)), "no hole");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_in_doubt_takes_effect_once_and_none_comes_late() {
    pause(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "three nodes take a minute; `make soak`"]
async fn a_change_while_one_of_three_nodes_stands_still_takes_effect_once() {
    pause(3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stdout, reason = "its report")]
async fn a_change_gets_its_turn_where_others_write_all_the_time() {
    let Some(ring) = Ring::start(1, CommitlogSync::Periodic) else { return };
    let settings = ring.keyspace(ROWS).await;
    let one: Arc<dyn Persistence> = engine(&settings).await;
    let other: Arc<dyn Persistence> = engine(&settings).await;
    let room = group("flood");
    regrouped(&one, &room, &ann(), GroupAct::Create).await;
    let stop = Arc::new(AtomicBool::new(false));
    let flood: Vec<_> = (0..16)
        .map(|_| {
            let (stop, one, room) = (Arc::clone(&stop), Arc::clone(&one), group("flood"));
            tokio::spawn(async move {
                let mut count = 0;
                while !stop.load(Ordering::Relaxed) {
                    stored_by(&one, room.message(&ann(), PAST)).await;
                    count += 1;
                }
                count
            })
        })
        .collect();
    let mut took = Vec::new();
    for number in 0..30 {
        let started = Instant::now();
        let (now, _) = regrouped(&other, &room, &ann(), turn(number)).await;
        took.push(started.elapsed());
        assert_eq!(now.version, number + 2);
        // What another server reads of it is the same, to the head at which he came.
        assert_eq!(roster(&one, &room).await, now);
    }
    stop.store(true, Ordering::Relaxed);
    let counts: Vec<u64> = join_all(flood).await.into_iter().map(|count| count.unwrap()).collect();
    took.sort_unstable();
    println!(
        "30 changes beside {} messages of another server: {:.0?} in the middle, {:.0?} at most",
        counts.iter().sum::<u64>(),
        took[15],
        took[29],
    );
    assert!(took[29] < ANSWER_MAX);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_roster_that_others_came_after_is_told_from_one_that_never_was() {
    let Some(ring) = Ring::start(1, CommitlogSync::Periodic) else { return };
    let one = engine(&ring.keyspace(ROWS).await).await;
    let shared: Arc<dyn Persistence> = Arc::clone(&one) as _;
    let room = group("chain");
    regrouped(&shared, &room, &ann(), GroupAct::Create).await;
    let link = one.store.calls.now().expect("a session");
    let now = async || one.store.ends.rostered(&link, room.conv).await.unwrap().roster;
    let first = now().await.expect("there is one");
    for number in 0..3 {
        regrouped(&shared, &room, &ann(), turn(number)).await;
    }
    let now = now().await;
    for (id, is_there) in [
        (first, true),
        (now.expect("there is one"), true),
        (RosterId::new(1), false),
        (RosterId::new(3), false),
        (RosterId::new(9), false),
    ] {
        let found = rosters::is_among(&link, room.conv, id, now).await.unwrap();
        assert_eq!(found, is_there, "{id:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_left_of_a_group_goes_on_in_another_life() {
    let Some(ring) = Ring::start(1, CommitlogSync::Batch) else { return };
    let settings = ring.keyspace(ROWS).await;
    let one: Arc<dyn Persistence> = engine(&settings).await;
    let room = group("emptied");
    regrouped(&one, &room, &ann(), GroupAct::Create).await;
    for _ in 0..ROWS {
        stored_by(&one, room.message(&ann(), PAST)).await;
    }
    // This one begins the second bucket, which a backup from before does not have.
    let (now, _) = regrouped(&one, &room, &ann(), GroupAct::Invite(bob())).await;
    assert_eq!(now.membership(&bob()).map(|bob| bob.since), Some(Seq(ROWS)));
    let epoch = epoch_of(&*one);
    let session = lives::session(&settings).await;
    let conv = lives::hex(&room);
    lives::run(&session, &format!("DELETE FROM messages WHERE conv = {conv} AND bucket = 1")).await;
    // He was a member, and is not any more: nobody is told so under the old epoch.
    let left = one.roster(room.conv).await.unwrap();
    assert_ne!(left.epoch, epoch);
    assert_eq!((left.roster.version, left.roster.membership(&bob())), (1, None));
    let outcome = one.append(room.message(&bob(), PAST)).await.unwrap();
    assert!(matches!(outcome, AppendOutcome::NotMember), "{outcome:?}");
    let (now, _) = regrouped(&one, &room, &ann(), GroupAct::Invite(bob())).await;
    assert_eq!(now.version, 2);
    let sent = stored_by(&one, room.message(&bob(), PAST)).await;
    assert_eq!((sent.message.seq, sent.roster), (Seq(ROWS + 1), 2));
    // A roster alone that is older than it was.
    let epoch = epoch_of(&*one);
    let text = r#"{"version":1,"owner":"ann","members":{"ann":{"joined":1,"since":0}}}"#;
    let id = format!("0x{:016x}{:016x}", 1, 7);
    let row = format!("INSERT INTO rosters (conv, id, roster) VALUES ({conv}, {id}, '{text}')");
    lives::run(&session, &row).await;
    let named = format!("{id}{:016x}", 0);
    let older = format!("UPDATE messages SET roster = {named} WHERE conv = {conv} AND bucket = 1");
    lives::run(&session, &older).await;
    loop {
        match one.append(room.message(&bob(), PAST)).await {
            Ok(AppendOutcome::NotMember) => break,
            Ok(other) => panic!("{other:?}"),
            Err(error) => assert!(error.is_definite(), "{error:?}"),
        }
    }
    assert_ne!(epoch_of(&*one), epoch);
}

/// Requests to the nodes for one call, and how many of them are conditional batches.
async fn cost<T>(engine: &CassandraPersistence, call: impl AsyncFnOnce() -> T) -> (u64, u64) {
    let link = engine.store.calls.now().expect("a session");
    let before = (link.sent(), link.conditions());
    call().await;
    (link.sent() - before.0, link.conditions() - before.1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_call_costs_in_requests() {
    let Some(ring) = Ring::start(1, CommitlogSync::Periodic) else { return };
    let settings = ring.keyspace(512).await;
    let one = engine(&settings).await;
    let shared: Arc<dyn Persistence> = Arc::clone(&one) as _;
    let (channel, room) = (room("cost"), group("cost"));
    append(&one, &channel).await.unwrap();
    regrouped(&shared, &room, &ann(), GroupAct::Create).await;
    let message = |room: &Room| -> Append { room.named(&ann(), "again", "again", PAST) };
    assert_eq!(cost(&one, async || one.append(message(&channel)).await).await, (1, 1), "one batch");
    assert_eq!(
        cost(&one, async || one.append(message(&channel)).await).await,
        (0, 0),
        "a repetition is known"
    );
    assert_eq!(
        cost(&one, async || one.range(channel.history()).await).await,
        (1, 0),
        "what follows the end"
    );
    assert_eq!(
        cost(&one, async || one.append(message(&room)).await).await,
        (1, 1),
        "the same in a group"
    );
    assert_eq!(
        cost(&one, async || one.append(message(&room)).await).await,
        (1, 0),
        "is she a member still?"
    );
    assert_eq!(
        cost(&one, async || one.append(room.message(&bob(), PAST)).await).await,
        (1, 0),
        "is he one now?"
    );
    assert_eq!(cost(&one, async || one.range(room.history()).await).await, (1, 0));
    assert_eq!(cost(&one, async || one.roster(room.conv).await).await, (1, 0));
    // The end, the roster, its name; for who comes also whether it is in their list, and at first two to put it there.
    for (number, requests) in [(0, 6), (1, 3), (2, 4), (3, 3)] {
        let change = async || regrouped(&shared, &room, &ann(), turn(number)).await;
        assert_eq!(cost(&one, change).await, (requests, 1), "change {number}");
    }
}
