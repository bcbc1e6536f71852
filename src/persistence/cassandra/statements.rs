//! Every statement of the engine, each in its own file, prepared once for each session.

use scylla::client::session::Session;
use scylla::errors::PrepareError;
use scylla::statement::Consistency;
use scylla::statement::prepared::PreparedStatement;

/// What a statement is, for how it may be sent.
#[derive(Clone, Copy)]
enum Kind {
    /// It changes nothing.
    Read,
    /// Doing it twice is the same as once.
    Write,
    /// It has a condition: doing it twice may answer differently. Never sent again by the driver.
    Conditional,
}

macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident: $kind:ident, $file:literal;)+) => {
        /// The prepared statements.
        #[derive(Debug)]
        pub struct Statements {
            $($(#[$doc])* pub $name: PreparedStatement,)+
        }

        impl Statements {
            /// Prepares all of them, on the nodes that are up; the driver prepares again where a node has forgotten.
            pub async fn prepare(session: &Session) -> Result<Self, PrepareError> {
                $(let $name = prepare(session, include_str!(concat!("cql/", $file, ".cql")), Kind::$kind);)+
                let ($($name,)+) = tokio::try_join!($($name,)+)?;
                Ok(Self { $($name,)+ })
            }
        }
    };
}

statements! {
    /// Head, highest `ts` and life of a bucket, if they are still what they were.
    advance: Conditional, "advance";
    /// The same in a group, with its roster.
    advance_group: Conditional, "advance_group";
    /// One message; only beside one of these.
    insert: Conditional, "insert";
    /// A whole bucket.
    bucket: Read, "bucket";
    /// What follows a number in a bucket.
    bucket_after: Read, "bucket_after";
    /// What stands beside the messages of a bucket, and without any.
    statics: Read, "statics";
    /// Messages of a bucket from a number to another.
    messages_between: Read, "messages_between";
    /// Some messages of a bucket.
    messages_in: Read, "messages_in";
    /// The batch that wrote a message.
    tag: Read, "tag";
    /// Number and commit time of the last message of a bucket.
    newest: Read, "newest";
    /// The last bucket, as a hint.
    head: Read, "head";
    /// Notes that a bucket was begun.
    set_head: Write, "set_head";
    /// The names in some full buckets.
    names: Read, "names";
    /// Notes those in one.
    set_names: Write, "set_names";
    /// What is known of a full bucket.
    skeletons: Read, "skeletons";
    /// Notes it.
    set_skeleton: Write, "set_skeleton";
    /// The times of many full buckets.
    summaries: Read, "summaries";
    /// Notes those of one.
    set_summary: Write, "set_summary";
    /// Who is in a group, by the id of the roster.
    roster: Read, "roster";
    /// A roster, before it is named.
    add_roster: Write, "add_roster";
    /// What a user has acknowledged.
    acks: Read, "acks";
    /// The first open or message of a user.
    join: Conditional, "join";
    /// The conversation becomes a user's.
    set_mine: Conditional, "set_mine";
    /// Raises what a user has acknowledged.
    set_up_to: Write, "set_up_to";
    /// The ranges above it, if nobody changed them.
    set_ranges: Conditional, "set_ranges";
    /// The conversations of a user.
    mine: Read, "mine";
    /// Those of all users, page by page.
    entries: Read, "entries";
    /// One more.
    add_mine: Write, "add_mine";
    /// Which life the store is in.
    store: Read, "store";
    /// The first life.
    create_store: Conditional, "create_store";
    /// Another life.
    renew_store: Conditional, "renew_store";
    /// Starts of nodes that lost nothing.
    note_starts: Conditional, "note_starts";
}

async fn prepare(
    session: &Session,
    text: &str,
    kind: Kind,
) -> Result<PreparedStatement, PrepareError> {
    // Boxed: a request of the driver weighs kilobytes.
    let mut statement = Box::pin(session.prepare(text.trim())).await?;
    statement.set_is_idempotent(!matches!(kind, Kind::Conditional));
    Ok(statement)
}

/// The same read, of what is agreed at this moment: it ends what another writer has begun.
pub fn serial(statement: &PreparedStatement) -> PreparedStatement {
    let mut statement = statement.clone();
    statement.set_consistency(Consistency::Serial);
    statement
}
