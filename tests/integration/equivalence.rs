//! `check equivalence` from outside: the engines answer the same.

use tokio::time::timeout;

use crate::support::services::SharedServices;
use crate::support::{PATIENCE, chatctl, scale};

#[tokio::test]
async fn local_redis_and_cassandra_answer_the_same() {
    let Some(shared) = SharedServices::find().await else { return };
    let _alone = shared.keyspace().await;
    let operations = scale("CHATCTL_TEST_OPERATIONS", 4_000).to_string();
    let run = chatctl(&["check", "equivalence", "--operations", &operations, "--seed", "11"])
        .env("REDIS_URL", shared.variable("REDIS_URL"))
        .env("CASSANDRA_HOSTS", shared.variable("CASSANDRA_HOSTS"))
        .env("CHATCTL_LOCAL_SYNC", "never")
        .output();
    let run = timeout(60 * PATIENCE, run).await.expect("ends in time").unwrap();
    let stdout = String::from_utf8_lossy(&run.stdout);
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    for other in ["redis", "cassandra"] {
        assert!(
            stdout.contains(&format!("local and {other}: every answer is the same")),
            "{stdout}"
        );
    }
    println!("{stdout}");
}

#[tokio::test]
async fn there_must_be_something_to_compare() {
    for wrong in [["--engines", "local"], ["--engines", "local,kafka"], ["--operations", "0"]] {
        let run = chatctl(&["check", "equivalence"]).args(wrong).output().await.unwrap();
        assert_eq!(run.status.code(), Some(64), "{wrong:?} {run:?}");
    }
}
