//! How many may be connected, how large and how slow the head of a request may be, and how long one may be silent.

use std::time::{Duration, Instant};

use rstest::rstest;
use serde_json::json;
use tokio::net::TcpSocket;

use crate::support::raw::{Got, HANDSHAKE, Raw, frame};
use crate::support::{LIFTED, Peer, Server, unique};

/// The status of a handshake over a connection that stays.
async fn upgrade(raw: &mut Raw, address: &str) -> String {
    let head = raw.request(&format!("GET /v1/ws HTTP/1.1\r\nHost: {address}\r\n{HANDSHAKE}")).await;
    head.split(' ').nth(1).unwrap_or_default().to_owned()
}

#[tokio::test]
async fn sessions_of_one_user_are_bounded() {
    let server = Server::start_with(&[("CHATCTL_CONNECTIONS_PER_USER_MAX", "3")]).await;
    let user = unique("ann");
    let mut sessions = Vec::new();
    for _ in 0..3 {
        sessions.push(server.connect(&user).await);
    }
    let mut fourth = Peer::silent(&server.url).await;
    let error = fourth.error("hello", json!({"user": user})).await;
    assert_eq!((&error["code"], &error["definite"]), (&json!("limit"), &json!(true)), "{error}");
    assert_eq!(fourth.close_code().await, 4504);
    assert_eq!(server.counter("chatctl_refused_total").await, 1.0);
    // The others go on, another user comes in, and a place that is free again is taken.
    sessions[0].ok("ping", json!({})).await;
    server.connect(&unique("bob")).await.ok("ping", json!({})).await;
    sessions.pop().unwrap().cut().await;
    let begun = Instant::now();
    loop {
        let mut again = Peer::silent(&server.url).await;
        if again.call("hello", json!({"user": user})).await.get("error").is_none() {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "the place is not given back");
    }
}

#[tokio::test]
async fn connections_of_one_address_are_bounded() {
    let server = Server::start_with(&[("CHATCTL_CONNECTIONS_PER_ADDRESS_MAX", "3")]).await;
    let address = server.address();
    let mut sockets = Vec::new();
    for _ in 0..3 {
        sockets.push(Raw::upgraded(&address).await);
    }
    let mut fourth = Raw::connect(&address).await;
    assert_eq!(upgrade(&mut fourth, &address).await, "429");
    assert_eq!(server.counter("chatctl_refused_total").await, 1.0);
    // Another address has places of its own.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let elsewhere = socket.connect(address.parse().unwrap()).await.unwrap();
    assert_eq!(upgrade(&mut Raw::over(elsewhere), &address).await, "101");
    drop((sockets.pop(), fourth));
    let begun = Instant::now();
    while upgrade(&mut Raw::connect(&address).await, &address).await != "101" {
        assert!(begun.elapsed() < Duration::from_secs(5), "the place is not given back");
    }
}

#[tokio::test]
async fn far_too_many_of_one_address_are_closed_unheard() {
    let server = Server::start_with(&[("CHATCTL_CONNECTIONS_PER_ADDRESS_MAX", "1")]).await;
    let address = server.address();
    let mut waiting = Vec::new();
    // One, and 64 that may still be told.
    for _ in 0..65 {
        waiting.push(Raw::connect(&address).await);
    }
    let mut beyond = Raw::connect(&address).await;
    assert_eq!(beyond.read().await, Got::End);
    assert_eq!(upgrade(&mut waiting[64], &address).await, "429");
}

#[tokio::test]
async fn clients_in_all_are_bounded() {
    let server = Server::start_with(&[("CHATCTL_CONNECTIONS_MAX", "3")]).await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(server.connect(&unique("ann")).await);
    }
    assert_eq!(Peer::silent(&server.url).await.close_code().await, 4504);
    clients[2].ok("ping", json!({})).await;
}

