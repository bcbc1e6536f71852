//! One pair of people and their conversation on one engine: every turn asked, every answer as it would be on any engine.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value};

use super::step::{Step, Turn};
use crate::client::{Address, Client, ClientError, ClientOptions, PushHandler, ReceivedPush};
use crate::harness::{own_cid, text_message};
use crate::model::{ConvId, Epoch, INTEGER_MAX, InvalidName, Order, Place, Seq, UserName};
use crate::protocol::{Ack, Command, List, Open, Push, Read, ReadKind, Reply, Resume, Send, To};

/// Pages of one read at most; one that has more would never end.
const PAGES_MAX: usize = 10_000;

/// Keys whose values are an engine's own: its ids, its clock, and who happens to be connected.
const OWN: [&str; 4] = ["conv", "epoch", "at", "online"];
/// Keys whose values are an engine's own words for "there is more".
const WORDS: [&str; 3] = ["next", "late_next", "cursor"];

/// Two people, and what has become of their conversation.
pub struct Lane {
    names: [UserName; 2],
    conv: ConvId,
    clients: Vec<Client>,
    pushed: [Arc<Mutex<Vec<Value>>>; 2],
    epoch: Option<Epoch>,
    head: u64,
}

impl Lane {
    /// Connects both. Their names begin with `prefix`, which nobody else's do.
    pub async fn enter(
        address: &Address,
        prefix: &str,
        connect_timeout: Duration,
    ) -> Result<Self, ClientError> {
        let name = |suffix: &str| {
            UserName::new(&format!("{prefix}-{suffix}")).map_err(|error: InvalidName| {
                ClientError::Protocol { address: address.to_string(), problem: error.to_string() }
            })
        };
        let names = [name("a")?, name("b")?];
        let pushed = [Arc::default(), Arc::default()];
        let mut clients = Vec::new();
        for (name, pushed) in names.iter().zip(&pushed) {
            let pushed: Arc<Mutex<Vec<Value>>> = Arc::clone(pushed);
            let note = move |received: ReceivedPush| {
                if let Push::Msg(push) = received.push {
                    let message = serde_json::to_value(&push.message).unwrap_or_default();
                    pushed.lock().unwrap_or_else(PoisonError::into_inner).push(message);
                }
            };
            let pushes = PushHandler::Callback(Box::new(note));
            let options = ClientOptions { connect_timeout, pushes, ..ClientOptions::default() };
            clients.push(Client::connect(address, name, options).await?);
        }
        let conv = Place::direct(names[0].clone(), names[1].clone()).conv_id();
        Ok(Self { names, conv, clients, pushed, epoch: None, head: 0 })
    }

    /// Does all turns; the answers in their order, and what was pushed to each of the two in the end.
    pub async fn play(mut self, turns: &[Turn]) -> Result<Vec<String>, ClientError> {
        let mut outcomes = Vec::with_capacity(turns.len() + 2);
        for turn in turns {
            let outcome = self.turn(turn).await?;
            outcomes.push(outcome.to_string());
        }
        for (client, pushed) in self.clients.iter().zip(&self.pushed) {
            // What was pushed before is here when it is answered, wherever hints come at once.
            client.ping().await?;
            let all = std::mem::take(&mut *pushed.lock().unwrap_or_else(PoisonError::into_inner));
            let alike: Vec<Value> = all.into_iter().map(|value| self.alike(value)).collect();
            outcomes.push(Value::Array(alike).to_string());
        }
        for client in self.clients {
            client.close().await;
        }
        Ok(outcomes)
    }

