//! How our own Redis or Valkey is started.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::{Recipe, ServiceError};
use crate::services::files::{remove_file, remove_folder};

/// The same for both: no setting in it is younger than Redis 7.
const TEMPLATE: &str = include_str!("redis.conf");

/// The most that messages may take has this share of the machine's memory, and never less than the least: a million messages
/// of 256 bytes take 0.9 GB. See the template.
const MEMORY_SHARE: u64 = 4;
const MEMORY_MB_MIN: u64 = 256;

const CONFIGURATION: &str = "redis.conf";
const DATA: &str = "data";

/// Writes the configuration into the folder of the node, and says how to start it there.
pub(super) fn prepare(program: PathBuf, folder: &Path, port: u16) -> Result<Recipe, ServiceError> {
    let data = folder.join(DATA);
    fs::create_dir_all(&data).map_err(ServiceError::file(&data))?;
    let path = folder.join(CONFIGURATION);
    fs::write(&path, configuration(port)).map_err(ServiceError::file(&path))?;
    // The paths in the file are below the folder of the node, which is where it is started: nothing needs quoting.
    Ok(Recipe { program, arguments: vec![CONFIGURATION.into()], environment: Vec::new() })
}

/// Removes what [`prepare`] and the server made.
pub(super) fn wipe(folder: &Path) -> Result<(), ServiceError> {
    remove_folder(&folder.join(DATA))?;
    remove_file(&folder.join(CONFIGURATION))
}

fn configuration(port: u16) -> String {
    let memory_mb = memory_mb(memory_of_machine_bytes());
    TEMPLATE.replace("{port}", &port.to_string()).replace("{memory_mb}", &memory_mb.to_string())
}

fn memory_mb(machine_bytes: u64) -> u64 {
    ((machine_bytes / MEMORY_SHARE) >> 20).max(MEMORY_MB_MIN)
}

fn memory_of_machine_bytes() -> u64 {
    let info = rustix::system::sysinfo();
    (info.totalram as u64).saturating_mul(u64::from(info.mem_unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_keeps_what_was_acknowledged() {
        let text = configuration(6400);
        assert!(!text.contains('{'), "{text}");
        for line in
            ["port 6400", "bind 127.0.0.1", "appendfsync always", "maxmemory-policy noeviction"]
        {
            assert!(text.lines().any(|found| found == line), "{line}");
        }
    }

    #[test]
    fn messages_may_take_a_quarter_of_the_memory() {
        assert_eq!((memory_mb(24 << 30), memory_mb(0)), (6 << 10, 256));
        assert!(memory_of_machine_bytes() > 256 << 20);
    }

    #[test]
    fn wiping_takes_what_we_made_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        prepare("redis-server".into(), folder.path(), 1).unwrap();
        fs::write(folder.path().join("theirs"), "").unwrap();
        wipe(folder.path()).unwrap();
        wipe(folder.path()).unwrap();
        let left: Vec<_> =
            fs::read_dir(folder.path()).unwrap().flatten().map(|entry| entry.file_name()).collect();
        assert_eq!(left, ["theirs"]);
    }
}
