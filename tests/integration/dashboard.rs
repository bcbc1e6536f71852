//! `docker/grafana`: what the dashboard asks for is there, and what is there is explained.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::support::services::SharedServices;
use crate::support::{PATIENCE, Server, message, unique};

fn read(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// The panels, and the queries of all of them.
fn dashboard() -> (Vec<Value>, Vec<String>) {
    let dashboard = read("docker/grafana/dashboards/chatctl.json");
    let dashboard: Value = serde_json::from_str(&dashboard).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().clone();
    let queries = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let queries = queries.map(|target| target["expr"].as_str().unwrap().to_owned()).collect();
    (panels, queries)
}

/// Names of ours in a text, as their HELP has them: a histogram is one metric.
fn metrics(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'));
    let ours = words.filter(|word| word.starts_with("chatctl_"));
    ours.map(|word| {
        let histogram = ["_bucket", "_count", "_sum"];
        let metric = histogram.iter().find_map(|part| word.strip_suffix(part));
        metric.unwrap_or(word).to_owned()
    })
    .collect()
}

/// What a server shows: each metric with the names of its labels.
#[derive(Default)]
struct Exposed(BTreeMap<String, BTreeSet<String>>);

impl Exposed {
    /// Adds what a server shows, every series of which must be explained.
    async fn add(&mut self, server: &Server) {
        let (status, text) = server.admin_get("/metrics").await;
        assert_eq!(status, 200);
        let described = |keyword: &str| -> Vec<&str> {
            let lines = text.lines().filter_map(|line| line.strip_prefix(keyword));
            lines.map(|rest| rest.split_once(' ').expect("a text").0).collect()
        };
        let (helped, typed) = (described("# HELP "), described("# TYPE "));
        for names in [&helped, &typed] {
            let once: BTreeSet<_> = names.iter().collect();
            assert_eq!(once.len(), names.len(), "said twice: {names:?}");
        }
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (series, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let name = metrics(name).pop_first().expect("one of ours");
            assert!(helped.contains(&name.as_str()) && typed.contains(&name.as_str()), "{line}");
            let labels = labels.split(',').filter_map(|label| label.split_once('='));
            let known = self.0.entry(name).or_default();
            known.extend(labels.map(|(label, _)| label.to_owned()));
        }
    }
}

/// All that a client asks an engine for.
async fn work(server: &Server) {
    let (ann_name, bob_name) = (unique("ann"), unique("bob"));
    let (mut ann, mut bob) = (server.connect(&ann_name).await, server.connect(&bob_name).await);
    let conv = ann.open_user(&bob_name).await["conv"].clone();
    bob.open_user(&ann_name).await;
    for number in 0..20 {
        ann.send(&conv, &format!("c{number}"), None).await;
        bob.push("msg").await;
    }
    bob.ok("ack", json!({"conv": conv, "up_to": 3})).await;
    bob.ok("read", json!({"conv": conv})).await;
    bob.ok("read", json!({"conv": conv, "after_seq": 1})).await;
    bob.ok("read", json!({"conv": conv, "late": true})).await;
    bob.ok("list", json!({})).await;
    let group = ann.ok("create", json!({})).await["group"].clone();
    ann.ok("open", json!({"to": {"group": group}})).await;
    ann.cut().await;
    let _ = server.get("/", "Host: elsewhere.example\r\n").await;
}

#[tokio::test]
async fn every_query_of_the_dashboard_finds_something_and_every_metric_is_explained() {
    let mut exposed = Exposed::default();
    let local = Server::start_with(&[("CHATCTL_MESSAGES_PER_S_MAX", "10")]).await;
    work(&local).await;
    let mut ann = local.connect(&unique("ann")).await;
    let conv = ann.open_user(&unique("bob")).await["conv"].clone();
    let mut limited = false;
    for number in 0..200 {
        let reply = ann.call("send", message(&conv, &format!("r{number}"), None)).await;
        limited |= reply["error"]["code"] == "rate_limited";
    }
    assert!(limited);
    exposed.add(&local).await;
    // An engine that can do nothing.
    let full = Server::start_with(&[("CHATCTL_LOCAL_RESERVE_BYTES", "9007199254740991")]).await;
    let mut ann = full.connect(&unique("ann")).await;
    let error = ann.error("open", json!({"to": {"channel": "c"}})).await;
    assert_eq!(error["code"], "storage_full");
    exposed.add(&full).await;
    let errors = "chatctl_engine_operation_errors_total";
    assert!(full.counter(errors).await >= 1.0 && local.counter(errors).await == 0.0);
    assert_eq!(full.counter("chatctl_engine_healthy").await, 0.0);
    assert_eq!(full.counter("chatctl_ready").await, 0.0);

    // Two nodes over Kafka: what one stores the other hears.
    let Some(shared) = SharedServices::find().await else { return };
    let prefix = unique("dashboard:");
    let variables = shared.on_kafka(&prefix);
    let (one, other) = (Server::start_with(&variables).await, Server::start_with(&variables).await);
    work(&one).await;
    let (ann_name, bob_name) = (unique("ann"), unique("bob"));
    let (mut ann, mut bob) = (one.connect(&ann_name).await, other.connect(&bob_name).await);
    let conv = ann.open_user(&bob_name).await["conv"].clone();
    bob.open_user(&ann_name).await;
    ann.send(&conv, "c1", None).await;
    bob.push("msg").await;
    for server in [&one, &other] {
        // The library tells of itself twice a second.
        let begun = Instant::now();
        while !server.admin_get("/metrics").await.1.contains("\nchatctl_kafka_requests_total") {
            assert!(begun.elapsed() < PATIENCE, "the library never told of its requests");
            sleep(Duration::from_millis(100)).await;
        }
        exposed.add(server).await;
    }
    for operation in ["append", "open", "range", "after", "unread_late", "ack", "mine", "summary"] {
        let (_, text) = one.admin_get("/metrics").await;
        let count = format!(
            "chatctl_engine_operation_seconds_count{{engine=\"REDIS\",operation=\"{operation}\"}} "
        );
        let line = text.lines().find(|line| line.starts_with(&count));
        let line = line.unwrap_or_else(|| panic!("{count} is not in {text}"));
        assert!(!line.ends_with(" 0"), "{line}");
    }

    let (_, queries) = dashboard();
    for query in &queries {
        for name in metrics(query) {
            let labels = exposed.0.get(&name).unwrap_or_else(|| panic!("nobody shows {name}"));
            let by = query
                .split("by (")
                .skip(1)
                .flat_map(|rest| rest.split(')').next().unwrap_or_default().split(", "));
            for label in by.filter(|label| *label != "le") {
                assert!(labels.contains(label), "{name} has no label {label}: {query}");
            }
        }
    }
    let (explained, shown) = (metrics(&read("docs/metrics.md")), metrics(&queries.join(" ")));
    let all: BTreeSet<_> = exposed.0.keys().cloned().collect();
    let unexplained: Vec<_> = all.difference(&explained).collect();
    assert!(unexplained.is_empty(), "not in docs/metrics.md: {unexplained:?}");
    assert!(shown.is_subset(&all) && shown.len() > 30, "{shown:?}");
}

#[test]
fn the_dashboard_is_laid_out_and_provisioned() {
    let (panels, queries) = dashboard();
    assert!(queries.iter().all(|query| !metrics(query).is_empty()), "{queries:?}");
    let (mut ids, mut titles, mut cells) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for panel in &panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        assert!(titles.insert(panel["title"].as_str().unwrap()), "{panel}");
        assert_eq!(panel["datasource"]["uid"], "prometheus");
        let number = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(number("x") + number("w") <= 24);
        for x in number("x")..number("x") + number("w") {
            for y in number("y")..number("y") + number("h") {
                assert!(cells.insert((x, y)), "{} lies over another", panel["title"]);
            }
        }
    }
    let source = read("docker/grafana/provisioning/datasources/prometheus.yml");
    let provider = read("docker/grafana/provisioning/dashboards/chatctl.yml");
    let compose = read("docker/compose.yml");
    let value = |text: &str, key: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(key)).unwrap();
        line.trim().to_owned()
    };
    assert_eq!(value(&source, "uid:"), "prometheus");
    assert_eq!(value(&source, "url:"), "http://prometheus:9090");
    assert!(compose.contains(&value(&provider, "path:")), "the folder is mounted");
    let admin = chatctl::config::VARIABLES.iter().find(|it| it.key == "CHATCTL_ADMIN_LISTEN");
    let port = admin.unwrap().default.unwrap().rsplit(':').next().unwrap();
    assert!(read("docker/prometheus.yml").contains(&format!("host.docker.internal:{port}\"")));
}
