//! Servers that are stopped for a while in the middle of a run: what their clients notice of it.

use std::cell::RefCell;
use std::str::FromStr;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::report::Mark;
use crate::harness::{Stoppable, duration};

/// One stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Pause {
    /// When it begins, after what counts has begun, ms.
    pub after_ms: u64,
    /// How long it is, ms.
    pub length_ms: u64,
}

impl FromStr for Pause {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (after, length) =
            text.split_once('+').ok_or("say when and for how long, like 8s+1s")?;
        let ms = |what: &str, text: &str| {
            let duration = duration::parse(text).map_err(|error| format!("{what}: {error}"))?;
            u64::try_from(duration.as_millis()).map_err(|error| format!("{what}: {error}"))
        };
        let pause = Self { after_ms: ms("when", after)?, length_ms: ms("how long", length)? };
        match pause.length_ms {
            0 => Err("how long: give at least 1ms".to_owned()),
            _ => Ok(pause),
        }
    }
}

/// Makes `pauses` from `begun` on, of the servers by turns, and marks them as they begin; whatever is dropped in the middle
/// of a pause goes on. Ends when there are no more.
pub async fn make(
    pauses: &[Pause],
    servers: &[Stoppable],
    begun: Instant,
    marks: &RefCell<Vec<Mark>>,
) {
    let mut pauses = pauses.to_vec();
    pauses.sort_by_key(|pause| pause.after_ms);
    for (pause, server) in pauses.iter().zip(servers.iter().cycle()) {
        let at = begun + Duration::from_millis(pause.after_ms);
        tokio::time::sleep_until(at.into()).await;
        let stopped_at = Instant::now();
        let Some(stopped) = server.stop() else { continue };
        let since = |at: Instant| at.saturating_duration_since(begun).as_secs_f64();
        let label = format!("server stopped for {} ms", pause.length_ms);
        marks.borrow_mut().push(Mark {
            at_s: since(stopped_at),
            until_s: None,
            label,
            target: None,
        });
        tokio::time::sleep(Duration::from_millis(pause.length_ms)).await;
        drop(stopped);
        if let Some(mark) = marks.borrow_mut().last_mut() {
            mark.until_s = Some(since(Instant::now()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_says_when_and_how_long() {
        assert_eq!("8s+500ms".parse(), Ok(Pause { after_ms: 8_000, length_ms: 500 }));
        for (wrong, says) in
            [("8s", "8s+1s"), ("8+1s", "when"), ("1s+x", "how long"), ("1s+0s", "1ms")]
        {
            let error = wrong.parse::<Pause>().unwrap_err();
            assert!(error.contains(says), "{wrong}: {error}");
        }
    }
}
