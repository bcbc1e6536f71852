//! Hands out intended send times when they are due, whatever the server does.
//!
//! A thread of its own: timers of the runtime tick once a millisecond and wait for its workers, and its clock must not
//! depend on how busy they are. What is late is handed out at once, with the time that was intended; nothing is skipped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::sync::{mpsc, oneshot};

use super::load_profile::{Arrivals, LoadProfile};
use super::recorder::new_histogram;

/// The thread looks up from its sleep at least this often, so that it ends soon.
const NAP_MAX: Duration = Duration::from_millis(50);

/// What a part of the load came to.
#[derive(Debug)]
pub struct Dispatched {
    /// When it was over, as intended.
    pub ended: Instant,
    /// Messages that were intended.
    pub scheduled: u64,
    /// Of those, not handed out: their receiver was too far behind, or gone.
    pub dropped: u64,
    /// How late each was handed out, ns: the lateness of this thread.
    pub lag: Histogram<u64>,
}

struct Order {
    profile: LoadProfile,
    arrivals: Arrivals,
    seed: u64,
    begin: Instant,
    done: oneshot::Sender<Dispatched>,
}

/// The thread, and the way to it. Dropping it ends the load.
#[derive(Debug)]
pub struct Dispatcher {
    orders: Option<mpsc::UnboundedSender<Order>>,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Dispatcher {
    /// A dispatcher and its `receivers`, which get intended times in turn. Of each so many may wait; what comes on top is dropped,
    /// and counted.
    pub fn start(
        receivers: usize,
        waiting_max: usize,
    ) -> std::io::Result<(Self, Vec<mpsc::Receiver<Instant>>)> {
        let (senders, receivers): (Vec<_>, Vec<_>) =
            (0..receivers).map(|_| mpsc::channel(waiting_max)).unzip();
        let (orders, taken) = mpsc::unbounded_channel();
        let stop = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&stop);
        let work = move || work(taken, &senders, &is_over);
        let thread = thread::Builder::new().name("load".to_owned()).spawn(work)?;
        Ok((Self { orders: Some(orders), stop, thread: Some(thread) }, receivers))
    }

    /// Makes the load of `profile` from `begin` on; `None` when the thread is gone.
    pub async fn run(
        &self,
        profile: LoadProfile,
        arrivals: Arrivals,
        seed: u64,
        begin: Instant,
    ) -> Option<Dispatched> {
        let (done, dispatched) = oneshot::channel();
        let order = Order { profile, arrivals, seed, begin, done };
        self.orders.as_ref()?.send(order).ok()?;
        dispatched.await.ok()
    }
}

impl Drop for Dispatcher {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // It looks up within `NAP_MAX`, and the receivers learn of the end by its end.
            let _ = thread.join();
        }
    }
}

fn work(
    mut orders: mpsc::UnboundedReceiver<Order>,
    senders: &[mpsc::Sender<Instant>],
    stop: &AtomicBool,
) {
    let mut turn = 0;
    while let Some(order) = orders.blocking_recv() {
        let Order { profile, arrivals, seed, begin, done } = order;
        let mut dispatched = Dispatched {
            ended: begin + profile.duration(),
            scheduled: 0,
            dropped: 0,
            lag: new_histogram(),
        };
        for time in profile.times(arrivals, SmallRng::seed_from_u64(seed)) {
            let intended = begin + time;
            if !sleep_until(intended, stop) {
                return;
            }
            let lag = u64::try_from(intended.elapsed().as_nanos()).unwrap_or(u64::MAX);
            // It resizes itself, so it takes any.
            let _ = dispatched.lag.record(lag);
            dispatched.scheduled += 1;
            let sent = senders.get(turn).is_some_and(|sender| sender.try_send(intended).is_ok());
            dispatched.dropped += u64::from(!sent);
            turn = (turn + 1) % senders.len().max(1);
        }
        if !sleep_until(dispatched.ended, stop) {
            return;
        }
        // Nobody who asked is there any more: the next order tells.
        let _ = done.send(dispatched);
    }
}

/// `false`: it is over.
fn sleep_until(time: Instant, stop: &AtomicBool) -> bool {
    loop {
        if stop.load(Ordering::Relaxed) {
            return false;
        }
        let left = time.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        thread::sleep(left.min(NAP_MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn each_intended_time_is_handed_out_once_in_turn_and_not_before() {
        let (dispatcher, mut receivers) = Dispatcher::start(2, 1_024).unwrap();
        let begin = Instant::now() + Duration::from_millis(5);
        let profile = LoadProfile::constant(1_000.0, Duration::from_millis(100));
        let reading = tokio::spawn(async move {
            let mut times = Vec::new();
            for number in 0..100 {
                let intended = receivers[number % 2].recv().await.unwrap();
                assert!(Instant::now() >= intended);
                times.push(intended.duration_since(begin).as_secs_f64());
            }
            (times, receivers)
        });
        let dispatched = dispatcher.run(profile, Arrivals::Constant, 1, begin).await.unwrap();
        assert!(dispatched.ended.elapsed() < Duration::from_secs(5));
        assert_eq!((dispatched.scheduled, dispatched.dropped), (100, 0));
        assert_eq!(dispatched.lag.len(), 100);
        let (times, mut receivers) = reading.await.unwrap();
        assert!((0..100).all(|n| (times[n] - n as f64 / 1_000.0).abs() < 1e-6));
        drop(dispatcher);
        assert!(receivers[0].recv().await.is_none(), "the end is told");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn who_does_not_take_is_not_waited_for_and_nothing_is_uncounted() {
        let (dispatcher, mut receivers) = Dispatcher::start(1, 1_024).unwrap();
        let profile = LoadProfile::constant(20_000.0, Duration::from_millis(100));
        let begin = Instant::now();
        let dispatched = dispatcher.run(profile, Arrivals::Constant, 1, begin).await.unwrap();
        let mut taken = 0;
        while receivers[0].try_recv().is_ok() {
            taken += 1;
        }
        assert_eq!(taken, 1_024);
        assert_eq!((dispatched.scheduled, dispatched.dropped), (2_000, 2_000 - taken));
    }

    #[test]
    fn dropping_it_ends_a_load_under_way() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (dispatcher, _receivers) = Dispatcher::start(1, 1_024).unwrap();
        let begun = Instant::now();
        runtime.block_on(async {
            let profile = LoadProfile::constant(1.0, Duration::from_secs(60));
            let run = dispatcher.run(profile, Arrivals::Poisson, 1, Instant::now());
            let _ = tokio::time::timeout(Duration::from_millis(20), run).await;
        });
        drop(dispatcher);
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
}
