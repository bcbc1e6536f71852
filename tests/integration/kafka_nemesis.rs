//! Three servers over Kafka, judged while their brokers are killed and started again, one after the other.
//!
//! Short here; `make soak` runs the same code over a million deliveries.

use std::time::{Duration, Instant};

use chatctl::services::{Nodes, ServiceKind};
use rustix::process::Signal;
use serde_json::Value;

use crate::support::services::OwnServices;
use crate::support::{chatctl, scale};

/// Between two kills.
const KILL_EVERY: Duration = Duration::from_secs(20);
/// How long a killed broker is left alone before it is started again.
const DOWN: Duration = Duration::from_secs(3);
/// Also while the bus is away: the engine is asked.
const DELIVERED_MAX: Duration = Duration::from_secs(6);
const DELIVERED_P99_MAX: Duration = Duration::from_secs(1);

/// More than what a million deliveries store.
const REDIS_MEMORY: &str = "2gb";

/// Where messages are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Messages {
    Redis,
    Cassandra,
}

/// Runs `chatctl <arguments> --nodes 3 --json` on engines of its own, and kills brokers until it ends. What it printed, and how many
/// were killed; `None` where services cannot be had.
async fn while_brokers_are_killed(
    messages: Messages,
    nodes: Nodes,
    arguments: &[&str],
) -> Option<(Value, usize)> {
    let kinds = [ServiceKind::Redis, ServiceKind::Kafka];
    let own = OwnServices::start(&kinds, nodes).await?;
    give_room(&own.variable("REDIS_URL"));
    let mut variables = own.on_kafka();
    let mut cassandra = None;
    if messages == Messages::Cassandra {
        let own = OwnServices::start(&[ServiceKind::Cassandra], Nodes::One).await?;
        // The later one of two of a name is taken.
        variables.extend(own.on_cassandra());
        cassandra = Some(own);
    }
    let out = tempfile::tempdir().unwrap();
    let child = chatctl(arguments)
        .args(["--nodes", "3", "--json", "--out"])
        .arg(out.path())
        .envs(variables)
        .spawn()
        .unwrap();
    let mut kills = 0;
    let nemesis = async {
        let begun = Instant::now();
        loop {
            // The first one early: short runs are to see one, too.
            let at = KILL_EVERY * u32::try_from(kills).unwrap() + KILL_EVERY / 4;
            tokio::time::sleep(at.saturating_sub(begun.elapsed())).await;
            let brokers = own.nodes_of(ServiceKind::Kafka);
            brokers[kills % brokers.len()].signal(Signal::KILL).unwrap();
            kills += 1;
            tokio::time::sleep(DOWN).await;
            for report in own.up().await {
                report.health.unwrap();
            }
        }
    };
    let output = tokio::select! {
        output = child.wait_with_output() => output.unwrap(),
        () = nemesis => unreachable!("it goes on until the run ends"),
    };
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stdout));
    drop(cassandra);
    Some((serde_json::from_slice(&output.stdout).unwrap(), kills))
}

fn give_room(redis_url: &str) {
    let mut connection = redis::Client::open(redis_url).unwrap().get_connection().unwrap();
    let change = ["SET", "maxmemory", REDIS_MEMORY];
    redis::cmd("CONFIG").arg(&change).exec(&mut connection).unwrap();
}

/// `share`: how many deliveries are judged, of those of the longest run.
async fn no_delivery_is_missed(messages: Messages, nodes: Nodes, share: f64) {
    // A message is delivered once to the peer and once to its sender.
    let deliveries = (scale("CHATCTL_TEST_DELIVERIES", 60_000) as f64 * share) as usize;
    let clients = 20;
    let each = (deliveries / clients).max(1).to_string();
    let arguments = ["bench", "paired-clients", "--clients", "20", "--messages", &each];
    let run = while_brokers_are_killed(messages, nodes, &arguments);
    let Some((report, kills)) = run.await else { return };
    assert_eq!(report["verdict"], "pass", "{}", report["correctness"]);
    let delivery = &report["latencies"]["delivery"];
    let at_most = |key: &str, max: Duration| {
        let us = delivery[key].as_f64().unwrap();
        assert!(us <= max.as_secs_f64() * 1e6, "{key} {us} µs");
    };
    println!(
        "{} deliveries, {kills} kills of {} brokers: p50 {} p99 {} max {} µs; writes max {} µs; repaired {} messages; positions lost {}; {}",
        delivery["count"],
        nodes.count(),
        delivery["p50_us"],
        delivery["p99_us"],
        delivery["max_us"],
        report["latencies"]["write"]["max_us"],
        report["server_counters"]["chatctl_repaired_messages_total"],
        report["server_counters"]["chatctl_kafka_positions_lost_total"],
        report["figures"]
    );
    assert!(kills > 0, "nothing was killed");
    at_most("max_us", DELIVERED_MAX);
    // A short run is mostly kills.
    if deliveries >= 100_000 {
        at_most("p99_us", DELIVERED_P99_MAX);
    }
}

#[tokio::test]
async fn no_delivery_is_missed_while_one_of_three_brokers_is_killed_again_and_again() {
    no_delivery_is_missed(Messages::Redis, Nodes::Three, 1.0).await;
}

#[tokio::test]
async fn no_delivery_is_missed_while_the_only_broker_is_killed_again_and_again() {
    no_delivery_is_missed(Messages::Redis, Nodes::One, 1.0).await;
}

#[tokio::test]
async fn no_delivery_of_messages_in_cassandra_is_missed() {
    no_delivery_is_missed(Messages::Cassandra, Nodes::Three, 0.1).await;
}

#[tokio::test]
async fn three_servers_are_valid_while_brokers_are_killed() {
    let messages = scale("CHATCTL_TEST_VALIDITY_MESSAGES", 300).to_string();
    let arguments = ["check", "validity", "--clients", "12", "--messages", &messages];
    let Some((verdict, kills)) =
        while_brokers_are_killed(Messages::Redis, Nodes::Three, &arguments).await
    else {
        return;
    };
    assert_eq!(verdict["outcome"], "valid", "{verdict}");
    println!("valid with {kills} kills of brokers");
}
