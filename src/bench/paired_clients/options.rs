//! What `bench paired-clients` can be asked for, and what is refused.

use std::time::Duration;

use serde::Serialize;

use super::super::error::BenchError;
use super::super::load_profile::{Arrivals, LoadProfile};
use super::super::nemesis_plan::NemesisPlan;
use super::super::pause::Pause;
use crate::harness::content::ContentMaker;
use crate::harness::own_cid;
use crate::model::{Cid, INTEGER_MAX, LIMITS, UserName};

/// How much a run does.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Volume {
    /// Messages that each client sends.
    MessagesPerClient(u64),
    /// No chunk starts later than this, ms.
    DurationMs(u64),
}

/// What decides when a message is sent.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Load {
    /// The answers to the ones before: the most that these clients get through.
    Closed,
    /// A profile, whatever is answered when.
    Open {
        /// How many, when.
        profile: LoadProfile,
        /// How evenly.
        arrivals: Arrivals,
    },
}

/// Options of the workload.
#[derive(Debug, Clone, Serialize)]
pub struct PairedClientsOptions {
    /// Clients, an even number; two and two talk to each other.
    pub clients: usize,
    /// When messages are sent.
    pub load: Load,
    /// How much is sent in a closed loop; an open one has its profile.
    pub volume: Volume,
    /// Messages that are stored in all conversations together before anything is measured.
    pub fill_to: u64,
    /// Until two windows are alike, but no longer than this, ms, the load is made and not measured; 0: not at all.
    pub warmup_ms: u64,
    /// Clients that connect at the same time.
    pub connecting: usize,
    /// Messages that one client sends before the roles swap; in an open loop, a page is read after so many of a pair.
    pub chunk: u64,
    /// Messages of one client that may be unanswered.
    pub in_flight: usize,
    /// Messages of a pair that may be due and unsent in an open loop; what comes on top is dropped, and counted.
    pub waiting_max: usize,
    /// Messages on the page that both read back after each chunk.
    pub read_limit: usize,
    /// Bytes of each message's content.
    pub size_bytes: usize,
    /// Share of messages that are sent with an older `ts`.
    pub late_ratio: f64,
    /// Decides contents, cids, and which messages are late.
    pub seed: u64,
    /// What user names begin with; a run of its own needs one of its own.
    pub user_prefix: String,
    /// Stops of the servers in the middle of what counts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pauses: Vec<Pause>,
    /// What is broken in the middle of what counts. Lost connections are made again then, and what was unanswered is asked for again
    /// until it is answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nemesis: Option<NemesisPlan>,
    /// Whether what clients do and see is recorded and judged.
    pub check: bool,
    /// How long one client may take to connect, ms.
    pub connect_timeout_ms: u64,
    /// After the last acknowledgement of a chunk, what is not delivered within this is lost, ms.
    pub delivery_wait_ms: u64,
}

/// How long a client goes on trying beside a nemesis: longer than any act and what comes after it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Most characters of `--user-prefix`; the rest of a name is the client's number.
const USER_PREFIX_MAX: usize = 40;

impl PairedClientsOptions {
    /// Refuses what cannot be run; the text names the flag.
    pub fn validate(&self) -> Result<(), BenchError> {
        let refuse = |text: String| Err(BenchError::Usage(text));
        if self.clients < 2 || !self.clients.is_multiple_of(2) {
            return refuse(format!(
                "--clients {}: give an even number of at least 2, since clients talk in pairs",
                self.clients
            ));
        }
        if matches!(self.volume, Volume::MessagesPerClient(0)) {
            return refuse("--messages 0: give at least 1".into());
        }
        if matches!(self.volume, Volume::DurationMs(0)) {
            return refuse("--duration 0: give at least 1 ms".into());
        }
        if let Some(plan) = &self.nemesis {
            let Some(length) = self.length() else {
                let text = "--nemesis goes by the clock: give --duration or --rate, not --messages";
                return refuse(text.into());
            };
            plan.check(length).map_err(BenchError::Usage)?;
        }
        if self.connecting == 0 {
            return refuse("--connecting 0: give at least 1".into());
        }
        if self.chunk == 0 {
            return refuse("--chunk 0: give at least 1".into());
        }
        if self.waiting_max == 0 {
            return refuse("--backlog 0: give at least 1".into());
        }
        if !(1..=LIMITS.in_flight_max).contains(&self.in_flight) {
            let max = LIMITS.in_flight_max;
            return refuse(format!("--in-flight {}: give 1 to {max}", self.in_flight));
        }
        if !(1..=LIMITS.read_limit_max).contains(&self.read_limit) {
            let max = LIMITS.read_limit_max;
            return refuse(format!("--read-limit {}: give 1 to {max}", self.read_limit));
        }
        if !(0.0..=1.0).contains(&self.late_ratio) {
            return refuse(format!("--late-ratio {}: give 0 to 1", self.late_ratio));
        }
        if self.user_prefix.len() > USER_PREFIX_MAX {
            return refuse(format!("--user-prefix: give at most {USER_PREFIX_MAX} characters"));
        }
        if let Err(error) = UserName::new(&self.user_prefix) {
            return refuse(format!("--user-prefix {:?}: give {error}", self.user_prefix));
        }
        let (min, max) = (self.size_bytes_min(), LIMITS.content_bytes_max);
        if !(min..=max).contains(&self.size_bytes) {
            return refuse(format!(
                "--size {}: give {min} to {max} bytes; a message carries its conversation, sender, cid and a digest",
                self.size_bytes
            ));
        }
        Ok(())
    }

