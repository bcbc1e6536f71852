//! Crashes at every point of the journal: what was answered is there, of the rest nothing by half.

use crate::persistence::conformance::subject::epoch_of;
use std::ops::Range;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tempfile::TempDir;

use super::history::{History, LARGE_BYTES, Step, journal_path};
use super::image::{Damage, Image, copy, set_marker};
use super::{rows, *};
use crate::harness::seeds::text_of;
use crate::persistence::conformance::judge;
use crate::persistence::conformance::load::asked;
use crate::persistence::conformance::model::{Clock, Model};
use crate::persistence::conformance::subject::Room;

/// The past that is crashed in.
const SEED: u64 = 1;
/// Images in work at once.
const AT_ONCE: usize = 8;
/// Every so many images are opened once more at the end.
const REOPENED_EVERY: u64 = 4;

/// A past, and its folder as it stood in the end.
struct Past {
    history: History,
    folder: TempDir,
}

impl Past {
    async fn live() -> Arc<Self> {
        const PREFIX: &str = "chatctl-crashes";
        // The crash is in the image: no need to wait for a disk.
        let in_memory = TempDir::with_prefix_in(PREFIX, "/dev/shm");
        let folder = in_memory.or_else(|_| TempDir::with_prefix(PREFIX)).unwrap();
        let (history, engine) = History::live(&folder.path().join("lived"), SEED).await;
        copy(&folder.path().join("lived"), &folder.path().join("left"));
        drop(engine);
        Arc::new(Self { history, folder })
    }

    /// Makes an image and looks at it; `Err` with the reason when it does not hold what it must.
    async fn survives(self: &Arc<Self>, image: Image, steps: Range<usize>) -> Result<(), String> {
        let folder = self.folder.path().join(format!("image-{}", image.number));
        image.write(&self.history, &self.folder.path().join("left"), &folder);
        self.judge(image, folder, steps).await
    }

    async fn judge(
        self: &Arc<Self>,
        image: Image,
        folder: PathBuf,
        steps: Range<usize>,
    ) -> Result<(), String> {
        let past = Arc::clone(self);
        let crashed = folder.clone();
        // In a task, so that a panic of the engine is an answer too.
        let judged = tokio::spawn(async move {
            past.history.judge(&crashed, image.number, steps).await;
        });
        let outcome = judged.await;
        removed(&folder).await;
        outcome.map_err(|error| text_of(&*error.into_panic()))
    }
}

impl History {
    /// The store of an image tells of so many of the steps, exactly; it takes up where it broke off, and keeps that too.
    async fn judge(&self, folder: &Path, number: u64, steps: Range<usize>) {
        let opened = open(looking(folder));
        let (engine, _fatal) = opened.unwrap_or_else(|error| panic!("{error}"));
        assert!(
            engine.lost_data().is_none(),
            "nothing that was answered is missing under `always`"
        );
        let mut heads = Vec::new();
        for room in &self.rooms {
            let page =
                engine.after(room.conv, Seq::ZERO, LIMITS.read_limit_max).await.unwrap().page;
            assert!(!page.more, "the past is short enough for one page");
            heads.push(Seq(page.items.len() as u64));
        }
        let Some(found) = steps.clone().find(|&steps| self.heads(steps) == heads) else {
            panic!(
                "heads {heads:?}, and not those of {steps:?} steps: {:?} to {:?}",
                self.heads(steps.start),
                self.heads(steps.end - 1)
            );
        };
        let mut model = self.model(found);
        self.compare(&engine, &mut model).await;
        self.send_all_again(&engine, &mut model).await;
        if !number.is_multiple_of(REOPENED_EVERY) {
            return;
        }
        if number.is_multiple_of(2 * REOPENED_EVERY) {
            engine.close().await;
        }
        drop(engine);
        let engine = reopened(folder).await;
        self.compare(&engine, &mut model).await;
    }

