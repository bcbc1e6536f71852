use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

const WAIT: Duration = Duration::from_millis(200);
const MS: Duration = Duration::from_millis(1);

/// An engine that does so many in a millisecond, in their order, and those who ask it, each a session of its own.
struct World {
    admission: Arc<Admission>,
    queue: Arc<Mutex<VecDeque<(Instant, Ticket)>>>,
    per_ms: usize,
    refused: Arc<AtomicU64>,
    done: u64,
    /// From asking to the end, the longest of late.
    longest: Duration,
}

impl World {
    fn new(per_ms: usize) -> Self {
        Self {
            admission: Admission::new("test", WAIT),
            queue: Arc::default(),
            per_ms,
            refused: Arc::default(),
            done: 0,
            longest: Duration::ZERO,
        }
    }

    /// So many come in each of `ms` milliseconds.
    async fn run(&mut self, ms: usize, come_per_ms: usize) {
        (self.done, self.longest) = (0, Duration::ZERO);
        self.refused.store(0, Ordering::Relaxed);
        for _ in 0..ms {
            for _ in 0..come_per_ms {
                self.ask();
            }
            tokio::time::advance(MS).await;
            tokio::task::yield_now().await;
            for _ in 0..self.per_ms {
                let Some((since, ticket)) = self.queue.lock().unwrap().pop_front() else { break };
                drop(ticket);
                self.longest = self.longest.max(since.elapsed());
                self.done += 1;
            }
        }
    }

    fn ask(&self) {
        let (admission, queue) = (Arc::clone(&self.admission), Arc::clone(&self.queue));
        let refused = Arc::clone(&self.refused);
        tokio::spawn(async move {
            let since = Instant::now();
            match admission.enter().await {
                Ok(ticket) => queue.lock().unwrap().push_back((since, ticket)),
                Err(after) => {
                    assert!((RETRY_AFTER_MIN..=RETRY_AFTER_MAX).contains(&after), "{after:?}");
                    refused.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
    }

    fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_engine_can_do_is_let_in() {
    let mut world = World::new(10);
    world.run(5_000, 10).await;
    assert_eq!((world.refused(), world.admission.look().at_once), (0, None));
    // A burst that is done within the wait is let in as well.
    world.run(1, 1_500).await;
    world.run(2_000, 5).await;
    assert_eq!((world.refused(), world.admission.look().at_once), (0, None));
}

#[tokio::test(start_paused = true)]
async fn three_times_as_much_is_refused_in_time_and_the_engine_stays_busy() {
    let mut world = World::new(10);
    world.run(3_000, 30).await;
    world.run(5_000, 30).await;
    assert_eq!(world.done, 50_000, "all that it can do");
    assert!(world.longest <= WAIT * 5 / 2, "{:?}", world.longest);
    assert!((95_000..=105_000).contains(&world.refused()), "{}", world.refused());
}

#[tokio::test(start_paused = true)]
async fn it_is_as_before_within_seconds() {
    let mut world = World::new(10);
    world.run(5_000, 30).await;
    assert!(world.admission.look().at_once.is_some());
    world.run(1_000, 5).await;
    world.run(1_000, 5).await;
    assert_eq!(world.refused(), 0);
    world.run(2_000, 5).await;
    assert_eq!(world.admission.look().at_once, None);
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_is_gone_is_not_waited_for_by_all() {
    let mut world = World::new(10);
    world.run(1_000, 5).await;
    world.per_ms = 0;
    world.run(4_000, 5).await;
    let queued = world.queue.lock().unwrap().len();
    assert!(queued <= 2_100, "{queued}");
    assert!(world.refused() > 15_000);
    assert_eq!(world.admission.look().at_once, Some(AT_ONCE_MIN as u64));
    let waiting = world.admission.state().waiting.len();
    assert!(waiting <= 1_100, "those that have gone are forgotten: {waiting}");
    world.per_ms = 10;
    world.run(2_500, 5).await;
    world.run(1_000, 5).await;
    assert_eq!(world.refused(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_stood_still_was_not_asked_too_much() {
    let mut world = World::new(10);
    world.run(1_000, 9).await;
    (0..500).for_each(|_| world.ask());
    tokio::task::yield_now().await;
    tokio::time::advance(Duration::from_secs(2)).await;
    world.run(1_000, 9).await;
    assert_eq!((world.refused(), world.admission.look().at_once), (0, None));
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_gets_a_place_in_turn_and_one_that_went_takes_none() {
    let admission = Admission::new("test", WAIT);
    admission.state().at_once = Some(1.0);
    let first = admission.enter().await.unwrap();
    let mut gone = admission.enter_now().unwrap_err();
    let mut second = admission.enter_now().unwrap_err();
    let mut third = admission.enter_now().unwrap_err();
    gone.close();
    drop(first);
    let second = second.try_recv().unwrap();
    assert!(third.try_recv().is_err());
    // A place that was given to one that went before it took it comes back.
    drop(second);
    let unheard = admission.enter_now().unwrap_err();
    drop(third);
    drop(unheard);
    assert!(admission.enter().await.is_ok());
    assert_eq!(admission.state().under_way, 0);
}

#[tokio::test(start_paused = true)]
async fn those_turned_away_come_back_one_after_the_other() {
    let mut world = World::new(10);
    world.run(3_000, 30).await;
    let mut state = world.admission.state();
    state.returns_until = Instant::now();
    let waits: Vec<_> = (0..100).map(|_| state.turn_away(Instant::now())).collect();
    assert!(waits.is_sorted());
    let between = (waits[99] - waits[0]) / 99;
    // A quarter of 10 in a millisecond.
    assert!((390..=410).contains(&between.as_micros()), "{between:?}");
}
