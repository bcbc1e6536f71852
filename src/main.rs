//! Parse, run, exit code.

use std::process::ExitCode;

use chatctl::cli::{Cli, Command};
use chatctl::command::{self, Exit};

/// Counts allocations, for the gate on what a message costs.
#[cfg(feature = "faults")]
#[global_allocator]
static ALLOCATOR: &stats_alloc::StatsAlloc<std::alloc::System> = &stats_alloc::INSTRUMENTED_SYSTEM;

/// What a message costs is to a large part memory that one thread takes and another gives back.
#[cfg(not(feature = "faults"))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Tasks that a thread of a server runs before it looks what sockets have to say, unless it has nothing else to do. Looking more often (the
/// runtime's own measure is 61) puts what has just come before what was begun: under overload half of all messages were answered in
/// 10 ms then, and the other half in a second.
const EVENT_INTERVAL: u32 = 1_024;

fn main() -> ExitCode {
    let cli = match Cli::read(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => {
            // Nobody is left to tell when the terminal is gone.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Pass }.into();
        }
    };
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if matches!(cli.command, Some(Command::Serve(_))) {
        runtime.event_interval(EVENT_INTERVAL);
    }
    let runtime = match runtime.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("chatctl: the runtime cannot start: {error}; raise the limit on threads");
            return Exit::ToolError.into();
        }
    };
    let exit = runtime.block_on(command::run(cli.command)).unwrap_or_else(|error| {
        eprintln!("chatctl: {error:#}");
        Exit::ToolError
    });
    // Whatever a command leaves running must not keep the process alive.
    runtime.shutdown_background();
    exit.into()
}
