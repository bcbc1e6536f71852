//! What `bench` and `check` have in common on the command line.

use tokio_util::sync::CancellationToken;

use super::Exit;
use crate::config::unknown_variable;

/// Does `work`, which ends early when it is cancelled: the first Ctrl-C does so.
pub(super) async fn until_ctrl_c<T>(work: impl AsyncFnOnce(&CancellationToken) -> T) -> T {
    let cancel = CancellationToken::new();
    let waiting = tokio::spawn(cancel_on_ctrl_c(cancel.clone()));
    let done = work(&cancel).await;
    waiting.abort();
    done
}

/// The first Ctrl-C ends the run and keeps what there is; the second ends the process.
async fn cancel_on_ctrl_c(cancel: CancellationToken) {
    if tokio::signal::ctrl_c().await.is_err() {
        return;
    }
    eprintln!("stopping; what there is is kept (press Ctrl-C again to give it up)");
    cancel.cancel();
    if tokio::signal::ctrl_c().await.is_ok() {
        std::process::exit(i32::from(Exit::Inconclusive as u8));
    }
}

/// The command line that repeats this run, secrets left out.
pub(super) fn shown_command() -> String {
    std::env::args().map(|argument| redacted(&argument)).collect::<Vec<_>>().join(" ")
}

/// An argument without the password of a URL in it or the value of a secret variable.
pub(super) fn redacted(argument: &str) -> String {
    if let Some((key, _)) = argument.split_once('=') {
        let upper = key.to_uppercase();
        if ["PASSWORD", "SECRET", "TOKEN"].iter().any(|word| upper.contains(word)) {
            return format!("{key}=***");
        }
    }
    match (argument.find("://"), argument.rfind('@')) {
        (Some(scheme), Some(at)) if scheme + 3 < at => {
            format!("{}***{}", &argument[..scheme + 3], &argument[at..])
        }
        _ => argument.to_owned(),
    }
}

/// A count of servers: more on one machine prove nothing more.
pub(super) fn nodes(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| (1..=16).contains(count));
    count.ok_or_else(|| "write a number from 1 to 16".to_owned())
}

pub(super) fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write it as KEY=VALUE".to_owned()),
    }
}

/// A variable of servers that this very program starts: one that it does not know is a mistake.
pub(super) fn server_variable(text: &str) -> Result<(String, String), String> {
    let (key, value) = key_value(text)?;
    match unknown_variable(&key, "the servers' environment") {
        Some(unknown) => Err(unknown),
        None => Ok((key, value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_stay_out_of_reports() {
        assert_eq!(redacted("REDIS_URL=redis://me:pw@host/0"), "REDIS_URL=redis://***@host/0");
        assert_eq!(redacted("REDIS_PASSWORD=pw"), "REDIS_PASSWORD=***");
        assert_eq!(redacted("--url=ws://127.0.0.1:1/v1/ws"), "--url=ws://127.0.0.1:1/v1/ws");
        assert_eq!(redacted("CHATCTL_LOCAL_SYNC=never"), "CHATCTL_LOCAL_SYNC=never");
    }

    #[test]
    fn a_mistyped_variable_of_a_server_is_refused_and_others_pass() {
        let wrong = server_variable("CHATCTL_LOCAL_SYN=never").unwrap_err();
        assert!(wrong.ends_with("did you mean CHATCTL_LOCAL_SYNC?"), "{wrong}");
        for good in ["CHATCTL_LOCAL_SYNC=never", "REDIS_URL=redis://h:1", "RUST_BACKTRACE=1"] {
            assert!(server_variable(good).is_ok(), "{good}");
        }
    }
}
