//! Points at which a test ends a node for good: what was begun there is never gone on with. With the feature `faults` a whole server
//! can be told to end at those of a full bucket.

#[cfg(all(feature = "faults", not(test)))]
use crate::faults::{CrashPoint, crash_at};

/// Where a node may end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Point {
    /// Everything is decided, nothing was sent.
    BeforeAppend,
    /// Messages are stored, nobody was told.
    AfterAppend,
    /// A bucket is full, nothing of it was copied.
    BeforeSeal,
    /// Its names are copied.
    AfterNames,
    /// All of it is copied; the next one was not begun.
    AfterSeal,
    /// The next one was begun, nobody was told, no hint was written.
    AfterFirstRow,
}

/// Ends the node at a point, in tests.
#[derive(Debug, Default)]
pub struct Crash {
    #[cfg(test)]
    armed: std::sync::Mutex<Option<Point>>,
    #[cfg(test)]
    reached: tokio::sync::Notify,
}

#[cfg(not(test))]
impl Crash {
    /// Goes on.
    #[expect(clippy::unused_async, reason = "in tests it may never go on")]
    pub async fn at(&self, point: Point) {
        #[cfg(feature = "faults")]
        match point {
            Point::BeforeSeal => crash_at(CrashPoint::BeforeSeal),
            Point::AfterNames => crash_at(CrashPoint::AfterNames),
            Point::AfterSeal => crash_at(CrashPoint::AfterSeal),
            Point::AfterFirstRow => crash_at(CrashPoint::AfterFirstRow),
            Point::BeforeAppend | Point::AfterAppend => {}
        }
        #[cfg(not(feature = "faults"))]
        let _ = point;
    }
}

#[cfg(test)]
impl Crash {
    /// Goes on, or never.
    pub async fn at(&self, point: Point) {
        if *self.armed.lock().unwrap() == Some(point) {
            self.reached.notify_one();
            std::future::pending::<()>().await;
        }
    }

    /// The node ends there.
    pub fn arm(&self, point: Point) {
        *self.armed.lock().unwrap() = Some(point);
    }

    /// Until it did.
    pub async fn reached(&self) {
        self.reached.notified().await;
    }
}
