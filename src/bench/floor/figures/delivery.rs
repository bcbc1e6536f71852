//! G11 to G13: from one to another, and to a hundred.

use std::time::Duration;

use super::super::figure::{Figure, quantile};
use super::super::load::closed;
use super::{Bench, Failure, MEMORY, US, middle, per_s, ratio};
use crate::bench::floor::bare::Kind;

const MEMBERS: usize = 100;
/// Sends of the one who speaks in the channel that are unanswered: so many that neither side waits for the other, and servers write
/// several at once where they can.
const IN_FLIGHT: usize = 64;

pub(super) async fn to_one(bench: &Bench) -> Result<Vec<Figure>, Failure> {
    let subject = bench.subject(MEMORY).await?;
    let bare = bench.bare(Kind::Echo)?;
    let mut pair = subject.pairs(1).await?;
    let mut echo = bench.bare_lines(&bare, 1, None).await?;
    let mut found: [Vec<Option<f64>>; 4] = Default::default();
    for round in 0..bench.rounds {
        for step in bench.order(round, 2) {
            let (at, mut samples) = match step {
                0 => {
                    let (speaks, hears) = pair.split_at_mut(1);
                    let slice = closed(speaks, hears, 1, bench.slice).await?;
                    (0, slice.deliveries_ns)
                }
                _ => (2, closed(&mut echo, &mut [], 1, bench.slice).await?.acks_ns),
            };
            found[at].push(quantile(&mut samples, 0.5));
            found[at + 1].push(quantile(&mut samples, 0.99));
        }
    }
    subject.stop().await?;
    let [p50, p99, echo_p50, echo_p99] = &found;
    let us = |one: &[Option<f64>], other: &[Option<f64>]| {
        format!("{:.1} µs ÷ {:.1} µs", middle(one) / US, middle(other) / US)
    };
    Ok(vec![
        Figure::new("G11", "delivery p50 on one node ÷ bare echo p50", &ratio(p50, echo_p50))
            .at_most(1.5)
            .of(us(p50, echo_p50)),
        Figure::new("G11", "delivery p99 ÷ bare echo p99", &ratio(p99, echo_p99))
            .at_most(2.5)
            .of(us(p99, echo_p99)),
    ])
}

pub(super) async fn to_many(bench: &Bench) -> Result<Vec<Figure>, Failure> {
    let subject = bench.subject(MEMORY).await?;
    let bare = bench.bare(Kind::Relay)?;
    let mut channel = subject.channel(MEMBERS).await?;
    let mut room = bench.bare_lines(&bare, MEMBERS, Some(MEMBERS)).await?;
    for lines in [&mut channel, &mut room] {
        let (speaks, hear) = lines.split_at_mut(1);
        closed(speaks, hear, 1, Duration::from_millis(200)).await?;
    }
    let (mut real, mut relayed) = (Vec::new(), Vec::new());
    let (mut encodes, mut allocations) = (Vec::new(), Vec::new());
    for round in 0..bench.rounds {
        for step in bench.order(round, 2) {
            let (lines, rates) = match step {
                0 => (&mut channel, &mut real),
                _ => (&mut room, &mut relayed),
            };
            let (speaks, hear) = lines.split_at_mut(1);
            let mark = subject.mark().await?;
            let slice = closed(speaks, hear, IN_FLIGHT, bench.slice).await?;
            rates.push(slice.delivered_per_s());
            if step == 0 {
                let grown = subject.since(&mark).await?;
                let per = |name: &str, count: u64| Some(*grown.get(name)? / count as f64);
                encodes.push(per("chatctl_messages_encoded_total", slice.acked));
                allocations.push(per("chatctl_allocations_total", slice.delivered));
            }
        }
    }
    subject.stop().await?;
    let what = format!("deliveries/s in a channel of {MEMBERS} ÷ bare fan-out");
    let mut figures = vec![
        Figure::new("G12", what, &ratio(&real, &relayed)).at_least(0.8).of(per_s(&real, &relayed)),
        Figure::new("G13", "encodes per message", &encodes).at_most(1.0),
    ];
    // Only a build that counts them knows.
    if allocations.iter().any(Option::is_some) {
        let what = format!("allocations per delivery, channel of {MEMBERS}");
        figures.push(Figure::new("G13", what, &allocations).at_most(1.0));
    }
    Ok(figures)
}