    /// The store is what the specification says, read in every way that there is. Opens all rooms for all.
    async fn compare(&self, engine: &LocalPersistence, model: &mut Model) {
        assert_eq!(epoch_of(engine), self.epoch);
        let (stored, expected) = (rows::stored(&*engine.tables), rows::expected(self, model));
        assert!(
            stored == expected,
            "too much: {:?}\ntoo little: {:?}",
            stored.difference(&expected).collect::<Vec<_>>(),
            expected.difference(&stored).collect::<Vec<_>>()
        );
        for room in &self.rooms {
            let conversation = model.conversation(room.conv);
            let limit = LIMITS.read_limit_max;
            let following = engine.after(room.conv, Seq::ZERO, limit).await.unwrap();
            judge::page(&following.page, &conversation.after(Seq::ZERO, limit));
            let range = engine.range(room.history()).await.unwrap();
            judge::page(&range, &conversation.range(&room.history()));
            for user in self.members(room) {
                self.compare_for(engine, model, room, &user).await;
            }
        }
        for room in &self.rooms {
            let roster = engine.roster(room.conv).await.unwrap().roster;
            assert_eq!(roster, model.roster(room.conv));
        }
        for user in &self.users {
            let sorted = |mine: Vec<Mine>| {
                let entries = mine.into_iter().map(|entry| (entry.conv, entry.place, entry.at));
                entries.collect::<std::collections::BTreeSet<_>>()
            };
            assert_eq!(sorted(engine.mine(user).await.unwrap()), sorted(model.mine(user)));
        }
    }

    async fn compare_for(
        &self,
        engine: &LocalPersistence,
        model: &mut Model,
        room: &Room,
        user: &UserName,
    ) {
        const PAGE: usize = 10;
        let query = room.opening(user, PAGE);
        let opened = engine.open(query.clone()).await.unwrap();
        let expected = model.open(&query);
        let conversation = model.conversation(room.conv);
        judge::opened(&opened, &expected, &conversation, user);
        // Here exactly: this engine does not fold own messages in.
        assert_eq!(opened.acked, expected.acked);
        let late = engine.unread_late(room.conv, user, Seq::ZERO, LIMITS.late_max).await.unwrap();
        judge::late_page(&late, &conversation, user, Seq::ZERO, LIMITS.late_max);
        let summary = engine.summary(room.conv, user).await.unwrap();
        let expected = conversation.summary(user);
        assert_eq!((summary.newest, summary.unread), (expected.newest, expected.unread));
    }

    /// Whoever was not answered sends again, and so does whoever was: what is there is a duplicate, what is not is
    /// stored. Then one new message in each room.
    async fn send_all_again(&self, engine: &LocalPersistence, model: &mut Model) {
        let mut appends: Vec<Append> = Vec::new();
        for step in &self.steps {
            if let Step::Append(append, _) = step {
                appends.push(append.clone());
            }
        }
        appends.extend(
            self.rooms.iter().map(|room| {
                room.named(&self.members(room)[0], "after-the-crash", "still here", None)
            }),
        );
        let calls: Vec<_> = appends.iter().map(|append| engine.append(append.clone())).collect();
        for (append, outcome) in appends.iter().zip(join_all(calls).await) {
            let stored = match outcome.unwrap() {
                AppendOutcome::Stored(stored) => stored,
                // There was no group yet.
                AppendOutcome::NotMember => {
                    let expected = model.append(append, Clock { at: 0, stamp: 0 });
                    assert!(matches!(expected, AppendOutcome::NotMember), "{expected:?}");
                    continue;
                }
                other => panic!("{other:?}"),
            };
            let clock = Clock { at: stored.message.at, stamp: stored.message.ts };
            let AppendOutcome::Stored(expected) = model.append(append, clock) else {
                panic!("stored")
            };
            assert_eq!((stored.message, stored.dup), (expected.message, expected.dup));
        }
    }
}

/// What is found does not depend on the policy, and no image has a power cut of its own.
fn looking(folder: &Path) -> LocalSettings {
    LocalSettings { cache_bytes: 1 << 20, ..settings(folder, SyncPolicy::Never) }
}

