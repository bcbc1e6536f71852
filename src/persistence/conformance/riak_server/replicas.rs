//! Three replicas of each key, and what quorums of them make of reads and writes.

use std::collections::BTreeMap;
use std::ops::Bound;

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};

use super::object::{Actor, Clock, Object, Sibling};

/// How many replicas each key has (`n_val`).
pub const REPLICAS: usize = 3;

/// A majority of them.
pub const QUORUM: usize = REPLICAS / 2 + 1;

/// Where an object is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// The bucket, under its type.
    pub bucket: Bucket,
    /// The key in the bucket.
    pub key: String,
}

/// A bucket, under its type.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bucket {
    /// The bucket type.
    pub bucket_type: String,
    /// The bucket's own name.
    pub name: String,
}

/// How many replicas a read needs, and of which answers.
#[derive(Debug, Clone, Copy)]
pub struct ReadQuorum {
    /// How many answers.
    pub answers: usize,
    /// That a replica has nothing counts as an answer.
    pub notfound_ok: bool,
    /// It gives up when a majority has nothing, which matters where that does not count.
    pub basic_quorum: bool,
}

impl ReadQuorum {
    /// What conditions are judged by.
    pub const MAJORITY: Self = Self { answers: QUORUM, notfound_ok: true, basic_quorum: false };

    /// How many replicas that have nothing end a read.
    fn fails_at(self) -> usize {
        let all = REPLICAS - self.answers + 1;
        if self.basic_quorum { all.min(QUORUM) } else { all }
    }
}

/// So many answered of those that a read needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsatisfied(pub usize);

/// What a replica has of one key.
#[derive(Debug, Default)]
struct Stored {
    object: Object,
    /// New when a replica has lost the key: a context from before must not cover what is written after.
    actor: Option<Actor>,
}

/// All replicas of all keys.
#[derive(Debug)]
pub struct Replicas {
    buckets: BTreeMap<Bucket, BTreeMap<String, [Stored; REPLICAS]>>,
    actors: Actor,
    random: StdRng,
}

impl Replicas {
    /// Nothing yet. The seed decides who is asked.
    pub fn new(seed: u64) -> Self {
        Self { buckets: BTreeMap::new(), actors: 0, random: StdRng::seed_from_u64(seed) }
    }

    /// Dice for what else is left to chance.
    pub fn random(&mut self) -> &mut StdRng {
        &mut self.random
    }

    /// Asks as many of those that are `up` as the quorum needs and no more, chosen by lot: what the others have is overlooked. Those
    /// asked then have what they told together (read repair).
    pub fn read(
        &mut self,
        name: &Name,
        quorum: ReadQuorum,
        up: &[usize],
    ) -> Result<Object, Unsatisfied> {
        let mut order = up.to_vec();
        order.shuffle(&mut self.random);
        let mut none = Default::default();
        let found = self.buckets.get_mut(&name.bucket).and_then(|keys| keys.get_mut(&name.key));
        let stored = found.unwrap_or(&mut none);
        let (mut merged, mut answers, mut absent, mut asked) = (Object::default(), 0, 0, 0);
        for &replica in &order {
            asked += 1;
            let object = &stored[replica].object;
            merged.merge(object);
            if quorum.notfound_ok || !object.is_absent() {
                answers += 1;
            } else {
                absent += 1;
            }
            if answers >= quorum.answers || absent >= quorum.fails_at() {
                break;
            }
        }
        for &replica in &order[..asked] {
            stored[replica].object.merge(&merged);
        }
        if answers >= quorum.answers {
            Ok(merged)
        } else if absent >= quorum.fails_at() {
            Ok(Object::default())
        } else {
            Err(Unsatisfied(answers))
        }
    }

    /// Writes to those of `reached`, of which one, chosen by lot, counts the write. Gives what that one has then.
    pub fn write(
        &mut self,
        name: &Name,
        context: &Clock,
        sibling: Sibling,
        reached: &[usize],
    ) -> Object {
        let Some(&coordinator) = reached.choose(&mut self.random) else {
            return Object::default();
        };
        let keys = self.buckets.entry(name.bucket.clone()).or_default();
        let stored = keys.entry(name.key.clone()).or_default();
        let first = &mut stored[coordinator];
        let actor = *first.actor.get_or_insert_with(|| {
            self.actors += 1;
            self.actors
        });
        first.object.put(actor, context, sibling);
        let object = first.object.clone();
        for &replica in reached.iter().filter(|replica| **replica != coordinator) {
            stored[replica].object.merge(&object);
        }
        object
    }

    /// The first `count` keys from `first` to `last`, in order, as a coverage query finds them: of each key it asks one of the replicas
    /// that are `up`, of which there must be one. Tombstones are keys too, as on a node that keeps them, or has not reaped them yet.
    pub fn keys_between(
        &mut self,
        bucket: &Bucket,
        first: Bound<&str>,
        last: &str,
        count: usize,
        up: &[usize],
    ) -> Vec<String> {
        // The map panics where the ends have changed places.
        if matches!(first, Bound::Included(first) | Bound::Excluded(first) if first > last) {
            return Vec::new();
        }
        let Some(keys) = self.buckets.get(bucket) else { return Vec::new() };
        let random = &mut self.random;
        keys.range::<str, _>((first, Bound::Included(last)))
            .filter(|(_, stored)| !stored[up[random.random_range(0..up.len())]].object.is_absent())
            .map(|(key, _)| key.clone())
            .take(count)
            .collect()
    }

    /// The object as all replicas have it together, whatever is up, in each type that has such a bucket.
    pub fn whole(&self, bucket: &str, key: &str) -> impl Iterator<Item = Object> {
        let buckets = self.buckets.iter().filter(move |(found, _)| found.name == bucket);
        buckets.filter_map(move |(_, keys)| keys.get(key).map(together))
    }

    /// The bucket and the key of all that can be read.
    pub fn live_keys(&self) -> Vec<(String, String)> {
        let all = self.buckets.iter().flat_map(|(bucket, keys)| {
            keys.iter().map(move |(key, stored)| (bucket, key, together(stored)))
        });
        all.filter(|(_, _, object)| object.is_live())
            .map(|(bucket, key, _)| (bucket.name.clone(), key.clone()))
            .collect()
    }

    /// Every replica loses it.
    pub fn forget(&mut self, bucket: &str, key: &str) {
        for (_, keys) in self.buckets.iter_mut().filter(|(found, _)| found.name == bucket) {
            keys.remove(key);
        }
    }
}

fn together(stored: &[Stored; REPLICAS]) -> Object {
    let mut merged = Object::default();
    stored.iter().for_each(|stored| merged.merge(&stored.object));
    merged
}
