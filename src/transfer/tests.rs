//! From one embedded engine to another, whole and in pieces.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tempfile::TempDir;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::conversation::Subject;
use super::line::Line;
use super::{Exported, Imported, TransferError, export, import};
use crate::model::{ChannelName, Cid, GroupAct, GroupId, MessageType, Place, Seq, UserName};
use crate::persistence::local::{LocalPersistence, LocalSettings, SyncPolicy, open};
use crate::persistence::{
    AckRequest, Append, AppendOutcome, Archive, EngineError, GroupOutcome, GroupRequest, OpenQuery,
    Persistence as _,
};

const PAST: u64 = 1_700_000_000_000;
const MESSAGES: u64 = 300;

fn engine(folder: &Path, sync: SyncPolicy) -> Arc<LocalPersistence> {
    let data_dir = folder.to_owned();
    open(LocalSettings { data_dir, sync, reserve_bytes: 0, cache_bytes: 1 << 20 }).unwrap().0
}

fn name(text: &str) -> UserName {
    UserName::new(text).unwrap()
}

async fn store(
    engine: &LocalPersistence,
    place: &Place,
    from: &str,
    cid: &str,
    ts: u64,
) -> AppendOutcome {
    engine
        .append(Append {
            conv: place.conv_id(),
            place: Arc::new(place.clone()),
            sender: name(from),
            cid: Cid::new(cid).unwrap(),
            kind: MessageType::new("text").unwrap(),
            content: format!("{cid} of {from}: \"grüße\"\n"),
            ts: Some(ts),
            future_skew_ms_max: 0,
            restored: None,
        })
        .await
        .unwrap()
}

async fn opened(engine: &LocalPersistence, place: &Place, user: &str) {
    let (conv, place) = (place.conv_id(), Arc::new(place.clone()));
    let query = OpenQuery { conv, place, user: name(user), limit: 1, resume: None };
    engine.open(query).await.unwrap();
}

async fn regroup(engine: &LocalPersistence, place: &Place, by: &str, act: GroupAct) {
    let (conv, place) = (place.conv_id(), Arc::new(place.clone()));
    let outcome = engine.regroup(GroupRequest { conv, place, by: name(by), act }).await.unwrap();
    assert!(matches!(outcome, GroupOutcome::Done { .. }), "{outcome:?}");
}

async fn acked(
    engine: &LocalPersistence,
    place: &Place,
    user: &str,
    up_to: u64,
    ranges: &[(u64, u64)],
) {
    let ranges = ranges.iter().map(|&(lo, hi)| (Seq(lo), Seq(hi))).collect();
    let (conv, user) = (place.conv_id(), name(user));
    engine.ack(AckRequest { conv, user, up_to: Seq(up_to), ranges }).await.unwrap();
}

fn channel() -> Place {
    Place::Channel(ChannelName::new("news").unwrap())
}

fn group() -> Place {
    Place::Group(GroupId::new("a-group-of-three-users").unwrap())
}

fn direct() -> Place {
    Place::direct(name("ann"), name("bob"))
}

/// Of everything something: late messages, equal times, ranges, who never opened, who was removed, an empty conversation.
async fn fill(engine: &LocalPersistence) {
    for place in [channel(), direct()] {
        opened(engine, &place, "ann").await;
        for number in 0..MESSAGES {
            let ts = PAST + number / 2 * 10 - if number % 7 == 3 { 500 } else { 0 };
            store(engine, &place, "ann", &format!("c{number}"), ts).await;
            if number == 20 {
                opened(engine, &place, "bob").await;
            }
        }
        acked(engine, &place, "bob", 30, &[(40, 50), (60, 61), (200, 250)]).await;
    }
    let unanswered = Place::direct(name("ann"), name("zoe"));
    store(engine, &unanswered, "ann", "c1", PAST).await;
    opened(engine, &Place::direct(name("max"), name("max")), "max").await;
    regroup(engine, &group(), "ann", GroupAct::Create).await;
    for user in ["bob", "eve", "max"] {
        regroup(engine, &group(), "ann", GroupAct::Invite(name(user))).await;
        store(engine, &group(), user, "c1", PAST + 7).await;
    }
    opened(engine, &group(), "eve").await;
    acked(engine, &group(), "eve", 2, &[]).await;
    regroup(engine, &group(), "ann", GroupAct::Remove(name("max"))).await;
    regroup(engine, &group(), "ann", GroupAct::Invite(name("zoe"))).await;
    // Nobody ever opened it, and nobody is left.
    let left = Place::Group(GroupId::new("a-group-that-was-left-").unwrap());
    regroup(engine, &left, "ann", GroupAct::Create).await;
    regroup(engine, &left, "ann", GroupAct::Quit).await;
}

