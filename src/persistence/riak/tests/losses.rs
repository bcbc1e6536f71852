//! A store that has less than it acknowledged.

use super::*;

/// The object of an entry is gone from all replicas.
fn lose(server: &RiakServer, room: &Room, number: u64) {
    let place = entry::place(room.conv, number);
    server.forget(&place.bucket, &place.key);
}

#[tokio::test]
async fn the_end_of_a_conversation_that_is_gone_is_noticed_by_who_knew_it() {
    let (store, server) = store(ConditionalPut::Token);
    let (engine, other) = (engine(&store).await, engine(&store).await);
    let room = room("shortened");
    for seq in 1..=3 {
        assert_eq!(append(&engine, &room).await.unwrap(), Seq(seq));
    }
    let mut renewals = engine.renewals().unwrap();
    let epoch = epoch_of(&*engine);
    lose(&server, &room, 3);
    assert_eq!(count(&engine, &room).await, 2);
    assert_ne!(epoch_of(&*engine), epoch, "number 3 is given again, so the epoch is new");
    assert!(engine.lost_data().is_some());
    assert!(renewals.has_changed().unwrap() && *renewals.borrow_and_update() == 1);
    assert_eq!(append(&other, &room).await.unwrap(), Seq(3));
    assert_eq!(epoch_of(&*other), epoch_of(&*engine), "decided once");
    assert_eq!(count(&engine, &room).await, 3);
}

#[tokio::test]
async fn a_gap_ends_a_conversation_and_what_stands_behind_it_is_replaced() {
    let (store, server) = store(ConditionalPut::Token);
    let engine = engine(&store).await;
    let room = room("torn");
    for _ in 0..4 {
        append(&engine, &room).await.unwrap();
    }
    lose(&server, &room, 2);
    drop(engine);
    // Nobody remembers the end.
    let engine = super::engine(&store).await;
    assert_eq!(count(&engine, &room).await, 1);
    for seq in 2..=5 {
        assert_eq!(append(&engine, &room).await.unwrap(), Seq(seq), "3 and 4 stood there");
    }
    assert_eq!(count(&*super::engine(&store).await, &room).await, 5);
}

#[tokio::test]
async fn an_acknowledgement_of_what_is_gone_tells_of_the_loss() {
    let (store, server) = store(ConditionalPut::Token);
    let first = engine(&store).await;
    let room = room("acknowledged");
    first.open(room.opening(&ann(), 10)).await.unwrap();
    for _ in 0..3 {
        append(&first, &room).await.unwrap();
    }
    first.ack(room.acking(&ann(), 3, &[])).await.unwrap();
    let epoch = epoch_of(&*first);
    drop(first);
    lose(&server, &room, 3);
    let engine = engine(&store).await;
    assert_eq!(epoch_of(&*engine), epoch, "nobody knows yet");
    let opened = engine.open(room.opening(&ann(), 10)).await.unwrap();
    assert_ne!(opened.epoch, epoch);
    assert_eq!((opened.head, opened.acked.up_to), (Seq(2), Seq(2)), "cut to the head");
    append(&engine, &room).await.unwrap();
    let opened = engine.open(room.opening(&ann(), 10)).await.unwrap();
    assert_eq!(opened.acked.up_to, Seq(2), "the new number 3 was not acknowledged");
}

#[tokio::test]
async fn a_life_that_is_gone_is_followed_by_another() {
    let (store, server) = store(ConditionalPut::Token);
    let engine = engine(&store).await;
    let room = room("life");
    append(&engine, &room).await.unwrap();
    let epoch = epoch_of(&*engine);
    server.forget("store", "life");
    append(&engine, &room).await.unwrap();
    assert_ne!(epoch_of(&*engine), epoch);
    assert!(engine.lost_data().is_some());
}

#[tokio::test]
async fn a_loss_is_not_forgotten_while_no_other_life_can_begin() {
    let (store, server) = store(ConditionalPut::Token);
    let engine = engine(&store).await;
    let room = room("not-now");
    for _ in 0..3 {
        append(&engine, &room).await.unwrap();
    }
    let epoch = epoch_of(&*engine);
    lose(&server, &room, 3);
    // Every write is refused, and reaches nobody.
    server.faults().cut_write_every(1, 0);
    assert!(engine.after(room.conv, Seq::ZERO, 10).await.is_err(), "2 of 3 under the old epoch");
    assert_eq!(epoch_of(&*engine), epoch);
    server.faults().cut_write_every(0, 0);
    assert_eq!(count(&engine, &room).await, 2);
    assert_ne!(epoch_of(&*engine), epoch);
}

#[tokio::test]
async fn a_life_that_began_anew_is_above_those_that_wrote() {
    let (store, server) = store(ConditionalPut::Token);
    let first = engine(&store).await;
    let room = room("rolled-back");
    first.open(room.opening(&ann(), 10)).await.unwrap();
    for _ in 0..2 {
        append(&first, &room).await.unwrap();
    }
    server.forget("store", "life");
    append(&first, &room).await.unwrap();
    drop(first);
    server.forget("store", "life");
    // It would be the first life again, and the last message is of the second.
    let engine = engine(&store).await;
    engine.ack(room.acking(&ann(), 3, &[])).await.unwrap();
    let opened = engine.open(room.opening(&ann(), 10)).await.unwrap();
    assert_eq!((opened.head, opened.acked.up_to), (Seq(3), Seq(3)));
}
