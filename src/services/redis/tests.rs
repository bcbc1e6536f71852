//! Against the real servers.
#![expect(clippy::disallowed_methods, reason = "only CI says that it is CI")]

use rstest::rstest;

use super::*;
use crate::services::{ServiceError, free_port};

const LOCALHOST: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// Ends what a failed test leaves.
struct Running {
    service: RedisService,
    _folder: tempfile::TempDir,
}

impl Drop for Running {
    fn drop(&mut self) {
        for node in self.service.processes() {
            let _ = node.signal(rustix::process::Signal::KILL);
        }
    }
}

/// Nothing when the server cannot be had here, which CI does not accept.
async fn native(kind: ServiceKind) -> Option<Running> {
    let folder = tempfile::tempdir().unwrap();
    // Not the cache of the user: Valkey is fetched in a second.
    let artifacts = Arc::new(Artifacts::new(folder.path().join("cache")));
    let port = free_port(&[LOCALHOST], None).unwrap();
    let service = RedisService::native(kind, folder.path().join("node"), port, artifacts).unwrap();
    match service.prepare(&Progress::silent()).await {
        Ok(()) => Some(Running { service, _folder: folder }),
        Err(error) if std::env::var_os("CI").is_some() => panic!("{error}"),
        Err(error) => {
            eprintln!("LEFT OUT: a test of the real {kind}: {error}");
            None
        }
    }
}

async fn ask(service: &RedisService, command: &[&str]) -> Option<String> {
    let client = redis::Client::open(format!("redis://{}", service.addresses()[0])).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let (name, arguments) = command.split_first().unwrap();
    redis::cmd(name).arg(arguments).query_async(&mut connection).await.unwrap()
}

#[rstest]
#[tokio::test]
async fn a_killed_server_comes_back_with_its_data(
    #[values(ServiceKind::Redis, ServiceKind::Valkey)] kind: ServiceKind,
) {
    let Some(running) = native(kind).await else { return };
    let (service, silent) = (&running.service, Progress::silent());
    let error = service.probe().await.unwrap_err().to_string();
    assert!(error.contains("does not run"), "{error}");
    service.start(&silent).await.unwrap();
    let pid = service.processes()[0].running();
    let health = service.probe().await.unwrap();
    assert_eq!(health.durability, "appendonly yes, appendfsync always, noeviction");
    if kind == ServiceKind::Valkey {
        assert_eq!(health.version.as_deref(), Some(crate::services::version("VALKEY_VERSION")));
    }
    ask(service, &["SET", "kept", "yes"]).await;
    service.start(&silent).await.unwrap();
    assert_eq!(service.processes()[0].running(), pid, "a second start changes nothing");

    service.processes()[0].kill().await.unwrap();
    assert!(service.probe().await.is_err());
    service.start(&silent).await.unwrap();
    assert_eq!(ask(service, &["GET", "kept"]).await.as_deref(), Some("yes"));

    let error = service.wipe().await.unwrap_err().to_string();
    assert!(error.contains("--down"), "{error}");
    service.stop().await.unwrap();
    service.stop().await.unwrap();
    service.wipe().await.unwrap();
    service.start(&silent).await.unwrap();
    assert_eq!(ask(service, &["GET", "kept"]).await, None);
    service.stop().await.unwrap();
}

#[tokio::test]
async fn a_half_written_last_command_is_cut_off() {
    let Some(running) = native(ServiceKind::Redis).await else { return };
    let (service, silent) = (&running.service, Progress::silent());
    service.start(&silent).await.unwrap();
    ask(service, &["SET", "kept", "yes"]).await;
    let node = &service.processes()[0];
    node.kill().await.unwrap();
    let folder = node.folder().join("data/appendonlydir");
    let entries = std::fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
    let file =
        entries.into_iter().find(|path| path.to_string_lossy().ends_with("incr.aof")).unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    bytes.extend_from_slice(b"*3\r\n$3\r\nSET\r\n$4\r\nlo");
    std::fs::write(&file, bytes).unwrap();
    service.start(&silent).await.unwrap();
    assert_eq!(ask(service, &["GET", "kept"]).await.as_deref(), Some("yes"));
    service.stop().await.unwrap();
}

#[tokio::test]
async fn a_port_that_another_server_has_is_told() {
    let Some(theirs) = native(ServiceKind::Redis).await else { return };
    let silent = Progress::silent();
    theirs.service.start(&silent).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let Native { artifacts, port, .. } = theirs.service.native.as_ref().unwrap();
    let node = folder.path().join("node");
    let ours = RedisService::native(ServiceKind::Redis, node, *port, artifacts.clone()).unwrap();
    let error = ours.start(&silent).await.unwrap_err().to_string();
    assert!(error.contains("Address already in use"), "{error}");
    assert!(ours.probe().await.is_err(), "an answer of theirs is none of ours");
    theirs.service.probe().await.unwrap();
    theirs.service.stop().await.unwrap();
}

#[tokio::test]
async fn somebody_elses_is_only_checked() {
    let Some(running) = native(ServiceKind::Redis).await else { return };
    let silent = Progress::silent();
    running.service.start(&silent).await.unwrap();
    let url = format!("redis://{}", running.service.addresses()[0]);
    let theirs = RedisService::at(ServiceKind::Redis, &url, None).unwrap();
    assert!(theirs.processes().is_empty());
    theirs.probe().await.unwrap();
    for refused in [
        theirs.prepare(&silent).await,
        theirs.start(&silent).await,
        theirs.stop().await,
        theirs.wipe().await,
    ] {
        assert!(matches!(refused, Err(ServiceError::Refused(_))));
    }
    ask(&running.service, &["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]).await;
    let error = theirs.probe().await.unwrap_err().to_string();
    assert!(error.contains("noeviction"), "{error}");
    ask(&running.service, &["CONFIG", "SET", "maxmemory-policy", "noeviction"]).await;
    ask(&running.service, &["CONFIG", "SET", "requirepass", "secret"]).await;
    let error = theirs.probe().await.unwrap_err().to_string();
    assert!(error.contains("wants a password"), "{error}");
    let wrong = url.replace("redis://", "redis://:wrong@");
    let error = RedisService::at(ServiceKind::Redis, &wrong, None)
        .unwrap()
        .probe()
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("refuses the user or the password") && !error.contains("wrong"),
        "{error}"
    );
    let right = url.replace("redis://", "redis://:secret@");
    let right = RedisService::at(ServiceKind::Redis, &right, None).unwrap();
    right.probe().await.unwrap();
    running.service.stop().await.unwrap();
    let error = right.probe().await.unwrap_err().to_string();
    assert!(error.contains("nobody listens"), "{error}");
}
