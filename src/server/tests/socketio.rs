//! Socket.IO byte by byte: what stock clients do not do.

use rstest::rstest;

use super::*;

const PATH: &str = "/socket.io/?EIO=4&transport=";

async fn upgrade(server: &TestServer, sid: &str) -> WebSocketStream<TcpStream> {
    let stream = TcpStream::connect(server.public).await.unwrap();
    let url = format!("ws://{}{PATH}websocket{sid}", server.public);
    client_async(url, stream).await.unwrap().0
}

/// A WebSocket that has its handshake.
async fn connect(server: &TestServer) -> WebSocketStream<TcpStream> {
    let mut socket = upgrade(server, "").await;
    assert!(text(&mut socket).await.starts_with("0{"));
    socket
}

async fn say(socket: &mut WebSocketStream<TcpStream>, text: &str) {
    socket.send(Message::text(text)).await.unwrap();
}

/// The next packet but pings.
async fn text(socket: &mut WebSocketStream<TcpStream>) -> String {
    loop {
        let frame = timeout(PATIENCE, socket.next()).await.unwrap().unwrap().unwrap();
        match frame {
            Message::Text(text) if text != "2" => return text.to_string(),
            Message::Close(_) => panic!("closed"),
            _ => {}
        }
    }
}

/// What comes until the end.
async fn rest(mut socket: WebSocketStream<TcpStream>) -> Vec<String> {
    let mut texts = Vec::new();
    while let Some(Ok(frame)) = timeout(PATIENCE, socket.next()).await.expect("it ends") {
        if let Message::Text(text) = frame
            && text != "2"
        {
            texts.push(text.to_string());
        }
    }
    texts
}

