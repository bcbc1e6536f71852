//! `export` and `import` between all engines: what one has, the next one has.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::riak_server::{ConditionalPut, RiakServer};
use crate::support::services::{SharedServices, init_env};
use crate::support::{PATIENCE, Server, chatctl, scale, unique};

const PAST: u64 = 1_700_000_000_000;

/// A store: the variables of whoever uses it.
type Store = Vec<(&'static str, String)>;

fn local(folder: &Path, name: &str) -> Store {
    let data_dir = folder.join(name).to_str().unwrap().to_owned();
    vec![
        ("WS_MESSAGE_PERSISTENCE_ENGINE", "LOCAL".to_owned()),
        ("CHATCTL_DATA_DIR", data_dir),
        ("CHATCTL_LOCAL_SYNC", "never".to_owned()),
    ]
}

fn redis(shared: &SharedServices) -> Store {
    vec![
        ("WS_MESSAGE_PERSISTENCE_ENGINE", "REDIS".to_owned()),
        ("REDIS_URL", shared.variable("REDIS_URL").to_owned()),
        // What is special in a pattern of keys belongs to the name.
        ("CHATCTL_REDIS_PREFIX", unique("transfer[*]?:")),
    ]
}

async fn cassandra(shared: &SharedServices) -> Store {
    let keyspace = unique("transfer").replace('-', "_");
    let empty = tempfile::tempdir().unwrap();
    let made = init_env(empty.path())
        .args(["--services", "cassandra", "--dir"])
        .arg(shared.folder())
        .env("CASSANDRA_KEYSPACE", &keyspace)
        .output()
        .await
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    vec![
        ("WS_MESSAGE_PERSISTENCE_ENGINE", "CASSANDRA".to_owned()),
        ("CASSANDRA_HOSTS", shared.variable("CASSANDRA_HOSTS").to_owned()),
        ("CASSANDRA_KEYSPACE", keyspace),
    ]
}

/// In a stand-in, which all of them share: each has a bucket type of its own.
fn riak() -> Store {
    static SHARED: LazyLock<RiakServer> =
        LazyLock::new(|| RiakServer::start(ConditionalPut::Token));
    vec![
        ("WS_MESSAGE_PERSISTENCE_ENGINE", "RIAK".to_owned()),
        ("RIAK_URL", SHARED.url()),
        ("CHATCTL_RIAK_BUCKET_TYPE", unique("transfer")),
    ]
}

fn engine(store: &Store) -> &str {
    &store[0].1
}

fn variables_of(store: &Store) -> Vec<(&'static str, &str)> {
    store.iter().map(|(key, value)| (*key, value.as_str())).collect()
}

async fn run(what: &str, file: &Path, store: &Store) -> Value {
    let run = chatctl(&[what, "--json"]).arg(file).envs(store.iter().cloned()).output();
    let run = timeout(6 * PATIENCE, run).await.expect("ends in time").unwrap();
    assert_eq!(run.status.code(), Some(0), "{what} {store:?} {run:?}");
    serde_json::from_slice(&run.stdout).unwrap()
}

/// A server's data folder after clients that do everything, one conversation that fills several buckets, and a group.
async fn full(folder: &Path) -> (Store, String, Value) {
    let store = local(folder, "source");
    let mut server = Server::start_with(&variables_of(&store)).await;
    let messages = scale("CHATCTL_TEST_TRANSFER_MESSAGES", 60).to_string();
    let url = format!("ws://{}/v1/ws", server.address());
    let out = folder.join("check");
    let checked = chatctl(&["check", "validity", "--url", &url, "--clients", "8"])
        .args(["--messages", &messages, "--out"])
        .arg(out)
        .output()
        .await
        .unwrap();
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
    let mut ann = server.connect("ann").await;
    let opened = ann.open_channel("large").await;
    let conv = opened["conv"].clone();
    for number in 0..1_200_u64 {
        let ts = PAST + number * 10 - if number % 11 == 5 { 3_000 } else { 0 };
        let sent = ann.send(&conv, &format!("c{number}"), Some(ts)).await;
        assert_eq!(sent["seq"], number + 1);
    }
    let epoch = opened["epoch"].as_str().unwrap().to_owned();
    server.signal(Signal::TERM);
    assert_eq!(server.wait_for_end().await, Some(0));
    (store, epoch, conv)
}

#[tokio::test]
async fn every_engine_has_what_any_other_had() {
    let Some(shared) = SharedServices::find().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (source, source_epoch, conv) = full(folder).await;
    let file: PathBuf = folder.join("0.jsonl");
    let first = run("export", &file, &source).await;
    assert!(first["messages"].as_u64().unwrap() > 1_200, "{first}");
    println!("{} conversations, {} messages", first["conversations"], first["messages"]);
    let mut exported = vec![(source, file)];
    let mut targets = Vec::new();
    for round in 0..2 {
        let mut next = Vec::new();
        for (from, file) in &exported {
            let number = targets.len();
            let stores = [
                local(folder, &format!("to-{number}")),
                redis(shared),
                cassandra(shared).await,
                riak(),
            ];
            for to in stores {
                let imported = run("import", file, &to).await;
                assert_eq!(imported["digest"], first["digest"]);
                assert_eq!(imported["written"], first["messages"]);
                assert_ne!(imported["epoch"], imported["from_epoch"]);
                let file = folder.join(format!("{}.jsonl", targets.len() + 1));
                let again = run("export", &file, &to).await;
                for part in ["digest", "conversations", "messages"] {
                    assert_eq!(again[part], first[part], "{part}: {from:?} to {to:?}");
                }
                assert_eq!(again["epoch"], imported["epoch"]);
                let digest = again["digest"].as_str().unwrap();
                println!("| {} | {} | {digest} |", engine(from), engine(&to));
                targets.push(to.clone());
                next.push((to, file));
            }
        }
        if round == 0 {
            exported = next;
        }
    }

    killed_in_the_middle(&exported[0].1, &first, shared).await;

    // What was restored is a conversation like any other, in another life.
    for to in targets.iter().rev().take(4) {
        let variables = variables_of(to);
        let _alone = shared.keyspace().await;
        let server = Server::start_with(&variables).await;
        let mut ann = server.connect("ann").await;
        let resume = json!({"epoch": source_epoch, "seq": 1_190});
        let page =
            ann.ok("open", json!({"to": {"channel": "large"}, "resume": resume, "limit": 3})).await;
        assert_eq!((&page["recovered"], &page["head"]), (&json!(false), &json!(1_200)), "{page}");
        assert_ne!(page["epoch"], source_epoch);
        let seqs: Vec<_> =
            page["items"].as_array().unwrap().iter().map(|item| &item["seq"]).collect();
        assert_eq!(seqs, [1_198, 1_199, 1_200]);
        let again = ann.send(&conv, "c1199", None).await;
        assert_eq!((&again["seq"], &again["dup"]), (&json!(1_200), &json!(true)), "{again}");
        let late = ann.send(&conv, "new", Some(PAST)).await;
        assert_eq!((&late["seq"], &late["late"]), (&json!(1_201), &json!(true)), "{late}");
    }
}

/// Killed at any moment, the same command goes on: later and later, until it was killed in the middle.
async fn killed_in_the_middle(file: &Path, first: &Value, shared: &SharedServices) {
    const TRIES: u64 = 40;
    for delay_ms in (0..TRIES).map(|number| 20 + number * 20) {
        let to = redis(shared);
        let mut killed = chatctl(&["import"]).arg(file).envs(to.iter().cloned()).spawn().unwrap();
        sleep(Duration::from_millis(delay_ms)).await;
        killed.kill().await.unwrap();
        let imported = run("import", file, &to).await;
        assert_eq!(imported["digest"], first["digest"]);
        println!("killed after {delay_ms} ms: {} messages left", imported["written"]);
        if imported["written"] != first["messages"] {
            assert_ne!(imported["written"], 0, "it was killed too late");
            return;
        }
    }
    panic!("it was always killed before it began");
}

#[tokio::test]
async fn an_import_and_a_server_are_never_on_one_store() {
    let Some(shared) = SharedServices::find().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("export.jsonl");
    run("export", &file, &local(folder.path(), "empty")).await;
    let store = redis(shared);
    let mut server = Server::start_with(&variables_of(&store)).await;
    let refused =
        chatctl(&["import"]).arg(&file).envs(store.iter().cloned()).output().await.unwrap();
    let stderr = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("to itself") && stderr.contains("stop it"), "{stderr}");
    // It may be exported from meanwhile.
    run("export", &folder.path().join("other.jsonl"), &store).await;
    server.signal(Signal::TERM);
    assert_eq!(server.wait_for_end().await, Some(0));
    run("import", &file, &store).await;
    drop(Server::start_with(&variables_of(&store)).await);
}

