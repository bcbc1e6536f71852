//! What partitions are, as a real cluster sees it.

use super::{ann, room};
use crate::persistence::conformance::redis_cluster::{ask, shared};
use crate::persistence::redis::cluster::partitions;

/// Slots of a cluster.
const SLOTS: usize = 16_384;
/// How far a slot may be from the middle of its range.
const OFF_MAX: usize = 30;

#[test]
fn all_of_a_partition_is_in_one_slot_and_partitions_are_spread_evenly() {
    if shared().is_none() {
        return;
    }
    let keys: Vec<_> = partitions("a-prefix:").collect();
    let share = SLOTS / keys.len();
    for (number, keys) in keys.iter().enumerate() {
        let index = keys.index(&ann());
        let slots = [keys.lineage(), index, keys.stem(room("any").conv)];
        let slots = slots.map(|key| ask::<usize>(&["CLUSTER", "KEYSLOT", &key]).unwrap());
        assert!(slots.iter().all(|slot| *slot == slots[0]), "{slots:?}");
        let middle = number * share + share / 2;
        assert!(slots[0].abs_diff(middle) <= OFF_MAX, "partition {number}: {}", slots[0]);
    }
}
