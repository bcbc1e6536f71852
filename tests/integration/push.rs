//! `bench --push-url` from outside: what a gateway is given, and what a run says where nobody takes it.

use std::process::Output;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::support::{PATIENCE, chatctl};

async fn bench(push_url: &str, arguments: &[&str]) -> Output {
    let out = tempfile::tempdir().unwrap();
    let run = chatctl(&["bench", "paired-clients", "--clients", "4", "--messages", "300", "--out"])
        .arg(out.path())
        .args(["--push-url", push_url])
        .args(arguments)
        .output();
    timeout(3 * PATIENCE, run).await.expect("ends in time").unwrap()
}

#[tokio::test]
async fn a_gateway_is_given_the_numbers() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/metrics/job/chatctl", listener.local_addr().unwrap());
    let gateway = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = Vec::new();
        while !asked.ends_with(b"\n# EOF\n") {
            assert!(stream.read_buf(&mut asked).await.unwrap() > 0, "ended early");
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        String::from_utf8(asked).unwrap()
    };
    let (run, asked) = tokio::join!(bench(&url, &["--gate", "correctness.lost==0"]), gateway);
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    assert!(asked.starts_with("PUT /metrics/job/chatctl HTTP/1.1\r\n"), "{asked}");
    let of = r#"workload="paired-clients",engine="local",durability="disk""#;
    for sample in [
        format!("latency_seconds_count{{{of},latency=\"write\"}} 1200"),
        format!("violations{{{of},kind=\"lost\"}} 0"),
        format!("verdict{{{of},verdict=\"pass\"}} 1"),
        format!("gate{{{of},gate=\"correctness.lost==0\",outcome=\"passed\"}} 1"),
    ] {
        assert!(asked.contains(&format!("\nchatctl_bench_{sample}\n")), "{sample}\n{asked}");
    }
}

#[tokio::test]
async fn where_nobody_takes_them_the_run_is_kept_and_no_pass() {
    let run = bench("http://127.0.0.1:1/metrics", &[]).await;
    let stderr = String::from_utf8_lossy(&run.stderr);
    assert_eq!(run.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("cannot push metrics to http://127.0.0.1:1/metrics: "), "{stderr}");
    assert!(stderr.contains("kept in "), "{stderr}");

    // What a run found is worth more.
    let run = bench("http://127.0.0.1:1/metrics", &["--gate", "count.sent<1"]).await;
    assert_eq!(run.status.code(), Some(3), "{run:?}");
    let run = bench("https://127.0.0.1:1/metrics", &[]).await;
    assert_eq!(run.status.code(), Some(64), "{run:?}");
}
