//! How far a run is, on stderr.

use std::fmt;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio_util::task::AbortOnDropHandle;

/// How often the bar on a terminal moves.
const BAR_INTERVAL: Duration = Duration::from_millis(150);

/// From this width on there is room for a bar.
const BAR_COLUMNS_MIN: u16 = 80;

/// How often a line is written where stderr is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// A bar on a terminal, a line every few seconds in a pipe. Tasks only add to a counter.
#[derive(Debug)]
pub struct Progress {
    shown: Arc<Shown>,
    bar: Option<ProgressBar>,
    _ticker: AbortOnDropHandle<()>,
}

/// What is shown.
struct Shown {
    phase: Mutex<Phase>,
    done: Arc<AtomicU64>,
    /// More about it, made when it is shown.
    details: Box<dyn Fn() -> String + Send + Sync>,
}

/// What is done now.
#[derive(Debug, Clone, Copy)]
struct Phase {
    what: &'static str,
    total: Option<u64>,
    /// The counter when it began …
    begun_at: u64,
    /// … and when that was.
    since: Instant,
}

impl fmt::Debug for Shown {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Shown").field("phase", &self.phase).finish_non_exhaustive()
    }
}

impl Shown {
    fn phase(&self) -> Phase {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress {
    /// Shows `what` out of `total`; without a total, only the count and the time.
    pub fn start(what: &'static str, total: Option<u64>) -> Self {
        Self::with_details(what, total, String::new)
    }

    /// As [`start`](Self::start), with more about it, which is asked for whenever something is shown.
    pub fn with_details(
        what: &'static str,
        total: Option<u64>,
        details: impl Fn() -> String + Send + Sync + 'static,
    ) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| new_bar(what, total));
        let phase = Mutex::new(Phase { what, total, begun_at: 0, since: Instant::now() });
        let shown = Arc::new(Shown { phase, done: Arc::default(), details: Box::new(details) });
        let ticker = tokio::spawn(tick(Arc::clone(&shown), bar.clone()));
        Self { shown, bar, _ticker: AbortOnDropHandle::new(ticker) }
    }

    /// It is something else from now on, counted from zero.
    pub fn enter(&self, what: &'static str, total: Option<u64>) {
        let begun_at = self.shown.done.load(Ordering::Relaxed);
        let phase = Phase { what, total, begun_at, since: Instant::now() };
        *self.shown.phase.lock().unwrap_or_else(PoisonError::into_inner) = phase;
        if let Some(bar) = &self.bar {
            bar.set_style(style(total));
            bar.set_message(what);
            bar.reset();
            match total {
                Some(total) => bar.set_length(total),
                None => bar.unset_length(),
            }
        }
    }

    /// The counter to add to.
    pub fn counter(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.shown.done)
    }

    /// Adds to the counter.
    pub fn add(&self, count: u64) {
        self.shown.done.fetch_add(count, Ordering::Relaxed);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn new_bar(what: &'static str, total: Option<u64>) -> ProgressBar {
    ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr())
        .with_style(style(total))
        .with_message(what)
}

/// One row whatever the width is: the message is cut where the row ends.
fn style(total: Option<u64>) -> ProgressStyle {
    let is_wide = columns().is_none_or(|columns| columns >= BAR_COLUMNS_MIN);
    let template = match total {
        Some(_) if is_wide => "[{bar:24}] {wide_msg}",
        _ if is_wide => "{spinner} {wide_msg}",
        _ => "{wide_msg}",
    };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// Of the terminal behind stderr.
fn columns() -> Option<u16> {
    let columns = rustix::termios::tcgetwinsize(std::io::stderr()).ok()?.ws_col;
    (columns > 0).then_some(columns)
}

/// What a row says, the most important first: a narrow terminal shows as much of it as fits.
fn row(phase: Phase, done: u64, elapsed: Duration, details: &str) -> String {
    let per_s = done as f64 / elapsed.as_secs_f64().max(0.001);
    let mut row = phase.what.to_owned();
    match phase.total.filter(|&total| total > 0) {
        Some(total) => {
            row += &format!(" {}% {}/s", (done * 100 / total).min(100), HumanCount(per_s as u64));
            let left_s = total.saturating_sub(done) as f64 / per_s;
            if per_s >= 1.0 {
                row += &format!(", {left_s:.0} s left");
            }
            row += &format!(", {} of {}", HumanCount(done), HumanCount(total));
        }
        None => {
            row += &format!(" {} {}/s", HumanCount(done), HumanCount(per_s as u64));
            row += &format!(", {} s", elapsed.as_secs());
        }
    }
    if !details.is_empty() {
        row += &format!(", {details}");
    }
    row
}

async fn tick(shown: Arc<Shown>, bar: Option<ProgressBar>) {
    let mut interval =
        tokio::time::interval(if bar.is_some() { BAR_INTERVAL } else { LINE_INTERVAL });
    interval.tick().await;
    loop {
        interval.tick().await;
        let (phase, details) = (shown.phase(), (shown.details)());
        let done = shown.done.load(Ordering::Relaxed).saturating_sub(phase.begun_at);
        match &bar {
            Some(bar) => {
                bar.set_message(row(phase, done, phase.since.elapsed(), &details));
                bar.set_position(done);
            }
            None => {
                let of = phase.total.map(|total| format!(" of {total}")).unwrap_or_default();
                let details = if details.is_empty() { details } else { format!(", {details}") };
                let (what, elapsed_s) = (phase.what, phase.since.elapsed().as_secs());
                eprintln!("{what}: {done}{of} after {elapsed_s} s{details}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_begins_with_what_matters_most() {
        let phase = |total| Phase { what: "messages", total, begun_at: 0, since: Instant::now() };
        let elapsed = Duration::from_secs(4);
        let said = row(phase(Some(60_000)), 12_000, elapsed, "write p50 1.2 ms");
        assert_eq!(said, "messages 20% 3,000/s, 16 s left, 12,000 of 60,000, write p50 1.2 ms");
        assert!(said.chars().take(20).eq("messages 20% 3,000/s".chars()), "20 columns say it");
        assert_eq!(row(phase(None), 12_000, elapsed, ""), "messages 12,000 3,000/s, 4 s");
        assert_eq!(row(phase(Some(60_000)), 0, elapsed, ""), "messages 0% 0/s, 0 of 60,000");
    }
}
