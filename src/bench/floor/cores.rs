//! The profile *split*: servers on one core, clients on another, so that neither takes time from the other.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::bench::error::BenchError;

/// Two cores of those that this process may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cores {
    /// Of servers, and all that they start.
    pub server: usize,
    /// Of clients.
    pub clients: usize,
}

impl Cores {
    /// The first two. An error where there is one only: what is measured there is both sides at once.
    pub fn find() -> Result<Self, BenchError> {
        let allowed = sched_getaffinity(None).map_err(unmeasurable)?;
        let mut cores = (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core));
        match (cores.next(), cores.next()) {
            (Some(server), Some(clients)) => Ok(Self { server, clients }),
            _ => Err(BenchError::Unmeasurable(
                "servers and clients need a core each, and this process may use one only"
                    .to_owned(),
            )),
        }
    }

    /// From now on this thread, and every thread and process that it starts, runs on `core`.
    pub fn stay_on(core: usize) -> Result<(), BenchError> {
        let mut only = CpuSet::new();
        only.set(core);
        sched_setaffinity(None, &only).map_err(unmeasurable)
    }
}

fn unmeasurable(error: rustix::io::Errno) -> BenchError {
    BenchError::Unmeasurable(format!("a thread cannot be kept on a core: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_stays_where_it_is_told() {
        let Ok(cores) = Cores::find() else { return };
        assert_ne!(cores.server, cores.clients);
        let on = std::thread::spawn(move || {
            Cores::stay_on(cores.clients).unwrap();
            let set = sched_getaffinity(None).unwrap();
            (set.count(), set.is_set(cores.clients))
        });
        assert_eq!(on.join().unwrap(), (1, true));
    }
}
