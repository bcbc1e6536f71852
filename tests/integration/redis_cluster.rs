//! A Redis Cluster: messages in partitions, everything else at the owner of its slot; failovers, and slots that move.

use std::path::Path;
use std::time::{Duration, Instant};

use chatctl::services::free_ports;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::support::redis::{Process, opened, reopened, sent};
use crate::support::redis_cluster::{Cluster, PASSWORD, PRIMARIES, SERVERS};
use crate::support::services::redis_program;
use crate::support::{PATIENCE, Server, chatctl, unique};

/// The counts of a check that was judged valid, and what came of something in the middle.
async fn checked<T>(nodes: &[Server], middle: impl Future<Output = T>) -> (Value, T) {
    let out = tempfile::tempdir().unwrap();
    let run = ["check", "validity", "--clients", "6", "--messages", "900", "--json"];
    let urls: Vec<_> = nodes.iter().flat_map(|node| ["--url", &node.url]).collect();
    let check = chatctl(&[&run[..], &urls].concat()).arg("--out").arg(out.path()).output();
    let (output, found) = tokio::join!(timeout(4 * PATIENCE, check), middle);
    let output = output.expect("ends in time").unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said} {}", String::from_utf8_lossy(&output.stderr));
    (serde_json::from_str::<Value>(&said).unwrap()["counts"].take(), found)
}

async fn nodes(variables: &[(&str, &str)], count: usize) -> Vec<Server> {
    let mut nodes = Vec::new();
    for _ in 0..count {
        nodes.push(Server::start_with(variables).await);
    }
    nodes
}

#[tokio::test]
async fn a_failover_under_load_is_judged_valid() {
    let Some(mut cluster) = Cluster::start().await else { return };
    let nodes = nodes(&cluster.everything(), 3).await;
    let partitions: Vec<_> = (0..PRIMARIES).map(|i| cluster.keys(i, "*lineage").len()).collect();
    assert_eq!(partitions.iter().sum::<usize>(), 16);
    assert!(partitions.iter().all(|&count| count >= 5), "equal parts: {partitions:?}");
    let failover = async {
        let (_, key, primary) = cluster.busiest().await;
        let before = cluster.head(primary, &key);
        cluster.servers[primary].0.kill();
        (before, key, PRIMARIES + primary)
    };
    let (counts, (before, key, replica)) = checked(&nodes[..2], failover).await;
    let after = cluster.head(replica, &key);
    println!("{before} messages before, {after} in the end; {counts}");
    assert!(cluster.info(replica, "replication").contains("role:master"), "it took over");
    assert!(after > before + 100, "it was in the middle: {before}, {after}");
    let (ann, bob) = (unique("ann"), unique("bob"));
    let (mut ann_there, open) = opened(&nodes[2], &ann, &bob).await;
    sent(&mut ann_there, &open["conv"], "c1").await;
    let (_, of_bob) = opened(&nodes[0], &bob, &ann).await;
    assert_eq!((&of_bob["epoch"], &of_bob["head"]), (&open["epoch"], &json!(1)));
}

