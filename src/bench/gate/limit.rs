//! The right side of a gate: a number and its unit.

use crate::bench::report::GateUnit;

/// A unit as it is written: the power of ten and the factor that bring it to the [`GateUnit`].
type Scale = (&'static str, i32, f64);

const TIMES_S: [Scale; 7] = [
    ("ns", -9, 1.0),
    ("us", -6, 1.0),
    ("\u{b5}s", -6, 1.0),
    // The Greek letter looks the same.
    ("\u{3bc}s", -6, 1.0),
    ("ms", -3, 1.0),
    ("s", 0, 1.0),
    ("m", 0, 60.0),
];

const NUMBERS: [Scale; 3] = [("", 0, 1.0), ("k", 3, 1.0), ("M", 6, 1.0)];

/// The units that fit, for people.
pub fn expected_unit(unit: GateUnit) -> &'static str {
    match unit {
        GateUnit::Us | GateUnit::S => "a unit of time: ns, us, ms, s or m",
        GateUnit::Percent => "%, since this is a share",
        GateUnit::Number => "k, M or nothing, since this is a plain number",
    }
}

/// A limit as somebody would write it.
pub fn example(unit: GateUnit) -> &'static str {
    match unit {
        GateUnit::Us => "20ms",
        GateUnit::S => "30s",
        GateUnit::Percent => "0.1%",
        GateUnit::Number => "0.5 or 10k",
    }
}

/// `digits`, written with the unit `written`, in `unit`. `None`: that unit does not fit.
///
/// The point is moved in the text, so that `0.07ms` is exactly what `70us` is.
pub fn in_unit(digits: &str, written: &str, unit: GateUnit) -> Option<f64> {
    let (scales, shift): (&[Scale], i32) = match unit {
        GateUnit::Us => (&TIMES_S, 6),
        GateUnit::S => (&TIMES_S, 0),
        GateUnit::Percent => (&[("%", 0, 1.0)], 0),
        GateUnit::Number => (&NUMBERS, 0),
    };
    let zero = || digits.parse::<f64>().ok().filter(|&value| value == 0.0 && written.is_empty());
    let (_, power, factor) = match scales.iter().find(|(name, ..)| *name == written) {
        Some(scale) => *scale,
        None => return zero(),
    };
    let value: f64 = format!("{digits}e{}", power + shift).parse().ok()?;
    Some(value * factor)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("0.07", "ms", GateUnit::Us, Some(70.0))]
    #[case("20", "ms", GateUnit::Us, Some(20_000.0))]
    #[case("1500", "ns", GateUnit::Us, Some(1.5))]
    #[case("3", "\u{b5}s", GateUnit::Us, Some(3.0))]
    #[case("3", "\u{3bc}s", GateUnit::Us, Some(3.0))]
    #[case("1.5", "m", GateUnit::S, Some(90.0))]
    #[case("0.1", "m", GateUnit::Us, Some(6_000_000.0))]
    #[case("0.1", "%", GateUnit::Percent, Some(0.1))]
    #[case("2.5", "k", GateUnit::Number, Some(2_500.0))]
    #[case("1", "M", GateUnit::Number, Some(1_000_000.0))]
    #[case("0", "", GateUnit::Us, Some(0.0))]
    #[case("0.00", "", GateUnit::Percent, Some(0.0))]
    #[case("20", "", GateUnit::Us, None)]
    #[case("20", "%", GateUnit::Us, None)]
    #[case("0", "k", GateUnit::Us, None)]
    #[case("1", "ms", GateUnit::Number, None)]
    #[case("1", "", GateUnit::Percent, None)]
    fn units_fit_or_are_refused(
        #[case] digits: &str,
        #[case] written: &str,
        #[case] unit: GateUnit,
        #[case] value: Option<f64>,
    ) {
        assert_eq!(in_unit(digits, written, unit), value);
        assert!(in_unit("0", "", unit).is_some());
    }
}
