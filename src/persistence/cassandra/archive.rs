//! What comes from another engine, and goes to one.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use scylla::response::PagingState;
use tokio::time::Instant;

use super::batch::Written;
use super::calls::CALL_TIME;
use super::codec::number;
use super::commit::Committer;
use super::decision::Decision;
use super::failure::{self, unreadable};
use super::link::{CallError, Link};
use super::{CassandraPersistence, acks, rosters};
use crate::model::{ConvId, Lives, Place, Roster, UserName};
use crate::persistence::{Archive, EngineError, Entry, RestoredMember};

/// How often a roster is written beside others who change the conversation.
const ROSTER_TRIES: u8 = 8;

/// A row of `mine`.
type EntryRow = (String, i64, Vec<u8>, String);

#[async_trait]
impl Archive for CassandraPersistence {
    fn lives(&self) -> Lives {
        self.current_epoch().into()
    }

    fn entries(&self) -> BoxStream<'_, Result<Entry, EngineError>> {
        let pages = stream::try_unfold(Some(PagingState::start()), async |from| {
            let Some(from) = from else { return Ok(None) };
            let calls = &self.store.calls;
            let from: &PagingState = &from;
            let page = calls.again(|link| async move {
                link.page::<EntryRow>(&link.statements.entries, from.clone()).await
            });
            Ok::<_, EngineError>(Some(page.await?))
        });
        pages.map_ok(|rows| stream::iter(rows).map(entry)).try_flatten().boxed()
    }

    async fn restore_member(&self, member: RestoredMember) -> Result<(), EngineError> {
        let RestoredMember { entry: Entry { user, conv, place, since_us }, acked_up_to } = &member;
        let calls = &self.store.calls;
        calls
            .again(|link| async move {
                acks::add_mine(&link, user, *conv, place, *since_us).await?;
                if !matches!(**place, Place::Channel(_)) {
                    acks::become_mine(&link, *conv, user).await?;
                }
                if let Some(up_to) = acked_up_to {
                    acks::join(&link, *conv, user, *up_to).await?;
                    self.store.index.note(*conv, user, &link.life);
                }
                Ok(())
            })
            .await
    }

    async fn restore_roster(&self, conv: ConvId, roster: Roster) -> Result<bool, EngineError> {
        let (roster, calls) = (&Arc::new(roster), &self.store.calls);
        calls
            .again(|link| async move {
                for _ in 0..ROSTER_TRIES {
                    match self.roster_once(&link, conv, roster).await {
                        Ok(None) => {}
                        Ok(Some(outcome)) => return Ok(outcome),
                        Err(error) => {
                            if matches!(error, CallError::Lost) {
                                self.store.lost(&link).await;
                            }
                            return Err(error);
                        }
                    }
                }
                Err(failure::crowded("the conversation changes all the time").into())
            })
            .await
    }
}

impl CassandraPersistence {
    /// `None`: the conversation has moved on, and nothing was changed.
    async fn roster_once(
        &self,
        link: &Arc<Link>,
        conv: ConvId,
        roster: &Arc<Roster>,
    ) -> Result<Option<bool>, CallError> {
        let (store, layout) = (&self.store, link.layout);
        store.enter(link);
        let tail = store.ends.rostered(link, conv).await?;
        if tail.roster.is_some() {
            let there = store.rosters.named(link, conv, tail.roster).await?;
            return Ok(Some(there == *roster));
        }
        // Where the membership that the last change began with begins stands in the name.
        let last = roster.members.values().find(|member| member.joined == roster.version);
        let since = last.map_or(tail.head(layout), |member| member.since);
        let id = rosters::write(link, conv, roster, None).await?.at(since);
        let committer = Committer::new(Arc::clone(store), self.tasks.clone());
        let deadline = Instant::now() + CALL_TIME;
        let (base, is_new) = committer.base(link, conv, tail, deadline).await?;
        let decision = Decision::change(&base, link.life.generation, layout, id);
        let end = store.ends.of(conv);
        match store.write(link, conv, &end, &decision, deadline).await? {
            Written::Done => {}
            Written::Moved => return Ok(None),
        }
        committer.written(link, conv, &end, &decision, is_new);
        store.rosters.keep(conv, id, roster);
        Ok(Some(true))
    }
}

fn entry((user, stamp, conv, place): EntryRow) -> Result<Entry, EngineError> {
    let unreadable = || unreadable("an entry of a list");
    Ok(Entry {
        user: UserName::new(&user).map_err(|_| unreadable())?,
        conv: ConvId::from_bytes(&conv).ok_or_else(unreadable)?,
        place: serde_json::from_str(&place).map(Arc::new).map_err(|_| unreadable())?,
        since_us: number(stamp),
    })
}
