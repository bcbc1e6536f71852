//! Which certificates a client believes, and what it says of one that it does not.

use std::io;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::{CertificateError, ClientConfig, Error as TlsError, RootCertStore};

use super::file::TlsFile;
use super::provider;

/// Those that this system trusts (or what `SSL_CERT_FILE` names), and those of one more file.
#[derive(Debug, Clone)]
pub struct Trust {
    system: Vec<CertificateDer<'static>>,
    own: Vec<CertificateDer<'static>>,
}

impl Trust {
    /// Reads them. `own` is a file in PEM form, and the variable or flag that names it. The error is for people; there must be
    /// certificates in one of the two. Blocks.
    pub fn load(own: Option<(&'static str, &Path)>) -> Result<Self, String> {
        let own = match own {
            Some((named, path)) => TlsFile::new(named, path).certificates(),
            None => Ok(Vec::new()),
        };
        let own = own.map_err(|error| error.to_string())?;
        let found = rustls_native_certs::load_native_certs();
        if found.certs.is_empty() && own.is_empty() {
            let reason =
                found.errors.first().map_or_else(String::new, |error| format!(" ({error})"));
            return Err(format!(
                "this system has no certificates to trust{reason}; install ca-certificates or set SSL_CERT_FILE"
            ));
        }
        Ok(Self { system: found.certs, own })
    }

    /// The settings of connections that go by it.
    pub fn config(&self) -> Result<ClientConfig, String> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(self.system.iter().cloned());
        for certificate in &self.own {
            roots
                .add(certificate.clone())
                .map_err(|error| format!("a certificate to trust cannot be used: {error}"))?;
        }
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(config)
    }

    /// Those that can be used, in PEM form: for a library that would else look for the system's with each connection.
    pub fn pem(&self) -> Vec<u8> {
        let mut text = String::new();
        for certificate in self.system.iter().chain(&self.own) {
            if RootCertStore::empty().add(certificate.clone()).is_ok() {
                let base64 = STANDARD.encode(certificate);
                text +=
                    &format!("-----BEGIN CERTIFICATE-----\n{base64}\n-----END CERTIFICATE-----\n");
            }
        }
        text.into_bytes()
    }

    /// Puts TLS on connections.
    pub fn connector(&self) -> Result<TlsConnector, String> {
        Ok(TlsConnector::from(Arc::new(self.config()?)))
    }
}

/// Why a handshake as a client failed, and what to do. `trust_by` says how the user has another certificate believed.
pub fn explain(error: &io::Error, trust_by: &str) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>());
    match inner {
        Some(TlsError::InvalidCertificate(wrong)) => match wrong {
            CertificateError::UnknownIssuer => format!(
                "its certificate is issued by nobody whom this system trusts; name the certificate of its issuer by {trust_by}"
            ),
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                format!(
                    "its certificate is for another name ({wrong}); connect by a name that it is for"
                )
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                format!(
                    "its certificate has expired ({wrong}); have it renewed, and look at the clock of this machine"
                )
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                format!(
                    "its certificate does not hold yet ({wrong}); look at the clock of this machine"
                )
            }
            wrong => format!("its certificate is not accepted: {wrong}"),
        },
        Some(TlsError::InvalidMessage(_)) => {
            "it does not speak TLS; is it reached without it, or through a proxy?".to_owned()
        }
        Some(error) => format!("TLS: {error}"),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            "it ended the connection while TLS was set up; does it speak TLS?".to_owned()
        }
        None => format!("TLS: {error}"),
    }
}
