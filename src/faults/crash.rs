//! A server that ends at a point, as if it had been killed there.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};

/// Long enough that a reply has reached its client.
const REPLIED: Duration = Duration::from_millis(50);

/// Between the start of a write and its end on any engine: which part of it is cut off is left to chance.
const WRITING_MAX_US: u64 = 3_000;

/// Where a server may end. The first four are points of every engine, the rest those of a full bucket of CASSANDRA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrashPoint {
    /// A send was taken, its engine was not asked.
    BeforePersist,
    /// The engine was asked, and may have written all of it, a part, or nothing.
    WhilePersisting,
    /// The message is stored, its sender was not told.
    BeforeReply,
    /// Its sender was told, nobody else was.
    BeforePublish,
    /// A bucket is full, nothing of it was copied.
    BeforeSeal,
    /// Its names are copied.
    AfterNames,
    /// All of it is copied; the next one was not begun.
    AfterSeal,
    /// The next one was begun, nobody was told.
    AfterFirstRow,
}

impl CrashPoint {
    const ALL: [(Self, &'static str); 8] = [
        (Self::BeforePersist, "before-persist"),
        (Self::WhilePersisting, "while-persisting"),
        (Self::BeforeReply, "before-reply"),
        (Self::BeforePublish, "before-publish"),
        (Self::BeforeSeal, "before-seal"),
        (Self::AfterNames, "after-names"),
        (Self::AfterSeal, "after-seal"),
        (Self::AfterFirstRow, "after-first-row"),
    ];
}

/// The end of a server: when it comes to a point for the so-many-th time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crash {
    point: CrashPoint,
    /// From 1.
    nth: u64,
}

impl fmt::Display for Crash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = CrashPoint::ALL.iter().find(|(point, _)| *point == self.point);
        write!(formatter, "{}:{}", name.map_or("", |(_, name)| name), self.nth)
    }
}

impl FromStr for Crash {
    type Err = ();

    /// `before-reply:7`.
    fn from_str(text: &str) -> Result<Self, ()> {
        let (name, nth) = text.split_once(':').ok_or(())?;
        let point = CrashPoint::ALL.iter().find(|(_, known)| *known == name).ok_or(())?.0;
        let nth = nth.parse().ok().filter(|&nth| nth > 0).ok_or(())?;
        Ok(Self { point, nth })
    }
}

static ARMED: OnceLock<Crash> = OnceLock::new();
static COUNT: AtomicU64 = AtomicU64::new(0);

impl Crash {
    /// From now on this process ends where it says; once for each process.
    pub fn arm(self) {
        let _ = ARMED.set(self);
    }
}

/// Whether this is where, and the time at which, this process is to end.
fn is_now(point: CrashPoint) -> bool {
    let armed = ARMED.get().filter(|armed| armed.point == point);
    armed.is_some_and(|armed| COUNT.fetch_add(1, Ordering::Relaxed) + 1 == armed.nth)
}

/// Ends this process here, if it is to end here: no destructor runs, nothing is flushed.
pub fn crash_at(point: CrashPoint) {
    if is_now(point) {
        end();
    }
}

/// Ends this process soon, if it is to end while this is going on.
pub(super) fn crash_while(point: CrashPoint) {
    if is_now(point) {
        let us = rand::random_range(0..WRITING_MAX_US);
        end_after(Duration::from_micros(us));
    }
}

/// Whether what follows is to be left out, because this process ends after whatever is on its way to clients.
pub(super) fn crash_instead_of(point: CrashPoint) -> bool {
    let now = is_now(point);
    if now {
        end_after(REPLIED);
    }
    now
}

fn end_after(wait: Duration) {
    std::thread::spawn(move || {
        std::thread::sleep(wait);
        end();
    });
}

/// Ends this process at once.
pub(super) fn end() {
    let _ = kill_process(getpid(), Signal::KILL);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_written_as_they_are_read() {
        for (_, name) in CrashPoint::ALL {
            let text = format!("{name}:3");
            assert_eq!(text.parse::<Crash>().unwrap().to_string(), text);
        }
        for wrong in ["before-reply", "before-reply:0", "before-reply:x", "nowhere:1", ""] {
            assert!(wrong.parse::<Crash>().is_err(), "{wrong}");
        }
    }
}
