//! Files in PEM form that variables and flags name.

use std::fs;
use std::path::{Path, PathBuf};

use tokio_rustls::rustls::pki_types::pem::{Error as PemError, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Bytes of a file: more is another file.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A file of certificates or of a key that cannot be used. The text names the variable or flag, the file, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{named}={path}: {reason}", path = path.display())]
pub struct TlsFileError {
    /// The variable or the flag.
    pub named: &'static str,
    /// The file.
    pub path: PathBuf,
    /// What is wrong, and what to do.
    pub reason: String,
}

/// The text of a file of certificates, for a library that parses it itself; it has been parsed here, too. `named` is the variable or
/// flag that names it. Blocks.
pub fn read_certificates(named: &'static str, path: &Path) -> Result<Vec<u8>, TlsFileError> {
    let file = TlsFile::new(named, path);
    file.certificates()?;
    file.read()
}

/// A file, and what names it.
#[derive(Debug, Clone)]
pub(super) struct TlsFile {
    pub(super) named: &'static str,
    pub(super) path: PathBuf,
}

impl TlsFile {
    pub(super) fn new(named: &'static str, path: &Path) -> Self {
        Self { named, path: path.to_owned() }
    }

    pub(super) fn error(&self, reason: impl Into<String>) -> TlsFileError {
        TlsFileError { named: self.named, path: self.path.clone(), reason: reason.into() }
    }

    /// All certificates in it, at least one. Blocks.
    pub(super) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
        let bytes = self.read()?;
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
        let certificates = certificates.map_err(|error| self.broken(&error))?;
        if certificates.is_empty() {
            return Err(self.error(
                "there is no certificate in it; it must have some in PEM form (-----BEGIN CERTIFICATE-----)",
            ));
        }
        Ok(certificates)
    }

    /// The first private key in it. Blocks.
    pub(super) fn key(&self) -> Result<PrivateKeyDer<'static>, TlsFileError> {
        let bytes = self.read()?;
        let is_there = |text: &str| bytes.windows(text.len()).any(|part| part == text.as_bytes());
        if is_there("BEGIN ENCRYPTED PRIVATE KEY") || is_there("Proc-Type: 4,ENCRYPTED") {
            return Err(self.error(
                "the private key in it is encrypted; write it without a passphrase (openssl pkey -in it -out another) where only this server can read it",
            ));
        }
        PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| match error {
            PemError::NoItemsFound => self.error(
                "there is no private key in it; it must have one in PEM form (-----BEGIN PRIVATE KEY-----)",
            ),
            error => self.broken(&error),
        })
    }

    fn broken(&self, error: &PemError) -> TlsFileError {
        // Lines of the file are not shown: one may be of a key.
        let what = match error {
            PemError::MissingSectionEnd { .. } => "a section has no END line: is it whole?",
            PemError::Base64Decode(_) => "a section is no base64",
            _ => "it is not in PEM form",
        };
        self.error(format!("{what} Write it again"))
    }

    fn read(&self) -> Result<Vec<u8>, TlsFileError> {
        let read = || {
            let bytes = fs::metadata(&self.path)?.len();
            if bytes > FILE_BYTES_MAX {
                let text = format!("it has more than {FILE_BYTES_MAX} bytes");
                return Err(std::io::Error::other(text));
            }
            fs::read(&self.path)
        };
        read().map_err(|error| {
            self.error(format!(
                "it cannot be read: {error}; name a file that is there and that this user may read"
            ))
        })
    }
}
