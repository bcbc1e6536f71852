//! A store with a past: everything that was answered, in order, and how long the journal was then.

use crate::persistence::conformance::subject::epoch_of;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::join_all;
use rand::distr::Alphanumeric;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::settings;
use crate::model::{ChannelName, Epoch, GroupAct, GroupId, Place, Seq, UserName};
use crate::persistence::conformance::model::{Clock, Model};
use crate::persistence::conformance::subject::{PAST, Room};
use crate::persistence::local::{LocalPersistence, SyncPolicy, open};
use crate::persistence::{
    AckOutcome, AckRequest, Append, AppendOutcome, GroupOutcome, GroupRequest, OpenQuery,
    Persistence as _,
};

/// How often the past goes on: enough for every kind of batch to be torn, small enough to reopen in milliseconds.
const GROUPS: usize = 60;
/// Every so many groups, one message that fills several pages of the disk.
const LARGE_EVERY: usize = 15;
/// Its length: two pages, and parts of two more.
pub const LARGE_BYTES: usize = 10_000;

/// Something that was answered and may have changed the store.
#[derive(Debug, Clone)]
pub enum Step {
    /// A new message, and the engine's clock as its answer shows it.
    Append(Append, Clock),
    /// An open.
    Open(OpenQuery),
    /// An acknowledgement.
    Ack(AckRequest),
    /// A change of the group.
    Regroup(GroupRequest),
}

/// All that was called by then is answered.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    /// The journal's length: it is synced.
    pub length: u64,
    /// The steps that were answered.
    pub steps: usize,
}

/// What happened, and the journal that tells of it.
pub struct History {
    /// Who takes part.
    pub users: Vec<UserName>,
    /// Where; each room's members are those it names, or all.
    pub rooms: Vec<Room>,
    /// The life of the store.
    pub epoch: Epoch,
    /// In the order of their effects.
    pub steps: Vec<Step>,
    /// Ascending; the first is before the first step.
    pub marks: Vec<Mark>,
    /// What stands in the journal up to the last mark.
    pub journal: Vec<u8>,
    /// The length that the file is given before anything stands in it.
    pub preallocated: u64,
}

impl History {
    /// Lives a past in `folder`; it stays behind as a crash in an idle moment would leave it.
    pub async fn live(folder: &Path, seed: u64) -> (Self, Arc<LocalPersistence>) {
        let (engine, _fatal) = open(settings(folder, SyncPolicy::Always)).unwrap();
        let users = ["ann", "bob", "eve"].map(|name| UserName::new(name).unwrap()).to_vec();
        let channel = |name| Room::new(Place::Channel(ChannelName::new(name).unwrap()));
        let rooms = vec![
            Room::direct(&users[0], &users[1]),
            Room::direct(&users[2], &users[2]),
            channel("all"),
            channel("stamped"),
            Room::new(Place::Group(GroupId::new("a-group-of-three-users").unwrap())),
        ];
        let path = journal_path(folder);
        let preallocated = fs::metadata(&path).unwrap().len();
        let epoch = epoch_of(&*engine);
        let (steps, marks, journal) = (Vec::new(), Vec::new(), Vec::new());
        let history = Self { users, rooms, epoch, steps, marks, journal, preallocated };
        let random = SmallRng::seed_from_u64(seed);
        let model = Model::new(history.epoch.clone());
        let mut life = Life { history, model, engine, random, path };
        life.mark();
        for group in 1..=GROUPS {
            match life.random.random_range(0..11) {
                // First of all there is the group, with everybody in it.
                _ if group <= life.history.users.len() => life.regroup().await,
                _ if group % LARGE_EVERY == 0 => life.append(1, true).await,
                0..=5 => {
                    let count = life.random.random_range(1..=6);
                    life.append(count, false).await;
                }
                6 => life.retry().await,
                7 => life.open().await,
                8 => life.regroup().await,
                _ => life.ack().await,
            }
            life.mark();
        }
        (life.history, life.engine)
    }

    /// The specification after so many steps.
    pub fn model(&self, steps: usize) -> Model {
        let mut model = Model::new(self.epoch.clone());
        for step in &self.steps[..steps] {
            match step {
                Step::Append(append, clock) => drop(model.append(append, *clock)),
                Step::Open(query) => drop(model.open(query)),
                Step::Ack(request) => drop(model.ack(request)),
                Step::Regroup(request) => drop(model.regroup(request)),
            }
        }
        model
    }

    /// How many messages each room has after so many steps.
    pub fn heads(&self, steps: usize) -> Vec<Seq> {
        let model = self.model(steps);
        self.rooms.iter().map(|room| model.conversation(room.conv).head()).collect()
    }

    /// How many steps a journal tells of that is whole up to `length`: those answered by then, and of a
    /// group that was on its way perhaps its first, never all.
    pub fn steps_at(&self, length: u64) -> Range<usize> {
        let next = self.marks.partition_point(|mark| mark.length <= length);
        let begun = self.marks[next - 1].steps;
        let end = self.marks.get(next).map_or(begun, |mark| mark.steps);
        begun..end.max(begun + 1)
    }

    /// Everybody who may be in a room.
    pub fn members(&self, room: &Room) -> Vec<UserName> {
        match *room.place {
            Place::Direct(..) => room.place.participants().cloned().collect(),
            Place::Channel(_) | Place::Group(_) => self.users.clone(),
        }
    }
}

/// A [`History`] while it is made.
struct Life {
    history: History,
    model: Model,
    engine: Arc<LocalPersistence>,
    random: SmallRng,
    path: PathBuf,
}

