//! G3 to G6: messages that survive a power cut, against the disk and a bare echo.

use std::time::Duration;

use super::super::disk::probe;
use super::super::figure::{Figure, quantile};
use super::super::load::{closed, paced};
use super::{Bench, DURABLE, Failure, MS, middle, ratio};
use crate::bench::floor::bare::Kind;

const CLIENTS: usize = 64;

/// Writes of one round.
const PROBES: usize = 1_000;

pub(super) async fn measure(bench: &Bench) -> Result<Vec<Figure>, Failure> {
    let subject = bench.subject(DURABLE).await?;
    let bare = bench.bare(Kind::Echo)?;
    let (mut one, mut all) = (subject.notes(1).await?, subject.notes(CLIENTS).await?);
    let mut echo = bench.bare_lines(&bare, 1, None).await?;
    let folder = std::env::temp_dir();
    for lines in [&mut one, &mut all, &mut echo] {
        closed(lines, &mut [], 1, Duration::from_millis(200)).await?;
    }
    // Of each round: disk, echo, ack (p50, ns), rate of one, rate of all, syncs per message, p99 ÷ p50 and p50 at half the rate, p99 ÷ p50
    // of the disk.
    let mut rounds: Vec<[Option<f64>; 9]> = Vec::new();
    for round in 0..bench.rounds {
        let mut found = [None; 9];
        for step in bench.order(round, 4) {
            match step {
                0 => {
                    let mut syncs = probe(&folder, PROBES)?;
                    found[0] = quantile(&mut syncs, 0.5);
                    found[8] = quantile(&mut syncs, 0.99).zip(found[0]).map(|(p99, p50)| p99 / p50);
                }
                1 => {
                    let mut slice = closed(&mut echo, &mut [], 1, bench.slice).await?;
                    found[1] = quantile(&mut slice.acks_ns, 0.5);
                }
                2 => {
                    let mut slice = closed(&mut one, &mut [], 1, bench.slice).await?;
                    found[2] = quantile(&mut slice.acks_ns, 0.5);
                    found[3] = Some(slice.acked_per_s());
                }
                _ => {
                    let mark = subject.mark().await?;
                    let slice = closed(&mut all, &mut [], 1, bench.slice).await?;
                    let grown = subject.since(&mark).await?;
                    let syncs = grown.get("chatctl_syncs_total").copied();
                    found[4] = Some(slice.acked_per_s());
                    found[5] = syncs.map(|syncs| syncs / slice.acked as f64);
                    let half = slice.acked_per_s() / 2.0;
                    let mut slice = paced(&mut all, half, bench.slice).await?;
                    let p99 = quantile(&mut slice.acks_ns, 0.99);
                    let p50 = quantile(&mut slice.acks_ns, 0.5);
                    found[6] = p99.zip(p50).map(|(p99, p50)| p99 / p50);
                    found[7] = p50;
                }
            }
        }
        rounds.push(found);
    }
    let engine = subject.engine();
    subject.stop().await?;
    let column = |index: usize| rounds.iter().map(|round| round[index]).collect::<Vec<_>>();
    let (disk, echo, ack) = (column(0), column(1), column(2));
    let cost = ack.iter().zip(disk.iter().zip(&echo));
    let cost: Vec<_> =
        cost.map(|(ack, (disk, echo))| Some((*ack)? / ((*disk)? + (*echo)?))).collect();
    let made_of = format!(
        "{:.3} ms ÷ ({:.3} ms + {:.3} ms), {engine}",
        middle(&column(2)) / MS,
        middle(&column(0)) / MS,
        middle(&column(1)) / MS
    );
    let many = format!("{:.0}/s ÷ {:.0}/s", middle(&column(4)), middle(&column(3)));
    Ok(vec![
        Figure::new("G3", "durable ack p50, 1 client ÷ (fdatasync p50 + bare echo p50)", &cost)
            .at_most(1.5)
            .of(made_of),
        Figure::new("G4", format!("durable messages/s, {CLIENTS} clients"), &column(4)),
        Figure::new("G4", "the same ÷ 1 client", &ratio(&column(4), &column(3)))
            .at_least(10.0)
            .of(many),
        Figure::new("G5", format!("syncs per acked message, {CLIENTS} clients"), &column(5))
            .at_most(0.05),
        Figure::new("G6", "durable ack p99 ÷ p50 at half that rate", &column(6))
            .at_most(4.0)
            .of(format!("p50 {:.3} ms", middle(&column(7)) / MS)),
        Figure::new("G6", "p99 ÷ p50 of a bare fdatasync, one after the other", &column(8)),
    ])
}
