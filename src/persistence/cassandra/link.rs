//! A session with what it knows, and its statements as calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use scylla::client::session::Session;
use scylla::deserialize::row::DeserializeRow;
use scylla::errors::{DbError, ExecutionError, RequestAttemptError};
use scylla::response::PagingState;
use scylla::response::query_result::QueryResult;
use scylla::serialize::row::SerializeRow;
use scylla::statement::batch::{Batch, BatchType};
use scylla::statement::prepared::PreparedStatement;
use scylla::value::{CqlValue, Row};
use tokio::sync::Semaphore;

use super::codec::{Values, number};
use super::facts::KeyspaceFacts;
use super::layout::Layout;
use super::statements::Statements;
use crate::persistence::EngineError;
use crate::persistence::lineage::Life;

/// Requests in flight. The driver gives up a connection on which more than 1024 are unanswered after their time-out.
const IN_FLIGHT_MAX: usize = 512;

/// A session that is ready.
#[derive(Debug)]
pub struct Link {
    /// The way to the nodes.
    pub session: Session,
    /// Prepared for it.
    pub statements: Statements,
    /// The life that the store was in when the session was made.
    pub life: Arc<Life>,
    /// How the store is laid out.
    pub layout: Layout,
    /// What holds for the keyspace.
    pub keyspace: KeyspaceFacts,
    /// Like no other of this process.
    pub number: u64,
    permits: Semaphore,
    sent: AtomicU64,
    conditions: AtomicU64,
}

/// Why a call has no answer.
#[derive(Debug)]
pub enum CallError {
    /// Certainly not done.
    NotSent(String),
    /// It may have been done, or may yet be.
    Doubt(String),
    /// The conversation is in a newer life than the session knows: certainly not done.
    Stale,
    /// The conversation ends before what was known to be stored: certainly not done.
    Lost,
    /// It was answered with what cannot be used.
    Answer(EngineError),
}

/// What became of a condition.
#[derive(Debug)]
pub enum Compared {
    /// It held; the effect is there.
    Applied,
    /// It did not; what was found instead, by column. Nothing was changed.
    Found(Found),
}

/// Columns of a condition that did not hold.
#[derive(Debug, Default)]
pub struct Found(Vec<(String, Option<CqlValue>)>);

impl Found {
    /// The number in a column; `None` where there is none.
    pub fn number(&self, column: &str) -> Option<u64> {
        self.value(column)?.as_bigint().map(number)
    }

    /// The bytes in a column; `None` where there are none.
    pub fn bytes(&self, column: &str) -> Option<&[u8]> {
        self.value(column)?.as_blob().map(Vec::as_slice)
    }

    fn value(&self, column: &str) -> Option<&CqlValue> {
        self.0.iter().find(|(name, _)| name == column)?.1.as_ref()
    }
}

impl From<ExecutionError> for CallError {
    fn from(error: ExecutionError) -> Self {
        let text = error.to_string();
        if was_sent(&error) { Self::Doubt(text) } else { Self::NotSent(text) }
    }
}

impl From<EngineError> for CallError {
    fn from(error: EngineError) -> Self {
        Self::Answer(error)
    }
}

/// Whether a statement that failed so may have been done.
fn was_sent(error: &ExecutionError) -> bool {
    match error {
        ExecutionError::EmptyPlan
        | ExecutionError::ConnectionPoolError(_)
        | ExecutionError::BadQuery(_)
        | ExecutionError::PrepareError(_) => false,
        ExecutionError::LastAttemptError(RequestAttemptError::DbError(error, _)) => !matches!(
            error,
            // Each says that the coordinator did not begin.
            DbError::Unavailable { .. }
                | DbError::Overloaded
                | DbError::IsBootstrapping
                | DbError::SyntaxError
                | DbError::Invalid
                | DbError::Unauthorized
                | DbError::Unprepared { .. }
                | DbError::RateLimitReached { .. }
        ),
        ExecutionError::LastAttemptError(
            RequestAttemptError::SerializationError(_)
            | RequestAttemptError::CqlRequestSerialization(_)
            | RequestAttemptError::UnableToAllocStreamId,
        ) => false,
        _ => true,
    }
}