fn closing(code: u16, texts: &[String]) -> bool {
    texts.iter().any(|text| text.starts_with(&format!(r#"42["closing",{{"code":{code},"#)))
}

async fn post(server: &TestServer, sid: &str, body: &str) -> String {
    let address = server.public;
    let request = format!(
        "POST {PATH}polling&sid={sid} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    exchange(address, request.as_bytes()).await
}

async fn poll(server: &TestServer, sid: &str) -> String {
    get(server.public, &format!("{PATH}polling&sid={sid}"), "").await
}

/// A session by polling: its engine's id.
async fn polling(server: &TestServer) -> String {
    let opened = get(server.public, &format!("{PATH}polling"), "").await;
    assert!(opened.starts_with("HTTP/1.1 200 "), "{opened}");
    // Stock clients divide what they send by it.
    assert!(opened.contains(r#""maxPayload":131073"#), "{opened}");
    let (_, rest) = opened.split_once(r#""sid":""#).unwrap();
    rest.split('"').next().unwrap().to_owned()
}

/// Lets the client of a new session in. Afterwards nothing waits for it: the engine's first ping, which comes a moment after the session
/// began, was told as well.
async fn greet(server: &TestServer, sid: &str) {
    assert!(post(server, sid, r#"40{"user":"ann"}"#).await.ends_with("ok"));
    let (mut has_hello, mut has_ping) = (false, false);
    while !(has_hello && has_ping) {
        let told = poll(server, sid).await;
        let (_, packets) = told.split_once("\r\n\r\n").unwrap();
        for packet in packets.split('\x1e') {
            has_hello |= packet.starts_with(r#"42["hello""#);
            has_ping |= packet == "2";
        }
    }
}

#[tokio::test]
async fn who_does_not_connect_is_closed() {
    let short = ServerSettings { hello: Duration::from_millis(30), ..settings() };
    let server = TestServer::start(short).await;
    let texts = rest(connect(&server).await).await;
    assert!(closing(4_002, &texts), "{texts:?}");
    // Nobody has to ask for the session to go.
    let sid = polling(&server).await;
    timeout(PATIENCE, async { while !poll(&server, &sid).await.starts_with("HTTP/1.1 400 ") {} })
        .await
        .expect("it is gone");
    server.stop().await;
}

#[tokio::test]
async fn who_is_silent_is_closed() {
    let short = ServerSettings {
        ping: Duration::from_millis(50),
        pong_grace: Duration::from_millis(50),
        ..settings()
    };
    let server = TestServer::start(short).await;
    let mut socket = connect(&server).await;
    say(&mut socket, r#"40{"user":"ann"}"#).await;
    let texts = rest(socket).await;
    assert!(texts[0].starts_with(r#"40{"sid""#), "{texts:?}");
    assert!(closing(4_008, &texts), "{texts:?}");
    server.stop().await;
}

#[rstest]
#[case::event_before_connect(r#"421["ping",{}]"#, 4_500)]
#[case::no_kind_of_the_engine("9", 1_002)]
#[case::nothing("", 1_002)]
#[case::kind_of_the_server("6", 1_002)]
#[case::upgrade_of_a_websocket("2probe", 1_002)]
#[case::bytes("bAAAA", 1_003)]
#[case::largest(&format!("42[\"ping\",{{\"pad\":\"{}\"}}]", "x".repeat(131_072)), 1_009)]
#[case::beyond_all(&"4".repeat(300_000), 1_009)]
#[case::attachments_awaited(r#"451-["send",{"_placeholder":true,"num":0}]"#, 1_003)]
#[tokio::test]
async fn what_may_not_come_ends_it(#[case] packet: &str, #[case] code: u16) {
    let server = TestServer::start(settings()).await;
    let mut socket = connect(&server).await;
    let _ = socket.send(Message::text(packet)).await;
    let texts = rest(socket).await;
    assert!(closing(code, &texts), "{texts:?}");
    server.stop().await;
}

/// Of a request what comes before still counts, and its poll tells why.
#[rstest]
#[case::no_kind_of_the_engine("9", 1_002)]
#[case::nothing("", 1_002)]
#[case::kind_of_the_server("6", 1_002)]
#[case::upgrade_without_a_websocket("5", 1_002)]
#[case::bytes("bAAAA", 1_003)]
#[case::bytes_that_are_none("b?", 1_003)]
#[tokio::test]
async fn what_may_not_come_in_a_request_ends_it(#[case] packet: &str, #[case] code: u16) {
    let server = TestServer::start(settings()).await;
    let sid = polling(&server).await;
    let body = format!(
        "40{{\"user\":\"ann\"}}\u{1e}425[\"ping\",{{}}]\u{1e}{packet}\u{1e}426[\"ping\",{{}}]"
    );
    let told = async {
        let mut told = String::new();
        while !told.contains("closing") {
            told += &poll(&server, &sid).await;
        }
        told
    };
    let (answer, told) = tokio::join!(post(&server, &sid, &body), timeout(PATIENCE, told));
    let told = told.expect("it is told");
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(told.contains(r#"435[{"ok":{}}]"#) && !told.contains("436["), "{told}");
    assert!(told.contains(&format!(r#"42["closing",{{"code":{code},"#)), "{told}");
    server.stop().await;
}

#[tokio::test]
async fn two_polls_at_once_end_it_and_the_first_is_told() {
    let server = TestServer::start(settings()).await;
    let sid = polling(&server).await;
    let told = async {
        loop {
            let told = poll(&server, &sid).await;
            // The engine's first ping may come before.
            if !told.ends_with("\r\n\r\n2") {
                return told;
            }
        }
    };
    let second = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        poll(&server, &sid).await
    };
    let (told, second) = tokio::join!(told, second);
    assert!(told.contains(r#"42["closing",{"code":1002,"#), "{told}");
    assert!(second.starts_with("HTTP/1.1 400 "), "{second}");
    server.stop().await;
}

/// The engine alone would end it, without a word, for want of a pong.
#[rstest]
#[case::websocket(false)]
#[case::polling(true)]
#[tokio::test]
async fn whoever_says_something_is_there_without_a_pong(#[case] by_polling: bool) {
    let short = ServerSettings {
        ping: Duration::from_millis(500),
        pong_grace: Duration::from_millis(1_000),
        ..settings()
    };
    let server = TestServer::start(short).await;
    let ping = |number: usize| format!(r#"42{number}["ping",{{}}]"#);
    let until = tokio::time::Instant::now() + Duration::from_secs(8);
    let (mut socket, sid) = if by_polling {
        let sid = polling(&server).await;
        assert!(post(&server, &sid, r#"40{"user":"ann"}"#).await.ends_with("ok"));
        (None, sid)
    } else {
        let mut socket = connect(&server).await;
        say(&mut socket, r#"40{"user":"ann"}"#).await;
        (Some(socket), String::new())
    };
    for number in 0.. {
        if tokio::time::Instant::now() > until {
            break;
        }
        match &mut socket {
            Some(socket) => {
                say(socket, &ping(number)).await;
                while !text(socket).await.starts_with(&format!("43{number}[")) {}
            }
            None => assert!(post(&server, &sid, &ping(number)).await.ends_with("ok")),
        }
        if by_polling {
            let told = poll(&server, &sid).await;
            assert!(told.starts_with("HTTP/1.1 200 ") && !told.contains("closing"), "{told}");
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    drop(socket);
    server.stop().await;
}

#[tokio::test]
async fn a_flood_of_what_is_no_packet_ends_it() {
    let server = TestServer::start(settings()).await;
    let (mut write, mut read) = connect(&server).await.split();
    let flood = async {
        for _ in 0..4_000 {
            if write.send(Message::Ping(vec![0; 100].into())).await.is_err() {
                break;
            }
        }
    };
    let told = async {
        while let Some(Ok(frame)) = timeout(PATIENCE, read.next()).await.expect("it ends") {
            if frame.to_text().is_ok_and(|text| closing(4_029, &[text.to_owned()])) {
                return true;
            }
        }
        false
    };
    let ((), is_told) = tokio::join!(flood, told);
    assert!(is_told);
    server.stop().await;
}

#[tokio::test]
async fn whoever_finds_no_place_is_told_so() {
    let tight = ServerSettings {
        connections_max: 1,
        refusals_max: 1,
        drain: Duration::from_millis(50),
        ..settings()
    };
    let server = TestServer::start(tight).await;
    let _first = connect(&server).await;
    let mut second = connect(&server).await;
    assert!(get(server.public, &format!("{PATH}polling"), "").await.starts_with("HTTP/1.1 503 "));
    say(&mut second, r#"40{"user":"ann"}"#).await;
    let texts = rest(second).await;
    assert!(texts[0].starts_with("44{") && texts[0].contains("limit"), "{texts:?}");
    assert!(closing(4_504, &texts), "{texts:?}");
    server.stop().await;
}

#[tokio::test]
async fn a_session_by_polling_has_a_place_of_its_address() {
    let tight = ServerSettings { connections_per_address_max: Some(2), ..settings() };
    let server = TestServer::start(tight).await;
    // Each request has one while it is there, and the session one for as long as it is.
    let _first = polling(&server).await;
    let more = get(server.public, &format!("{PATH}polling"), "").await;
    assert!(more.starts_with("HTTP/1.1 429 "), "{more}");
    server.stop().await;
}

#[rstest]
#[case::no_version("GET", "/socket.io/?transport=polling", "\"code\":5")]
#[case::old_version("GET", "/socket.io/?EIO=3&transport=polling", "\"code\":5")]
#[case::old_websocket("GET", "/socket.io/?EIO=3&transport=websocket", "\"code\":5")]
#[case::no_session("POST", "/socket.io/?EIO=4&transport=polling", "\"code\":2")]
#[case::no_such_session(
    "GET",
    "/socket.io/?EIO=4&transport=polling&sid=AAAAAAAAAAAAAAHs",
    "\"code\":1"
)]
#[case::no_id("GET", "/socket.io/?EIO=4&transport=polling&sid=x", "\"code\":1")]
#[tokio::test]
async fn what_is_no_request_of_it_is_refused(
    #[case] method: &str,
    #[case] path: &str,
    #[case] expected: &str,
) {
    let server = TestServer::start(settings()).await;
    let address = server.public;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    );
    let answer = exchange(address, request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains(expected), "{answer}");
    server.stop().await;
}

#[tokio::test]
async fn a_page_elsewhere_needs_to_be_allowed_and_is_told_that_it_is() {
    let origins = vec!["https://chat.example".parse().unwrap()];
    let server = TestServer::start(ServerSettings { origins, ..settings() }).await;
    let path = format!("{PATH}polling");
    let answer = get(server.public, &path, "Origin: https://chat.example\r\n").await;
    assert!(answer.contains("access-control-allow-origin: https://chat.example"), "{answer}");
    let answer = get(server.public, &path, "Origin: https://evil.example\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    server.stop().await;
}

#[tokio::test]
async fn packets_come_and_go_by_requests_of_bounded_size() {
    let server = TestServer::start(settings()).await;
    let sid = polling(&server).await;
    // Two packets in one request, as stock clients send them.
    let body = "40{\"user\":\"ann\"}\u{1e}425[\"ping\",{}]";
    assert!(post(&server, &sid, body).await.ends_with("ok"));
    let mut told = String::new();
    while !told.contains(r#"435[{"ok":{}}]"#) {
        told += &poll(&server, &sid).await;
    }
    assert!(told.contains(r#"40{"sid""#) && told.contains(r#"42["hello",{"#), "{told}");
    let body = format!("426[\"ping\",{{\"pad\":\"{}\"}}]", "x".repeat(131_072));
    let told = async {
        loop {
            let told = poll(&server, &sid).await;
            // The engine's ping may come before it.
            if !told.ends_with("\r\n\r\n2") {
                return told;
            }
        }
    };
    let (answer, told) = tokio::join!(post(&server, &sid, &body), told);
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(told.contains(r#"42["closing",{"code":1009,"#), "{told}");
    server.stop().await;
}

#[tokio::test]
async fn an_upgrade_that_is_not_finished_ends_the_session() {
    let server = TestServer::start(settings()).await;
    let sid = polling(&server).await;
    let query = format!("&sid={sid}");
    let mut socket = upgrade(&server, &query).await;
    say(&mut socket, "2probe").await;
    assert_eq!(text(&mut socket).await, "3probe");
    let stream = TcpStream::connect(server.public).await.unwrap();
    let url = format!("ws://{}{PATH}websocket{query}", server.public);
    match client_async(url, stream).await {
        Err(Error::Http(response)) => assert_eq!(response.status(), 400, "one at a time"),
        other => panic!("{other:?}"),
    }
    drop(socket);
    timeout(PATIENCE, async { while !poll(&server, &sid).await.starts_with("HTTP/1.1 400 ") {} })
        .await
        .expect("it is gone");
    server.stop().await;
}

#[tokio::test]
async fn a_client_by_polling_hears_of_a_drain_in_its_last_answer() {
    let server = TestServer::start(settings()).await;
    let sid = polling(&server).await;
    greet(&server, &sid).await;
    let last = poll(&server, &sid);
    let stop = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        server.stop.cancel();
    };
    let (told, ()) = tokio::join!(last, stop);
    assert!(told.contains(r#"42["closing",{"code":4001,"#), "{told}");
    server.stop().await;
}

#[tokio::test]
async fn clients_that_take_no_part_do_not_hold_the_drain() {
    let server = TestServer::start(ServerSettings { close_wait: PATIENCE * 2, ..settings() }).await;
    // They read nothing and never close their side.
    let _socket = connect(&server).await;
    let _other = upgrade(&server, "").await;
    let _sid = polling(&server).await;
    server.stop().await;
}

/// However a client who polls stands when a drain begins, it is told if a request of its waits, and nobody waits for it.
#[tokio::test]
async fn a_drain_waits_for_nobody_by_polling() {
    let long = Duration::from_secs(15);
    let server = TestServer::start(ServerSettings { drain: long, ..settings() }).await;
    let address = server.public;
    let begin = async |sid: &str, request: String| {
        greet(&server, sid).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    };
    let head = |method: &str, sid: &str, rest: &str| {
        format!("{method} {PATH}polling&sid={sid} HTTP/1.1\r\nHost: {address}\r\n{rest}\r\n")
    };
    let sids = [polling(&server).await, polling(&server).await, polling(&server).await];
    let mut hanging = begin(&sids[0], head("GET", &sids[0], "")).await;
    let half = head("POST", &sids[1], "Content-Length: 100\r\n") + "42";
    let _half_said = begin(&sids[1], half).await;
    let _between = begin(&sids[2], String::new()).await;
    let upgrading = polling(&server).await;
    let mut probed = upgrade(&server, &format!("&sid={upgrading}")).await;
    say(&mut probed, "2probe").await;
    assert_eq!(text(&mut probed).await, "3probe");
    // All of it has arrived.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let began = tokio::time::Instant::now();
    server.stop().await;
    assert!(began.elapsed() < long / 3, "{:?}", began.elapsed());
    let mut told = String::new();
    hanging.read_to_string(&mut told).await.unwrap();
    assert!(told.contains(r#"42["closing",{"code":4001,"#), "{told}");
}
