//! Sessions that are too fast, at their limits and beyond, by a clock that the test moves.

use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::model::OperatorLimits;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

const SEND: Demand = Demand { is_send: true, is_page: false, bytes: 100 };
const PAGE: Demand = Demand { is_send: false, is_page: true, bytes: 100 };
const PING: Demand = Demand { is_send: false, is_page: false, bytes: 100 };

/// 100 commands, 50 messages, 4 000 incoming and 9 000 reply bytes in a second, and as much at once.
fn limits() -> RateLimits {
    RateLimits::from(&OperatorLimits {
        commands_per_s_max: Some(100),
        messages_per_s_max: Some(50),
        incoming_bytes_per_s_max: Some(4_000),
        reply_bytes_per_s_max: Some(9_000),
        rate_burst_ms: Some(1_000),
        rate_sustained_ms: Some(10_000),
        ..OperatorLimits::default()
    })
}

fn admit(pace: &mut Pace, demand: Demand, at: Duration) -> Result<(), u64> {
    let now = pace.began + at;
    pace.admit(&limits(), demand, None, now).map_err(|too_fast| {
        assert_eq!(too_fast.error.code, ErrorCode::RateLimited);
        assert!(too_fast.error.temporary && too_fast.error.definite);
        too_fast.error.retry_after_ms.unwrap()
    })
}

#[rstest]
// Each: what is sent, how many fit at once, and when the next one does.
#[case::commands(Demand { bytes: 1, ..PING }, 100, 10)]
#[case::messages(Demand { bytes: 1, ..SEND }, 50, 20)]
#[case::incoming_bytes(PING, 40, 25)]
#[case::one_byte_less_than_a_share(Demand { bytes: 99, ..PING }, 40, 15)]
fn at_its_limit_and_one_more(
    #[case] demand: Demand,
    #[case] fit: usize,
    #[case] retry_after_ms: u64,
) {
    let mut pace = Pace::new(Instant::now());
    for number in 1..=fit {
        assert_eq!(admit(&mut pace, demand, Duration::ZERO), Ok(()), "{number} of {fit}");
    }
    assert_eq!(admit(&mut pace, demand, Duration::ZERO), Err(retry_after_ms));
    // The time that was told is exact: a millisecond before it is refused, then it is let in.
    let told = Duration::from_millis(retry_after_ms);
    assert!(admit(&mut pace, demand, told - MS).is_err());
    assert_eq!(admit(&mut pace, demand, told), Ok(()));
    assert!(admit(&mut pace, demand, told).is_err(), "only one flowed in");
}

#[test]
fn a_refused_send_takes_nothing_from_the_other_buckets() {
    let mut pace = Pace::new(Instant::now());
    let (send, ping) = (Demand { bytes: 1, ..SEND }, Demand { bytes: 1, ..PING });
    for _ in 0..50 {
        admit(&mut pace, send, Duration::ZERO).unwrap();
    }
    for _ in 0..1_000 {
        admit(&mut pace, send, Duration::ZERO).unwrap_err();
    }
    for _ in 0..50 {
        admit(&mut pace, ping, Duration::ZERO).unwrap();
    }
    admit(&mut pace, ping, Duration::ZERO).unwrap_err();
}

#[rstest]
#[case::one_byte_less(8_999, None)]
#[case::exactly(9_000, None)]
#[case::one_byte_more(9_001, Some(1))]
#[case::a_second_more(18_000, Some(1_000))]
fn replies_may_overdraw_once(#[case] bytes: usize, #[case] retry_after_ms: Option<u64>) {
    let replied = ReplyMeter::new(limits().reply_bytes);
    let mut pace = Pace::new(Instant::now());
    let mut ask = |demand, at| {
        let refused = pace.admit(&limits(), demand, Some(&replied), replied.began + at).err();
        refused.map(|too_fast| too_fast.error.retry_after_ms.unwrap())
    };
    assert_eq!(ask(PAGE, Duration::ZERO), None);
    replied.charge_at(bytes, Duration::ZERO);
    assert_eq!(ask(PAGE, Duration::ZERO), retry_after_ms);
    // Who only writes is not held up by what was read.
    assert_eq!(ask(SEND, Duration::ZERO), None);
    let told = Duration::from_millis(retry_after_ms.unwrap_or(0));
    assert_eq!(ask(PAGE, told), None);
}

