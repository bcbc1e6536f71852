//! What stands in the tables of a store that something else has written to.

use super::codec::{
    Record, decode_acks, decode_message, decode_place, decode_roster, decode_seq, encode_acks,
    encode_message, encode_place, encode_roster,
};
use super::keys::{self, Table};
use crate::fuzzing::{split_first, split_number};
use crate::model::{LIMITS, Seq};

/// A byte for the table, then a value of it, or its key. What is taken for a value comes back as the same one when it is written; all else is
/// an error that says what it is.
pub fn store(input: &[u8]) {
    let (kind, bytes) = split_first(input);
    match kind % 6 {
        0 => {
            let Ok(record) = decode_message(Seq(7), bytes) else { return };
            let written = encode_message(&record);
            let again = decode_message(Seq(7), &written);
            assert!(again.is_ok_and(|again| is_same(&again, &record)), "{record:?}");
        }
        1 => {
            let (head, bytes) = split_number(bytes);
            let Ok(acked) = decode_acks(bytes) else { return };
            assert!(acked.is_normal(), "{acked:?}");
            assert_eq!(decode_acks(&encode_acks(&acked)).ok().as_ref(), Some(&acked));
            let head = Seq(head >> 1);
            assert!(acked.cut_to(head).is_normal());
            let one = [(Seq(1), Seq(2))];
            if let Ok(merged) = acked.merged(head, &one, head, LIMITS.acked_ranges_max) {
                assert!(merged.is_normal() && merged.contains(Seq(1)), "{merged:?}");
            }
        }
        2 => {
            if let Ok(roster) = decode_roster(bytes) {
                assert!(decode_roster(&encode_roster(&roster)).is_ok_and(|again| again == roster));
            }
        }
        3 => {
            if let Ok(place) = decode_place(bytes) {
                assert!(decode_place(&encode_place(&place)).is_ok_and(|again| again == place));
                let _ = place.conv_id();
            }
        }
        4 => {
            if let Ok(seq) = decode_seq(bytes) {
                assert_eq!(seq.0.to_be_bytes(), bytes);
            }
        }
        _ => {
            let _ = keys::trailing_seq(bytes);
            if let Some((conv, user)) = keys::split_acks(bytes) {
                assert_eq!(keys::acks(conv, &user), bytes, "{:?}", Table::Acks);
            }
            if let Some(conv) = keys::trailing_conv(bytes) {
                assert!(bytes.ends_with(conv.as_bytes()));
            }
        }
    }
}

fn is_same(one: &Record, other: &Record) -> bool {
    one.message == other.message && one.high_ts_before == other.high_ts_before
}

/// A value of each table.
#[cfg(test)]
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    use std::sync::Arc;

    use crate::model::{
        AckSet, ChannelName, Cid, Epoch, GroupAct, Message, MessageType, Place, Roster, UserName,
    };

    let ann = UserName::new("ann").unwrap();
    let message = Arc::new(Message {
        seq: Seq(7),
        from: ann.clone(),
        cid: Cid::new("c-1").unwrap(),
        kind: MessageType::new("text").unwrap(),
        content: "grüße".to_owned(),
        ts: 5,
        at: 9,
        late: true,
    });
    let acked = AckSet { up_to: Seq(3), ranges: vec![(Seq(5), Seq(6)), (Seq(9), Seq(12))] };
    let epoch = Epoch::new("e").unwrap();
    let roster =
        Roster::default().after(&ann, &GroupAct::Create, (Seq(1), &epoch)).unwrap().unwrap();
    let place = Place::Channel(ChannelName::new("news").unwrap());
    let values: [(u8, Vec<u8>); 7] = [
        (0, encode_message(&Record { message, high_ts_before: 6 })),
        (1, [&40u64.to_be_bytes()[..], &encode_acks(&acked)].concat()),
        (2, encode_roster(&roster)),
        (3, encode_place(&place)),
        (4, 9u64.to_be_bytes().to_vec()),
        (5, keys::acks(place.conv_id(), &ann)),
        (5, keys::mine(&ann, 3, place.conv_id())),
    ];
    values.map(|(kind, bytes)| [&[kind][..], &bytes].concat()).into()
}
