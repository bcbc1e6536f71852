//! Nodes that are killed under load, again and again.

use super::*;
use crate::persistence::conformance::load::asked;
use crate::persistence::conformance::subject::epoch_of;

#[expect(clippy::print_stdout, reason = "its report")]
async fn kill(nodes: u8, kills: u32) {
    let Some(mut ring) = Ring::start(nodes, CommitlogSync::Batch) else { return };
    let settings = ring.keyspace(ROWS).await;
    let first = engine(&settings).await;
    let class = if nodes == 1 { "disk" } else { "replicated+disk" };
    assert_eq!(first.durability(), class.parse::<Durability>().unwrap());
    let epoch = epoch_of(&*first);
    let senders = Senders::start(&[Arc::clone(&first)], 8, "kills", 2);
    for round in 0..kills {
        senders.more(100, Duration::from_secs(60)).await;
        let node = &ring.nodes()[round as usize % ring.nodes().len()];
        node.kill().await.expect("it runs");
        if nodes > 1 {
            // Two of three are enough.
            senders.more(50, Duration::from_secs(30)).await;
        }
        ring.serve().await;
    }
    senders.more(100, Duration::from_secs(60)).await;
    assert_eq!(epoch_of(&*first), epoch, "nothing is lost at class {class}");
    let shared: Arc<dyn Persistence> = first;
    let count = senders.judge(&shared, "kills", 2).await;
    println!("{nodes} nodes, {kills} kills: {count} messages, none lost, none doubled");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_only_node_killed_under_load_loses_and_doubles_nothing() {
    kill(1, asked("CHATCTL_TEST_KILLS", 1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "three nodes take a minute; `make soak`"]
async fn one_of_three_nodes_killed_under_load_loses_and_doubles_nothing() {
    kill(3, asked("CHATCTL_TEST_KILLS", 3)).await;
}
