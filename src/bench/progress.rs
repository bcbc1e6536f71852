//! How far a run is, on stderr.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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
    done: Arc<AtomicU64>,
    bar: Option<ProgressBar>,
    _ticker: AbortOnDropHandle<()>,
}

impl Progress {
    /// Shows `what` out of `total`; without a total, only the count and the time.
    pub fn start(what: &'static str, total: Option<u64>) -> Self {
        let done = Arc::new(AtomicU64::new(0));
        let bar = std::io::stderr().is_terminal().then(|| new_bar(what, total));
        let ticker = tokio::spawn(tick(what, total, Arc::clone(&done), bar.clone()));
        Self { done, bar, _ticker: AbortOnDropHandle::new(ticker) }
    }

    /// The counter to add to.
    pub fn counter(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.done)
    }

    /// Adds to the counter.
    pub fn add(&self, count: u64) {
        self.done.fetch_add(count, Ordering::Relaxed);
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
    let target = ProgressDrawTarget::stderr();
    let template = match total {
        Some(_) => "{msg:>12} [{bar:32}] {human_pos}/{human_len} {rate} {eta}",
        None => "{msg:>12} {spinner} {human_pos} {rate} {elapsed}",
    };
    // Whole numbers: a rate of many thousands needs no fraction.
    let rate = |state: &ProgressState, text: &mut dyn std::fmt::Write| {
        // Nobody is left to tell when the terminal is gone.
        let _ = write!(text, "{}/s", HumanCount(state.per_sec() as u64));
    };
    let style = ProgressStyle::with_template(template).map(|style| style.with_key("rate", rate));
    ProgressBar::with_draw_target(total, target)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        .with_message(what)
}

async fn tick(
    what: &'static str,
    total: Option<u64>,
    done: Arc<AtomicU64>,
    bar: Option<ProgressBar>,
) {
    let start = Instant::now();
    let mut interval =
        tokio::time::interval(if bar.is_some() { BAR_INTERVAL } else { LINE_INTERVAL });
    interval.tick().await;
    loop {
        interval.tick().await;
        let done = done.load(Ordering::Relaxed);
        match &bar {
            Some(bar) => bar.set_position(done),
            None => {
                let of = total.map(|total| format!(" of {total}")).unwrap_or_default();
                eprintln!("{what}: {done}{of} after {} s", start.elapsed().as_secs());
            }
        }
    }
}
