//! Settings to who is let in, and the keys that commands sign tokens with.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;

use super::engines::redis_server;
use crate::chat::Access;
use crate::client::{Credentials, TokenMaker, trust};
use crate::config::{
    AuthenticationConfig, Config, KeySource, RegistryEngine, SigningConfig, Sources, VariableArgs,
};
use crate::identity::{Grant, Signer, Verifier};
use crate::model::{TokenId, UserName};
use crate::registry::revocations::Revocations;
use crate::registry::revocations::local::LocalRevocations;
use crate::registry::revocations::redis::{RedisRevocations, RedisSettings};

/// The file of a node that keeps its revocations itself, in CHATCTL_DATA_DIR.
const REVOCATIONS_FILE: &str = "revocations.jsonl";
/// How long the tokens of a run hold: longer than it.
const RUN: Duration = Duration::from_secs(24 * 3_600);

/// Reads the keys, if there are any, and finds where revocations are kept.
pub(super) async fn open_access(config: &Config) -> anyhow::Result<Access> {
    let verifier = match &config.authentication {
        AuthenticationConfig::Off { .. } => None,
        AuthenticationConfig::On(tokens) => {
            Some(Arc::new(Verifier::start((**tokens).clone()).await?))
        }
    };
    let revocations: Arc<dyn Revocations> = match (&config.registry, &verifier) {
        (RegistryEngine::Redis(redis), verifier) => {
            let (server, prefix) = (redis_server(redis)?, redis.prefix.clone());
            let kept = Access::kept(verifier.as_deref());
            let keeper = RedisRevocations::new(RedisSettings { server, prefix, kept });
            Arc::new(keeper.context("the REDIS registry cannot start")?)
        }
        (RegistryEngine::Local, Some(_)) => {
            Arc::new(LocalRevocations::file(config.data_dir.join(REVOCATIONS_FILE)))
        }
        (RegistryEngine::Local, None) => Arc::new(LocalRevocations::none()),
    };
    Ok(match verifier {
        Some(verifier) => Access::by_token(verifier, revocations),
        None => Access::open(revocations),
    })
}

/// Says what operators should know of it at the start.
pub(super) fn warn(config: &Config) {
    match &config.authentication {
        AuthenticationConfig::Off { .. } if !config.listen.ip().is_loopback() => tracing::warn!(
            listen = %config.listen,
            "there is no authentication (CHATCTL_INSECURE_NO_AUTH=yes): whoever reaches this address can be anybody"
        ),
        AuthenticationConfig::Off { .. } => {}
        AuthenticationConfig::On(tokens) => {
            if let KeySource::JwksUrl(url) = &tokens.keys
                && url.is_exposed()
            {
                tracing::warn!(%url, "the keys of tokens come over plain HTTP: whoever is on the way can put others in their place");
            }
        }
    }
}

/// What a key of ours signs, from the variables of a server: the issuer and the first audience.
pub(super) struct Signing {
    pub(super) config: SigningConfig,
    pub(super) signer: Option<Signer>,
}

impl Signing {
    /// With the key in a file, or else the secret that a server is told, if any.
    pub(super) async fn load(key: Option<&Path>) -> anyhow::Result<Self> {
        let sources = Sources::of_process(&VariableArgs::default())?;
        let config = SigningConfig::load(&sources)?;
        let signer = match (key, &config.secret) {
            (Some(path), _) => Some(Signer::of_file(path).await?),
            (None, Some(secret)) => Some(Signer::of_source(secret).await?),
            (None, None) => None,
        };
        Ok(Self { config, signer })
    }
}

/// What the tokens of a run's clients are signed with, where the servers want some.
#[derive(Debug, Args)]
pub(super) struct SigningArgs {
    /// Key that the clients' tokens are signed with, where the servers want some: a private key in PEM form, or a secret of HS256. Not
    /// given: the secret of CHATCTL_AUTH_SECRET_FILE or CHATCTL_AUTH_SECRET, if one is set, which servers of our own are told, too
    #[arg(long, value_name = "FILE", global = true)]
    token_key: Option<PathBuf>,
    /// Name of that key (kid)
    #[arg(long, value_name = "KID", global = true, requires = "token_key")]
    token_kid: Option<String>,
    /// Certificates in PEM form that the clients believe beside those that this system trusts (or SSL_CERT_FILE names): that of who
    /// issued a wss:// server's, or its own
    #[arg(long, value_name = "FILE", global = true)]
    tls_ca: Option<PathBuf>,
}

impl SigningArgs {
    /// What clients believe beside what the system trusts.
    pub(super) fn certificates(&self) -> Option<&Path> {
        self.tls_ca.as_deref()
    }
}

/// From now on the clients of this process believe the servers that they are told to, and show tokens, if there is a key to sign
/// them with.
pub(super) async fn sign_in_clients(args: &SigningArgs) -> anyhow::Result<()> {
    if let Some(file) = &args.tls_ca {
        trust(file).map_err(anyhow::Error::msg)?;
    }
    let Signing { config, signer } = Signing::load(args.token_key.as_deref()).await?;
    let Some(signer) = signer else { return Ok(()) };
    let grant = Grant {
        user: UserName::new("nobody")?,
        life: RUN,
        issuer: config.issuer,
        audience: config.audience,
        kid: args.token_kid.clone(),
        token_id: TokenId::generate(),
    };
    Credentials::make_tokens(TokenMaker { signer, grant });
    Ok(())
}