#[tokio::test]
async fn what_cannot_be_is_said_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let store = local(folder, "data");
    let data_dir = store[1].1.clone();
    let file = folder.join("export.jsonl");
    let server = Server::start_with(&[]).await;
    let used = server.data_dir().to_str().unwrap();
    type Case<'a> = (&'a str, (&'a str, &'a str), &'a str, &'a [&'a str]);
    let cases: [Case<'_>; 4] = [
        ("export", ("CHATCTL_DATA_DIR", used), "export.jsonl", &[used, "in use"]),
        (
            "export",
            ("CHATCTL_LOCAL_SYNC", "memory"),
            "export.jsonl",
            &["CHATCTL_LOCAL_SYNC=memory"],
        ),
        ("export", ("CHATCTL_DATA_DIR", &data_dir), "missing/export.jsonl", &["missing/"]),
        ("import", ("CHATCTL_DATA_DIR", &data_dir), "nothing.jsonl", &["nothing.jsonl"]),
    ];
    for (what, (key, value), name, parts) in cases {
        let run = chatctl(&[what]).arg(folder.join(name)).env(key, value).output().await.unwrap();
        let stderr = String::from_utf8_lossy(&run.stderr);
        assert_eq!(run.status.code(), Some(1), "{run:?}");
        assert!(parts.iter().all(|part| stderr.contains(part)), "{parts:?} in {stderr}");
        assert!(run.stdout.is_empty());
    }
    assert!(!file.exists(), "nothing was written");
}
