//! Where keys come from, read.

use std::fs;
use std::path::Path;

use tokio::task::spawn_blocking;

use super::fetch::Fetcher;
use super::jwks;
use super::key::Key;
use crate::config::{KeySource, TokenAlgorithm, TokenConfig};
use crate::file_stamp::FileStamp;

/// Bytes of a file of keys: more is another file.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A source of keys, ready to be read.
pub struct Source {
    from: KeySource,
    fetcher: Option<Fetcher>,
    takes_secrets: bool,
}

impl Source {
    /// Not read yet. The error is why it cannot be reached ever.
    pub fn new(config: &TokenConfig) -> Result<Self, String> {
        let fetcher = match &config.keys {
            KeySource::JwksUrl(url) => Some(Fetcher::new(url.clone())?),
            _ => None,
        };
        let takes_secrets = fetcher.is_none() && config.algorithms.contains(&TokenAlgorithm::Hs256);
        Ok(Self { from: config.keys.clone(), fetcher, takes_secrets })
    }

    /// What to call it: the variable, and where it points to.
    pub fn name(&self) -> String {
        match &self.from {
            KeySource::Secret(_) => "CHATCTL_AUTH_SECRET".to_owned(),
            KeySource::SecretFile(path) => format!("CHATCTL_AUTH_SECRET_FILE={}", path.display()),
            KeySource::PublicKeyFile(path) => {
                format!("CHATCTL_AUTH_PUBLIC_KEY_FILE={}", path.display())
            }
            KeySource::JwksFile(path) => format!("CHATCTL_AUTH_JWKS_FILE={}", path.display()),
            KeySource::JwksUrl(url) => format!("CHATCTL_AUTH_JWKS_URL={url}"),
        }
    }

    /// Whether it is somebody else's, who is asked now and then.
    pub fn is_remote(&self) -> bool {
        self.fetcher.is_some()
    }

    /// Whether looking again may find a key of another name.
    pub fn may_have_more(&self) -> bool {
        matches!(self.from, KeySource::JwksFile(_) | KeySource::JwksUrl(_))
    }

    fn path(&self) -> Option<&Path> {
        match &self.from {
            KeySource::Secret(_) | KeySource::JwksUrl(_) => None,
            KeySource::SecretFile(path)
            | KeySource::PublicKeyFile(path)
            | KeySource::JwksFile(path) => Some(path),
        }
    }

    /// The file's stamp; `None` where there is no file, or none now.
    pub async fn stamp(&self) -> Option<FileStamp> {
        FileStamp::of(self.path()?).await
    }

    /// Its keys, at least one; or why there are none.
    pub async fn read(&self) -> Result<Vec<Key>, String> {
        match &self.from {
            KeySource::Secret(secret) => Ok(vec![Key::of_secret(secret.expose().as_bytes())?]),
            KeySource::SecretFile(path) => Ok(vec![Key::of_secret(&read_secret(path).await?)?]),
            KeySource::PublicKeyFile(path) => Key::of_pem(&read_text(path).await?),
            KeySource::JwksFile(path) => jwks::parse(&read_text(path).await?, self.takes_secrets),
            KeySource::JwksUrl(_) => match &self.fetcher {
                Some(fetcher) => jwks::parse(&fetcher.get().await?, false),
                None => Err("it cannot be reached".to_owned()),
            },
        }
    }
}

/// A secret in a file, without the line end that editors put at its end.
pub async fn read_secret(path: &Path) -> Result<Vec<u8>, String> {
    let mut secret = read_bytes(path).await?;
    while secret.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        secret.pop();
    }
    Ok(secret)
}

async fn read_text(path: &Path) -> Result<String, String> {
    String::from_utf8(read_bytes(path).await?).map_err(|_| "it is not UTF-8".to_owned())
}

async fn read_bytes(path: &Path) -> Result<Vec<u8>, String> {
    let path = path.to_owned();
    let read = move || {
        let bytes = fs::metadata(&path)?.len();
        if bytes > FILE_BYTES_MAX {
            return Err(std::io::Error::other(format!("it has more than {FILE_BYTES_MAX} bytes")));
        }
        fs::read(&path)
    };
    let read = spawn_blocking(read).await.map_err(|error| error.to_string())?;
    read.map_err(|error| error.to_string())
}
