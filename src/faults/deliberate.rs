//! What `CHATCTL_FAULT` can say.

use std::fmt;
use std::str::FromStr;

use super::{BurnCpu, Crash, Fault};

/// What a server does wrong on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deliberate {
    /// It breaks a promise.
    Break(Fault),
    /// It keeps every promise and wastes CPU time.
    Burn(BurnCpu),
    /// It ends at a point.
    Crash(Crash),
}

const BURN: &str = "burn-cpu:";
const CRASH: &str = "crash-";

impl fmt::Display for Deliberate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Break(fault) => fault.fmt(formatter),
            Self::Burn(burn) => write!(formatter, "{BURN}{burn}"),
            Self::Crash(crash) => write!(formatter, "{CRASH}{crash}"),
        }
    }
}

/// It is neither the name of a fault, nor a burn, nor a crash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither a fault, nor burn-cpu:<µs>, nor crash-<point>:<n>")]
pub struct UnknownDeliberate(String);

impl FromStr for Deliberate {
    type Err = UnknownDeliberate;

    fn from_str(text: &str) -> Result<Self, UnknownDeliberate> {
        let known = match (text.strip_prefix(BURN), text.strip_prefix(CRASH)) {
            (Some(us), _) => us.parse().ok().and_then(BurnCpu::from_us).map(Self::Burn),
            (_, Some(crash)) => crash.parse().ok().map(Self::Crash),
            _ => text.parse().ok().map(Self::Break),
        };
        known.ok_or_else(|| UnknownDeliberate(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_and_burns_are_written_as_they_are_read() {
        for text in ["drop-acked", "burn-cpu:12", "burn-cpu:2.7", "crash-before-reply:9"] {
            assert_eq!(text.parse::<Deliberate>().unwrap().to_string(), text);
        }
        for wrong in [
            "burn-cpu",
            "burn-cpu:",
            "burn-cpu:0",
            "burn-cpu:-1",
            "no-such-fault",
            "crash-before-reply",
        ] {
            assert!(wrong.parse::<Deliberate>().is_err(), "{wrong}");
        }
    }
}
