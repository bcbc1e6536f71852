//! A certificate and its key, judged together.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{Error as TlsError, InconsistentKeys};

use super::file::{TlsFile, TlsFileError};
use super::provider;
use super::validity::Validity;
use crate::clock;

/// What a server shows.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) certified: Arc<CertifiedKey>,
    /// What operators should know of it.
    pub(super) warnings: Vec<String>,
    /// When it ends, s since 1970 UTC; `None`: nobody can tell.
    pub(super) not_after: Option<i64>,
}

impl Pair {
    /// Reads both files. Blocks.
    pub(super) fn read(certificate: &TlsFile, key: &TlsFile) -> Result<Self, TlsFileError> {
        let chain = certificate.certificates()?;
        let private = key.key()?;
        let validity = chain.first().and_then(|first| Validity::of(first));
        let certified = CertifiedKey::from_der(chain, private, &provider());
        let certified = certified.map_err(|error| match error {
            TlsError::InconsistentKeys(InconsistentKeys::KeyMismatch) => key.error(format!(
                "this key is not that of the first certificate in {}={}; both must be of one issue, and the server's own certificate the first",
                certificate.named,
                certificate.path.display()
            )),
            TlsError::InvalidCertificate(error) => certificate
                .error(format!("its first certificate is none for TLS ({error:?}); have another one issued")),
            error => key.error(format!("this key cannot be used ({error}); use an ECDSA, Ed25519 or RSA key")),
        })?;
        let mut warnings = Vec::new();
        let named = |file: &TlsFile| format!("{}={}", file.named, file.path.display());
        if let Some(wrong) = validity.and_then(out_of_time) {
            warnings.push(format!(
                "{}: the certificate {wrong}: it will be refused",
                named(certificate)
            ));
        }
        let is_readable = |mode: u32| mode & 0o004 != 0;
        if fs::metadata(&key.path).is_ok_and(|file| is_readable(file.permissions().mode())) {
            warnings.push(format!(
                "{}: everybody on this machine can read the private key; take that away (chmod o= it)",
                named(key)
            ));
        }
        let not_after = validity.map(|validity| validity.not_after);
        Ok(Self { certified: Arc::new(certified), warnings, not_after })
    }
}

/// Looks at a certificate and its key for a library that reads the files itself: what operators should know of them. Each file comes with
/// the variable that names it. Blocks.
pub fn check_pair(
    (cert_named, certificate): (&'static str, &Path),
    (key_named, key): (&'static str, &Path),
) -> Result<Vec<String>, TlsFileError> {
    let certificate = TlsFile::new(cert_named, certificate);
    Pair::read(&certificate, &TlsFile::new(key_named, key)).map(|pair| pair.warnings)
}

/// What is wrong with the time of a certificate, now.
fn out_of_time(validity: Validity) -> Option<String> {
    let now = i64::try_from(clock::unix_ms() / 1_000).unwrap_or(i64::MAX);
    let shown = |seconds| Timestamp::from_second(seconds).map_or(String::new(), |t| t.to_string());
    if now > validity.not_after {
        Some(format!("expired at {}", shown(validity.not_after)))
    } else if now < validity.not_before {
        Some(format!("holds only from {}", shown(validity.not_before)))
    } else {
        None
    }
}