/// The store again, as soon as the threads of its last owner have ended.
async fn reopened(folder: &Path) -> Arc<LocalPersistence> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match open(looking(folder)) {
            Ok((engine, _fatal)) => return engine,
            Err(error) if Instant::now() > deadline => panic!("{error}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
}

/// The folder is gone, as soon as the threads of its last owner leave it alone: they may still write a table.
async fn removed(folder: &Path) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while let Err(error) = fs::remove_dir_all(folder) {
        assert!(Instant::now() < deadline, "{}: {error}", folder.display());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// `CHATCTL_TEST_IMAGES` of them, or as many as are quick.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_survives_a_crash_at_any_byte_behind_it() {
    const QUICK: u64 = 1_000;
    let past = Past::live().await;
    let images = asked("CHATCTL_TEST_IMAGES", QUICK);
    let lanes = (0..AT_ONCE as u64).map(|lane| {
        let past = Arc::clone(&past);
        async move {
            for number in (lane..images).step_by(AT_ONCE) {
                let image = Image::random(&past.history, number);
                let steps = past.history.steps_at(image.cut as u64);
                if let Err(reason) = past.survives(image.clone(), steps.clone()).await {
                    panic!("{image:?} of the past {SEED}, steps {steps:?}: {reason}");
                }
            }
        }
    });
    join_all(lanes).await;
}

/// Of the pages of a batch that was on its way, any may be missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_the_last_batch_that_never_reached_the_disk_takes_the_batch_with_it() {
    const PAGE: usize = 4_096;
    let past = Past::live().await;
    let mut number = 0;
    for pair in past.history.marks.windows(2) {
        let (synced, end) = (pair[0].length as usize, pair[1].length as usize);
        // Of several messages the first may have a batch of its own, and be synced.
        if pair[1].steps - pair[0].steps != 1 || end - synced < PAGE {
            continue;
        }
        for page in synced / PAGE..end / PAGE {
            let hole = (page * PAGE).max(synced)..(page + 1) * PAGE;
            let image = Image { number, cut: end, damage: Damage::Hole(hole) };
            let steps = past.history.steps_at(synced as u64);
            if let Err(reason) = past.survives(image.clone(), steps).await {
                panic!("{image:?} of the past {SEED}: {reason}");
            }
            number += 1;
        }
    }
    assert!(number >= 8, "only {number} images");
}

/// Each first byte that an entry of the journal can have, where the end of a batch should be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rubbish_that_looks_like_an_entry_is_not_taken_for_one() {
    /// A tag, a checksum, four bytes that are always the same.
    const END_BYTES: usize = 1 + 8 + 4;
    let past = Past::live().await;
    let marks = &past.history.marks;
    let last = marks.iter().rposition(|mark| mark.length < marks[marks.len() - 1].length).unwrap();
    let cut = past.history.journal.len() - END_BYTES;
    for tag in 0..=5u8 {
        let rubbish = [&[tag][..], &[7; 40]].concat();
        let image = Image { number: u64::from(tag), cut, damage: Damage::Bytes(rubbish) };
        let steps = past.history.steps_at(marks[last].length);
        if let Err(reason) = past.survives(image.clone(), steps).await {
            panic!("{image:?} of the past {SEED}: {reason}");
        }
    }
}

/// A batch that something follows was synced: it is not torn, and the store is left to its owner as it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spoilt_batch_before_the_last_is_refused_and_nothing_is_cut() {
    let past = Past::live().await;
    let large = past
        .history
        .marks
        .windows(2)
        .find(|pair| pair[1].length - pair[0].length > LARGE_BYTES as u64);
    let middle = large.map(|pair| (pair[0].length + pair[1].length) as usize / 2).unwrap();
    let cut = past.history.journal.len();
    let image = Image { number: 0, cut, damage: Damage::Hole(middle..middle + 1) };
    let folder = past.folder.path().join("spoilt");
    image.write(&past.history, &past.folder.path().join("left"), &folder);
    let journal = journal_path(&folder);
    let before = fs::read(&journal).unwrap();
    let Err(error) = open(settings(&folder, SyncPolicy::Always)) else { panic!("opened") };
    assert!(error.to_string().contains("ChecksumMismatch"), "{error}");
    assert!(fs::read(&journal).unwrap() == before);
}