impl Link {
    /// Of a session that was checked.
    pub fn new(
        session: Session,
        statements: Statements,
        life: Arc<Life>,
        layout: Layout,
        keyspace: KeyspaceFacts,
    ) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let permits = Semaphore::new(IN_FLIGHT_MAX);
        let (sent, conditions) = (AtomicU64::new(0), AtomicU64::new(0));
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        Self { session, statements, life, layout, keyspace, number, permits, sent, conditions }
    }

    /// Requests given to the driver, a batch as one.
    #[cfg(test)]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Conditional batches among them.
    #[cfg(test)]
    pub fn conditions(&self) -> u64 {
        self.conditions.load(Ordering::Relaxed)
    }

    async fn execute(
        &self,
        statement: &PreparedStatement,
        values: impl SerializeRow,
    ) -> Result<QueryResult, CallError> {
        // Never closed.
        let _permit = self.permits.acquire().await;
        self.sent.fetch_add(1, Ordering::Relaxed);
        // Boxed: a request of the driver weighs kilobytes.
        Ok(Box::pin(self.session.execute_unpaged(statement, values)).await?)
    }

    /// Does a write.
    pub async fn run(
        &self,
        statement: &PreparedStatement,
        values: impl SerializeRow,
    ) -> Result<(), CallError> {
        self.execute(statement, values).await.map(drop)
    }

    /// Reads rows.
    pub async fn rows<R>(
        &self,
        statement: &PreparedStatement,
        values: impl SerializeRow,
    ) -> Result<Vec<R>, CallError>
    where
        R: for<'frame, 'metadata> DeserializeRow<'frame, 'metadata>,
    {
        let result = self.execute(statement, values).await?;
        let rows = result.into_rows_result().map_err(odd)?;
        let rows = rows.rows::<R>().map_err(odd)?;
        rows.collect::<Result<_, _>>().map_err(odd)
    }

    /// Reads the rows of a page, and where the next one begins, unless it was the last.
    pub async fn page<R>(
        &self,
        statement: &PreparedStatement,
        from: PagingState,
    ) -> Result<(Vec<R>, Option<PagingState>), CallError>
    where
        R: for<'frame, 'metadata> DeserializeRow<'frame, 'metadata>,
    {
        let _permit = self.permits.acquire().await;
        self.sent.fetch_add(1, Ordering::Relaxed);
        let sent = Box::pin(self.session.execute_single_page(statement, &[], from));
        let (result, next) = sent.await?;
        let rows = result.into_rows_result().map_err(odd)?;
        let rows = rows.rows::<R>().map_err(odd)?.collect::<Result<_, _>>().map_err(odd)?;
        Ok((rows, next.into_paging_control_flow().continue_value()))
    }

    /// Does a conditional write of one row.
    pub async fn compare(
        &self,
        statement: &PreparedStatement,
        values: impl SerializeRow,
    ) -> Result<Compared, CallError> {
        compared(self.execute(statement, values).await?)
    }

    /// Does a conditional batch of one partition: the first statement carries the condition, all others are one more row each.
    pub async fn compare_all(
        &self,
        first: &PreparedStatement,
        others: &PreparedStatement,
        values: &Vec<Values>,
    ) -> Result<Compared, CallError> {
        let mut batch = Batch::new(BatchType::Unlogged);
        batch.append_statement(first.clone());
        for _ in 1..values.len() {
            batch.append_statement(others.clone());
        }
        let _permit = self.permits.acquire().await;
        self.sent.fetch_add(1, Ordering::Relaxed);
        self.conditions.fetch_add(1, Ordering::Relaxed);
        compared(Box::pin(self.session.batch(&batch, values)).await?)
    }
}

fn odd(error: impl std::error::Error) -> CallError {
    let text = format!("cassandra: an answer that this version cannot read: {error}");
    CallError::Answer(EngineError::Internal(text))
}

fn compared(result: QueryResult) -> Result<Compared, CallError> {
    let rows = result.into_rows_result().map_err(odd)?;
    let names: Vec<String> =
        rows.column_specs().iter().map(|column| column.name().to_owned()).collect();
    let row = rows.first_row::<Row>().map_err(odd)?;
    let mut found = Found(names.into_iter().zip(row.columns).collect());
    let applied = found.0.iter().position(|(name, _)| name == "[applied]");
    let applied = applied.map(|at| found.0.swap_remove(at).1);
    match applied.flatten().and_then(|value| value.as_boolean()) {
        Some(true) => Ok(Compared::Applied),
        _ => Ok(Compared::Found(found)),
    }
}
