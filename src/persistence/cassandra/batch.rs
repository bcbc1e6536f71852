//! One conditional batch: written, and what became of it found out whatever happened on the way.
//!
//! The condition holds once. Without an answer the *same* batch is sent again: it applies, or it is found that the conversation
//! has moved on, and then the rows say who moved it: each batch marks its rows with a number of its own, and a roster has
//! an id of its own.

use std::sync::Arc;

use tokio::time::{Instant, timeout_at};

use super::codec::bigint;
use super::decision::Decision;
use super::ends::End;
use super::failure;
use super::layout::Layout;
use super::link::{CallError, Compared, Found, Link};
use super::rosters::{self, RosterId};
use super::store::Store;
use crate::model::ConvId;

/// What became of a batch.
pub enum Written {
    /// It is stored.
    Done,
    /// It certainly is not: the conversation has moved on.
    Moved,
}

impl Store {
    /// Writes the batch, until it is known what became of it.
    pub async fn write(
        &self,
        link: &Arc<Link>,
        conv: ConvId,
        end: &End,
        decision: &Decision,
        deadline: Instant,
    ) -> Result<Written, CallError> {
        let layout = link.layout;
        let values = decision.values(conv, layout);
        let (mut link, mut doubt) = (Arc::clone(link), None::<String>);
        let unknown = |reason: &str| CallError::Answer(failure::unanswered(reason));
        loop {
            let statements = &link.statements;
            let advance = match decision.roster {
                Some(_) => &statements.advance_group,
                None => &statements.advance,
            };
            let sent = link.compare_all(advance, &statements.insert, &values);
            let error = match timeout_at(deadline, sent).await {
                Ok(Ok(Compared::Applied)) => return Ok(Written::Done),
                Ok(Ok(Compared::Found(found))) => {
                    if doubt.is_none() && is_less(&found, decision, layout) {
                        return Err(CallError::Lost);
                    }
                    let looking = Box::pin(self.look(&link, conv, decision, doubt.is_some()));
                    match timeout_at(deadline, looking).await {
                        Ok(Ok(written)) => return Ok(written),
                        Ok(Err(error)) => error,
                        Err(_) => CallError::Doubt("the nodes are slow".to_owned()),
                    }
                }
                Ok(Err(error)) => {
                    if let CallError::Doubt(reason) = &error {
                        doubt = Some(reason.clone());
                    }
                    error
                }
                Err(_) => {
                    self.calls.doubt();
                    end.doubt();
                    return Err(unknown(doubt.as_deref().unwrap_or("the nodes are slow")));
                }
            };
            let Some(reason) = doubt.clone() else { return Err(error) };
            self.calls.failed(error, &link, deadline).await;
            let next = self.calls.link(deadline).await;
            match next {
                // Another life: whether it was stored in the old one is not asked any more.
                Ok(next) if next.life == link.life && Instant::now() < deadline => link = next,
                _ => {
                    end.doubt();
                    return Err(unknown(&reason));
                }
            }
        }
    }

    /// The conversation has moved on: by this very batch?
    async fn look(
        &self,
        link: &Link,
        conv: ConvId,
        decision: &Decision,
        in_doubt: bool,
    ) -> Result<Written, CallError> {
        let layout = link.layout;
        let tail = self.ends.agreed(link, conv, decision.roster.is_some()).await?;
        let is_ours = match (decision.rows.first(), decision.roster) {
            _ if !in_doubt => false,
            (Some(first), _) => {
                let seq = first.message.seq;
                let tag = match tail.row(seq, layout) {
                    Some(row) => Some(row.tag),
                    None if layout.bucket_of(seq) < tail.bucket => {
                        let key = &conv.as_bytes()[..];
                        let values = (key, bigint(layout.bucket_of(seq)), bigint(seq.0));
                        let rows = link.rows::<(i64,)>(&link.statements.tag, values).await?;
                        rows.first().map(|row| row.0)
                    }
                    None => None,
                };
                tag == Some(first.tag)
            }
            (None, Some(roster)) => rosters::is_among(link, conv, roster, tail.roster).await?,
            (None, None) => false,
        };
        Ok(if is_ours { Written::Done } else { Written::Moved })
    }
}

/// Whether less is found than was known to be stored.
fn is_less(found: &Found, decision: &Decision, layout: Layout) -> bool {
    let base = &*decision.base;
    let roster = found.bytes("roster").and_then(|bytes| RosterId::of(bytes).ok());
    base.is_begun
        && (found.number("head").is_none_or(|head| head < base.head(layout).0)
            || roster.map(RosterId::version) < base.roster.map(RosterId::version))
}
