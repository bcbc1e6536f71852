//! Reads: a fresh end, the rules over it, what they need, and at last the contents of what is shown.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::try_join_all;

use super::acks::{self, Acks};
use super::failure::unreadable;
use super::link::{CallError, Link};
use super::snapshot::{Known, Need, Snapshot};
use super::store::Store;
use super::tail::Tail;
use crate::model::{ConvId, Message, Seq, UserName};
use crate::persistence::{LatePage, OpenView, Opened, Page, Summary};

/// A conversation as fresh as the call, with what some users have acknowledged.
pub struct Fresh {
    /// For the rules.
    pub snapshot: Snapshot,
    /// Beside their acknowledgements, what is stored of the users, in the order asked.
    pub acks: Vec<Acks>,
}

impl Store {
    /// Reads the end, and what users have acknowledged; of one moment.
    pub async fn fresh(
        &self,
        link: &Link,
        conv: ConvId,
        users: &[&UserName],
    ) -> Result<Fresh, CallError> {
        self.enter(link);
        let reads = try_join_all(users.iter().map(|user| acks::read(link, conv, user)));
        let (tail, acks) = tokio::try_join!(self.ends.fresh(link, conv), reads)?;
        self.of_one_moment(link, conv, users, tail, acks).await
    }

    /// An acknowledgement may be of a message that came after the end was read.
    async fn of_one_moment(
        &self,
        link: &Link,
        conv: ConvId,
        users: &[&UserName],
        mut tail: Arc<Tail>,
        acks: Vec<Acks>,
    ) -> Result<Fresh, CallError> {
        let top = acks.iter().map(Acks::top).max().unwrap_or_default();
        if top > tail.head(link.layout) {
            tail = self.ends.fresh(link, conv).await?;
        }
        let acked = users.iter().zip(&acks).map(|(user, acks)| {
            let user: UserName = (*user).clone();
            (user, acks.set(&tail, link.layout))
        });
        let acked = acked.collect();
        let (layout, full, parts) = (link.layout, HashMap::new(), HashMap::new());
        Ok(Fresh { snapshot: Snapshot { layout, tail, full, parts, acked }, acks })
    }

    /// Asks the rules, and fetches what they need, until they answer.
    pub async fn ask<T>(
        &self,
        link: &Link,
        conv: ConvId,
        snapshot: &mut Snapshot,
        rules: impl Fn(&Snapshot) -> Result<T, Need> + Send + Sync,
    ) -> Result<T, CallError> {
        loop {
            let need = match rules(snapshot) {
                Ok(answer) => return Ok(answer),
                Err(need) => need,
            };
            match need {
                Need::Full(buckets) => {
                    snapshot.full.extend(self.buckets.full(link, conv, &buckets).await?);
                }
                Need::Parts(parts) => {
                    let end = snapshot.tail.bucket;
                    let fetch = parts.iter().map(|&part| self.buckets.part(link, conv, part, end));
                    let found = try_join_all(fetch).await?;
                    snapshot.parts.extend(parts.iter().copied().zip(found));
                }
            }
        }
    }

    /// The messages of what the rules have chosen.
    async fn contents(
        &self,
        link: &Link,
        conv: ConvId,
        known: &[&Known],
    ) -> Result<HashMap<Seq, Arc<Message>>, CallError> {
        let missing: Vec<Seq> = known
            .iter()
            .filter_map(|known| match known {
                Known::Whole(_) => None,
                Known::Outline(outline) => Some(outline.seq),
            })
            .collect();
        if missing.is_empty() {
            return Ok(HashMap::new());
        }
        self.buckets.messages(link, conv, &missing).await
    }

    /// A page with its contents.
    pub async fn page(
        &self,
        link: &Link,
        conv: ConvId,
        page: Page<Known>,
    ) -> Result<Page, CallError> {
        let items: Vec<&Known> = page.items.iter().collect();
        let mut contents = self.contents(link, conv, &items).await?;
        Ok(Page { items: whole(page.items, &mut contents)?, more: page.more })
    }

    /// A page of late messages with its contents.
    pub async fn late_page(
        &self,
        link: &Link,
        conv: ConvId,
        page: LatePage<Known>,
    ) -> Result<LatePage, CallError> {
        let items: Vec<&Known> = page.items.iter().collect();
        let mut contents = self.contents(link, conv, &items).await?;
        Ok(LatePage { items: whole(page.items, &mut contents)?, next: page.next })
    }

    /// A summary with its content.
    pub async fn summary(
        &self,
        link: &Link,
        conv: ConvId,
        summary: Summary<Known>,
    ) -> Result<Summary, CallError> {
        let items: Vec<&Known> = summary.newest.iter().collect();
        let mut contents = self.contents(link, conv, &items).await?;
        let newest = whole(summary.newest.into_iter().collect(), &mut contents)?.pop();
        Ok(Summary { newest, unread: summary.unread, acked_up_to: summary.acked_up_to })
    }

    /// An open with its contents.
    pub async fn opened(
        &self,
        link: &Link,
        conv: ConvId,
        opened: Opened<Known>,
    ) -> Result<Opened, CallError> {
        let shown: Vec<&Known> = match &opened.view {
            OpenView::Recovered(items) => items.iter().collect(),
            OpenView::Page { items, late, .. } => items.iter().chain(late).collect(),
        };
        let mut contents = self.contents(link, conv, &shown).await?;
        let view = match opened.view {
            OpenView::Recovered(items) => OpenView::Recovered(whole(items, &mut contents)?),
            OpenView::Page { items, older, late, late_next } => OpenView::Page {
                items: whole(items, &mut contents)?,
                older,
                late: whole(late, &mut contents)?,
                late_next,
            },
        };
        let Opened { epoch, head, acked, unread, became, mutual, .. } = opened;
        Ok(Opened { epoch, head, acked, unread, view, became, mutual })
    }
}

fn whole(
    known: Vec<Known>,
    contents: &mut HashMap<Seq, Arc<Message>>,
) -> Result<Vec<Arc<Message>>, CallError> {
    let message = |known| match known {
        Known::Whole(message) => Ok(message),
        Known::Outline(outline) => contents
            .remove(&outline.seq)
            .ok_or_else(|| CallError::Answer(unreadable("a page without one of its messages"))),
    };
    known.into_iter().map(message).collect()
}
