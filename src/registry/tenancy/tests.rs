//! Tenants of real servers of our own.

use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::join_all;
use rstest::rstest;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::cassandra::CassandraTenancy;
use super::redis::{RedisSettings, RedisTenancy};
use super::riak::RiakTenancy;
use super::{Company, RollSettings, Tenancy};
use crate::model::NodeId;
use crate::persistence::conformance::cassandra::Ring;
use crate::persistence::conformance::redis::{Server, program};
use crate::persistence::conformance::riak_server::{ConditionalPut, RiakServer};
use crate::services::{CommitlogSync, ServiceKind};

const LEASE: Duration = Duration::from_millis(1_500);

fn tenant(server: &Server, name: &str, company: &Company) -> RedisTenancy {
    let settings = RedisSettings {
        server: server.url().into(),
        prefix: "test:".to_owned(),
        name: name.to_owned(),
        node: NodeId::generate(),
        company: company.clone(),
        lease: LEASE,
    };
    RedisTenancy::of(settings).unwrap()
}

fn alone() -> Company {
    Company::Nobody("SOME_ENGINE=LOCAL".to_owned())
}

fn server(service: ServiceKind) -> Option<Server> {
    let program: PathBuf = program(service)?;
    Some(Server::start(&program, &[]))
}

#[rstest]
#[case::redis(ServiceKind::Redis)]
#[case::valkey(ServiceKind::Valkey)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_must_be_alone_is(#[case] service: ServiceKind) {
    let Some(server) = server(service) else { return };
    let first = tenant(&server, "first", &alone());
    let _lost = first.claim().await.unwrap();
    for company in [alone(), Company::Many] {
        let error = tenant(&server, "second", &company).claim().await.unwrap_err().to_string();
        assert!(error.contains("SOME_ENGINE=LOCAL") && error.contains("first"), "{error}");
    }
    first.close().await;
    let begun = Instant::now();
    let many = [tenant(&server, "a", &Company::Many), tenant(&server, "b", &Company::Many)];
    for one in &many {
        one.claim().await.unwrap();
    }
    assert!(begun.elapsed() < LEASE, "nobody waits for who said goodbye");
    let error = tenant(&server, "second", &alone()).claim().await.unwrap_err().to_string();
    assert!(error.contains("SOME_ENGINE=LOCAL"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_tenant_is_waited_for_and_not_in_its_own_way() {
    let Some(server) = server(ServiceKind::Redis) else { return };
    let killed = tenant(&server, "one", &alone());
    killed.claim().await.unwrap();
    drop(killed);
    let begun = Instant::now();
    let again = tenant(&server, "one", &alone());
    again.claim().await.unwrap();
    assert!(begun.elapsed() < LEASE / 2, "{:?}", begun.elapsed());
    drop(again);
    let other = tenant(&server, "other", &alone());
    other.claim().await.unwrap();
    assert!(begun.elapsed() > LEASE / 2, "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emptied_server_is_taken_again_and_another_start_of_the_name_ends_the_first() {
    let Some(server) = server(ServiceKind::Redis) else { return };
    let first = tenant(&server, "one", &alone());
    let lost = first.claim().await.unwrap();
    let mut connection = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    redis::cmd("FLUSHALL").exec(&mut connection).unwrap();
    tokio::time::sleep(LEASE).await;
    assert!(tenant(&server, "other", &alone()).claim().await.is_err());
    let second = tenant(&server, "one", &alone());
    second.claim().await.unwrap();
    let reason = timeout(LEASE * 2, lost).await.unwrap().unwrap();
    assert!(reason.contains("CHATCTL_NODE"), "{reason}");
}

/// Sessions with Cassandra take a while to be made on a busy machine.
const PATIENT_LEASE: Duration = Duration::from_secs(5);

fn member(name: &str, company: &Company, lease: Duration) -> RollSettings {
    RollSettings {
        name: name.to_owned(),
        node: NodeId::generate(),
        company: company.clone(),
        lease,
    }
}

/// What holds of tenants of a roll, wherever it is kept.
async fn tenants_of_a_roll_keep_apart<T: Tenancy>(
    lease: Duration,
    tenant: impl Fn(RollSettings) -> T,
) {
    let tenant = |name: &str, company: &Company| tenant(member(name, company, lease));
    let first = tenant("first", &alone());
    let _lost = first.claim().await.unwrap();
    for company in [alone(), Company::Many] {
        let error = tenant("second", &company).claim().await.unwrap_err().to_string();
        assert!(error.contains("SOME_ENGINE=LOCAL") && error.contains("first"), "{error}");
    }
    first.close().await;
    let begun = Instant::now();
    let many = [tenant("a", &Company::Many), tenant("b", &Company::Many)];
    for one in &many {
        one.claim().await.unwrap();
    }
    assert!(begun.elapsed() < lease, "nobody waits for who said goodbye");
    let error = tenant("second", &alone()).claim().await.unwrap_err().to_string();
    assert!(error.contains("SOME_ENGINE=LOCAL"), "{error}");
    for one in &many {
        one.close().await;
    }
    // Killed, and started again under its name; and another one that must wait.
    let killed = tenant("one", &alone());
    killed.claim().await.unwrap();
    drop(killed);
    let begun = Instant::now();
    let again = tenant("one", &alone());
    let lost = again.claim().await.unwrap();
    assert!(begun.elapsed() < lease, "{:?}", begun.elapsed());
    let twin = tenant("one", &alone());
    twin.claim().await.unwrap();
    let reason = timeout(lease, lost).await.expect("in time").expect("a reason");
    assert!(reason.contains("CHATCTL_NODE"), "{reason}");
    drop(twin);
    let begun = Instant::now();
    let other = tenant("other", &alone());
    other.claim().await.unwrap();
    assert!(begun.elapsed() > lease / 2, "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenants_of_a_keyspace_keep_apart_as_well() {
    let Some(ring) = Ring::start(1, CommitlogSync::Periodic) else { return };
    let store = ring.keyspace(512).await;
    tenants_of_a_roll_keep_apart(PATIENT_LEASE, |settings| {
        CassandraTenancy::in_keyspace(store.cluster.clone(), store.keyspace.clone(), settings)
    })
    .await;
}

fn riak_tenant(server: &RiakServer, settings: RollSettings) -> RiakTenancy {
    RiakTenancy::in_bucket_type(server.url(), "chatctl".to_owned(), settings)
}

#[rstest]
#[case::token(ConditionalPut::Token)]
#[case::racing(ConditionalPut::Racing)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenants_of_a_bucket_type_keep_apart_whatever_racing_writers_are_told(
    #[case] mode: ConditionalPut,
) {
    let server = RiakServer::start(mode);
    tenants_of_a_roll_keep_apart(LEASE, |settings| riak_tenant(&server, settings)).await;
}

#[rstest]
#[case::token(ConditionalPut::Token)]
#[case::racing(ConditionalPut::Racing)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_all_who_come_at_once_and_must_be_alone_one_is_in(#[case] mode: ConditionalPut) {
    const ROUNDS: usize = 8;
    const COMERS: usize = 6;
    for round in 0..ROUNDS {
        let server = RiakServer::start(mode);
        // In every other round each third write is done, and not answered.
        server.faults().lose_reply_every([0, 3][round % 2]);
        let tenants: Vec<_> = (0..COMERS)
            .map(|number| riak_tenant(&server, member(&format!("comer-{number}"), &alone(), LEASE)))
            .collect();
        let claims = join_all(tenants.iter().map(Tenancy::claim)).await;
        let refused: Vec<_> = claims.iter().filter_map(|claim| claim.as_ref().err()).collect();
        assert_eq!(refused.len(), COMERS - 1, "{refused:?}");
        for error in refused {
            assert!(error.to_string().contains("SOME_ENGINE=LOCAL"), "{error}");
        }
        // It stays in.
        server.faults().lose_reply_every(0);
        let lost = claims.into_iter().find_map(Result::ok).unwrap();
        assert!(timeout(LEASE, lost).await.is_err(), "nobody has taken its place");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_who_were_killed_are_waited_for_at_once() {
    let server = RiakServer::start(ConditionalPut::Racing);
    for name in ["a", "b", "c"] {
        riak_tenant(&server, member(name, &Company::Many, LEASE)).claim().await.unwrap();
    }
    let begun = Instant::now();
    let alone = riak_tenant(&server, member("alone", &alone(), LEASE));
    alone.claim().await.unwrap();
    let took = begun.elapsed();
    assert!(took > LEASE / 2 && took < 2 * LEASE, "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_away_for_longer_than_its_lease_ends_and_who_came_in_stays() {
    let server = RiakServer::start(ConditionalPut::Racing);
    let first = riak_tenant(&server, member("away", &alone(), LEASE));
    let (is_in, came_in) = oneshot::channel();
    // A runtime that stands still is a process that was stopped.
    let paused = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let lost = first.claim().await.unwrap();
            is_in.send(()).unwrap();
            std::thread::sleep(3 * LEASE);
            timeout(4 * LEASE, lost).await.expect("in time").expect("a reason")
        })
    });
    came_in.await.unwrap();
    let second = riak_tenant(&server, member("second", &alone(), LEASE));
    let stays = second.claim().await.unwrap();
    let reason = tokio::task::spawn_blocking(|| paused.join().unwrap()).await.unwrap();
    assert!(reason.contains("after a pause") && reason.contains("second"), "{reason}");
    assert!(timeout(LEASE, stays).await.is_err(), "the second one goes on");
}
