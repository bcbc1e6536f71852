//! Nodes that ask who comes, over TLS.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use super::*;
use crate::cassandra_link::{Access, Cluster};
use crate::tls::Trust;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_and_tls_are_asked_for_and_given() {
    let folder = tempfile::tempdir().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, params.self_signed(&key).unwrap().pem()).unwrap();
    let issuer = Issuer::new(params, key);
    let tls = Trust::load(Some(("CHATCTL_CASSANDRA_TLS_CA", &ca))).unwrap().config().unwrap();
    let login = Some(("cassandra".to_owned(), "cassandra".to_owned()));
    let access = Access { login, tls: Some(Arc::new(tls)) };
    let encrypt = |hosts: &[std::net::Ipv4Addr]| {
        let names: Vec<_> = hosts.iter().map(ToString::to_string).collect();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
        let file = folder.path().join("node.pem");
        std::fs::write(&file, key.serialize_pem() + &certificate.pem()).unwrap();
        Some([file, ca.clone()])
    };
    let ring = Ring::start_guarded(1, CommitlogSync::Periodic, access.clone(), encrypt);
    let Some(ring) = ring else { return };
    let settings = ring.keyspace(ROWS).await;
    let engine = engine(&settings).await;
    let room = room("guarded");
    assert_eq!(append(&engine, &room).await.unwrap(), 1);
    assert_eq!(append(&engine, &room).await.unwrap(), 2);
    engine.close().await;

    // One thing wrong at a time, side by side: each start asks for ten seconds.
    let wrong = Some(("cassandra".to_owned(), "hunter2".to_owned()));
    let strangers = Some(Arc::new(Trust::load(None).unwrap().config().unwrap()));
    let refused = [
        (Access { login: wrong, ..access.clone() }, "CHATCTL_CASSANDRA_PASSWORD"),
        (Access { login: None, ..access.clone() }, "CHATCTL_CASSANDRA_USER"),
        (Access { tls: strangers, ..access.clone() }, "CHATCTL_CASSANDRA_TLS_CA"),
        (Access { tls: None, ..access.clone() }, "CASSANDRA_HOSTS"),
    ]
    .map(async |(access, named)| {
        let cluster = Cluster { access: access.clone(), ..settings.cluster.clone() };
        let refused = open(CassandraSettings { cluster, ..settings.clone() }).await;
        let error = refused.err().map(|error| error.to_string());
        let error = error.unwrap_or_else(|| panic!("{access:?} gets in"));
        assert!(error.contains(named), "{error}");
        assert!(!format!("{error} {access:?}").contains("hunter2"), "{error}");
    });
    join_all(refused).await;
}
