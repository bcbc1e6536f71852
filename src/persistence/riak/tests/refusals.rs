//! Nodes that are away, cannot, or must not be used.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::model::LIMITS;
use crate::persistence::riak::examine;
use crate::persistence::status::Examined;

#[tokio::test]
async fn a_node_that_refuses_is_indefinite_for_writes_until_it_is_back() {
    let (store, server) = store(ConditionalPut::Token);
    let engine = engine(&store).await;
    let room = room("refused");
    append(&engine, &room).await.unwrap();
    server.faults().refuse(true);
    let begun = std::time::Instant::now();
    // The end of the conversation could not be read: nothing was written.
    let error = append(&engine, &room).await.unwrap_err();
    assert!(matches!(error, EngineError::Unavailable(_)), "{error:?}");
    assert!(begun.elapsed() < Duration::from_millis(LIMITS.answer_ms_max));
    let deadline = begun + Duration::from_secs(5);
    while engine.health().is_ok() {
        assert!(std::time::Instant::now() < deadline, "it is not noticed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server.faults().refuse(false);
    assert_eq!(append(&engine, &room).await.unwrap(), Seq(2));
    while engine.health().is_err() {
        assert!(std::time::Instant::now() < deadline + Duration::from_secs(5), "it stays down");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn one_replica_less_is_no_matter() {
    let (store, server) = store(ConditionalPut::Token);
    let engine = engine(&store).await;
    let room = room("two-of-three");
    for (down, seq) in [(0, 1), (1, 2), (2, 3), (0, 4)] {
        server.faults().take_replica_down(down, true);
        assert_eq!(append(&engine, &room).await.unwrap(), Seq(seq));
        assert_eq!(count(&*super::engine(&store).await, &room).await as u64, seq);
        server.faults().take_replica_down(down, false);
    }
    assert!(engine.lost_data().is_none());
}

#[tokio::test]
async fn writers_at_once_that_win_are_found_out() {
    let (racing, _server) = store(ConditionalPut::Racing);
    let engine = engine(&racing).await;
    let reason = engine.alone_because().expect("they win");
    assert!(reason.contains("conditional_put_mode = prefer_token"), "{reason}");
    let (kept_apart, _server) = store(ConditionalPut::Token);
    assert_eq!(super::engine(&kept_apart).await.alone_because(), None);
}

#[tokio::test]
async fn a_bucket_type_that_must_not_be_used_is_named_at_once() {
    let (store, server) = store(ConditionalPut::Token);
    server.set_props("allow_mult", json!(false));
    let Err(error) = open(store.settings()).await else { panic!("opened") };
    assert!(matches!(error, OpenError::Setup { .. }), "{error}");
    assert!(error.to_string().contains("allow_mult=false"), "{error}");
    server.set_props("allow_mult", json!(true));
    server.remove_type("chatctl");
    let Err(error) = examine(store.settings()).await else { panic!("there is no such type") };
    assert!(error.to_string().contains("bucket-type create chatctl"), "{error}");
}

#[tokio::test]
async fn the_class_is_what_the_node_says() {
    let (store, server) = store(ConditionalPut::Token);
    let examined: Examined = examine(store.settings()).await.unwrap();
    assert_eq!(examined.durability.to_string(), "disk");
    assert!(examined.clock_skew_ms().is_none(), "{examined:?}");
    server.set_props("sync_on_write", json!("backend"));
    let engine = engine(&store).await;
    assert_eq!(engine.durability().to_string(), "service");
    assert!(engine.advice().contains("sync_on_write=all"));
}
