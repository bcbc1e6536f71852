//! What the environment says about this machine: where programs are, and where we may keep things.
#![expect(clippy::disallowed_methods, reason = "this folder reads the environment")]

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Our folder under those of the user.
const NAME: &str = "chatctl";

/// The folders that programs are looked for in (`PATH`).
pub fn search_path() -> Option<OsString> {
    env::var_os("PATH")
}

/// The Java that the user prefers (`JAVA_HOME`).
pub fn java_home() -> Option<PathBuf> {
    absolute(env::var_os("JAVA_HOME"))
}

/// Where the stock client of Socket.IO is: a `node_modules` folder (`CHATCTL_SOCKETIO_CLIENT`).
pub fn socketio_client() -> Option<PathBuf> {
    env::var_os("CHATCTL_SOCKETIO_CLIENT").filter(|folder| !folder.is_empty()).map(PathBuf::from)
}

/// What can be fetched again: `$XDG_CACHE_HOME/chatctl`, else `~/.cache/chatctl`; `None` for a user without a home.
pub fn cache_folder() -> Option<PathBuf> {
    of_user(env::var_os("XDG_CACHE_HOME"), env::home_dir().as_deref(), ".cache")
}

/// What must not be lost: `$XDG_STATE_HOME/chatctl`, else `~/.local/state/chatctl`; `None` for a user without a home.
pub fn state_folder() -> Option<PathBuf> {
    of_user(env::var_os("XDG_STATE_HOME"), env::home_dir().as_deref(), ".local/state")
}

/// The XDG base directory specification: a value that is not absolute is as good as none.
fn of_user(set: Option<OsString>, home: Option<&Path>, default: &str) -> Option<PathBuf> {
    let default = || home.filter(|home| home.is_absolute()).map(|home| home.join(default));
    absolute(set).or_else(default).map(|base| base.join(NAME))
}

fn absolute(value: Option<OsString>) -> Option<PathBuf> {
    value.map(PathBuf::from).filter(|path| path.is_absolute())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_choice_holds_if_it_is_absolute() {
        let home = Some(Path::new("/home/me"));
        let of = |set: Option<&str>| of_user(set.map(Into::into), home, ".cache").unwrap();
        assert_eq!(of(Some("/big")), Path::new("/big/chatctl"));
        for none in [None, Some(""), Some("here")] {
            assert_eq!(of(none), Path::new("/home/me/.cache/chatctl"));
        }
        assert_eq!(of_user(None, None, ".cache"), None);
        assert_eq!(of_user(None, Some(Path::new("")), ".cache"), None);
    }
}
