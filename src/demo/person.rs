//! One of the two: a session with both conversations open.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::script::{CHANNEL, Place, Who};
use crate::client::{Address, Client, ClientError, ClientOptions, PushHandler, ReceivedPush};
use crate::harness::{own_cid, text_message};
use crate::model::{ChannelName, ConvId, Seq, UserName};
use crate::protocol::{Ack, Open, Push, SendReply, To};

/// What has come and was not read yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Unread {
    /// Messages of the other.
    pub(super) messages: u64,
    /// The late ones among them.
    pub(super) late: u64,
    /// The highest number that has come.
    head: Seq,
}

type Inbox = Arc<Mutex<HashMap<ConvId, Unread>>>;

/// Somebody who chats.
#[derive(Debug)]
pub(super) struct Person {
    client: Client,
    inbox: Inbox,
    places: [(Place, ConvId); 2],
}

impl Person {
    /// Signs in and opens the direct chat and the channel.
    pub(super) async fn come(address: &Address, who: Who) -> Result<Self, ClientError> {
        let (inbox, user) = (Inbox::default(), user(who));
        let (heard, own) = (Arc::clone(&inbox), user.clone());
        let options = ClientOptions {
            client: Some("chatctl demo".to_owned()),
            pushes: PushHandler::Callback(Box::new(move |push| note(&heard, &own, &push))),
            ..ClientOptions::default()
        };
        let client = Client::connect(address, &user, options).await?;
        let direct = open(&client, To::User(self::user(who.other()))).await?;
        let lobby = open(&client, To::Channel(channel())).await?;
        Ok(Self { client, inbox, places: [(Place::Direct, direct), (Place::Lobby, lobby)] })
    }

    /// Says something there; `ts` is the time on this person's clock, ms, where it is not now.
    pub(super) async fn say(
        &self,
        place: Place,
        cid: &str,
        text: &str,
        ts: Option<u64>,
    ) -> Result<SendReply, ClientError> {
        let message = text_message(self.conv(place), own_cid(cid), text.to_owned(), ts);
        self.client.send(message).await
    }

    /// Acknowledges everything that has come there, and tells what was new.
    pub(super) async fn read(&self, place: Place) -> Result<Unread, ClientError> {
        let conv = self.conv(place);
        let unread = {
            let mut inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
            let inbox = inbox.entry(conv).or_default();
            std::mem::replace(inbox, Unread { head: inbox.head, ..Unread::default() })
        };
        self.client.ack(Ack { conv, up_to: Some(unread.head), ranges: None }).await?;
        Ok(unread)
    }

    /// Signs out.
    pub(super) async fn go(self) {
        self.client.close().await;
    }

    fn conv(&self, place: Place) -> ConvId {
        let [first, second] = self.places;
        if first.0 == place { first.1 } else { second.1 }
    }
}

async fn open(client: &Client, to: To) -> Result<ConvId, ClientError> {
    let open = Open { to, limit: 0, resume: None, echo: true, push: true };
    Ok(client.open(open).await?.conv)
}

/// Runs on the reading task.
fn note(inbox: &Inbox, own: &UserName, received: &ReceivedPush) {
    let Push::Msg(push) = &received.push else { return };
    let mut inbox = inbox.lock().unwrap_or_else(PoisonError::into_inner);
    let unread = inbox.entry(push.conv).or_default();
    unread.head = push.message.seq;
    if push.message.from != *own {
        unread.messages += 1;
        unread.late += u64::from(push.message.late);
    }
}

fn user(who: Who) -> UserName {
    UserName::new(who.name()).unwrap_or_else(|_| unreachable!("a constant"))
}

fn channel() -> ChannelName {
    ChannelName::new(CHANNEL).unwrap_or_else(|_| unreachable!("a constant"))
}
