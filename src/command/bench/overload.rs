//! `chatctl bench paired-clients --overload …`: the curve, shown.

use std::fmt::Write as _;

use tokio_util::sync::CancellationToken;

use super::failed;
use crate::bench::overload::curve::Curve;
use crate::bench::overload::{self, Measured, OverloadOptions};
use crate::command::{Exit, print_out};

/// Measures, and prints the curve.
pub(super) async fn run(
    options: &OverloadOptions,
    json: bool,
    cancel: &CancellationToken,
) -> anyhow::Result<Exit> {
    let told = |capacity: f64| eprintln!("capacity: {capacity:.0} messages/s in a closed loop");
    let measured = match Box::pin(overload::run(options, cancel, told)).await {
        Ok(Some(measured)) => measured,
        Ok(None) => {
            eprintln!("error: the capacity could not be measured");
            return Ok(Exit::Inconclusive);
        }
        Err(error) => return failed(error),
    };
    let text = match json {
        true => serde_json::to_string_pretty(&measured.curve)? + "\n",
        false => table(&measured.curve)?,
    };
    print_out(&text)?;
    if !measured.errors.is_empty() {
        eprintln!("refused or failed: {:?}", measured.errors);
    }
    for failure in &measured.curve.failures {
        eprintln!("not as it should be: {failure}");
    }
    eprintln!("kept in {}", measured.folder.display());
    Ok(exit_of(&measured))
}

fn table(curve: &Curve) -> Result<String, std::fmt::Error> {
    let mut text =
        " × capacity  offered/s  goodput/s  of peak   p50 ms   p99 ms  (accepted, from sending)\n"
            .to_owned();
    for point in &curve.points {
        writeln!(
            text,
            "{:>11}{:>11.0}{:>11.0}{:>9.2}{:>9.1}{:>9.1}",
            point.multiple,
            point.offered_per_s,
            point.goodput_per_s,
            point.goodput_per_s / curve.peak_per_s,
            point.p50_ms,
            point.p99_ms
        )?;
    }
    match curve.recovery_s {
        Some(s) => writeln!(text, "as before {s} s after the overload")?,
        None => writeln!(text, "not as before when the run was over")?,
    }
    Ok(text)
}

fn exit_of(measured: &Measured) -> Exit {
    match measured {
        Measured { invalid: true, .. } => Exit::Validity,
        Measured { aborted: true, .. } => Exit::Inconclusive,
        _ if measured.curve.failures.is_empty() => Exit::Pass,
        _ => Exit::PerformanceGate,
    }
}