#[tokio::test]
async fn what_a_failover_loses_is_declared_in_its_partitions_alone() {
    let Some(mut cluster) = Cluster::start().await else { return };
    let nodes = nodes(&cluster.everything(), 2).await;
    let ann_name = unique("ann");
    let mut ann = nodes[0].connect(&ann_name).await;
    // One conversation at the server that will fail, and one at another.
    let (mut at_first, mut elsewhere) = (None, None);
    while at_first.is_none() || elsewhere.is_none() {
        let peer = unique("bob");
        let open = ann.open_user(&peer).await;
        for seq in 1..=10 {
            assert_eq!(ann.send(&open["conv"], &format!("c{seq}"), None).await["seq"], seq);
        }
        let place = if cluster.owner(&cluster.key(&open["conv"])) == 0 {
            &mut at_first
        } else {
            &mut elsewhere
        };
        *place = Some((peer, open));
    }
    let ((bob_name, lost), (eve_name, kept)) = (at_first.unwrap(), elsewhere.unwrap());
    let (lost_conv, kept_conv) = (lost["conv"].clone(), kept["conv"].clone());
    assert_ne!(lost["epoch"], kept["epoch"], "each partition has a life of its own");
    assert_eq!(cluster.ok(0, &["WAIT", "1", "5000"]), redis::Value::Int(1));
    // From here on its replica hears nothing.
    cluster.ok(0, &["ACL", "SETUSER", "default", "-psync", "-sync"]);
    cluster.ok(0, &["CLIENT", "KILL", "TYPE", "replica"]);
    for seq in 11..=20 {
        assert_eq!(ann.send(&lost_conv, &format!("c{seq}"), None).await["seq"], seq);
        assert_eq!(ann.send(&kept_conv, &format!("c{seq}"), None).await["seq"], seq);
    }
    cluster.servers[0].0.kill();

    // Both nodes are led to the replica, where ten are missing: in another epoch.
    let (mut again, after) = reopened(&nodes[0], &ann_name, &bob_name, &lost["epoch"]).await;
    assert_eq!(after["head"], 10, "{after}");
    let (_bob, of_bob) = reopened(&nodes[1], &bob_name, &ann_name, &lost["epoch"]).await;
    assert_eq!((&of_bob["epoch"], &of_bob["head"]), (&after["epoch"], &json!(10)));
    assert_eq!(sent(&mut again, &lost_conv, "c21").await["seq"], 11);
    // The other conversation goes on in its life, also for a session that was open all the time.
    let (_eve, of_eve) = opened(&nodes[1], &eve_name, &ann_name).await;
    assert_eq!((&of_eve["epoch"], &of_eve["head"]), (&kept["epoch"], &json!(20)));
    assert_eq!(sent(&mut ann, &kept_conv, "c21").await["seq"], 21);
    let begun = Instant::now();
    loop {
        // Each partition is found again by itself.
        let (status, report) = nodes[0].admin_get("/readyz").await;
        if status == 200 {
            assert!(report.contains("engine_lost_data"), "{report}");
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{report}");
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_partition_moves_to_another_primary_under_load() {
    let Some(cluster) = Cluster::start().await else { return };
    let nodes = nodes(&cluster.everything(), 2).await;
    let (ann_name, bob_name) = (unique("ann"), unique("bob"));
    let mut ann = nodes[0].connect(&ann_name).await;
    let open = ann.open_user(&bob_name).await;
    let conv = open["conv"].clone();
    for seq in 1..=10 {
        assert_eq!(ann.send(&conv, &format!("c{seq}"), None).await["seq"], seq);
    }
    let key = cluster.key(&conv);
    let from = cluster.owner(&key);
    let moving = async {
        // What most is written to, and the one from above.
        let (_, busiest, _) = cluster.busiest().await;
        cluster.move_on(&busiest).await;
        if cluster.slot(&busiest) != cluster.slot(&key) {
            cluster.move_on(&key).await;
        }
        (cluster.head(cluster.owner(&busiest), &busiest), busiest)
    };
    let (counts, (before, busiest)) = checked(&nodes, moving).await;
    let after = cluster.head(cluster.owner(&busiest), &busiest);
    println!("{before} messages before, {after} in the end; {counts}");
    assert!(before >= 100 && after > before + 100, "it was in the middle: {before}, {after}");
    assert_ne!(cluster.owner(&key), from);
    let (mut ann, after) = reopened(&nodes[0], &ann_name, &bob_name, &open["epoch"]).await;
    assert_eq!(after["head"], 10, "{after}");
    let seqs: Vec<_> = after["items"].as_array().unwrap().iter().map(|item| &item["seq"]).collect();
    assert_eq!(seqs, (1..=10).collect::<Vec<_>>());
    let again = sent(&mut ann, &conv, "c10").await;
    assert_eq!((&again["seq"], &again["dup"]), (&json!(10), &json!(true)));
    assert_eq!(sent(&mut ann, &conv, "c11").await["seq"], 11);
    let (_bob, of_bob) = opened(&nodes[1], &bob_name, &ann_name).await;
    assert_eq!((&of_bob["epoch"], &of_bob["head"]), (&after["epoch"], &json!(11)));
}

#[tokio::test]
async fn the_documented_user_suffices_and_what_cannot_be_used_is_said() {
    let Some(cluster) = Cluster::start().await else { return };
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/guides/operating.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    let line = guide.lines().find(|line| line.starts_with("ACL SETUSER chatctl ")).unwrap();
    let more = ["+cluster|nodes", "+cluster|keyslot"];
    assert!(guide.contains(&format!("`{}`", more.join(" "))), "the guide says so");
    let line: Vec<_> = line.split_whitespace().chain(more).collect();
    for index in 0..SERVERS {
        cluster.ok(index, &line);
    }
    let url = cluster.url.replace(&format!(":{PASSWORD}@"), "chatctl:PASSWORD@");
    let mut variables = cluster.everything();
    variables[3].1 = &url;
    let by_user = nodes(&variables, 2).await;
    let (counts, ()) = checked(&by_user, async {}).await;
    println!("undisturbed: {counts}");
    for index in 0..SERVERS {
        let log = cluster.ok(index, &["ACL", "LOG"]);
        assert_eq!(log, redis::Value::Array(Vec::new()), "server {index}");
    }
    drop(by_user);

    let class = [&cluster.everything()[..], &[("CHATCTL_REQUIRE_DURABILITY", "service")]].concat();
    let error = Server::refused(&class).await;
    assert!(error.contains("class process") && error.contains("CHATCTL_REDIS_CLUSTER"), "{error}");
    let doctor = |variables: &[(&str, &str)]| {
        let variables: Vec<_> =
            variables.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
        async move {
            let output = chatctl(&["doctor"]).envs(variables).output().await.unwrap();
            String::from_utf8_lossy(&output.stdout).into_owned()
        }
    };
    let said = doctor(&cluster.everything()).await;
    assert!(said.contains("REDIS is of durability class process"), "{said}");
    let alone = tempfile::tempdir().unwrap();
    let program = redis_program(alone.path(), "a Redis").await.unwrap();
    let port = free_ports(&[std::net::Ipv4Addr::LOCALHOST.into()], 1).unwrap()[0];
    let text = port.to_string();
    let dir = alone.path().to_str().unwrap();
    let _alone = Process::start(&program, &["--port", &text, "--dir", dir, "--save", ""]);
    let (of_alone, named) = (format!("redis://127.0.0.1:{port}"), format!("127.0.0.1:{port}"));
    let messages = ("WS_MESSAGE_PERSISTENCE_ENGINE", "REDIS");
    let bus = ("WS_MESSAGE_DISTRIBUTION_ENGINE", "REDIS");
    let by = ("CHATCTL_REDIS_CLUSTER", cluster.nodes.as_str());
    let wrong = cluster.url.replace(PASSWORD, "wrong");
    for index in 0..SERVERS {
        cluster.ok(index, &["ACL", "SETUSER", "chatctl", "-cluster|keyslot"]);
    }
    let cases: [(&[_], &[&str]); 5] = [
        (&[messages, ("REDIS_URL", &cluster.url)], &["Redis Cluster", "CHATCTL_REDIS_CLUSTER"]),
        (
            &[bus, ("REDIS_URL", &of_alone), ("CHATCTL_REDIS_CLUSTER", &named)],
            &["CHATCTL_REDIS_CLUSTER", "no node of a cluster", &named],
        ),
        (
            &[
                messages,
                ("REDIS_URL", "redis://127.0.0.1:1"),
                ("CHATCTL_REDIS_CLUSTER", "127.0.0.1:1"),
            ],
            &["CHATCTL_REDIS_CLUSTER", "127.0.0.1:1"],
        ),
        (
            &[messages, ("REDIS_URL", &wrong), by],
            &["CHATCTL_REDIS_CLUSTER", "correct user and password"],
        ),
        (&[messages, ("REDIS_URL", &url), by], &["CHATCTL_REDIS_CLUSTER", "ACL SETUSER"]),
    ];
    let refused = cases.map(async |(variables, said)| {
        let error = Server::refused(variables).await;
        assert!(said.iter().all(|part| error.contains(part)), "{said:?}: {error}");
    });
    futures_util::future::join_all(refused).await;
}

#[tokio::test]
async fn conversations_are_carried_away_and_back() {
    let Some(cluster) = Cluster::start().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let node = nodes(&cluster.everything(), 1).await;
    checked(&node, async {}).await;
    drop(node);
    let data_dir = folder.path().join("data");
    let local = [
        ("WS_MESSAGE_PERSISTENCE_ENGINE", "LOCAL"),
        ("CHATCTL_DATA_DIR", data_dir.to_str().unwrap()),
        ("CHATCTL_LOCAL_SYNC", "never"),
    ];
    let everything = cluster.everything();
    let other = [&everything[..], &[("CHATCTL_REDIS_PREFIX", "other:")]].concat();
    let file = |number: usize| folder.path().join(format!("{number}.jsonl"));
    let run = async |what: &str, number: usize, variables: &[(&str, &str)]| {
        let variables = variables.iter().copied();
        let run = chatctl(&[what, "--json"]).arg(file(number)).envs(variables).output();
        timeout(3 * PATIENCE, run).await.expect("ends in time").unwrap()
    };
    let done = async |what: &str, number: usize, variables: &[(&str, &str)]| {
        let output = run(what, number, variables).await;
        assert_eq!(output.status.code(), Some(0), "{what} {variables:?} {output:?}");
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let first = done("export", 0, &everything).await;
    assert_eq!(first["epoch"].as_array().unwrap().len(), 16, "{first}");
    for (number, to) in [&local[..], &other[..]].into_iter().enumerate() {
        let imported = done("import", number, to).await;
        assert_eq!(imported["written"], first["messages"]);
        let again = done("export", number + 1, to).await;
        for part in ["digest", "conversations", "messages"] {
            assert_eq!(again[part], first[part], "{part} by {to:?}");
        }
        assert_eq!(again["epoch"], imported["epoch"]);
    }
    let output = run("import", 0, &everything).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("comes from this very store"), "{said}");
}
