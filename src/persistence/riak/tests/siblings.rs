//! Several values of one key.

use bytes::Bytes;

use super::*;
use crate::persistence::riak::entry::{Entry, Written};
use crate::riak_link::{Condition, Node, Put};

/// Writes another value of an entry beside what is there, as a writer does whose write comes to light late.
async fn write_beside(store: &RiakStore, room: &Room, number: u64, entry: Entry) -> u64 {
    let settings = store.settings();
    let node = Node::new(&settings.url, &settings.bucket_type);
    let place = entry::place(room.conv, number);
    // The context of an object elsewhere covers nothing here.
    let elsewhere = crate::riak_link::Place { bucket: "tests".to_owned(), key: number.to_string() };
    node.put(&elsewhere, Bytes::from_static(b"{}"), Condition::Absent).await.unwrap();
    let context = node.get(&elsewhere).await.unwrap().unwrap().version;
    let written = Written::new(entry);
    let put = node.put(&place, written.bytes, Condition::Replaces(&context)).await.unwrap();
    assert_eq!(put, Put::Stored);
    written.digest
}

fn late(after: u64) -> Entry {
    Entry { after, generation: 1, tag: rand::random(), messages: Vec::new(), roster: None }
}

#[tokio::test]
async fn the_value_that_others_built_on_stays() {
    let (store, server) = store(ConditionalPut::Token);
    let first = engine(&store).await;
    let room = room("built-on");
    for _ in 0..3 {
        append(&first, &room).await.unwrap();
    }
    // Whatever its digest is, also where it is the least.
    for _ in 0..4 {
        write_beside(&store, &room, 1, late(0)).await;
    }
    let place = entry::place(room.conv, 1);
    assert!(server.siblings(&place.bucket, &place.key) > 1);
    let other = engine(&store).await;
    assert_eq!(count(&other, &room).await, 3);
    assert_eq!(server.siblings(&place.bucket, &place.key), 1, "settled for all");
    assert_eq!(count(&first, &room).await, 3);
    assert!(first.lost_data().is_none());
}

#[tokio::test]
async fn at_the_end_all_nodes_take_the_same_value() {
    let (store, server) = store(ConditionalPut::Token);
    let first = engine(&store).await;
    let room = room("at-the-end");
    append(&first, &room).await.unwrap();
    for _ in 0..4 {
        write_beside(&store, &room, 1, late(0)).await;
    }
    let (one, other) = (engine(&store).await, engine(&store).await);
    let at_one = count(&one, &room).await;
    assert_eq!(at_one, count(&other, &room).await);
    let place = entry::place(room.conv, 1);
    assert_eq!(server.siblings(&place.bucket, &place.key), 1);
    // The message was taken away from who had been told of it, or it was not: then nothing was lost.
    assert_eq!(count(&first, &room).await, at_one);
    assert_eq!(first.lost_data().is_some(), at_one == 0);
}

#[tokio::test]
async fn a_value_that_does_not_follow_the_entry_before_never_stays() {
    let (store, _server) = store(ConditionalPut::Token);
    let first = engine(&store).await;
    let room = room("strange");
    for _ in 0..3 {
        append(&first, &room).await.unwrap();
    }
    for _ in 0..4 {
        write_beside(&store, &room, 3, late(7)).await;
    }
    assert_eq!(count(&*engine(&store).await, &room).await, 3);
    assert_eq!(count(&first, &room).await, 3);
    assert!(first.lost_data().is_none());
}