#[test]
fn no_limits_let_everything_in() {
    let (mut pace, replied) = (Pace::new(Instant::now()), ReplyMeter::new(None));
    replied.replied(usize::MAX);
    for _ in 0..10_000 {
        let demand = Demand { is_send: true, is_page: true, bytes: 131_072 };
        let now = pace.began;
        pace.admit(&RateLimits::default(), demand, Some(&replied), now).unwrap();
    }
}

#[test]
fn many_refused_at_once_are_told_to_come_one_after_the_other() {
    let mut pace = Pace::new(Instant::now());
    let ping = Demand { bytes: 1, ..PING };
    while admit(&mut pace, ping, Duration::ZERO).is_ok() {}
    // One was refused above.
    let told: Vec<_> =
        (0..5).map(|_| admit(&mut pace, ping, Duration::ZERO).unwrap_err()).collect();
    assert_eq!(told, [20, 30, 40, 50, 60]);
    for at in [10, 20, 30, 40, 50, 60] {
        assert_eq!(admit(&mut pace, ping, at * MS), Ok(()), "after {at} ms");
    }
    // However many there are, the wait is bounded.
    let longest = (0..10_000).map(|_| admit(&mut pace, ping, 60 * MS).unwrap_err()).max();
    assert!(longest <= Some(1_010), "{longest:?}");
}

/// Sends at `factor` times the limit for so long; when it is closed.
fn flood(pace: &mut Pace, from: Duration, lasts: Duration, factor: u32) -> Option<Duration> {
    let (mut at, step) = (from, 10 * MS / factor);
    while at < from + lasts {
        let now = pace.began + at;
        let refused = pace.admit(&limits(), Demand { bytes: 1, ..PING }, None, now).err();
        if let Some(code) = refused.and_then(|too_fast| too_fast.close) {
            assert_eq!(code, CloseCode::RATE);
            return Some(at);
        }
        at += step;
    }
    None
}

#[test]
fn a_flood_is_closed_when_it_is_sustained() {
    let mut pace = Pace::new(Instant::now());
    let closed = flood(&mut pace, Duration::ZERO, 20 * SECOND, 10).unwrap();
    // The bucket is empty after a ninth of a second.
    assert!((10 * SECOND..11 * SECOND).contains(&closed), "{closed:?}");
}

#[test]
fn a_flood_that_pauses_begins_anew() {
    let mut pace = Pace::new(Instant::now());
    assert_eq!(flood(&mut pace, Duration::ZERO, 9 * SECOND, 10), None);
    let closed = flood(&mut pace, 10_100 * MS, 20 * SECOND, 10).unwrap();
    assert!(closed >= 20 * SECOND, "{closed:?}");
}

#[test]
fn three_times_too_fast_is_only_refused() {
    assert_eq!(flood(&mut Pace::new(Instant::now()), Duration::ZERO, 60 * SECOND, 3), None);
}

proptest! {
    /// A client that has many commands at once, and begins a new one whenever one is let in, gets its share and is never closed
    /// as long as it comes again when it was told to.
    #[test]
    fn who_comes_when_told_is_never_closed(in_flight in 1..64usize) {
        let mut pace = Pace::new(Instant::now());
        let mut due = vec![Duration::ZERO; in_flight];
        let mut let_in = 0;
        let end = 30 * SECOND;
        loop {
            let (next, &at) = due.iter().enumerate().min_by_key(|(_, at)| **at).unwrap();
            if at >= end {
                break;
            }
            let now = pace.began + at;
            match pace.admit(&limits(), Demand { bytes: 1, ..PING }, None, now) {
                Ok(()) => {
                    let_in += 1;
                    // The answer takes a millisecond.
                    due[next] = at + MS;
                }
                Err(too_fast) => {
                    prop_assert_eq!(too_fast.close, None, "after {:?}", at);
                    due[next] = at + Duration::from_millis(too_fast.error.retry_after_ms.unwrap());
                }
            }
        }
        // The burst, and a hundred a second of which a few are lost to rounding and waiting.
        prop_assert!((2_500..=3_100).contains(&let_in), "{} in flight: {}", in_flight, let_in);
    }
}
