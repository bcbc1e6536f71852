//! What only the embedded engine can get wrong: its folder, its journal, its one thread.

mod crashes;
mod history;
mod image;
mod rows;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::model::{Cid, MessageType};
use crate::persistence::OpenView;
use crate::persistence::conformance::subject::epoch_of;

pub(super) fn settings(path: &Path, sync: SyncPolicy) -> LocalSettings {
    LocalSettings { data_dir: path.to_owned(), sync, reserve_bytes: 0, cache_bytes: 8 << 20 }
}

pub(super) fn place() -> Arc<Place> {
    let user = |name| UserName::new(name).unwrap();
    Arc::new(Place::direct(user("ann"), user("bob")))
}

pub(super) fn append_of(cid: usize) -> Append {
    Append {
        conv: place().conv_id(),
        place: place(),
        sender: UserName::new("ann").unwrap(),
        cid: Cid::new(&format!("c{cid}")).unwrap(),
        kind: MessageType::new("text").unwrap(),
        content: format!("message {cid}"),
        ts: None,
        future_skew_ms_max: 0,
        restored: None,
    }
}

fn open_query(limit: usize) -> OpenQuery {
    let user = UserName::new("bob").unwrap();
    OpenQuery { conv: place().conv_id(), place: place(), user, limit, resume: None }
}

async fn fill(engine: &LocalPersistence, count: usize) {
    for cid in 1..=count {
        let outcome = engine.append(append_of(cid)).await.unwrap();
        assert!(matches!(outcome, AppendOutcome::Stored(_)), "{outcome:?}");
    }
}

