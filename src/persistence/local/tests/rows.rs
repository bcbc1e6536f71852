//! Every row of the tables, and those that the specification has messages, openings and acknowledgements for.

use std::collections::BTreeSet;
use std::ops::Bound::Unbounded;

use super::history::{History, guest};
use crate::model::{Place, UserName};
use crate::persistence::conformance::model::Model;
use crate::persistence::local::keys::{self, Table};
use crate::persistence::local::tables::Tables;

/// Table and key; of [`Table::Mine`] without the time in it, which only the store knows.
type Row = (&'static str, Vec<u8>);

/// What is there.
pub fn stored(tables: &dyn Tables) -> BTreeSet<Row> {
    let view = tables.view();
    let mut rows = BTreeSet::new();
    for table in Table::ALL {
        view.scan(table, (Unbounded, Unbounded), false, &mut |key, _| {
            let key = match table {
                Table::Mine => without_order(key),
                _ => key.to_vec(),
            };
            assert!(rows.insert((table.name(), key)), "{} has a row twice", table.name());
            Ok(true)
        })
        .unwrap();
    }
    rows
}

fn without_order(key: &[u8]) -> Vec<u8> {
    let user_bytes = 1 + usize::from(key[0]);
    let order_bytes = 8;
    [&key[..user_bytes], &key[user_bytes + order_bytes..]].concat()
}

/// What must be there, and nothing else.
pub fn expected(history: &History, model: &Model) -> BTreeSet<Row> {
    let (mut rows, guest) = (BTreeSet::new(), guest());
    let mut add = |table: Table, key| rows.insert((table.name(), key));
    for room in &history.rooms {
        let conversation = model.conversation(room.conv);
        let is_direct = matches!(*room.place, Place::Direct(..));
        let mut joined: BTreeSet<&UserName> = conversation.acked.keys().collect();
        let mut owners = joined.clone();
        for message in &conversation.messages {
            add(Table::Messages, keys::by_seq(room.conv, message.seq).to_vec());
            add(Table::ByTime, keys::by_time(room.conv, message.position()).to_vec());
            add(Table::Dedupe, keys::dedupe(room.conv, &message.from, &message.cid));
            if message.late {
                add(Table::Late, keys::by_seq(room.conv, message.seq).to_vec());
            }
            owners.extend(room.place.participants());
            if is_direct {
                joined.insert(&message.from);
            }
        }
        if let Place::Group(_) = *room.place {
            // Who was invited has it, whether they opened it or not.
            let everybody = history.users.iter().chain([&guest]);
            owners = everybody.filter(|user| model.is_mine(user, room.conv)).collect();
        }
        if model.roster(room.conv).version > 0 {
            add(Table::Rosters, keys::roster(room.conv));
        }
        for user in joined {
            add(Table::Acks, keys::acks(room.conv, user));
        }
        for user in owners {
            add(Table::Mine, without_order(&keys::mine(user, 0, room.conv)));
            add(Table::IsMine, keys::is_mine(user, room.conv));
        }
    }
    rows
}
