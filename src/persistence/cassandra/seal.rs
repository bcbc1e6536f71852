//! What is derived from a full bucket, written before the next one begins: its names, its skeleton, its summary.

use std::sync::Arc;

use super::crash::Point;
use super::link::{CallError, Link};
use super::store::Store;
use super::tail::Tail;
use super::{buckets, names};
use crate::model::ConvId;

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
    names::write(link, conv, tail).await?;
    store.crash.at(Point::AfterNames).await;
    let full = store.buckets.keep(conv, tail);
    buckets::write(link, conv, tail.bucket, &full.skeleton).await?;
    store.crash.at(Point::AfterSeal).await;
    end.seal(tail.bucket);
    Ok(())
}
