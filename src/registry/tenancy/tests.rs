//! Tenants of real servers of our own.

use std::path::PathBuf;
use std::time::Duration;

use rstest::rstest;
use tokio::time::{Instant, timeout};

use super::cassandra::CassandraTenancy;
use super::redis::{RedisSettings, RedisTenancy};
use super::{Company, Tenancy as _};
use crate::model::NodeId;
use crate::persistence::conformance::cassandra::Ring;
use crate::persistence::conformance::redis::{Server, program};
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

fn tenant_of(
    cassandra: &super::cassandra::CassandraSettings,
    name: &str,
    company: &Company,
) -> CassandraTenancy {
    CassandraTenancy::of(super::cassandra::CassandraSettings {
        name: name.to_owned(),
        node: NodeId::generate(),
        company: company.clone(),
        ..cassandra.clone()
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenants_of_a_keyspace_keep_apart_as_well() {
    let Some(ring) = Ring::start(1, CommitlogSync::Periodic) else { return };
    let store = ring.keyspace(512).await;
    let settings = super::cassandra::CassandraSettings {
        cluster: store.cluster,
        keyspace: store.keyspace,
        name: String::new(),
        node: NodeId::generate(),
        company: Company::Many,
        lease: PATIENT_LEASE,
    };
    let first = tenant_of(&settings, "first", &alone());
    let _lost = first.claim().await.unwrap();
    for company in [alone(), Company::Many] {
        let error = tenant_of(&settings, "second", &company).claim().await.unwrap_err().to_string();
        assert!(error.contains("SOME_ENGINE=LOCAL") && error.contains("first"), "{error}");
    }
    first.close().await;
    let begun = Instant::now();
    let many =
        [tenant_of(&settings, "a", &Company::Many), tenant_of(&settings, "b", &Company::Many)];
    for one in &many {
        one.claim().await.unwrap();
    }
    assert!(begun.elapsed() < PATIENT_LEASE, "nobody waits for who said goodbye");
    let error = tenant_of(&settings, "second", &alone()).claim().await.unwrap_err().to_string();
    assert!(error.contains("SOME_ENGINE=LOCAL"), "{error}");
    for one in &many {
        one.close().await;
    }
    // Killed, and started again under its name; and another one that must wait.
    let killed = tenant_of(&settings, "one", &alone());
    killed.claim().await.unwrap();
    drop(killed);
    let begun = Instant::now();
    let again = tenant_of(&settings, "one", &alone());
    let lost = again.claim().await.unwrap();
    assert!(begun.elapsed() < PATIENT_LEASE, "{:?}", begun.elapsed());
    let twin = tenant_of(&settings, "one", &alone());
    twin.claim().await.unwrap();
    let reason = timeout(PATIENT_LEASE, lost).await.expect("in time").expect("a reason");
    assert!(reason.contains("CHATCTL_NODE"), "{reason}");
    drop(twin);
    let begun = Instant::now();
    let other = tenant_of(&settings, "other", &alone());
    other.claim().await.unwrap();
    assert!(begun.elapsed() > PATIENT_LEASE / 2, "{:?}", begun.elapsed());
}
