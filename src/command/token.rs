//! `chatctl token`: makes a token for a test.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;

use super::identity::Signing;
use super::{Exit, print_out};
use crate::harness::duration::parse as duration;
use crate::identity::Grant;
use crate::model::{TokenId, UserName};

/// Make a token for tests, and print it.
///
/// It is signed with --key, or else with the secret in CHATCTL_AUTH_SECRET or CHATCTL_AUTH_SECRET_FILE (environment or .env); issuer and
/// audience are those of CHATCTL_AUTH_ISSUER and CHATCTL_AUTH_AUDIENCE, so that a server with the same settings takes it.
#[derive(Debug, Args)]
pub struct TokenArgs {
    /// Whose it is
    #[arg(long, value_parser = user_name)]
    user: UserName,
    /// How long it holds
    #[arg(long, default_value = "1h", value_parser = duration)]
    ttl: Duration,
    /// File of a private key in PEM form (Ed25519 or RSA), or of a secret of HS256
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Name of the key, as it stands in a JSON Web Key Set
    #[arg(long)]
    kid: Option<String>,
    /// What tells it from others (jti), for `chatctl revoke --token-id`; a new one where it is not given
    #[arg(long, value_name = "ID", value_parser = token_id)]
    token_id: Option<TokenId>,
    /// Whom it is for (aud)
    #[arg(long, value_name = "NAME")]
    audience: Option<String>,
    /// Who issues it (iss)
    #[arg(long, value_name = "NAME")]
    issuer: Option<String>,
}

/// Prints the token, and nothing else.
pub async fn run(args: TokenArgs) -> anyhow::Result<Exit> {
    if args.ttl < Duration::from_secs(1) {
        bail!("--ttl: a token counts seconds; give 1s or more");
    }
    let Signing { config, signer } = Signing::load(args.key.as_deref()).await?;
    let signer = signer.context(
        "there is no key to sign with; give --key, or set CHATCTL_AUTH_SECRET_FILE or CHATCTL_AUTH_SECRET",
    )?;
    let grant = Grant {
        user: args.user,
        life: args.ttl,
        issuer: args.issuer.or(config.issuer),
        audience: args.audience.or(config.audience),
        kid: args.kid,
        token_id: args.token_id.unwrap_or_else(TokenId::generate),
    };
    print_out(&format!("{}\n", signer.sign(&grant)?.expose()))?;
    Ok(Exit::Pass)
}

pub(super) fn user_name(text: &str) -> Result<UserName, String> {
    UserName::new(text).map_err(|error| error.to_string())
}

pub(super) fn token_id(text: &str) -> Result<TokenId, String> {
    TokenId::new(text).map_err(|error| error.to_string())
}
