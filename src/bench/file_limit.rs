//! Room for thousands of sockets.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::error::BenchError;

/// Files that a process has open beside its client sockets.
const OTHER_FILES: u64 = 128;

/// Raises the soft limit of open files to the hard one, for this process and the servers it starts,
/// and makes sure that `clients` sockets fit.
pub fn make_room_for(clients: usize) -> Result<(), BenchError> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if limit.current != limit.maximum {
        setrlimit(Resource::Nofile, raised).map_err(|error| {
            BenchError::Limits(format!("the limit of open files cannot be raised: {error}"))
        })?;
    }
    let needed = clients as u64 + OTHER_FILES;
    match limit.maximum {
        Some(maximum) if maximum < needed => Err(BenchError::Limits(format!(
            "{clients} connections need {needed} open files and the hard limit is {maximum}; raise it (ulimit -Hn) or ask for fewer"
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        make_room_for(1).unwrap();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
        if limit.maximum.is_some() {
            assert!(make_room_for(usize::MAX >> 8).is_err());
        }
    }
}
