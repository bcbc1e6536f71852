//! G1 and G2: people who write notes to themselves, against frames that go back as they came.

use std::time::Duration;

use super::super::figure::Figure;
use super::super::load::closed;
use super::{Bench, Failure, MEMORY, per_s, ratio};
use crate::bench::floor::bare::Kind;

/// People, or connections.
const LINES: usize = 32;
const IN_FLIGHT: usize = 16;

pub(super) async fn measure(bench: &Bench) -> Result<Vec<Figure>, Failure> {
    let subject = bench.subject(MEMORY).await?;
    let bare = bench.bare(Kind::Echo)?;
    let mut notes = subject.notes(LINES).await?;
    let mut echoes = bench.bare_lines(&bare, LINES, None).await?;
    for lines in [&mut notes, &mut echoes] {
        closed(lines, &mut [], 1, Duration::from_millis(200)).await?;
    }
    let mut found: [Vec<f64>; 4] = Default::default();
    for round in 0..bench.rounds {
        for step in bench.order(round, 4) {
            let (lines, in_flight) = match step {
                0 => (&mut notes, 1),
                1 => (&mut echoes, 1),
                2 => (&mut notes, IN_FLIGHT),
                _ => (&mut echoes, IN_FLIGHT),
            };
            let slice = closed(lines, &mut [], in_flight, bench.slice).await?;
            found[step].push(slice.frames_per_s());
        }
    }
    subject.stop().await?;
    let [real, echo, piped, piped_echo] = &found;
    let what = format!("frames in and out, {LINES} × 1 in flight ÷ bare echo");
    let piped_what = format!("the same, {IN_FLIGHT} in flight ÷ bare echo, a send for each frame");
    Ok(vec![
        Figure::new("G1", what, &ratio(real, echo)).at_least(0.8).of(per_s(real, echo)),
        Figure::new("G2", piped_what, &ratio(piped, piped_echo))
            .at_least(2.0)
            .of(per_s(piped, piped_echo)),
    ])
}
