//! How far a run is, on stderr.

use std::fmt;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use tokio_util::task::AbortOnDropHandle;

/// How often the bar on a terminal moves.
const BAR_INTERVAL: Duration = Duration::from_millis(150);

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
    /// The counter when it began.
    begun_at: u64,
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
        let phase = Mutex::new(Phase { what, total, begun_at: 0 });
        let shown = Arc::new(Shown { phase, done: Arc::default(), details: Box::new(details) });
        let ticker = tokio::spawn(tick(Arc::clone(&shown), bar.clone()));
        Self { shown, bar, _ticker: AbortOnDropHandle::new(ticker) }
    }

    /// It is something else from now on, counted from zero.
    pub fn enter(&self, what: &'static str, total: Option<u64>) {
        let begun_at = self.shown.done.load(Ordering::Relaxed);
        let phase = Phase { what, total, begun_at };
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

fn style(total: Option<u64>) -> ProgressStyle {
    let template = match total {
        Some(_) => "{msg:>12} [{bar:24}] {human_pos}/{human_len} {rate} {eta} {prefix}",
        None => "{msg:>12} {spinner} {human_pos} {rate} {elapsed} {prefix}",
    };
    // Whole numbers: a rate of many thousands needs no fraction.
    let rate = |state: &ProgressState, text: &mut dyn std::fmt::Write| {
        // Nobody is left to tell when the terminal is gone.
        let _ = write!(text, "{}/s", HumanCount(state.per_sec() as u64));
    };
    let style = ProgressStyle::with_template(template).map(|style| style.with_key("rate", rate));
    style.unwrap_or_else(|_| ProgressStyle::default_bar())
}

async fn tick(shown: Arc<Shown>, bar: Option<ProgressBar>) {
    let start = Instant::now();
    let mut interval =
        tokio::time::interval(if bar.is_some() { BAR_INTERVAL } else { LINE_INTERVAL });
    interval.tick().await;
    loop {
        interval.tick().await;
        let (phase, details) = (shown.phase(), (shown.details)());
        let done = shown.done.load(Ordering::Relaxed).saturating_sub(phase.begun_at);
        match &bar {
            Some(bar) => {
                bar.set_prefix(details);
                bar.set_position(done);
            }
            None => {
                let of = phase.total.map(|total| format!(" of {total}")).unwrap_or_default();
                let details = if details.is_empty() { details } else { format!(", {details}") };
                let (what, elapsed_s) = (phase.what, start.elapsed().as_secs());
                eprintln!("{what}: {done}{of} after {elapsed_s} s{details}");
            }
        }
    }
}
