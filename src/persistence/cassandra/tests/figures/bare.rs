//! A bare loop around the driver, with the statements that the engine sends.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::Mutex;

use super::*;
use crate::model::{Cid, ConvId, Message, MessageType};
use crate::persistence::cassandra::codec::{Row, bigint, insert_values};
use crate::persistence::cassandra::decision::Decision;
use crate::persistence::cassandra::dialer::Dialer;
use crate::persistence::cassandra::link::{Compared, Link};
use crate::persistence::cassandra::tail::Tail;
use crate::persistence::lineage::Lineage;
use crate::persistence::status::Status;

/// Partitions that are written one message at a time, each at its end.
#[derive(Clone)]
pub struct Bare {
    link: Arc<Link>,
    parts: Arc<Vec<Mutex<Part>>>,
}

struct Part {
    conv: ConvId,
    bucket: u64,
    rows: u64,
    at: u64,
}

impl Bare {
    /// With a session of its own, over so many partitions.
    pub async fn new(settings: &CassandraSettings, parts: usize, name: &str) -> Self {
        let (lineage, status) = (Lineage::new("bare"), Status::new("bare"));
        let dialer = Dialer::new(settings.clone(), Arc::new(lineage), Arc::new(status));
        let link = dialer.dial().await.unwrap_or_else(|error| panic!("{error}"));
        let part = |at| {
            let conv = room(&format!("{name}-{at}")).conv;
            Mutex::new(Part { conv, bucket: 0, rows: 0, at: at as u64 })
        };
        Self { link, parts: Arc::new((0..parts).map(part).collect()) }
    }

    fn row(&self, part: &Part) -> Row {
        let seq = Seq(part.bucket * self.link.layout.rows() + part.rows + 1);
        let message = Message {
            seq,
            from: ann(),
            cid: Cid::new(&format!("{:08}{:028}", part.at, seq.0)).unwrap(),
            kind: MessageType::new("text").unwrap(),
            content: content(),
            ts: PAST + seq.0,
            at: PAST,
            late: false,
        };
        Row { message: Arc::new(message), tag: 1 }
    }

    /// One message in one conditional batch.
    pub fn conditional(&self, part: usize) -> BoxFuture<'static, ()> {
        let bare = self.clone();
        async move {
            let mut part = bare.parts[part % bare.parts.len()].lock().await;
            let (link, row) = (&bare.link, bare.row(&part));
            // Only what the values are made of.
            let mut base = Tail::default();
            base.bucket = part.bucket;
            base.generation = link.life.generation;
            let decision = Decision {
                base: Arc::new(base),
                fates: Vec::new(),
                rows: vec![row.clone()],
                high: PAST,
                cuts: Vec::new(),
                generation: link.life.generation,
                roster: None,
            };
            let mut values = decision.values(part.conv, link.layout);
            let head = part.bucket * link.layout.rows() + part.rows;
            values[0][0] = Some(scylla::value::CqlValue::BigInt(bigint(head + 1)));
            if part.rows > 0 {
                values[0][7] = Some(scylla::value::CqlValue::BigInt(bigint(head)));
                values[0][8] = Some(scylla::value::CqlValue::BigInt(bigint(link.life.generation)));
            }
            let statements = &link.statements;
            let done = link.compare_all(&statements.advance, &statements.insert, &values).await;
            assert!(matches!(done, Ok(Compared::Applied)), "{done:?}");
            part.rows += 1;
            if part.rows == link.layout.rows() {
                (part.bucket, part.rows) = (part.bucket + 1, 0);
            }
        }
        .boxed()
    }

    /// One message in one insert without a condition.
    pub fn plain(&self, part: usize) -> BoxFuture<'static, ()> {
        let bare = self.clone();
        async move {
            let (conv, bucket, row) = {
                let mut part = bare.parts[part % bare.parts.len()].lock().await;
                let row = bare.row(&part);
                part.rows += 1;
                (part.conv, part.bucket, row)
            };
            let values = insert_values(conv, bucket, &row);
            let done = bare.link.run(&bare.link.statements.insert, values).await;
            assert!(done.is_ok(), "{done:?}");
        }
        .boxed()
    }
}
