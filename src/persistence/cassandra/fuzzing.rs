//! Rows of a Cassandra that something else has written to.

use serde::Deserialize;

use super::acks::{AckRow, Acks, ranges_of};
use super::codec::{BucketRow, MessageRow, StaticsRow};
use super::layout::Layout;
use super::names::{BucketNames, Names, NamesRow};
use super::rosters::RosterId;
use super::skeleton::Skeleton;
use super::tail::Tail;
use crate::fuzzing::{split_first, split_number};
use crate::model::{Cid, LIMITS, Seq, UserName};

/// A byte for the kind of rows, then the rows as JSON, or the bytes of one value. They are read, or an error.
pub fn rows(input: &[u8]) {
    let (kind, bytes) = split_first(input);
    let layout = Layout::new(4);
    match kind % 7 {
        0 => {
            let Some(row) = json::<MessageRow>(bytes) else { return };
            if let Ok(message) = row.message() {
                let _ = message.wire_bytes();
            }
        }
        1 => {
            let Some((bucket, rows)) = json::<(u32, Vec<BucketRow>)>(bytes) else { return };
            if let Ok(Some(tail)) = Tail::new(rows, bucket.into(), layout) {
                is_good(&tail, layout);
            }
        }
        2 => {
            let Some(row) = json::<StaticsRow>(bytes) else { return };
            let Ok(statics) = row.statics() else { return };
            let _ = statics.position();
            let mut tail = Tail::default();
            if tail.take(statics, layout).is_ok() {
                is_good(&tail, layout);
            }
        }
        3 => {
            let (bucket, bytes) = split_number(bytes);
            let bucket = bucket >> 16;
            let Some(skeleton) = Skeleton::decode(bytes, bucket, layout) else { return };
            let times: Vec<_> =
                skeleton.by_time.iter().map(|&at| skeleton.rows[at as usize].ts).collect();
            assert!(times.is_sorted() && times.len() == skeleton.rows.len(), "{skeleton:?}");
            let again = Skeleton::decode(&skeleton.encode(), bucket, layout);
            assert_eq!(again.as_ref(), Some(&skeleton), "it comes back as it was");
            let summary = skeleton.summary(bucket);
            assert!(summary.main.is_some() || summary.far.is_some());
            let _ = skeleton.weight();
        }
        4 => {
            let Some(row) = json::<NamesRow>(bytes) else { return };
            let Ok(found) = BucketNames::of(row, layout) else { return };
            let mut names = Names::default();
            names.add(found, u64::MAX >> 1, layout);
            if let (Ok(user), Ok(cid)) = (UserName::new("ann"), Cid::new("c1")) {
                let _ = names.find_all([(&user, &cid)]);
            }
        }
        5 => {
            if let Ok(id) = RosterId::of(bytes) {
                assert_eq!(id.bytes(), bytes);
            }
            if let Ok(ranges) = ranges_of(bytes) {
                assert!(ranges.iter().all(|(lo, hi)| lo < hi), "{ranges:?}");
            }
        }
        _ => {
            let Some((head, rows)) = json::<(u32, Vec<AckRow>)>(bytes) else { return };
            let Ok(acks) = Acks::of(rows) else { return };
            let _ = acks.top();
            // A conversation of so many messages, of the second life.
            let mut tail = Tail::default();
            (tail.bucket, tail.generation, tail.cuts) = (head.into(), 2, vec![(2, Seq(5))]);
            if let Some(set) = acks.set(&tail, layout) {
                assert!(set.is_normal(), "{set:?}");
                let head = tail.head(layout);
                assert!(
                    set.up_to <= head && set.ranges.iter().all(|(_, hi)| *hi <= head.next()),
                    "{set:?}"
                );
                let _ = set.merged(head, &[], head, LIMITS.acked_ranges_max);
            }
        }
    }
}

fn json<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    serde_json::from_slice(bytes).ok()
}

/// What is asked of the end of a conversation can be answered.
fn is_good(tail: &Tail, layout: Layout) {
    let head = tail.head(layout);
    assert_eq!(tail.row(head, layout).is_some(), !tail.rows.is_empty(), "{tail:?}");
    let _ = (tail.position(layout), tail.cuts_in(2, layout), tail.skeleton());
    if let Some(row) = tail.rows.first() {
        let message = &row.message;
        assert!(tail.named(&message.from, &message.cid, layout).is_some());
    }
    if tail.is_full(layout) {
        let mut names = Names::default();
        names.add(BucketNames::new(tail), 0, layout);
    }
}

/// Rows of each kind.
#[cfg(test)]
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    use super::codec::Row;

    let layout = Layout::new(4);
    let mut tail = Tail::default();
    while !tail.is_full(layout) {
        let seq = tail.head(layout).next();
        // The third is late.
        let ts = if seq == Seq(3) { 1 } else { 10 * seq.0 };
        assert!(tail.push(Row::sample(seq, ts), layout).is_ok());
    }
    let message = r#""seq":1,"sender":"ann","cid":"c1","kind":"text","content":"x","ts":5,"at":9,"late":false"#;
    let statics = r#""head":1,"high":5,"floor":0,"generation":1,"cuts":"2 5 ","roster":null"#;
    let second = message.replace("\"seq\":1", "\"seq\":2").replace("c1", "c2");
    let statics_of_two = statics.replace("\"head\":1", "\"head\":2");
    let hashes: Vec<u8> = (0..32).collect();
    let texts = [
        (0, format!("{{{message}}}")),
        (1, format!("[0,[{{{statics},{message},\"tag\":7}}]]")),
        (1, format!("[0,[{{{statics_of_two},{message},\"tag\":7}},{{{statics_of_two},{second},\"tag\":8}}]]")),
        (2, format!("{{{statics}}}").replace("\"head\":1", "\"head\":0")),
        (4, format!("{{\"bucket\":0,\"hashes\":{hashes:?},\"until\":9}}")),
        (6, r#"[3,[{"joined":2,"joined_generation":1,"mine":true,"generation":1,"up_to":4,"ranges":[0,0,0,0,0,0,0,8,0,0,0,0,0,0,0,9],"version":3},{"generation":2,"up_to":1}]]"#.to_owned()),
    ];
    let ranges: Vec<u8> = [3u64, 5, 9].iter().flat_map(|number| number.to_be_bytes()).collect();
    let skeleton = [&0u64.to_be_bytes()[..], &tail.skeleton().encode()].concat();
    let bytes: [(u8, Vec<u8>); 3] = [(3, skeleton), (5, ranges[..16].to_vec()), (5, ranges)];
    let texts = texts.into_iter().map(|(kind, text)| (kind, text.into_bytes()));
    texts.chain(bytes).map(|(kind, bytes)| [&[kind][..], &bytes].concat()).collect()
}
