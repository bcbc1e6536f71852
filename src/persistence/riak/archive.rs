//! What comes from another engine, and goes to one.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use tokio::time::{Duration, Instant};

use super::entry::Entry as LogEntry;
use super::store::Claimed;
use super::{RiakPersistence, acks, failure, list, shared};
use crate::model::{ConvId, Lives, Roster, UserName};
use crate::persistence::{Archive, EngineError, Entry, RestoredMember};

/// How long a roster is written beside others who change the conversation.
const ROSTER_TIME: Duration = Duration::from_secs(4);

#[async_trait]
impl Archive for RiakPersistence {
    fn lives(&self) -> Lives {
        self.current_epoch().into()
    }

    fn entries(&self) -> BoxStream<'_, Result<Entry, EngineError>> {
        let node = &self.store.node;
        let pages = stream::try_unfold(Some(None::<String>), async |from| {
            let Some(from) = from else { return Ok::<_, EngineError>(None) };
            let (users, next) = node.keys(list::BUCKET, from.as_deref()).await?;
            Ok(Some((users, next.map(Some))))
        });
        pages
            .map_ok(|users| stream::iter(users).map(Ok::<_, EngineError>))
            .try_flatten()
            .and_then(async |user| {
                let user =
                    UserName::new(&user).map_err(|_| failure::unreadable("a list of nobody"))?;
                let list: list::List = shared::read(node, &list::place(&user)).await?;
                let entries = list.0.into_values().map(move |listed| {
                    let (user, place, since_us) = (user.clone(), listed.place, listed.since_us);
                    Ok(Entry { user, conv: place.conv_id(), place, since_us })
                });
                Ok::<_, EngineError>(stream::iter(entries.collect::<Vec<_>>()))
            })
            .try_flatten()
            .boxed()
    }

    async fn restore_member(&self, member: RestoredMember) -> Result<(), EngineError> {
        let RestoredMember { entry: Entry { user, conv, place, since_us }, acked_up_to } = &member;
        let node = &self.store.node;
        self.store.lists.add(node, user, place, *since_us).await?;
        let known = self.store.conversation(*conv);
        let life = self.store.fresh(*conv, &mut *known.lock().await).await?;
        let tag = rand::random();
        let join = |acks: &mut acks::Acks| {
            acks.become_mine(tag);
            if let Some(up_to) = *acked_up_to {
                acks.joined.get_or_insert((up_to, life.generation));
            }
        };
        shared::change(node, &acks::place(*conv, user), join).await?;
        if acked_up_to.is_some() {
            self.store.index.note(*conv, user, &life);
        }
        Ok(())
    }

    async fn restore_roster(&self, conv: ConvId, roster: Roster) -> Result<bool, EngineError> {
        let known = self.store.conversation(conv);
        let mut known = known.lock().await;
        let (roster, deadline) = (Arc::new(roster), Instant::now() + ROSTER_TIME);
        loop {
            let life = self.store.fresh(conv, &mut known).await?;
            if known.roster.version > 0 {
                return Ok(known.roster == roster);
            }
            let entry = LogEntry { roster: Some(Arc::clone(&roster)), ..known.next_entry(&life) };
            match self.store.claim(conv, &mut known, entry, deadline).await? {
                Claimed::Done => return Ok(true),
                Claimed::Moved(doubt) if Instant::now() > deadline => {
                    let crowded = || failure::crowded("the conversation changes all the time");
                    return Err(doubt.unwrap_or_else(crowded));
                }
                Claimed::Moved(_) => {}
            }
        }
    }
}
