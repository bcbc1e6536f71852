//! What comes from another engine, and goes to one.

use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};

use super::LocalPersistence;
use super::batch::ORDERS_PER_US;
use super::codec::decode_place;
use super::keys::{self, Table};
use super::request::Request;
use super::tables::TableError;
use crate::model::{ConvId, Lives, Roster, Seq};
use crate::persistence::{Archive, EngineError, Entry, RestoredMember};

/// Entries that one read of the table gives.
const CHUNK: usize = 1_000;

#[async_trait]
impl Archive for LocalPersistence {
    fn lives(&self) -> Lives {
        self.epoch.clone().into()
    }

    fn entries(&self) -> BoxStream<'_, Result<Entry, EngineError>> {
        let chunks = stream::try_unfold(Some(Vec::new()), async |after: Option<Vec<u8>>| {
            let Some(after) = after else { return Ok(None) };
            let (entries, last) = self.entries_after(after).await?;
            Ok::<_, EngineError>(Some((entries, last)))
        });
        chunks.map_ok(|entries| stream::iter(entries).map(Ok)).try_flatten().boxed()
    }

    async fn restore_member(&self, member: RestoredMember) -> Result<(), EngineError> {
        self.request(|answer| Request::Member(member, answer)).await
    }

    async fn restore_roster(&self, conv: ConvId, roster: Roster) -> Result<bool, EngineError> {
        self.request(|answer| Request::Roster(conv, Arc::new(roster), answer)).await
    }
}

impl LocalPersistence {
    /// Some entries behind a key, and the key to go on behind, unless that was all.
    async fn entries_after(
        &self,
        after: Vec<u8>,
    ) -> Result<(Vec<Entry>, Option<Vec<u8>>), EngineError> {
        let tables = Arc::clone(&self.tables);
        self.blocking(move || {
            let (mut entries, mut last) = (Vec::new(), None);
            let bounds = (Excluded(after.as_slice()), Unbounded);
            tables.view().scan(Table::Mine, bounds, false, &mut |key, value| {
                let (user, order, conv) = keys::split_mine(key)
                    .ok_or_else(|| TableError::corrupt("entry of a list", Seq::ZERO))?;
                let (place, since_us) = (decode_place(value)?, order / ORDERS_PER_US);
                entries.push(Entry { user, conv, place, since_us });
                if entries.len() == CHUNK {
                    last = Some(key.to_vec());
                }
                Ok(last.is_none())
            })?;
            Ok((entries, last))
        })
        .await
    }
}
