//! The client against servers that do one thing each.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use super::*;
use crate::model::UserName;
use crate::protocol::Command;

pub(crate) const HELLO: &str = r#"{"id":1,"hello":{"session":"s","user":"ann","node":"n","protocol":1,
    "engine":{"name":"FAKE","durability":"none"},"ping_ms":25000,"limits":{"frame_bytes_max":1,
    "content_bytes_max":1,"page_bytes_max":1,"open_max":1,"read_limit_max":1,"late_max":1,
    "resume_max":1,"unread_max":1,"ack_ranges_max":1,"acked_ranges_max":1,"list_max":1,
    "in_flight_max":1,"future_skew_ms_max":1,"hello_ms_max":1,"answer_ms_max":1}}}"#;

/// Answers `hello` and the frames after it with `answers`, one list of frames each.
async fn serve(mut answers: Vec<Vec<Message>>) -> Address {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("ws://{}", listener.local_addr().unwrap()).parse().unwrap();
    answers.insert(0, vec![Message::text(HELLO)]);
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut socket: WebSocketStream<TcpStream> =
            tokio_tungstenite::accept_async(stream).await.unwrap();
        for frames in answers {
            if !matches!(socket.next().await, Some(Ok(Message::Text(_)))) {
                return;
            }
            for frame in frames {
                socket.send(frame).await.unwrap();
            }
        }
        // Stays until the client goes.
        while let Some(Ok(_)) = socket.next().await {}
    });
    address
}

async fn connect(address: &Address, pushes: PushHandler) -> Client {
    let answer_timeout = Duration::from_millis(200);
    let options = ClientOptions { answer_timeout, pushes, ..ClientOptions::default() };
    Client::connect(address, &UserName::new("ann").unwrap(), options).await.unwrap()
}

fn pong(id: u64) -> Message {
    Message::text(format!(r#"{{"id":{id},"ping":{{}}}}"#))
}

#[tokio::test]
async fn answers_are_matched_by_id_in_any_order() {
    let refused = r#"{"id":3,"error":{"code":"overloaded","message":"later","temporary":true,"definite":true}}"#;
    let address = serve(vec![vec![], vec![], vec![pong(4), Message::text(refused), pong(2)]]).await;
    let client = connect(&address, PushHandler::Ignore).await;
    let pings = [Command::Ping {}, Command::Ping {}, Command::Ping {}];
    let mut answers = client.submit_many(&pings).await.unwrap().into_iter();
    assert!(answers.next().unwrap().await.is_ok());
    let error = answers.next().unwrap().await.unwrap_err();
    assert!(error.is_definite() && error.is_retryable());
    assert_eq!(error.label(), "overloaded");
    assert!(answers.next().unwrap().await.is_ok());
    client.close().await;
}

#[tokio::test]
async fn an_answer_that_nobody_asked_for_ends_the_connection() {
    let address = serve(vec![vec![pong(2), pong(2)]]).await;
    let client = connect(&address, PushHandler::Ignore).await;
    client.ping().await.unwrap();
    let error = client.closed().await;
    assert!(matches!(&error, ClientError::Protocol { .. }), "{error}");
    assert!(matches!(client.ping().await, Err(ClientError::Protocol { .. })));
}

#[tokio::test]
async fn silence_is_indefinite_and_a_close_tells_its_code() {
    let close = CloseFrame { code: 4408.into(), reason: "reader too slow".into() };
    let address = serve(vec![vec![], vec![Message::Close(Some(close))]]).await;
    let client = connect(&address, PushHandler::Ignore).await;
    let error = client.ping().await.unwrap_err();
    assert!(matches!(error, ClientError::Timeout { .. }) && !error.is_definite(), "{error}");
    let error = client.ping().await.unwrap_err();
    assert_eq!(error.label(), "closed_4408");
    assert!(!error.is_definite());
    let text = error.to_string();
    assert!(text.contains("connect again") && text.contains(address.url()), "{text}");
}

#[tokio::test]
async fn a_full_push_queue_holds_the_answers_back() {
    let push = || Message::text(r#"{"notice":{"code":"draining"}}"#);
    let address = serve(vec![vec![push(), push(), pong(2)]]).await;
    let (sender, mut receiver) = mpsc::channel(1);
    let client = connect(&address, PushHandler::Queue(sender)).await;
    let answer = client.submit(&Command::Ping {}).await.unwrap();
    let mut answer = std::pin::pin!(answer);
    let waited = tokio::time::timeout(Duration::from_millis(100), &mut answer).await;
    assert!(waited.is_err(), "the answer is behind two pushes, and the queue holds one");
    assert!(receiver.recv().await.is_some());
    assert!(answer.await.is_ok());
    assert!(receiver.recv().await.is_some());
}

#[tokio::test]
async fn connecting_fails_with_the_address_and_in_time() {
    let user = UserName::new("ann").unwrap();
    let nobody: Address = "ws://127.0.0.1:1".parse().unwrap();
    let error = Client::connect(&nobody, &user, ClientOptions::default()).await.unwrap_err();
    assert!(matches!(&error, ClientError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("ws://127.0.0.1:1/v1/ws"));
    // Accepts by its backlog and never answers the upgrade.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("ws://{}", silent.local_addr().unwrap()).parse().unwrap();
    let connect_timeout = Duration::from_millis(50);
    let options = ClientOptions { connect_timeout, ..ClientOptions::default() };
    let error = Client::connect(&address, &user, options).await.unwrap_err();
    assert!(matches!(&error, ClientError::ConnectTimeout { timeout_ms: 50, .. }), "{error}");
}
