//! Where the suite gets RIAK engines from: a node that somebody runs, where `RIAK_URL` names one; else a stand-in in this process.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;

use super::riak_server::{ConditionalPut, RiakServer};
use super::service::{ServiceFactory, Store};
use super::subject::{Ending, Factory};
use crate::persistence::Persistence;
use crate::persistence::riak::{RiakSettings, open};

/// A store.
#[derive(Clone)]
pub struct RiakStore {
    /// The stand-in that it is in.
    pub server: Option<RiakServer>,
    url: String,
}

impl RiakStore {
    /// In a stand-in of its own.
    pub fn stand_in(conditional: ConditionalPut) -> Self {
        let server = RiakServer::start(conditional);
        Self { url: server.url(), server: Some(server) }
    }

    /// Of the stand-in, or of the node; that has a bucket type of this name.
    pub fn settings(&self) -> RiakSettings {
        RiakSettings { url: self.url.clone(), bucket_type: "chatctl".to_owned() }
    }
}

#[async_trait]
impl Store for RiakStore {
    async fn engine(&self) -> Arc<dyn Persistence> {
        open(self.settings()).await.expect("the node answers")
    }
}

/// Engines of any number of servers over one store.
pub type RiakFactory = ServiceFactory<RiakStore>;

impl RiakFactory {
    /// Over the node of `RIAK_URL`; where there is none, over a stand-in that lets one of several writers win.
    #[expect(clippy::disallowed_methods, reason = "a setting of the test, not of the program")]
    pub fn node() -> Self {
        static STORE: OnceLock<RiakStore> = OnceLock::new();
        let store = STORE.get_or_init(|| match std::env::var("RIAK_URL") {
            Ok(url) => RiakStore { server: None, url },
            Err(_) => RiakStore::stand_in(ConditionalPut::Token),
        });
        Self::new(Some(store.clone()))
    }

    /// Over a stand-in that does things and does not answer, answers late, and refuses what two of three replicas have taken.
    pub fn lossy() -> Self {
        static STORE: OnceLock<RiakStore> = OnceLock::new();
        let store = STORE.get_or_init(|| {
            let store = RiakStore::stand_in(ConditionalPut::Token);
            if let Some(server) = &store.server {
                server.faults().lose_reply_every(19);
                server.faults().cut_write_every(29, 2);
                server.faults().delay_every(499, Duration::from_millis(300));
            }
            store
        });
        Self::new(Some(store.clone()))
    }
}

/// Engines of one server alone, over a stand-in that lets several writers win.
pub struct RacingFactory(RiakStore);

impl RacingFactory {
    /// All of them share it.
    pub fn new() -> Self {
        static STORE: OnceLock<RiakStore> = OnceLock::new();
        Self(STORE.get_or_init(|| RiakStore::stand_in(ConditionalPut::Racing)).clone())
    }
}

#[async_trait]
impl Factory for RacingFactory {
    async fn create(&self) -> Arc<dyn Persistence> {
        let engine = open(self.0.settings()).await.expect("the node answers");
        assert!(engine.alone_because().is_some(), "writers at once are seen to win");
        engine
    }

    fn survives(&self) -> bool {
        true
    }

    async fn reopen(&self, engine: Arc<dyn Persistence>, ending: Ending) -> Arc<dyn Persistence> {
        if ending == Ending::Closed {
            engine.close().await;
        }
        drop(engine);
        self.create().await
    }
}
