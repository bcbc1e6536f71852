//! What is derived from a full bucket, written before the next one begins: its names, its skeleton, its summary.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use super::buckets;
use super::codec::{Row, bigint};
use super::crash::Point;
use super::ends::End;
use super::link::{CallError, Link};
use super::store::Store;
use super::tail::Tail;
use crate::model::ConvId;

/// Names that go into one batch: nodes complain of more partitions.
const NAMES_PER_BATCH: usize = 10;
/// Batches of names under way at once.
const NOTES_MAX: usize = 8;

/// Makes sure that all of it is written; a bucket without it must not be followed by another.
pub async fn seal(
    store: &Store,
    link: &Link,
    conv: ConvId,
    tail: &Arc<Tail>,
) -> Result<(), CallError> {
    let end = store.ends.of(conv);
    if end.is_sealed(tail.bucket) {
        return Ok(());
    }
    store.crash.at(Point::BeforeSeal).await;
    let open: Vec<Row> =
        end.unnoted(tail).into_iter().map(|place| tail.rows[place].clone()).collect();
    note(link, conv, &end, &open).await?;
    store.crash.at(Point::AfterCids).await;
    buckets::write(link, conv, tail.bucket, &tail.skeleton()).await?;
    store.buckets.keep(conv, tail);
    store.crash.at(Point::AfterSeal).await;
    end.seal(tail.bucket);
    Ok(())
}

/// Notes the numbers of names.
pub async fn note(link: &Link, conv: ConvId, end: &End, rows: &[Row]) -> Result<(), CallError> {
    // Collected first: what a stream makes by the way is not known to be sendable.
    let notes: Vec<_> =
        rows.chunks(NAMES_PER_BATCH).map(|rows| note_few(link, conv, end, rows).boxed()).collect();
    stream::iter(notes).buffer_unordered(NOTES_MAX).try_collect().await
}

async fn note_few(link: &Link, conv: ConvId, end: &End, rows: &[Row]) -> Result<(), CallError> {
    let values: Vec<_> = rows
        .iter()
        .map(|Row { message, .. }| {
            let (sender, cid) = (message.from.as_str(), message.cid.as_str());
            (&conv.as_bytes()[..], sender, cid, bigint(message.seq.0))
        })
        .collect();
    link.run_all(&link.statements.set_cid, &values).await?;
    for row in rows {
        end.note(row.message.seq);
    }
    Ok(())
}
