//! Where the suite gets RIAK engines from: a node that somebody runs, where `RIAK_URL` names one; else a stand-in in this process.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;

use super::riak_server::{ConditionalPut, RiakServer};
use super::service::{ServiceFactory, Store};
use crate::persistence::Persistence;
use crate::persistence::riak::{RiakSettings, open};

/// A store.
#[derive(Clone)]
pub struct RiakStore {
    /// The stand-in that it is in.
    pub server: Option<RiakServer>,
    url: String,
    is_racing: bool,
}

impl RiakStore {
    /// In a stand-in of its own.
    pub fn stand_in(conditional: ConditionalPut) -> Self {
        let server = RiakServer::start(conditional);
        let is_racing = conditional == ConditionalPut::Racing;
        Self { url: server.url(), server: Some(server), is_racing }
    }

    /// Of the stand-in, or of the node; that has a bucket type of this name.
    pub fn settings(&self) -> RiakSettings {
        RiakSettings { url: self.url.clone(), bucket_type: "chatctl".to_owned() }
    }
}

#[async_trait]
impl Store for RiakStore {
    async fn engine(&self) -> Arc<dyn Persistence> {
        let engine = open(self.settings()).await.expect("the node answers");
        assert!(
            !self.is_racing || engine.alone_because().is_some(),
            "writers at once are seen to win"
        );
        engine
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
            Ok(url) => RiakStore { server: None, url, is_racing: false },
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

    /// Of one server alone, over a stand-in that lets several writers win.
    pub fn racing() -> Self {
        static STORE: OnceLock<RiakStore> = OnceLock::new();
        Self::alone(STORE.get_or_init(|| RiakStore::stand_in(ConditionalPut::Racing)).clone())
    }
}
