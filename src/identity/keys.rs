//! The keys that tokens are checked with now, and how they follow their source.
//!
//! A file is read again when it changes, a URL is asked now and then, and both at once for a token whose key is not known: an issuer may
//! sign with a new key the moment it has published it. Whoever shows unknown keys can make us look only once in a pause; all who wait
//! share that look. What cannot be read changes nothing: the keys known last hold.

use std::convert::Infallible;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::TokenError;
use super::key::Key;
use super::source::Source;
use super::token_parts::TokenParts;
use crate::config::{TokenAlgorithm, TokenConfig};
use crate::file_stamp::FileStamp;

/// How often it is looked whether a file has changed.
const FILE_BEAT: Duration = Duration::from_secs(1);
/// How long a token waits for a key that is not known: less than `answer_ms_max`.
const WAIT_MAX: Duration = Duration::from_secs(4);
/// How long a start waits for a source: it may be starting, too.
const START_TIME: Duration = Duration::from_secs(10);
/// Between two attempts of a start.
const START_PAUSE: Duration = Duration::from_millis(250);

/// The keys, and where they come from.
pub struct Keys {
    source: Source,
    algorithms: Vec<TokenAlgorithm>,
    refresh: Duration,
    pause: Duration,
    current: RwLock<Arc<Vec<Key>>>,
    /// One look at a time.
    look: Mutex<Look>,
}

/// The look before.
struct Look {
    began: Instant,
    stamp: Option<FileStamp>,
    reason: Option<String>,
}

impl Keys {
    /// Reads the source for the first time. The error says what cannot be had and why.
    pub async fn start(config: &TokenConfig) -> Result<Self, String> {
        let source = Source::new(config)?;
        let keys = Self {
            source,
            algorithms: config.algorithms.clone(),
            refresh: config.refresh,
            pause: config.pause,
            current: RwLock::default(),
            look: Mutex::new(Look { began: Instant::now(), stamp: None, reason: None }),
        };
        let deadline = Instant::now() + START_TIME;
        loop {
            let mut look = keys.look.lock().await;
            match keys.look_again(&mut look).await {
                Ok(()) => break,
                // A file does not appear by itself.
                Err(reason) if !keys.source.is_remote() || Instant::now() > deadline => {
                    return Err(format!("{}: {reason}", keys.source.name()));
                }
                Err(_) => {}
            }
            drop(look);
            sleep(START_PAUSE).await;
        }
        Ok(keys)
    }

    /// Reads the source once, and says what it holds. The error says what cannot be had and why.
    pub async fn examine(config: &TokenConfig) -> Result<String, String> {
        let source = Source::new(config)?;
        let keys = source.read().await.and_then(|keys| usable(keys, &config.algorithms));
        match keys {
            Ok(keys) => Ok(format!(
                "{}: keys that tokens may be signed with: {}",
                source.name(),
                keys.len()
            )),
            Err(reason) => Err(format!("{}: {reason}", source.name())),
        }
    }

    /// What the keys come from, for people.
    pub fn source_name(&self) -> String {
        self.source.name()
    }

    fn current(&self) -> Arc<Vec<Key>> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether one of the keys that a token may be signed with did sign it. Where there is none, it looks whether there is by now.
    pub async fn signed(
        &self,
        parts: &TokenParts<'_>,
        algorithm: TokenAlgorithm,
    ) -> Result<bool, TokenError> {
        let asked = Instant::now();
        if let Some(signed) = self.signed_by_current(parts, algorithm) {
            return Ok(signed);
        }
        if !self.source.may_have_more() {
            return Err(TokenError::UnknownKey);
        }
        self.look_since(asked).await?;
        self.signed_by_current(parts, algorithm).ok_or(TokenError::UnknownKey)
    }

    /// `None`: there is no key that it may be signed with.
    fn signed_by_current(&self, parts: &TokenParts<'_>, algorithm: TokenAlgorithm) -> Option<bool> {
        let (keys, kid) = (self.current(), parts.header.kid.as_deref());
        let mut may_be = keys.iter().filter(|key| key.may_be(algorithm, kid)).peekable();
        may_be.peek()?;
        Some(may_be.any(|key| key.signed(parts)))
    }

    /// Returns when the source was read after `asked`.
    async fn look_since(&self, asked: Instant) -> Result<(), TokenError> {
        let away = |retry_after| TokenError::KeysAway { retry_after };
        let looking = async {
            let mut look = self.look.lock().await;
            if look.began >= asked && look.reason.is_none() {
                return Ok(());
            }
            let next = look.began + self.pause;
            if next > asked + WAIT_MAX {
                return Err(away(next.saturating_duration_since(Instant::now())));
            }
            sleep_until(next).await;
            self.look_again(&mut look).await.map_err(|_| away(self.pause))
        };
        timeout(WAIT_MAX, looking).await.unwrap_or_else(|_| Err(away(self.pause)))
    }

    async fn look_again(&self, look: &mut Look) -> Result<(), String> {
        // Cut off half-way, it was a look all the same: nobody may ask more often by giving up.
        look.began = Instant::now();
        look.reason.get_or_insert_default();
        let stamp = self.source.stamp().await;
        let read = self.source.read().await.and_then(|keys| usable(keys, &self.algorithms));
        let is_news = look.reason.as_deref().unwrap_or_default()
            != read.as_ref().err().map_or("", |reason| reason);
        look.reason = read.as_ref().err().cloned();
        // One that cannot be read is not read again before it changes.
        look.stamp = stamp;
        match read {
            Ok(keys) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
                if is_news {
                    tracing::info!(source = %self.source.name(), "the keys of tokens are there again");
                }
                Ok(())
            }
            Err(reason) => {
                metrics::counter!("chatctl_key_looks_failed_total").increment(1);
                if is_news && !self.current().is_empty() {
                    tracing::warn!(source = %self.source.name(), %reason, "the keys of tokens cannot be read; those known last hold");
                }
                Err(reason)
            }
        }
    }

    /// Follows the source for ever.
    pub async fn follow(&self) -> Infallible {
        let beat = if self.source.is_remote() { self.refresh } else { FILE_BEAT };
        loop {
            sleep(beat).await;
            let stamp = self.source.stamp().await;
            let mut look = self.look.lock().await;
            let is_due = match self.source.is_remote() {
                true => look.began.elapsed() >= beat / 2,
                false => stamp.is_some() && stamp != look.stamp,
            };
            if is_due {
                // What is wrong was said.
                let _ = self.look_again(&mut look).await;
            }
        }
    }
}

/// Keys of algorithms that are not allowed are of no use.
fn usable(mut keys: Vec<Key>, algorithms: &[TokenAlgorithm]) -> Result<Vec<Key>, String> {
    keys.retain(|key| algorithms.contains(&key.algorithm()));
    if keys.is_empty() {
        let names: Vec<_> = algorithms.iter().map(|algorithm| algorithm.name()).collect();
        return Err(format!("it holds no key of {}", names.join(" or ")));
    }
    Ok(keys)
}
