//! What a recorded client writes down, against a server that refuses everything.

use std::sync::Arc;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

use super::*;
use crate::client::tests::HELLO;
use crate::client::{Address, ClientOptions};
use crate::harness::content::tests::conv;
use crate::model::{Cid, MessageType, UserName};
use crate::protocol::{Command, Send};

/// A server of one client; what it was sent, in the order in which it came.
async fn refusing() -> (Address, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("ws://{}", listener.local_addr().unwrap()).parse().unwrap();
    let (sent, seen) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
        while let Some(Ok(Message::Text(frame))) = socket.next().await {
            let frame: Value = serde_json::from_str(&frame).unwrap();
            let answer = match frame["send"]["cid"].as_str() {
                Some(cid) => {
                    sent.send(cid.to_owned()).unwrap();
                    let error = json!({"code": "overloaded", "message": "later", "temporary": true,
                        "definite": true});
                    json!({"id": frame["id"], "error": error}).to_string()
                }
                None => HELLO.to_owned(),
            };
            socket.send(Message::text(answer)).await.unwrap();
        }
    });
    (address, seen)
}

/// Several tasks send by one session: the history has them in the order in which the server has them, as it is judged by that.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_tasks_ask_at_once_is_written_down_in_the_order_in_which_it_is_sent() {
    const TASKS: usize = 8;
    const SENDS: usize = 250;
    let (address, mut seen) = refusing().await;
    let recorder = Arc::new(Recorder::new());
    let ann = UserName::new("ann").unwrap();
    let options = ClientOptions::default();
    let client = RecordedClient::connect(Some(&recorder), &address, &ann, options, |_| {}).await;
    let client = Arc::new(client.unwrap());
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let client = Arc::clone(&client);
            tokio::spawn(async move {
                for n in 0..SENDS {
                    let send = Command::Send(Send {
                        conv: conv("ann", "bob"),
                        cid: Cid::new(&format!("{task}.{n}")).unwrap(),
                        kind: MessageType::new("text").unwrap(),
                        content: String::from("hi"),
                        ts: None,
                    });
                    let answer = match n % 2 {
                        0 => client.send_again(&send).await,
                        _ => {
                            let mut answers = client.submit_sends(&[send]).await.unwrap();
                            answers.pop().unwrap().end().await
                        }
                    };
                    assert_eq!(answer.unwrap_err().label(), "overloaded");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let events = recorder.take_events();
    let recorded: Vec<_> = events
        .iter()
        .filter_map(|event| match &event.act {
            Act::Invoke { asked: Asked::Send { cid, .. } } => Some(cid.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(recorded.len(), TASKS * SENDS);
    for (at, cid) in recorded.iter().enumerate() {
        assert_eq!(Some(cid), seen.recv().await.as_ref(), "send {at}");
    }
}
