//! The scripts: one atomic step each, in files of their own beside this one.

use std::sync::LazyLock;

use redis::{Script, ScriptInvocation};

/// Every script of this registry.
pub struct Scripts {
    /// `scripts/begin.lua`.
    pub begin: Script,
    /// `scripts/apply.lua`.
    pub apply: Script,
    /// `scripts/beat.lua`.
    pub beat: Script,
    /// `scripts/sweep.lua`.
    pub sweep: Script,
    /// `scripts/online.lua`.
    pub online: Script,
    /// `scripts/finish.lua`.
    pub finish: Script,
}

/// The scripts of this version.
pub static SCRIPTS: LazyLock<Scripts> = LazyLock::new(|| {
    let script = |text| Script::new(&[include_str!("scripts/registry.lua"), text].concat());
    Scripts {
        begin: script(include_str!("scripts/begin.lua")),
        apply: script(include_str!("scripts/apply.lua")),
        beat: script(include_str!("scripts/beat.lua")),
        sweep: script(include_str!("scripts/sweep.lua")),
        online: script(include_str!("scripts/online.lua")),
        finish: script(include_str!("scripts/finish.lua")),
    }
});

/// Names of keys. All have one hash tag, because a change of one user looks at every node: in a cluster the registry is on one shard.
#[derive(Debug, Clone)]
pub struct Keys {
    fixed: [String; 5],
    users: String,
}

impl Keys {
    /// Keys that begin with `prefix`.
    pub fn new(prefix: &str) -> Self {
        let key = |name: &str| format!("{prefix}{{registry}}:{name}");
        let fixed = ["leases", "names", "nodes", "writes", "version"].map(key);
        Self { fixed, users: key("users:") }
    }

    /// One of the keys: where it is, all are.
    pub fn home(&self) -> &str {
        &self.users
    }

    /// A call: the keys, and the first argument.
    pub fn call<'a>(&self, script: &'a Script) -> ScriptInvocation<'a> {
        let mut call = script.prepare_invoke();
        for key in &self.fixed {
            call.key(key);
        }
        call.arg(&self.users);
        call
    }
}
