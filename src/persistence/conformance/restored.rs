//! What an import gives a store is there as it was. Of a store that holds nothing else.

use std::collections::BTreeMap;

use futures_util::TryStreamExt as _;

use super::subject::{Room, epoch_of};
use crate::model::{GroupId, Membership, Place, Roster, Seq, UserName, life_number};
use crate::persistence::{Append, AppendOutcome, Archive, Entry, Restored, RestoredMember};

const AT: u64 = 1_700_000_000_000;

/// Users, rosters and messages come back.
pub async fn what_is_restored_is_there(engine: &dyn Archive) {
    let room = Room::new(Place::Group(GroupId::generate()));
    let name = |name: &str| UserName::new(name).expect("a name");
    let (ann, bob) = (name("ann"), name("bob"));
    for seq in [Seq(1), Seq(2)] {
        let restored = Some(Restored { seq, at: AT + seq.0 });
        let append = Append { restored, ..room.message(&bob, AT) };
        let again = append.clone();
        let outcome = engine.append(append).await.expect("it works");
        assert!(
            matches!(&outcome, AppendOutcome::Stored(stored)
            if (stored.message.seq, stored.message.at) == (seq, AT + seq.0)),
            "{outcome:?}"
        );
        let outcome = engine.append(again).await.expect("it works");
        assert!(matches!(outcome, AppendOutcome::NotNext), "{outcome:?}");
    }

    let entry =
        Entry { user: ann.clone(), conv: room.conv, place: room.place.clone(), since_us: 7 };
    for acked_up_to in [None, Some(Seq(1)), Some(Seq(2))] {
        let member = RestoredMember { entry: entry.clone(), acked_up_to };
        engine.restore_member(member).await.expect("it works");
        let acked = engine.acked(room.conv, &ann).await.expect("it works");
        // Where it began stays.
        assert_eq!(acked.map(|acked| acked.up_to), acked_up_to.map(|_| Seq(1)));
    }
    let entries: Vec<Entry> = engine.entries().try_collect().await.expect("it works");
    assert_eq!(entries, [entry]);

    let life = life_number(&epoch_of(engine));
    let membership = |joined| Membership { joined, since: Seq(1), life };
    let members = BTreeMap::from([(ann.clone(), membership(1)), (bob, membership(4))]);
    let roster = Roster { version: 5, owner: Some(ann), members };
    for _ in 0..2 {
        assert!(engine.restore_roster(room.conv, roster.clone()).await.expect("it works"));
        assert_eq!(*engine.roster(room.conv).await.expect("it works").roster, roster);
    }
    let other = Roster { version: 6, ..roster };
    assert!(!engine.restore_roster(room.conv, other).await.expect("it works"));
}
