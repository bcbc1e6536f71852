//! Certificates: the one that a server shows, and those that a client believes. Everything speaks TLS 1.2 and 1.3 by rustls over aws-lc.

mod file;
mod pair;
mod server_identity;
mod stream;
mod trust;
mod validity;

pub use file::{TlsFileError, read_certificates};
pub use pair::check_pair;
pub use server_identity::ServerIdentity;
pub use stream::{ReadHalf, Stream, WriteHalf};
pub use trust::{Trust, explain};

use std::sync::Arc;

use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};

/// The cryptography of every TLS connection. Named each time: the library's default would be whatever some crate set first.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}