    async fn turn(&mut self, Turn { by, step }: &Turn) -> Result<Value, ClientError> {
        let (by, conv) = (*by, self.conv);
        match step {
            Step::Send { cid, ts, variation } => {
                let send = self.send(by, *cid, *ts, *variation);
                self.ask(by, Command::Send(send)).await
            }
            Step::Open { limit, resume_after } => {
                let resume = resume_after.zip(self.epoch.clone());
                let resume = resume.map(|(seq, epoch)| Resume { epoch, seq: Seq(seq) });
                let to = To::User(self.names[1 - by].clone());
                let open = Open { to, limit: *limit, resume, echo: true, push: true };
                self.ask(by, Command::Open(open)).await
            }
            Step::After { share, limit } => {
                let after_seq = self.number(*share);
                self.pages(by, ReadKind::After { after_seq }, *limit).await
            }
            Step::Range { from, to, descending, limit } => {
                let kind = ReadKind::Range {
                    from: (*from > 0).then_some(*from),
                    to: (*to < INTEGER_MAX).then_some(*to),
                    order: if *descending { Order::Desc } else { Order::Asc },
                };
                self.pages(by, kind, *limit).await
            }
            Step::Late { limit } => self.pages(by, ReadKind::Late { late: true }, *limit).await,
            Step::AckUpTo { share } => {
                let up_to = Some(self.number(*share));
                self.ask(by, Command::Ack(Ack { conv, up_to, ranges: None })).await
            }
            Step::AckRanges { shares } => {
                let range = |&(one, other): &(u64, u64)| {
                    let (low, high) = (self.number(one.min(other)), self.number(one.max(other)));
                    (low.max(Seq(1)), high.max(Seq(1)).next())
                };
                let ranges = Some(shares.iter().map(range).collect());
                self.ask(by, Command::Ack(Ack { conv, up_to: None, ranges })).await
            }
            Step::List {} => self.ask(by, Command::List(List { limit: 10, cursor: None })).await,
        }
    }

    fn send(&self, by: usize, cid: usize, ts: u64, variation: u64) -> Send {
        // Of many lengths, and nobody's name in it.
        let content = format!("{by}/{cid}/{variation}/{}", "x".repeat(cid * 37 % 400));
        text_message(self.conv, own_cid(&format!("c{cid}")), content, Some(ts))
    }

    /// A number of the conversation, by its share of the head.
    fn number(&self, share: u64) -> Seq {
        Seq(self.head * share / 100)
    }

    /// One command: its answer as it would be on any engine, or the code of the error.
    async fn ask(&mut self, by: usize, command: Command) -> Result<Value, ClientError> {
        let reply = match self.clients[by].call(&command).await {
            Ok(answered) => answered.reply,
            Err(ClientError::Refused(error)) if error.definite => {
                return Ok(serde_json::json!({"refused": error.code, "field": error.field}));
            }
            Err(error) => return Err(error),
        };
        match &reply {
            Reply::Send(sent) => self.head = self.head.max(sent.seq.0),
            Reply::Open(open) => {
                self.epoch.get_or_insert_with(|| open.epoch.clone());
            }
            _ => {}
        }
        let value = serde_json::to_value(&reply).unwrap_or_default();
        Ok(self.alike(value))
    }

    async fn pages(
        &mut self,
        by: usize,
        kind: ReadKind,
        limit: usize,
    ) -> Result<Value, ClientError> {
        let (mut pages, mut cursor) = (Vec::new(), None);
        for _ in 0..PAGES_MAX {
            let read = Read { conv: self.conv, kind: kind.clone(), limit, cursor };
            let reply = match self.clients[by].call(&Command::Read(read)).await {
                Ok(answered) => answered.reply,
                Err(ClientError::Refused(error)) if error.definite => {
                    pages.push(serde_json::json!({"refused": error.code}));
                    break;
                }
                Err(error) => return Err(error),
            };
            cursor = match &reply {
                Reply::Read(read) => read.next.clone(),
                _ => None,
            };
            pages.push(self.alike(serde_json::to_value(&reply).unwrap_or_default()));
            if cursor.is_none() {
                break;
            }
        }
        Ok(Value::Array(pages))
    }

    /// The same without what is an engine's own, and with the names of the two made alike.
    fn alike(&self, value: Value) -> Value {
        match value {
            Value::Object(fields) => {
                let kept = fields.into_iter().filter(|(key, _)| !OWN.contains(&key.as_str()));
                let alike = kept.map(|(key, value)| {
                    let is_word = WORDS.contains(&key.as_str()) && !value.is_null();
                    let value = if is_word { Value::Bool(true) } else { self.alike(value) };
                    (key, value)
                });
                Value::Object(alike.collect::<Map<_, _>>())
            }
            Value::Array(values) => {
                Value::Array(values.into_iter().map(|value| self.alike(value)).collect())
            }
            Value::String(text) => {
                let text = text.replace(self.names[0].as_str(), "a");
                let text = text.replace(self.names[1].as_str(), "b");
                Value::String(text.replace(&self.conv.to_string(), "conv"))
            }
            other => other,
        }
    }
}
