//! RIAK as its user has it: servers, judged; `doctor`, `init-env`, `check` and `bench`. The Riak is a stand-in: no registry has a real one.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::riak_server::{ConditionalPut, RiakServer};
use crate::support::services::{SharedServices, init_env};
use crate::support::{PATIENCE, Server, chatctl, scale, unique};

/// How long a node that ends without a goodbye counts as running.
const LEASE: Duration = Duration::from_secs(2);

type Variables = Vec<(&'static str, String)>;

/// A server that is alone on it.
fn alone(riak: &RiakServer) -> Variables {
    vec![
        ("WS_MESSAGE_PERSISTENCE_ENGINE", "RIAK".to_owned()),
        ("RIAK_URL", riak.url()),
        ("CHATCTL_LEASE_MS", LEASE.as_millis().to_string()),
    ]
}

/// One of several on it.
fn beside_others(riak: &RiakServer, shared: &SharedServices, prefix: &str) -> Variables {
    let mut variables = alone(riak);
    variables.extend([
        ("WS_MESSAGE_DISTRIBUTION_ENGINE", "REDIS".to_owned()),
        ("WS_CONN_PERSISTENCE_ENGINE", "REDIS".to_owned()),
        ("REDIS_URL", shared.variable("REDIS_URL").to_owned()),
        ("CHATCTL_REDIS_PREFIX", prefix.to_owned()),
    ]);
    variables
}

fn borrowed(variables: &Variables) -> Vec<(&str, &str)> {
    variables.iter().map(|(key, value)| (*key, value.as_str())).collect()
}

async fn start(variables: &Variables) -> Server {
    Server::start_with(&borrowed(variables)).await
}

#[tokio::test]
async fn what_one_server_stored_another_one_has_after_it() {
    let riak = RiakServer::start(ConditionalPut::Racing);
    let mut first = start(&alone(&riak)).await;
    assert!(first.log().contains("conditional_put_mode = prefer_token"), "{}", first.log());
    let (ann, bob) = (unique("ann"), unique("bob"));
    let mut one = first.connect(&ann).await;
    let page = one.open_user(&bob).await;
    let (conv, epoch) = (page["conv"].clone(), page["epoch"].clone());
    for number in 1..=3 {
        let sent = one.send(&conv, &format!("a{number}"), Some(5_000 - number)).await;
        assert_eq!((&sent["seq"], &sent["late"]), (&json!(number), &json!(number > 1)));
    }
    let (_, ready) = first.admin_get("/readyz").await;
    assert!(ready.contains("RIAK"), "{ready}");
    first.signal(Signal::TERM);
    assert_eq!(first.wait_for_end().await, Some(0));

    let begun = Instant::now();
    let second = start(&alone(&riak)).await;
    assert!(begun.elapsed() < LEASE, "nobody waits for who said goodbye: {:?}", begun.elapsed());
    let mut other = second.connect(&bob).await;
    let page = other.open_user(&ann).await;
    assert_eq!((&page["conv"], &page["head"], &page["unread"]), (&conv, &json!(3), &json!(3)));
    assert_eq!(page["epoch"], epoch, "nothing is lost");
    let mut one = second.connect(&ann).await;
    one.open_user(&bob).await;
    let again = one.send(&conv, "a3", None).await;
    assert_eq!((&again["seq"], &again["dup"]), (&json!(3), &json!(true)));
}

#[tokio::test]
async fn a_second_server_comes_in_only_where_racing_writers_are_kept_apart() {
    let Some(shared) = SharedServices::find().await else { return };
    for mode in [ConditionalPut::Token, ConditionalPut::Racing] {
        let riak = RiakServer::start(mode);
        let prefix = unique("riak:");
        let variables = beside_others(&riak, shared, &prefix);
        let first = start(&variables).await;
        match mode {
            ConditionalPut::Token => {
                let second = start(&variables).await;
                let (ann, bob) = (unique("ann"), unique("bob"));
                let mut here = first.connect(&ann).await;
                let mut there = second.connect(&bob).await;
                let conv = here.open_user(&bob).await["conv"].clone();
                here.send(&conv, "a1", None).await;
                assert_eq!(there.push("listed").await["head"], 1, "told by the other server");
            }
            ConditionalPut::Racing => {
                let why = Server::refused(&borrowed(&variables)).await;
                assert!(why.contains("set conditional_put_mode = prefer_token"), "{why}");
                assert!(why.contains(&format!("RIAK_URL={}", riak.url())), "{why}");
                assert!(why.contains("stop it"), "{why}");
            }
        }
        // Whose bus is a function call, is alone whatever the store can do.
        let why = Server::refused(&borrowed(&alone(&riak))).await;
        assert!(why.contains("WS_MESSAGE_DISTRIBUTION_ENGINE=LOCAL"), "{why}");
    }
}

#[tokio::test]
async fn a_start_without_its_riak_says_what_is_missing() {
    let riak = RiakServer::start(ConditionalPut::Token);
    riak.remove_type("other");
    let mut variables = alone(&riak);
    variables.push(("CHATCTL_RIAK_BUCKET_TYPE", "other".to_owned()));
    let why = Server::refused(&borrowed(&variables)).await;
    assert!(why.contains("riak-admin bucket-type create other"), "{why}");
    riak.set_props("sync_on_write", json!("backend"));
    let mut variables = alone(&riak);
    variables.push(("CHATCTL_REQUIRE_DURABILITY", "disk".to_owned()));
    let why = Server::refused(&borrowed(&variables)).await;
    assert!(why.contains("class service") && why.contains("sync_on_write=all"), "{why}");
    riak.set_props("sync_on_write", json!("all"));
    variables.pop();
    variables.push(("CHATCTL_REQUIRE_DURABILITY", "replicated+disk".to_owned()));
    let why = Server::refused(&borrowed(&variables)).await;
    assert!(why.contains("fewer than five nodes"), "{why}");
    let url = riak.url();
    drop(riak);
    let nowhere = [("WS_MESSAGE_PERSISTENCE_ENGINE", "RIAK"), ("RIAK_URL", url.as_str())];
    let why = Server::refused(&nowhere).await;
    assert!(why.contains(&format!("RIAK_URL={url}")) && why.contains("reached"), "{why}");
}

#[tokio::test]
async fn doctor_and_init_env_look_at_it_and_write_nothing() {
    let riak = RiakServer::start(ConditionalPut::Token);
    let working = tempfile::tempdir().unwrap();
    let doctor = async || {
        let mut command = chatctl(&["doctor", "--json"]);
        command.env("CHATCTL_LISTEN", "127.0.0.1:0").env("CHATCTL_ADMIN_LISTEN", "127.0.0.1:0");
        let output = command.envs(alone(&riak)).current_dir(&working).output().await.unwrap();
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        found["findings"].to_string()
    };
    let init_env = async |arguments: &[&str]| {
        let mut command = init_env(working.path());
        command.args(["--services", "riak", "--dir"]).arg(working.path().join("services"));
        let output = command.args(arguments).env("RIAK_URL", riak.url()).output().await.unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), text + &String::from_utf8_lossy(&output.stderr))
    };
    let found = doctor().await;
    assert!(found.contains("RIAK is of durability class disk"), "{found}");
    assert!(found.contains("the clock of RIAK is"), "{found}");
    let (code, text) = init_env(&["--mode", "external", "--check"]).await;
    assert_eq!(code, Some(0), "{text}");
    for part in
        ["sync_on_write all", "n_val 3", "healthy", riak.url().trim_start_matches("http://")]
    {
        assert!(text.contains(part), "{part} in {text}");
    }
    for mode in ["native", "docker"] {
        let (code, text) = init_env(&["--mode", mode]).await;
        assert_eq!(code, Some(1), "{text}");
        for part in ["--mode external", "RIAK_URL", "prefer_token", "bucket-type create chatctl"] {
            assert!(text.contains(part), "{mode}: {part} in {text}");
        }
    }
    let (code, text) = init_env(&["--mode", "external"]).await;
    assert_eq!(code, Some(0), "{text}");
    let dotenv = std::fs::read_to_string(working.path().join(".env")).unwrap();
    assert!(dotenv.contains(&riak.url()), "{dotenv}");
    assert_eq!(riak.keys(), [], "nothing was written");

    riak.set_props("allow_mult", json!(false));
    let found = doctor().await;
    assert!(found.contains("allow_mult=false") && found.contains("riak-admin"), "{found}");
    let (code, text) = init_env(&["--mode", "external", "--check"]).await;
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("not healthy") && text.contains("allow_mult=false"), "{text}");
}