/// A full engine in memory, and its export.
struct Exporting {
    engine: Arc<LocalPersistence>,
    folder: TempDir,
    file: PathBuf,
    exported: Exported,
}

async fn exporting() -> Exporting {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(folder.path(), SyncPolicy::Memory);
    fill(&engine).await;
    let file = folder.path().join("export.jsonl");
    let exported = exported(&engine, &file).await.unwrap();
    Exporting { engine, folder, file, exported }
}

async fn exported(engine: &LocalPersistence, file: &Path) -> Result<Exported, TransferError> {
    export(engine, file, &CancellationToken::new(), |_, _| ()).await
}

async fn imported(engine: &Arc<LocalPersistence>, file: &Path) -> Result<Imported, TransferError> {
    let archive: Arc<dyn Archive> = Arc::clone(engine) as Arc<dyn Archive>;
    import(archive, file, &CancellationToken::new(), |_, _| ()).await
}

async fn is_empty(engine: &LocalPersistence) -> bool {
    let folder = tempfile::tempdir().unwrap();
    exported(engine, &folder.path().join("x")).await.unwrap().conversations == 0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_there_again_in_another_life() {
    let Exporting { engine: source, folder, file, exported: first } = exporting().await;
    assert_eq!((first.conversations, first.messages), (6, 2 * MESSAGES + 1 + 3));
    for sync in [SyncPolicy::Memory, SyncPolicy::Never] {
        let target = engine(&folder.path().join("target"), sync);
        let done = imported(&target, &file).await.unwrap();
        assert_eq!((done.messages, done.written), (first.messages, first.messages));
        assert_eq!(done.digest, first.digest);
        assert_ne!(done.epoch, done.from_epoch);
        let again = exported(&target, &folder.path().join(format!("{sync:?}"))).await.unwrap();
        assert_eq!((&again.digest, &again.epoch), (&first.digest, &done.epoch));

        // What is sent again is known, and what is new comes behind it.
        let repeated = store(&target, &channel(), "ann", "c7", PAST).await;
        assert!(
            matches!(repeated, AppendOutcome::Stored(stored) if stored.dup && stored.message.seq == Seq(8))
        );
        let new = store(&target, &channel(), "ann", "new", PAST).await;
        assert!(
            matches!(new, AppendOutcome::Stored(stored) if stored.message.late && stored.message.seq == Seq(MESSAGES + 1))
        );
        let removed = store(&target, &group(), "max", "new", PAST).await;
        assert!(matches!(removed, AppendOutcome::NotMember), "{removed:?}");
        // What an invitation counts as read is so in the life that follows.
        let since = |engine: &Arc<LocalPersistence>| {
            let engine = Arc::clone(engine);
            async move {
                let rostered = engine.roster(group().conv_id()).await.unwrap();
                rostered.roster.membership(&name("zoe")).unwrap().read_up_to(&rostered.epoch)
            }
        };
        assert_eq!(since(&target).await, Seq(3));
        assert_eq!(since(&source).await, Seq(3));
        for user in ["ann", "bob"] {
            let mut lists = Vec::new();
            for engine in [&source, &target] {
                let mut mine = engine.mine(&name(user)).await.unwrap();
                mine.sort_unstable_by_key(|mine| *mine.conv.as_bytes());
                lists
                    .push(mine.into_iter().map(|mine| (mine.conv, mine.place)).collect::<Vec<_>>());
            }
            assert_eq!(lists[0], lists[1]);
        }
        // Another import of the same finds what was added.
        let error = imported(&target, &file).await.unwrap_err();
        assert!(
            matches!(&error, TransferError::Foreign { what, .. } if what.contains("more than")),
            "{error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_that_was_cut_off_anywhere_goes_on() {
    let Exporting { engine, folder, file, exported: first } = exporting().await;
    let whole = fs::read(&file).unwrap();
    let cut = folder.path().join("cut.jsonl");
    let mut resumed = 0;
    for length in (0..whole.len()).step_by(whole.len() / 60).chain([whole.len() - 1]) {
        fs::write(&cut, &whole[..length]).unwrap();
        let target = self::engine(folder.path(), SyncPolicy::Memory);
        let error = imported(&target, &cut).await.unwrap_err();
        assert!(matches!(error, TransferError::Unfinished { .. }), "{error}");
        assert!(is_empty(&target).await, "nothing of a file that is cut off");
        let again = exported(&engine, &cut).await.unwrap();
        assert_eq!((&again.digest, again.messages), (&first.digest, first.messages));
        resumed += again.resumed_after;
        imported(&target, &cut).await.unwrap();
    }
    assert!(resumed > 100, "most of it was not written again: {resumed}");
    let error = exported(&engine, &file).await.unwrap_err();
    assert!(matches!(error, TransferError::Complete { .. }), "{error}");
    // Of another life of the store nothing is taken.
    fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    let other = self::engine(folder.path(), SyncPolicy::Memory);
    let error = exported(&other, &cut).await.unwrap_err();
    assert!(matches!(error, TransferError::OtherLife { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_altered_is_found_and_nothing_is_written() {
    let Exporting { folder, file, .. } = exporting().await;
    let whole = fs::read(&file).unwrap();
    let altered = folder.path().join("altered.jsonl");
    let target = engine(folder.path(), SyncPolicy::Memory);
    // The line of a file that nothing follows is its own witness: all before it are in the chain.
    for at in (0..whole.len()).step_by(whole.len() / 150) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&altered, &bytes).unwrap();
        let error = imported(&target, &altered).await.expect_err("it was altered");
        let is_known =
            matches!(error, TransferError::Line { .. } | TransferError::Unfinished { .. });
        assert!(is_known, "byte {at}: {error}");
    }
    let lines: Vec<&[u8]> = whole.split_inclusive(|&byte| byte == b'\n').collect();
    for at in (0..lines.len()).step_by(lines.len() / 40) {
        let without: Vec<u8> = [&lines[..at], &lines[at + 1..]].concat().concat();
        let twice: Vec<u8> = [&lines[..=at], &lines[at..]].concat().concat();
        for bytes in [without, twice] {
            fs::write(&altered, &bytes).unwrap();
            imported(&target, &altered).await.expect_err("a line is missing, or there twice");
        }
    }
    assert!(is_empty(&target).await);
    let newer =
        String::from_utf8(whole).unwrap().replacen("\"format\":1", "\"format\":2,\"new\":1", 1);
    fs::write(&altered, newer).unwrap();
    let text = imported(&target, &altered).await.unwrap_err().to_string();
    assert!(
        text.contains("line 1") && text.contains("format 2") && text.contains("newer"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_that_was_stopped_goes_on() {
    let Exporting { folder, file, exported: first, .. } = exporting().await;
    for stop_after in 0..5 {
        let target = engine(folder.path(), SyncPolicy::Memory);
        let cancel = CancellationToken::new();
        let (stop, mut begun) = (cancel.clone(), 0);
        let archive: Arc<dyn Archive> = Arc::clone(&target) as Arc<dyn Archive>;
        let stopped = import(archive, &file, &cancel, |_, _| {
            begun += 1;
            if begun > stop_after {
                stop.cancel();
            }
        });
        assert!(matches!(stopped.await, Err(TransferError::Stopped)));
        let done = imported(&target, &file).await.unwrap();
        assert!(done.written <= first.messages && done.digest == first.digest);
        let again = imported(&target, &file).await.unwrap();
        assert_eq!(
            (again.written, &again.digest),
            (0, &first.digest),
            "the same again changes nothing"
        );
    }
}

/// More than are read ahead, each of more than one page: what is read ahead must not keep the rest of a page waiting.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_long_conversations_are_exported_from_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(&folder.path().join("data"), SyncPolicy::Never);
    let channels = (0..40)
        .map(|number| Place::Channel(ChannelName::new(&format!("channel-{number}")).unwrap()));
    for channel in channels {
        for user in 0..8 {
            opened(&engine, &channel, &format!("user-{user}")).await;
        }
        let sent = (0..450).map(|number| {
            let cid = format!("c{number}");
            let (engine, channel) = (&engine, &channel);
            async move { store(engine, channel, "user-1", &cid, PAST + number).await }
        });
        join_all(sent).await;
    }
    let file = folder.path().join("export.jsonl");
    let first = timeout(Duration::from_secs(60), exported(&engine, &file)).await;
    let first = first.expect("it ends").unwrap();
    assert_eq!((first.conversations, first.messages), (40, 40 * 450));
    let target = self::engine(folder.path(), SyncPolicy::Memory);
    assert_eq!(imported(&target, &file).await.unwrap().digest, first.digest);
}

#[tokio::test]
async fn whoever_came_in_after_the_lists_were_read_has_the_conversation() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(folder.path(), SyncPolicy::Memory);
    fill(&engine).await;
    let zoe = Place::direct(name("ann"), name("zoe"));
    for (place, expected) in
        [(group(), ["ann", "bob", "eve", "zoe"].as_slice()), (zoe, &["ann", "zoe"])]
    {
        let conv = place.conv_id();
        let users = BTreeMap::from([(name("ann"), 7)]);
        let subject = Subject { conv, place: Arc::new(place), users };
        let part = subject.begin(&*engine, &engine.lives()).await.unwrap().unwrap();
        let mut members = Vec::new();
        let lines = part.lines(&*engine, |text| {
            if let Line::Member(member) = serde_json::from_slice::<Line>(text).unwrap() {
                members.push(member.user.to_string());
            }
            Ok(())
        });
        lines.await.unwrap();
        assert_eq!(members, expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_no_export_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(folder.path(), SyncPolicy::Memory);
    let file = folder.path().join("notes.txt");
    for text in ["my notes", "my notes\n", "{\"export\":{\"form\":1}}"] {
        fs::write(&file, text).unwrap();
        let error = exported(&engine, &file).await.unwrap_err();
        let is_said = matches!(error, TransferError::Other { .. } | TransferError::Line { .. });
        assert!(is_said, "{error}");
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_has_something_else_is_left_as_it_is() {
    let Exporting { engine: source, folder, file, .. } = exporting().await;
    let error = imported(&source, &file).await.unwrap_err();
    assert!(matches!(error, TransferError::SameLife { .. }), "{error}");

    let target = engine(folder.path(), SyncPolicy::Memory);
    opened(&target, &channel(), "eve").await;
    store(&target, &channel(), "eve", "other", PAST).await;
    let error = imported(&target, &file).await.unwrap_err();
    let conv = channel().conv_id();
    assert!(
        matches!(&error, TransferError::Foreign { conv: found, .. } if *found == conv),
        "{error}"
    );
    let kept = target.after(conv, Seq::ZERO, 10).await.unwrap().page.items;
    assert_eq!(kept.len(), 1);

    let target = engine(folder.path(), SyncPolicy::Memory);
    regroup(&target, &group(), "eve", GroupAct::Create).await;
    let error = imported(&target, &file).await.unwrap_err();
    assert!(
        matches!(&error, TransferError::Foreign { what, .. } if what.contains("roster")),
        "{error}"
    );
}

#[tokio::test]
async fn a_restored_message_is_taken_at_its_number_only() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(folder.path(), SyncPolicy::Memory);
    let place = group();
    let restored = |seq: u64, cid: &str| {
        let restored = crate::persistence::Restored { seq: Seq(seq), at: PAST + seq };
        engine.append(Append {
            conv: place.conv_id(),
            place: Arc::new(place.clone()),
            sender: name("gone"),
            cid: Cid::new(cid).unwrap(),
            kind: MessageType::new("text").unwrap(),
            content: String::new(),
            ts: Some(PAST),
            future_skew_ms_max: 0,
            restored: Some(restored),
        })
    };
    let is_not_next = |outcome: Result<AppendOutcome, EngineError>| {
        assert!(matches!(outcome, Ok(AppendOutcome::NotNext)), "{outcome:?}");
    };
    is_not_next(restored(2, "a").await);
    // Neither members nor names are asked: both are as they were.
    for seq in [1, 2] {
        let outcome = restored(seq, "a").await.unwrap();
        let AppendOutcome::Stored(stored) = outcome else { panic!("{outcome:?}") };
        assert_eq!(
            (stored.message.seq, stored.message.at, stored.dup),
            (Seq(seq), PAST + seq, false)
        );
    }
    is_not_next(restored(2, "a").await);
}