/// The folder as a crash would leave it, with the newest journal cut after `keep` of its used bytes.
fn crashed_copy(from: &Path, to: &Path, keep: f64) {
    fn copy(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let target = to.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                copy(&entry.path(), &target);
            } else {
                fs::copy(entry.path(), target).unwrap();
            }
        }
    }
    fn journals(path: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                journals(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "jnl") {
                found.push(path);
            }
        }
    }
    copy(from, to);
    let mut found = Vec::new();
    journals(to, &mut found);
    let journal = found.pop().expect("the store has a journal");
    let bytes = fs::read(&journal).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let file = fs::OpenOptions::new().write(true).open(&journal).unwrap();
    file.set_len((used as f64 * keep) as u64).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_tail_is_cut_and_what_is_before_it_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    let (engine, _fatal) = open(settings(&source, SyncPolicy::Always)).unwrap();
    fill(&engine, 50).await;
    for (at, keep) in [0.999, 0.7, 0.31, 0.02].into_iter().enumerate() {
        let copy = folder.path().join(format!("copy{at}"));
        crashed_copy(&source, &copy, keep);
        let (engine, _fatal) = open(settings(&copy, SyncPolicy::Always)).unwrap();
        let page = engine.after(place().conv_id(), Seq::ZERO, 200).await.unwrap().page;
        let head = page.items.len();
        assert!(head < 50, "keeping {keep} must lose something");
        for (at, message) in page.items.iter().enumerate() {
            assert_eq!(
                (message.seq, &message.content),
                (Seq(at as u64 + 1), &format!("message {}", at + 1))
            );
        }
        let AppendOutcome::Stored(stored) = engine.append(append_of(head + 1)).await.unwrap()
        else {
            panic!("stored");
        };
        assert_eq!(
            (stored.message.seq, stored.dup),
            (Seq(head as u64 + 1), false),
            "all tables were cut alike"
        );
        engine.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_may_have_lost_something_gets_a_new_epoch_and_cut_acknowledgements() {
    let folder = tempfile::tempdir().unwrap();
    let (source, copy) = (folder.path().join("source"), folder.path().join("copy"));
    let (engine, _fatal) = open(settings(&source, SyncPolicy::Never)).unwrap();
    engine.open(open_query(0)).await.unwrap();
    fill(&engine, 20).await;
    // The acknowledgement is older in the journal than the loss, its messages too, but not the last of them.
    let (conv, user) = (place().conv_id(), UserName::new("bob").unwrap());
    let ranges = vec![(Seq(3), Seq(6)), (Seq(15), Seq(21))];
    engine.ack(AckRequest { conv, user: user.clone(), up_to: Seq(1), ranges }).await.unwrap();
    let epoch = epoch_of(&*engine);
    crashed_copy(&source, &copy, 1.0);
    let marker = copy.join("chatctl.json");
    let text = fs::read_to_string(&marker).unwrap();
    let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
    value["boot"] = "another".into();
    fs::write(&marker, value.to_string()).unwrap();
    // Lose messages 11 to 20 behind the acknowledgement's back, as a disk that reorders writes would.
    {
        let path = copy.join("store");
        let tables =
            DiskTables::open(&path, SyncPolicy::Never, 1 << 20, Unsynced::LastBatch).unwrap();
        tables.remove_for_test(Table::Messages, (11..=20).map(|seq| keys::by_seq(conv, Seq(seq))));
    }
    let (engine, _fatal) = open(settings(&copy, SyncPolicy::Never)).unwrap();
    assert!(engine.lost_data().is_some());
    assert_ne!(epoch_of(&*engine), epoch);
    let opened = engine.open(open_query(10)).await.unwrap();
    assert_eq!(opened.head, Seq(10));
    assert_eq!((opened.acked.up_to, opened.acked.ranges), (Seq(1), vec![(Seq(3), Seq(6))]));
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_stop_leaves_the_next_start_no_journal_to_read() {
    let folder = tempfile::tempdir().unwrap();
    let (source, copy) = (folder.path().join("source"), folder.path().join("copy"));
    let unwritten_of = |path: &Path| {
        let path = path.join("store");
        let tables = DiskTables::open(&path, SyncPolicy::Always, 1 << 20, Unsynced::LastBatch);
        tables.unwrap().unwritten_bytes()
    };
    let (engine, _fatal) = open(settings(&source, SyncPolicy::Always)).unwrap();
    fill(&engine, 50).await;
    crashed_copy(&source, &copy, 1.0);
    engine.close().await;
    drop(engine);
    assert!(unwritten_of(&copy) > 50 * 200, "after a crash it is all in the journal");
    assert_eq!(unwritten_of(&source), 0);
}

/// Tables whose writes fail when told to.
#[derive(Default)]
struct FailingTables {
    inner: MemoryTables,
    failing: AtomicBool,
}

impl Tables for FailingTables {
    fn view(&self) -> Box<dyn tables::View + '_> {
        self.inner.view()
    }

    fn commit(&self, batch: &Batch) -> Result<(), TableError> {
        if self.failing.load(Ordering::Acquire) {
            return Err(TableError("/data/store/0.jnl: Input/output error".to_owned()));
        }
        self.inner.commit(batch)
    }

    fn sync(&self) -> Result<(), TableError> {
        Ok(())
    }
}

#[tokio::test]
async fn a_failed_write_is_indefinite_and_the_last_one() {
    let tables = Arc::new(FailingTables::default());
    let recents = Arc::new(Recents::new(1 << 20));
    let (fatal, told) = oneshot::channel();
    let committer = Committer {
        tables: Arc::clone(&tables) as Arc<dyn Tables>,
        recents: Arc::clone(&recents),
        epoch: Epoch::generate(),
        space: None,
        sync: SyncPolicy::Always,
        fatal,
    };
    let queue = committer.start().unwrap();
    let send = |cid| {
        let (answer, receiver) = oneshot::channel();
        queue.send(Request::Append(append_of(cid), answer)).map(|()| receiver)
    };
    assert!(send(1).unwrap().await.unwrap().is_ok());
    tables.failing.store(true, Ordering::Release);
    let error = send(2).unwrap().await.unwrap().unwrap_err();
    assert!(!error.is_definite() && error.to_string().contains("/data/store/0.jnl"), "{error}");
    assert!(told.await.unwrap().contains("/data/store/0.jnl"));
    tables.failing.store(false, Ordering::Release);
    // The thread may still be on its way out: a request that slips in is dropped unanswered, never stored.
    match send(3) {
        Ok(receiver) => assert!(receiver.await.is_err()),
        Err(error) => assert!(error.is_definite()),
    }
    let log_head = TableLog::new(&*tables.view(), place().conv_id()).unwrap().head();
    assert_eq!(log_head, Seq(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_page_from_memory_is_the_one_from_the_tables() {
    let folder = tempfile::tempdir().unwrap();
    let (engine, _fatal) = open(settings(folder.path(), SyncPolicy::Never)).unwrap();
    let conv = place().conv_id();
    for cid in 1..=400u64 {
        // Many late ones, some far back, some equal.
        let ts = Some(1_000 + cid * 3 - (cid * 7919) % 200);
        engine.append(Append { ts, ..append_of(cid as usize) }).await.unwrap();
        if cid % 10 != 0 {
            continue;
        }
        for limit in [1, 10, 100, 200] {
            let order = crate::model::Order::Desc;
            let query = RangeQuery { conv, from: 0, to: u64::MAX, order, start: None, limit };
            let page = engine.range(query.clone()).await.unwrap();
            let view = engine.tables.view();
            let stored = TableLog::new(&*view, conv).unwrap().range(&query);
            let Ok(stored) = stored else { panic!("tables answer") };
            assert_eq!(
                (&page.items, page.more),
                (&stored.items, stored.more),
                "cid {cid}, limit {limit}"
            );
        }
    }
    let opened = engine.open(open_query(10)).await.unwrap();
    assert!(matches!(opened.view, OpenView::Page { ref items, .. } if items.len() == 10));
    engine.close().await;
}
