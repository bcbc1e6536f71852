//! Which life the store is in: one row, changed only by compare-and-set, so that all nodes agree.
//!
//! A new life begins when the row is missing or older than what this node knows, when a conversation is found to end before
//! what this node knows to be stored, and when so many nodes were started anew since the last look that together they may
//! have been all that held a message, and their class is below `disk`: then an acknowledged message may be gone.

use std::sync::Arc;

use scylla::DeserializeRow;
use scylla::client::session::Session;
use scylla::serialize::row::SerializeRow;
use scylla::statement::Consistency;
use scylla::statement::prepared::PreparedStatement;
use scylla::statement::unprepared::Statement;

use super::codec::{bigint, number};
use super::dialer::DialError;
use super::facts::Starts;
use super::layout::Layout;
use super::statements::{Statements, serial};
use crate::cassandra_link::was_applied;
use crate::model::Epoch;
use crate::persistence::lineage::{Life, Lineage};

/// How often a change is tried against others before it is left to the next attempt.
const TRIES: u8 = 8;

#[derive(Debug, DeserializeRow)]
struct StoreRow {
    generation: i64,
    epoch: String,
    bucket_rows: i64,
    starts: String,
}

/// What was seen of the nodes, as far as it matters here.
#[derive(Debug)]
pub struct Seen {
    /// When each was started.
    pub starts: Starts,
    /// How many hold a message when it is acknowledged.
    pub quorum: usize,
    /// What they acknowledge is on disk.
    pub is_on_disk: bool,
}

/// Reads the row, makes it where there is none, begins another life where that must be; and notes the starts of the nodes.
pub async fn learn(
    session: &Session,
    statements: &Statements,
    lineage: &Lineage,
    seen: &Seen,
    bucket_rows: u64,
) -> Result<(Arc<Life>, Layout), DialError> {
    let known = lineage.known().map(|(life, _)| life);
    let (now, mut lost) = (&seen.starts, false);
    let store = serial(&statements.store);
    for _ in 0..TRIES {
        let rows = Box::pin(session.execute_unpaged(&store, ())).await?.into_rows_result()?;
        let Some(row) = rows.maybe_first_row::<StoreRow>()? else {
            let generation = known.as_ref().map_or(1, |life| life.generation + 1);
            let values = (
                bigint(generation),
                Epoch::generate().to_string(),
                bigint(bucket_rows),
                now.text(),
            );
            lost |= change(session, &statements.create_store, values).await? && known.is_some();
            continue;
        };
        let (generation, noted) = (number(row.generation), Starts::parse(&row.starts));
        let is_older = known.as_ref().is_some_and(|life| life.generation > generation);
        let may_have_lost = now.changed_since(&noted) >= seen.quorum && !seen.is_on_disk;
        if is_older || may_have_lost {
            let next = known.as_ref().map_or(0, |life| life.generation).max(generation) + 1;
            let values = (
                bigint(next),
                Epoch::generate().to_string(),
                now.with(&noted).text(),
                row.generation,
                row.epoch,
            );
            lost |= change(session, &statements.renew_store, values).await?;
            continue;
        }
        let all = now.with(&noted);
        if all != noted {
            let values = (all.text(), row.generation, row.epoch, row.starts);
            change(session, &statements.note_starts, values).await?;
            continue;
        }
        let unreadable = |_| DialError::Setup("the store names an epoch that is none".to_owned());
        let life = Life { generation, epoch: Epoch::new(&row.epoch).map_err(unreadable)? };
        lineage.learn(life.clone(), lost);
        return Ok((Arc::new(life), Layout::new(number(row.bucket_rows))));
    }
    Err(DialError::Now("other nodes change the life of the store all the time".to_owned()))
}

/// Begins another life than `life`, unless somebody has.
pub async fn renew(
    session: &Session,
    statements: &Statements,
    life: &Life,
) -> Result<(), DialError> {
    let rows = Box::pin(session.execute_unpaged(&serial(&statements.store), ())).await?;
    let Some(row) = rows.into_rows_result()?.maybe_first_row::<StoreRow>()? else { return Ok(()) };
    if number(row.generation) == life.generation {
        let next = bigint(life.generation + 1);
        let values = (next, Epoch::generate().to_string(), row.starts, row.generation, row.epoch);
        change(session, &statements.renew_store, values).await?;
    }
    Ok(())
}

/// Whether the store is still in this life.
pub async fn is_same(
    session: &Session,
    statements: &Statements,
    life: &Life,
) -> Result<bool, DialError> {
    let rows = Box::pin(session.execute_unpaged(&statements.store, ())).await?;
    let row = rows.into_rows_result()?.maybe_first_row::<StoreRow>()?;
    Ok(row.is_some_and(|row| {
        number(row.generation) == life.generation && row.epoch == life.epoch.as_str()
    }))
}

async fn change(
    session: &Session,
    statement: &PreparedStatement,
    values: impl SerializeRow,
) -> Result<bool, DialError> {
    Ok(was_applied(Box::pin(session.execute_unpaged(statement, values)).await?)?)
}

/// The clock of a node, ms since 1970.
pub async fn clock_ms(session: &Session) -> Result<i64, DialError> {
    let mut statement = Statement::new("SELECT toUnixTimestamp(now()) FROM system.local");
    statement.set_consistency(Consistency::One);
    statement.set_is_idempotent(true);
    let rows = Box::pin(session.query_unpaged(statement, ())).await?.into_rows_result()?;
    Ok(rows.single_row::<(i64,)>()?.0)
}
