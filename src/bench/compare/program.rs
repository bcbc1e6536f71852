//! The program of a server, known by its digest: a path may name another program tomorrow.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::measure::ServerOptions;
use crate::bench::error::BenchError;
use crate::harness::ServerProcess;

/// A server of `binary`; `None`: this one.
pub fn server_options(
    binary: Option<&Path>,
    environment: Vec<(String, String)>,
) -> Result<ServerOptions, BenchError> {
    let binary: PathBuf = match binary {
        Some(binary) => std::path::absolute(binary).map_err(|error| unreadable(binary, &error))?,
        None => ServerProcess::this_binary()?,
    };
    let binary_sha256 = sha256(&binary)?;
    Ok(ServerOptions { binary, binary_sha256, environment })
}

/// SHA-256 of a program, hexadecimal.
pub(super) fn sha256(binary: &Path) -> Result<String, BenchError> {
    let digest = || {
        let mut file = File::open(binary)?;
        let (mut hasher, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok::<_, io::Error>(hasher.finalize()),
                length => hasher.update(buffer.get(..length).unwrap_or_default()),
            }
        }
    };
    let digest = digest().map_err(|error| unreadable(binary, &error))?;
    let mut text = String::new();
    for byte in digest {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text)
}

fn unreadable(binary: &Path, error: &io::Error) -> BenchError {
    BenchError::Usage(format!("the server's program {}: {error}", binary.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_known_by_what_is_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("abc");
        std::fs::write(&file, "abc").unwrap();
        let server = server_options(Some(&file), Vec::new()).unwrap();
        assert!(server.binary_sha256.starts_with("ba7816bf8f01cfea"), "{server:?}");
        let error = server_options(Some(Path::new("/no/such")), Vec::new()).unwrap_err();
        assert!(error.to_string().contains("/no/such"), "{error}");
    }
}
