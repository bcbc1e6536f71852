//! Whose certificates clients of this process believe.

use std::path::Path;
use std::sync::OnceLock;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::{Address, ClientError};
use crate::tls::{Stream, Trust, explain};

/// The flag of the commands that have clients.
const FLAG: &str = "--tls-ca";

static OF_PROCESS: OnceLock<Result<TlsConnector, String>> = OnceLock::new();

/// From now on clients of this process believe the certificates in `file`, too, beside those that the system trusts. The first call
/// counts. The error names the file and what is wrong with it. Blocks.
pub fn trust(file: &Path) -> Result<(), String> {
    let _ = OF_PROCESS.set(Ok(Trust::load(Some((FLAG, file)))?.connector()?));
    Ok(())
}

/// Puts TLS on a connection where the address says so.
pub(super) async fn secure(address: &Address, stream: TcpStream) -> Result<Stream, ClientError> {
    let Some(name) = address.tls_name() else { return Ok(Stream::Plain(stream)) };
    let failed = |reason: String| ClientError::Tls { address: address.to_string(), reason };
    let connector = OF_PROCESS.get_or_init(|| Trust::load(None)?.connector());
    let connector = connector.as_ref().map_err(|reason| failed(reason.clone()))?;
    let name = ServerName::try_from(name.to_owned());
    let name = name.map_err(|_| failed("its host is no name for TLS".to_owned()))?;
    // Boxed: it is large, and over soon.
    match Box::pin(connector.connect(name, stream)).await {
        Ok(stream) => Ok(Stream::tls(stream)),
        Err(error) => Err(failed(explain(&error, FLAG))),
    }
}