    /// The name of client `index`.
    pub fn user(&self, index: usize) -> Result<UserName, BenchError> {
        UserName::new(&format!("{}-{index}", self.user_prefix))
            .map_err(|error| BenchError::Usage(format!("--user-prefix: give {error}")))
    }

    /// Messages that each conversation is filled to.
    pub fn fill_each(&self) -> u64 {
        self.fill_to / (self.clients / 2).max(1) as u64
    }

    /// Whether load is made before it is measured.
    pub fn warms_up(&self) -> bool {
        self.warmup_ms > 0
    }

    /// How far ahead the first intended time lies: the thread that hands it out is not to be late at once.
    pub(super) fn lead(&self) -> Duration {
        match self.load {
            Load::Closed => Duration::ZERO,
            Load::Open { .. } => Duration::from_millis(2),
        }
    }

    /// How long what counts lasts, where that is known before.
    pub fn length(&self) -> Option<Duration> {
        match (&self.load, self.volume) {
            (Load::Open { profile, .. }, _) => Some(profile.duration()),
            (Load::Closed, Volume::DurationMs(ms)) => Some(Duration::from_millis(ms)),
            (Load::Closed, Volume::MessagesPerClient(_)) => None,
        }
    }

    /// How long whoever lost the connection tries to go on; `None`: not at all.
    pub(super) fn patience(&self) -> Option<Duration> {
        self.nemesis.as_ref().map(|_| PATIENCE)
    }

    /// Longest delivery wait: beside a nemesis, as long as whoever waits tries to come back.
    pub fn delivery_wait(&self) -> Duration {
        let wait = Duration::from_millis(self.delivery_wait_ms);
        self.patience().map_or(wait, |patience| patience.max(wait))
    }

    fn size_bytes_min(&self) -> usize {
        let user_bytes_max = format!("{}-{}", self.user_prefix, self.clients).len();
        let cid_bytes_max = cid_text(u64::MAX, INTEGER_MAX, u64::from(u32::MAX)).len();
        ContentMaker::size_bytes_min(user_bytes_max, cid_bytes_max)
    }
}

/// The cid of the `number`th message of a sender that found `head` messages in its conversation. The
/// same run makes the same cids, and a second run against the same store makes others.
pub(super) fn cid(seed: u64, head: u64, number: u64) -> Cid {
    own_cid(&cid_text(seed, head, number))
}

fn cid_text(seed: u64, head: u64, number: u64) -> String {
    format!("{:08x}.{head:x}.{number:x}", seed & 0xffff_ffff)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    pub(crate) fn options() -> PairedClientsOptions {
        PairedClientsOptions {
            clients: 4,
            load: Load::Closed,
            volume: Volume::MessagesPerClient(10),
            fill_to: 0,
            warmup_ms: 0,
            connecting: 64,
            chunk: 5,
            waiting_max: 1_024,
            in_flight: 4,
            read_limit: 20,
            size_bytes: 256,
            late_ratio: 0.1,
            seed: 1,
            user_prefix: "b".into(),
            pauses: Vec::new(),
            nemesis: None,
            check: false,
            connect_timeout_ms: 1_000,
            delivery_wait_ms: 1_000,
        }
    }

    #[rstest]
    #[case("--clients", |options: &mut PairedClientsOptions| options.clients = 3)]
    #[case("--clients", |options: &mut PairedClientsOptions| options.clients = 0)]
    #[case("--chunk", |options: &mut PairedClientsOptions| options.chunk = 0)]
    #[case("--in-flight", |options: &mut PairedClientsOptions| options.in_flight = 257)]
    #[case("--read-limit", |options: &mut PairedClientsOptions| options.read_limit = 201)]
    #[case("--late-ratio", |options: &mut PairedClientsOptions| options.late_ratio = f64::NAN)]
    #[case("--user-prefix", |options: &mut PairedClientsOptions| options.user_prefix = "a b".into())]
    #[case("--size", |options: &mut PairedClientsOptions| options.size_bytes = 50)]
    #[case("--size", |options: &mut PairedClientsOptions| options.size_bytes = 16_385)]
    fn what_cannot_be_run_names_its_flag(
        #[case] flag: &str,
        #[case] spoil: fn(&mut PairedClientsOptions),
    ) {
        let mut spoiled = options();
        assert!(spoiled.validate().is_ok());
        spoil(&mut spoiled);
        let error = spoiled.validate().unwrap_err();
        assert!(matches!(&error, BenchError::Usage(text) if text.starts_with(flag)), "{error}");
    }
}
