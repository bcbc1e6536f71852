//! What it costs the embedded engine to store a message and to read a newest page.

use std::hint::black_box;
use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::runtime::Builder;

use super::codec::{Record, encode_message};
use super::keys::{self, Table};
use super::tests::{append_of, place, settings};
use super::{Batch, LocalPersistence, SyncPolicy, TableLog, open};
use crate::instructions::{CONTENT, LARGE, Operation, SMALL, mark};
use crate::model::{Message, Order, Seq};
use crate::persistence::log::Log as _;
use crate::persistence::{Append, AppendOutcome, Persistence as _, RangeQuery};

/// Messages on a page.
const PAGE: usize = 10;

/// Appends in memory and to a store on disk; pages from the newest messages in memory and from the tables.
pub(crate) fn operations() -> Vec<Operation> {
    vec![
        Operation::new("append.memory", 1_000, |times| append(times, SyncPolicy::Memory)),
        Operation::new("append.disk", 1_000, |times| append(times, SyncPolicy::Never)),
        Operation::new("page.recent.small", 200, |times| recent_page(times, SMALL)),
        Operation::new("page.recent.large", 200, |times| recent_page(times, LARGE)),
        Operation::new("page.tables.small", 200, |times| tables_page(times, SMALL)),
        Operation::new("page.tables.large", 200, |times| tables_page(times, LARGE)),
    ]
}

fn usual(cid: usize) -> Append {
    Append { content: CONTENT.to_owned(), ..append_of(cid) }
}

fn append(times: usize, sync: SyncPolicy) {
    let runtime = Builder::new_current_thread().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (engine, _fatal) = open(settings(folder.path(), sync)).unwrap();
    let warm_up = SMALL;
    let appends: Vec<Append> = (0..warm_up + times).map(usual).collect();
    runtime.block_on(async {
        for (at, append) in appends.into_iter().enumerate() {
            if at == warm_up {
                mark();
            }
            let outcome = engine.append(append).await;
            assert!(matches!(outcome, Ok(AppendOutcome::Stored(_))));
        }
        mark();
        engine.close().await;
    });
}

/// An engine in memory, with so many messages in one conversation. As rows: to append them all would take longer than all that is counted.
fn filled(messages: usize) -> Arc<LocalPersistence> {
    let (engine, _fatal) = open(settings("unused".as_ref(), SyncPolicy::Memory)).unwrap();
    let conv = place().conv_id();
    let mut batch = Batch::default();
    for number in 1..=messages as u64 {
        let Append { sender, cid, kind, content, .. } = usual(number as usize);
        let (seq, ts) = (Seq(number), number);
        let message = Message { seq, from: sender, cid, kind, content, ts, at: ts, late: false };
        let record = Record { message: Arc::new(message), high_ts_before: ts - 1 };
        batch.insert(Table::Messages, keys::by_seq(conv, seq), encode_message(&record));
        batch.insert(Table::ByTime, keys::by_time(conv, (ts, seq)), []);
    }
    engine.tables.commit(&batch).unwrap();
    // The newest are in memory from now on.
    engine.recents.load(&*engine.tables, conv, &[], |_| ()).unwrap();
    engine
}

fn newest() -> RangeQuery {
    let (conv, order) = (place().conv_id(), Order::Desc);
    RangeQuery { conv, from: 0, to: u64::MAX, order, start: None, limit: PAGE }
}

fn recent_page(times: usize, messages: usize) {
    let engine = filled(messages);
    mark();
    for _ in 0..times {
        // What is not in memory would have to be waited for.
        let page = engine.range(newest()).now_or_never();
        assert!(black_box(page).is_some_and(|page| page.unwrap().items.len() == PAGE));
    }
    mark();
}

fn tables_page(times: usize, messages: usize) {
    let engine = filled(messages);
    mark();
    for _ in 0..times {
        let view = engine.tables.view();
        let log = TableLog::new(&*view, place().conv_id()).unwrap();
        let Ok(page) = log.range(&newest()) else { panic!("tables answer") };
        assert_eq!(black_box(page).items.len(), PAGE);
    }
    mark();
}