/// Where nothing was synced, any page since may be missing, with whole batches behind it: what is before it is there, under a new epoch, and the journal is
/// kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hole_among_batches_that_were_never_synced_ends_the_store_there() {
    const PAGE: usize = 4_096;
    let past = Past::live().await;
    let journal_bytes = past.history.journal.len();
    let mut refused_before = 0;
    for (number, begin) in (0..journal_bytes - PAGE).step_by(PAGE / 2).enumerate() {
        // Between two batches, in the middle of one, over several.
        let hole = begin..begin + PAGE;
        let image = Image { number: number as u64, cut: journal_bytes, damage: Damage::Hole(hole) };
        let folder = past.folder.path().join(format!("unsynced-{number}"));
        image.write(&past.history, &past.folder.path().join("left"), &folder);
        set_marker(&folder, "always_synced", false);
        let before = fs::read(journal_path(&folder)).unwrap();
        let (engine, _fatal) =
            open(looking(&folder)).unwrap_or_else(|error| panic!("{begin}: {error}"));
        assert!(engine.lost_data().is_some() && epoch_of(&*engine) != past.history.epoch);
        let mut heads = Vec::new();
        for room in &past.history.rooms {
            let following =
                engine.after(room.conv, Seq::ZERO, LIMITS.read_limit_max).await.unwrap();
            heads.push(Seq(following.page.items.len() as u64));
        }
        let mut steps = past.history.steps_at(begin as u64);
        assert!(
            steps.any(|steps| past.history.heads(steps) == heads),
            "hole at {begin}: {heads:?}"
        );
        let kept = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        let kept: Vec<_> =
            kept.filter(|path| path.to_str().unwrap().contains("journal-before-")).collect();
        assert!(kept.iter().all(|kept| fs::read(kept).unwrap() == before), "{kept:?}");
        refused_before += kept.len();
        drop(engine);
        let engine = reopened(&folder).await;
        assert!(engine.lost_data().is_none());
        drop(engine);
        removed(&folder).await;
    }
    assert!(refused_before > 5, "only {refused_before} holes were more than fjall takes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loss_is_noticed() {
    let past = Past::live().await;
    let marks = &past.history.marks;
    for (number, pair) in marks.windows(2).enumerate() {
        if pair[0].length == pair[1].length {
            continue;
        }
        // The last byte of what was answered is missing.
        let image =
            Image { number: number as u64, cut: pair[1].length as usize - 1, damage: Damage::Cut };
        let outcome = past.survives(image, past.history.steps_at(pair[1].length)).await;
        let reason = outcome.expect_err("what was answered is lost");
        assert!(!reason.contains("cannot be opened"), "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_missing_from_any_table_is_noticed() {
    let past = Past::live().await;
    let cut = past.history.journal.len();
    let steps = past.history.steps_at(cut as u64);
    for table in Table::ALL {
        let image = Image { number: table as u64, cut, damage: Damage::Zeros };
        let folder = past.folder.path().join(table.name());
        image.write(&past.history, &past.folder.path().join("left"), &folder);
        {
            let tables = DiskTables::open(
                &folder.join("store"),
                SyncPolicy::Always,
                1 << 20,
                Unsynced::LastBatch,
            )
            .unwrap();
            let mut last = None;
            let everything = (std::ops::Bound::Unbounded, std::ops::Bound::Unbounded);
            tables
                .view()
                .scan(table, everything, true, &mut |key, _| {
                    last = Some(key.to_vec());
                    Ok(false)
                })
                .unwrap();
            tables.remove_for_test(table, last.into_iter());
        }
        let reason = past.judge(image, folder, steps.clone()).await.unwrap_err();
        let is_noticed = reason.contains("too little") || reason.contains("heads");
        assert!(is_noticed, "a row less in {}: {reason}", table.name());
    }
}