impl Life {
    /// Notes what has been answered, and reads on in the journal.
    fn mark(&mut self) {
        const READ_BYTES: u64 = 1 << 20;
        let journal = &mut self.history.journal;
        let mut file = File::open(&self.path).unwrap();
        file.seek(SeekFrom::Start(journal.len() as u64)).unwrap();
        file.take(READ_BYTES).read_to_end(journal).unwrap();
        // A batch ends with a byte that is not zero; behind it the file is empty.
        let length = journal.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        journal.truncate(length);
        let steps = self.history.steps.len();
        self.history.marks.push(Mark { length: length as u64, steps });
    }

    fn place(&mut self) -> (Room, UserName) {
        let room =
            self.history.rooms[self.random.random_range(0..self.history.rooms.len())].clone();
        let members = self.history.members(&room);
        let user = members[self.random.random_range(0..members.len())].clone();
        (room, user)
    }

    /// Messages, called one after the other and awaited together.
    async fn append(&mut self, count: usize, large: bool) {
        let appends: Vec<Append> = (0..count).map(|_| self.new_message(large)).collect();
        let calls: Vec<_> =
            appends.iter().map(|append| self.engine.append(append.clone())).collect();
        for (append, outcome) in appends.into_iter().zip(join_all(calls).await) {
            let AppendOutcome::Stored(stored) = outcome.unwrap() else { panic!("stored") };
            let clock = Clock { at: stored.message.at, stamp: stored.message.ts };
            let AppendOutcome::Stored(expected) = self.model.append(&append, clock) else {
                panic!("new")
            };
            assert_eq!(stored.message, expected.message);
            self.history.steps.push(Step::Append(append, clock));
        }
    }

    fn new_message(&mut self, large: bool) -> Append {
        let (room, user) = self.place();
        // Half of them late; in one room those the engine stamps are between them.
        let is_stamped = room.conv == self.history.rooms[3].conv && self.random.random_bool(0.5);
        let step = self.history.steps.len() as u64 * 10;
        let ts = PAST + step + self.random.random_range(0..100);
        let length = if large { LARGE_BYTES } else { self.random.random_range(1..200) };
        // Nothing that the journal can compress to less than a page.
        let content = (&mut self.random).sample_iter(Alphanumeric).take(length).map(char::from);
        Append { content: content.collect(), ..room.message(&user, (!is_stamped).then_some(ts)) }
    }

    /// A message again: nothing is written.
    async fn retry(&mut self) {
        let appends = self.history.steps.iter().filter_map(|step| match step {
            Step::Append(append, _) => Some(append),
            _ => None,
        });
        let appends: Vec<&Append> = appends.collect();
        if appends.is_empty() {
            return;
        }
        let append = appends[self.random.random_range(0..appends.len())].clone();
        let before = self.history.marks.last().map(|mark| mark.length);
        let outcome = self.engine.append(append).await.unwrap();
        assert!(matches!(outcome, AppendOutcome::Stored(stored) if stored.dup));
        self.mark();
        assert_eq!(self.history.marks.last().map(|mark| mark.length), before);
    }

    async fn open(&mut self) {
        let (room, user) = self.place();
        let query = room.opening(&user, 10);
        self.engine.open(query.clone()).await.unwrap();
        self.model.open(&query);
        self.history.steps.push(Step::Open(query));
    }

    /// The group is made, filled, and then has a guest who comes and goes.
    async fn regroup(&mut self) {
        let room = self.history.rooms.last().unwrap().clone();
        let users = &self.history.users;
        let guest = guest();
        let act = match self.model.roster(room.conv).members.len() {
            0 => GroupAct::Create,
            count if count < users.len() => GroupAct::Invite(users[count].clone()),
            count if count == users.len() => GroupAct::Invite(guest),
            _ => GroupAct::Remove(guest),
        };
        let (conv, place, by) = (room.conv, Arc::clone(&room.place), users[0].clone());
        let request = GroupRequest { conv, place, by, act };
        let outcome = self.engine.regroup(request.clone()).await.unwrap();
        assert!(matches!(outcome, GroupOutcome::Done { .. }), "{outcome:?}");
        self.model.regroup(&request);
        self.history.steps.push(Step::Regroup(request));
    }

    /// By somebody who has opened the room.
    async fn ack(&mut self) {
        let (room, user) = self.place();
        let conversation = self.model.conversation(room.conv);
        let head = conversation.head().0;
        if head == 0 || !conversation.acked.contains_key(&user) {
            return self.open().await;
        }
        let up_to = self.random.random_range(0..=head / 2);
        let lo = self.random.random_range(1..=head);
        let hi = self.random.random_range(lo..=head) + 1;
        let request = room.acking(&user, up_to, &[(lo, hi)]);
        let outcome = self.engine.ack(request.clone()).await.unwrap();
        assert!(matches!(outcome, AckOutcome::Merged { .. }), "{outcome:?}");
        self.model.ack(&request);
        self.history.steps.push(Step::Ack(request));
    }
}

/// Whoever comes into the group and goes again, and says nothing.
pub fn guest() -> UserName {
    UserName::new("max").unwrap()
}

/// The only journal of a store.
pub fn journal_path(folder: &Path) -> PathBuf {
    let entries = fs::read_dir(folder.join("store")).unwrap();
    let mut found = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "jnl"));
    let journal = found.next().expect("the store has a journal");
    assert_eq!(found.next(), None, "too little was written for a second one");
    journal
}