/// A check of servers on it: what it printed.
async fn check(riak: &RiakServer, out: &Path, arguments: &[&str]) -> Value {
    let run = chatctl(&["check", "validity", "--json", "--engine", "riak", "--out"])
        .arg(out)
        .args(arguments)
        .env("RIAK_URL", riak.url())
        .output();
    let run = timeout(60 * PATIENCE, run).await.expect("ends in time").unwrap();
    let text = String::from_utf8_lossy(&run.stdout);
    assert_eq!(run.status.code(), Some(0), "{text} {}", String::from_utf8_lossy(&run.stderr));
    serde_json::from_str(&text).unwrap()
}

#[tokio::test]
async fn servers_on_it_are_valid_whatever_is_broken() {
    let Some(shared) = SharedServices::find().await else { return };
    let riak = RiakServer::start(ConditionalPut::Token);
    // Some writes are done and not answered, some are refused though most replicas have them.
    riak.faults().lose_reply_every(19);
    riak.faults().cut_write_every(29, 2);
    let out = tempfile::tempdir().unwrap();
    let seconds = format!("{}s", scale("CHATCTL_TEST_NEMESIS_S", 20));
    let folder = shared.folder();
    let arguments = [
        ["--distribution", "redis", "--nodes", "3", "--clients", "12", "--seed", "14"].as_slice(),
        &["--services-dir", folder.to_str().unwrap(), "--duration", &seconds],
        &["--nemesis", "kill,pause,cut,partition,latency", "--every", "4s"],
    ];
    let verdict = check(&riak, out.path(), &arguments.concat()).await;
    println!("{verdict}");
    assert_ne!(riak.keys().len(), 0, "they were on it");
}

#[tokio::test]
async fn it_answers_as_local_does_and_is_measured_beside_it() {
    let riak = RiakServer::start(ConditionalPut::Token);
    let operations = scale("CHATCTL_TEST_OPERATIONS", 2_000).to_string();
    let equivalence = chatctl(&["check", "equivalence", "--engines", "local,riak"])
        .args(["--seed", "11", "--operations", &operations])
        .env("RIAK_URL", riak.url())
        .env("CHATCTL_LOCAL_SYNC", "never")
        .output();
    let run = timeout(60 * PATIENCE, equivalence).await.expect("ends in time").unwrap();
    let text = String::from_utf8_lossy(&run.stdout);
    assert!(text.contains("local and riak: every answer is the same"), "{run:?}");
    let out = tempfile::tempdir().unwrap();
    let bench = chatctl(&["bench", "paired-clients", "--engines", "local,riak", "--clients", "4"])
        .args(["--messages", "40", "--out"])
        .arg(out.path())
        .env("RIAK_URL", riak.url())
        .output();
    let run = timeout(10 * PATIENCE, bench).await.expect("ends in time").unwrap();
    let text = String::from_utf8_lossy(&run.stdout);
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    assert!(text.contains("riak"), "{text}");
    println!("{text}");
}