#[rstest]
#[case::limit_less_one(16_383, "200")]
#[case::limit(16_384, "200")]
#[case::limit_and_one(16_385, "431")]
#[case::much_more(30_000, "431")]
#[tokio::test]
async fn heads_at_their_largest(#[case] bytes: usize, #[case] status: &str) {
    let server = Server::start().await;
    let start = format!("GET /healthz HTTP/1.1\r\nHost: {}\r\nX: ", server.address());
    let padding = "x".repeat(bytes - start.len() - "\r\n\r\n".len());
    let head =
        Raw::connect(&server.address()).await.request(&format!("{start}{padding}\r\n")).await;
    assert_eq!(head.split(' ').nth(1), Some(status), "{head}");
}

#[rstest]
#[case::limit_less_one(99, "200")]
#[case::limit(100, "200")]
#[case::limit_and_one(101, "431")]
#[tokio::test]
async fn most_header_fields(#[case] count: usize, #[case] status: &str) {
    let server = Server::start().await;
    let others: String = (1..count).map(|number| format!("X{number}: x\r\n")).collect();
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {}\r\n{others}", server.address());
    let head = Raw::connect(&server.address()).await.request(&request).await;
    assert_eq!(head.split(' ').nth(1), Some(status), "{head}");
}

#[tokio::test]
async fn a_head_that_comes_too_slowly_is_not_waited_for() {
    let server = Server::start_with(&[("CHATCTL_HEADER_TIMEOUT_MS", "500")]).await;
    let begun = Instant::now();
    let mut raw = Raw::connect(&server.address()).await;
    // A byte now and then does not help.
    let writing = async {
        loop {
            raw.write(b"G").await;
            match raw.read_within(Duration::from_millis(50)).await {
                None => {}
                Some(Got::End) => break,
                Some(got) => panic!("{got:?}"),
            }
        }
    };
    writing.await;
    let took = begun.elapsed().as_millis();
    assert!((500..5_000).contains(&took), "{took} ms");
}

#[tokio::test]
async fn the_silent_are_closed_and_not_before() {
    let server = Server::start_with(&[("CHATCTL_PING_MS", "1000")]).await;
    let address = server.address();
    let until_closed = |greeted: bool| {
        let address = address.clone();
        async move {
            let begun = Instant::now();
            let mut raw = match greeted {
                true => Raw::greeted(&address, "ann").await,
                false => {
                    let mut raw = Raw::upgraded(&address).await;
                    // To be heard is no `hello`.
                    raw.write(&frame(0x8a, b"")).await;
                    raw
                }
            };
            let got = raw.read().await;
            (got, begun.elapsed().as_secs_f64())
        }
    };
    // `Raw` answers no pings: ping_ms and 10 s more.
    let (silent, no_hello) = tokio::join!(until_closed(true), until_closed(false));
    assert_eq!((silent.0, no_hello.0), (Got::Close(Some(4008)), Got::Close(Some(4002))));
    assert!((10.9..14.0).contains(&silent.1), "idle_ms_max: {} s", silent.1);
    assert!((9.9..13.0).contains(&no_hello.1), "hello_ms_max: {} s", no_hello.1);
}

#[tokio::test]
async fn hello_says_every_limit_in_force() {
    // Set to nothing: the defaults.
    let defaults = LIFTED.map(|key| (key, ""));
    let server = Server::start_with(&defaults).await;
    let mut ann = Peer::silent(&server.url).await;
    let hello = ann.ok("hello", json!({"user": "ann"})).await;
    let told = hello["limits"].as_object().unwrap();
    let document = include_str!("../../docs/limits.md");
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let documented: Vec<_> = rows
        .map(|(name, rest)| {
            let number = rest.split(" |").next().unwrap().replace(' ', "");
            (name, number.parse::<u64>().unwrap())
        })
        .collect();
    for (name, number) in &documented {
        assert_eq!(told.get(*name), Some(&json!(number)), "{name}");
    }
    assert_eq!(told.len(), documented.len(), "{told:?}");

    // Taken away, a limit is not told.
    let lifted = Server::start().await;
    let mut bob = Peer::silent(&lifted.url).await;
    let hello = bob.ok("hello", json!({"user": "bob"})).await;
    assert!(hello["limits"].get("commands_per_s_max").is_none(), "{hello}");
    assert_eq!(hello["limits"]["connections_max"], 100_000);
}
