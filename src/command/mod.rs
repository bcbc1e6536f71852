//! One thin `run` per subcommand.

pub mod bench;

/// How a command ends; the numbers are part of the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All went as it should.
    Pass = 0,
    /// The command itself failed.
    ToolError = 1,
    /// It ran and could not judge: incomplete, inconclusive, unknown, or stopped with Ctrl-C.
    Inconclusive = 2,
    /// A performance gate was missed.
    PerformanceGate = 3,
    /// A promise about messages was broken.
    Validity = 4,
    /// Wrong usage.
    Usage = 64,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
