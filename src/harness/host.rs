//! The machine that the figures are from.

use std::fs;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The machine that the figures are from; `unknown` and 0 where the system does not say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Host {
    /// Host name.
    pub name: String,
    /// CPU model.
    pub cpu_model: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// Main memory.
    pub memory_bytes: u64,
    /// Kernel release.
    pub kernel: String,
}

impl Host {
    /// This machine.
    pub fn find() -> Self {
        let line = |path: &str| match fs::read_to_string(path) {
            Ok(text) if !text.trim().is_empty() => text.trim().to_owned(),
            _ => "unknown".to_owned(),
        };
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        Self {
            name: line("/proc/sys/kernel/hostname"),
            cpu_model: field(&cpuinfo, "model name").unwrap_or("unknown").to_owned(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_bytes: kilobytes(&meminfo, "MemTotal").unwrap_or(0),
            kernel: line("/proc/sys/kernel/osrelease"),
        }
    }
}

/// The kind of filesystem under `path`: a durable write to `tmpfs` costs nothing and proves nothing.
pub fn filesystem(path: &Path) -> String {
    // Magic numbers of statfs(2).
    match rustix::fs::statfs(path).map(|stat| stat.f_type as u64 & 0xffff_ffff) {
        Ok(0xef53) => "ext4".into(),
        Ok(0x0102_1994) => "tmpfs".into(),
        Ok(0x5846_5342) => "xfs".into(),
        Ok(0x9123_683e) => "btrfs".into(),
        Ok(0x794c_7630) => "overlayfs".into(),
        Ok(0x2fc1_2fc1) => "zfs".into(),
        Ok(0x6969) => "nfs".into(),
        Ok(magic) => format!("{magic:#x}"),
        Err(_) => "unknown".into(),
    }
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then_some(value.trim())
    })
}

fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let number = field(text, name)?.split(' ').next()?;
    Some(number.parse::<u64>().ok()? * 1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "VmRSSx:\t 1 kB\nVmRSS:\t     2048 kB\nmodel name\t: A CPU @ 2:1\n";
        assert_eq!(kilobytes(text, "VmRSS"), Some(2_048 * 1_024));
        assert_eq!(kilobytes(text, "Vm"), None);
        assert_eq!(field(text, "model name"), Some("A CPU @ 2:1"));
    }
}
