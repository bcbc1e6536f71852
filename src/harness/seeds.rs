//! Simulated runs by number: many of them at once, and the command that runs a failing one again.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use xxhash_rust::xxh3::xxh3_64;

/// Dice of one part of a run. Each part has its own, so that one more throw here changes nothing there.
pub fn dice(seed: u64, part: &str) -> SmallRng {
    SmallRng::seed_from_u64(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ xxh3_64(part.as_bytes()))
}

/// Runs `CHATCTL_TEST_SEEDS` seeds, or as many as are usual, on all processors; or only `CHATCTL_TEST_SEED`. `test` is the path of
/// the calling test. Panics with the lowest seed that fails, with why, and with how to run it again.
pub fn run_all(usual: u64, test: &str, run: impl Fn(u64) -> Result<(), String> + Sync) {
    let started = Instant::now();
    let only: Option<u64> = asked("CHATCTL_TEST_SEED");
    let seeds = match only {
        Some(seed) => seed..seed + 1,
        None => 0..asked("CHATCTL_TEST_SEEDS").unwrap_or(usual),
    };
    let (count, next) = (seeds.end - seeds.start, AtomicU64::new(seeds.start));
    let failed: Mutex<Option<(u64, String)>> = Mutex::default();
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            let Err(reason) = caught(&run, seed) else { continue };
            // Those above need not be run any more.
            next.store(seeds.end, Ordering::Relaxed);
            let mut failed = failed.lock().unwrap();
            if failed.as_ref().is_none_or(|(lowest, _)| seed < *lowest) {
                *failed = Some((seed, reason));
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    if let Some((seed, reason)) = failed.into_inner().unwrap() {
        panic!(
            "seed {seed}: {reason}\nrun it again: CHATCTL_TEST_SEED={seed} cargo test --release --locked --lib {test} -- --exact --nocapture"
        );
    }
    eprintln!("{test}: {count} seeds in {:.1} s", started.elapsed().as_secs_f64());
}

/// The first of `seeds_max` seeds that fails, and why.
pub fn first_failing(
    seeds_max: u64,
    run: impl Fn(u64) -> Result<(), String>,
) -> Option<(u64, String)> {
    (0..seeds_max).find_map(|seed| caught(&run, seed).err().map(|reason| (seed, reason)))
}

fn caught(run: impl Fn(u64) -> Result<(), String>, seed: u64) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(|| run(seed))).unwrap_or_else(|panic| Err(text_of(&*panic)))
}

/// What a panic says.
pub fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

/// What a variable of the environment asks a test for.
#[expect(clippy::disallowed_methods, reason = "a setting of the test, not of the program")]
pub fn asked<T: FromStr>(variable: &str) -> Option<T> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

#[test]
fn a_failing_seed_says_how_to_run_it_again() {
    let run = |seed: u64| if seed % 7 == 5 { Err(format!("five of {seed}")) } else { Ok(()) };
    assert_eq!(first_failing(100, run), Some((5, "five of 5".to_owned())));
    assert_eq!(first_failing(5, run), None);
    let panic = catch_unwind(|| run_all(100, "some::test", run)).unwrap_err();
    let text = text_of(&*panic);
    // Which seed depends on `CHATCTL_TEST_SEED`, if somebody set it.
    if asked::<u64>("CHATCTL_TEST_SEED").is_none() {
        assert!(text.contains("CHATCTL_TEST_SEED=5 cargo test"), "{text}");
    }
}
