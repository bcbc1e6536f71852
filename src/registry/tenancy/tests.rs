//! Tenants of real servers of our own.

use std::path::PathBuf;
use std::time::Duration;

use rstest::rstest;
use tokio::time::{Instant, timeout};

use super::redis::{RedisSettings, RedisTenancy};
use super::{Company, Tenancy as _};
use crate::model::NodeId;
use crate::persistence::conformance::redis::{Server, program};
use crate::services::ServiceKind;

const LEASE: Duration = Duration::from_millis(1_500);

fn tenant(server: &Server, name: &str, company: &Company) -> RedisTenancy {
    let settings = RedisSettings {
        url: server.url(),
        prefix: "test:".to_owned(),
        name: name.to_owned(),
        node: NodeId::generate(),
        company: company.clone(),
        lease: LEASE,
    };
    RedisTenancy::new(settings).unwrap()
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
