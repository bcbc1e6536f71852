//! The engine against nodes that fail, lose things and lie, as stand-ins in this process.

mod losses;
mod refusals;
mod siblings;

use std::sync::Arc;

use super::{OpenError, RiakPersistence, entry, open};
use crate::model::{ChannelName, Place, Seq, UserName};
use crate::persistence::conformance::restored;
use crate::persistence::conformance::riak::RiakStore;
use crate::persistence::conformance::riak_server::{ConditionalPut, RiakServer};
use crate::persistence::conformance::subject::{PAST, Room, epoch_of};
use crate::persistence::{AppendOutcome, EngineError, Persistence as _};

/// A store of its own.
fn store(conditional: ConditionalPut) -> (RiakStore, RiakServer) {
    let store = RiakStore::stand_in(conditional);
    let server = store.server.clone().expect("a stand-in");
    (store, server)
}

async fn engine(store: &RiakStore) -> Arc<RiakPersistence> {
    open(store.settings()).await.expect("the node answers")
}

fn room(name: &str) -> Room {
    Room::new(Place::Channel(ChannelName::new(name).unwrap()))
}

fn ann() -> UserName {
    UserName::new("ann").unwrap()
}

async fn append(engine: &RiakPersistence, room: &Room) -> Result<Seq, EngineError> {
    match engine.append(room.message(&ann(), PAST)).await? {
        AppendOutcome::Stored(stored) => Ok(stored.message.seq),
        other => panic!("{other:?}"),
    }
}

/// How many messages there are, read anew.
async fn count(engine: &RiakPersistence, room: &Room) -> usize {
    engine.after(room.conv, Seq::ZERO, 1_000).await.unwrap().page.items.len()
}

#[tokio::test]
async fn users_rosters_and_messages_come_back() {
    let (store, _server) = store(ConditionalPut::Token);
    restored::what_is_restored_is_there(&*engine(&store).await).await;
}
