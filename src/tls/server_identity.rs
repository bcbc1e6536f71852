//! The certificate that this server shows, and how it follows its files.

use std::convert::Infallible;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs::Ticketer;
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;

use super::file::{TlsFile, TlsFileError};
use super::pair::Pair;
use super::provider;
use crate::file_stamp::FileStamp;

/// How often it is looked whether the files have changed.
const BEAT: Duration = Duration::from_secs(1);
/// What is spoken inside (RFC 7301): a WebSocket begins as HTTP/1.1.
const ALPN: &[u8] = b"http/1.1";

/// A certificate and its key in two files, read again when these change. Connections that are there keep what they were shown.
#[derive(Debug)]
pub struct ServerIdentity {
    certificate: TlsFile,
    key: TlsFile,
    shown: RwLock<Arc<CertifiedKey>>,
    warnings: Vec<String>,
    /// Of the files when they were judged last.
    judged: Mutex<Stamps>,
}

/// Of the certificate and of the key.
type Stamps = [Option<FileStamp>; 2];

impl ServerIdentity {
    /// Reads the files that CHATCTL_TLS_CERT and CHATCTL_TLS_KEY name for the first time.
    pub async fn load(certificate: &Path, key: &Path) -> Result<Arc<Self>, TlsFileError> {
        let certificate = TlsFile::new("CHATCTL_TLS_CERT", certificate);
        let key = TlsFile::new("CHATCTL_TLS_KEY", key);
        let stamps = stamps(&certificate, &key).await;
        let pair = read(&certificate, &key).await?;
        publish_end(&pair);
        Ok(Arc::new(Self {
            certificate,
            key,
            shown: RwLock::new(pair.certified),
            warnings: pair.warnings,
            judged: Mutex::new(stamps),
        }))
    }

    /// What operators should know of the files at the start.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Takes TLS off connections. The error is one of the cryptography, not of the files.
    pub fn acceptor(self: &Arc<Self>) -> Result<TlsAcceptor, String> {
        let said = |error: tokio_rustls::rustls::Error| format!("TLS cannot be set up: {error}");
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(said)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::<Self>::clone(self) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![ALPN.to_vec()];
        // A client that comes back brings its session along, so that nothing of those who left is kept here, and a fleet that
        // connects again costs no signatures. The key of tickets is changed twice a day, and known to nobody else.
        config.ticketer = Ticketer::new().map_err(said)?;
        config.send_tls13_tickets = 1;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Follows the files for ever. A pair is taken when it has not changed for a beat, so that two files that are written one after the
    /// other are judged together, and only if it is whole; else the one before is kept, and that is said once.
    pub async fn follow(&self) -> Infallible {
        let mut seen = *self.judged.lock().await;
        loop {
            sleep(BEAT).await;
            let now = stamps(&self.certificate, &self.key).await;
            let is_steady = now == seen;
            seen = now;
            let mut judged = self.judged.lock().await;
            if is_steady && now != *judged {
                *judged = now;
                self.judge().await;
            }
        }
    }

    async fn judge(&self) {
        match read(&self.certificate, &self.key).await {
            Ok(pair) => {
                publish_end(&pair);
                *self.shown.write().unwrap_or_else(PoisonError::into_inner) = pair.certified;
                metrics::counter!("chatctl_tls_reloads_total").increment(1);
                tracing::info!(certificate = %self.certificate.path.display(), "new connections are shown the certificate that is there now");
                for warning in pair.warnings {
                    tracing::warn!("{warning}");
                }
            }
            Err(error) => {
                metrics::counter!("chatctl_tls_reloads_failed_total").increment(1);
                tracing::warn!(%error, "the certificate is not taken; the one before is kept");
            }
        }
    }
}

impl ResolvesServerCert for ServerIdentity {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.shown.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

async fn stamps(certificate: &TlsFile, key: &TlsFile) -> Stamps {
    [FileStamp::of(&certificate.path).await, FileStamp::of(&key.path).await]
}

async fn read(certificate: &TlsFile, key: &TlsFile) -> Result<Pair, TlsFileError> {
    let (files, unread) = ((certificate.clone(), key.clone()), certificate.clone());
    let read = spawn_blocking(move || Pair::read(&files.0, &files.1)).await;
    read.unwrap_or_else(|error| Err(unread.error(format!("it was not read: {error}"))))
}

/// For alarms before a certificate ends.
fn publish_end(pair: &Pair) {
    if let Some(not_after) = pair.not_after {
        metrics::gauge!("chatctl_tls_certificate_expires_seconds").set(not_after as f64);
    }
}
