//! `chatctl revoke`: takes a user's access away, or one token's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::bail;
use clap::Args;

use super::token::{token_id, user_name};
use super::{Exit, print_out};
use crate::config::{Config, Sources, VariableArgs};
use crate::harness::revoke;
use crate::model::{Revoked, TokenId, UserName};

/// Take a user's access away, or one token's: on every node within two seconds.
///
/// What was issued so far is refused, and sessions are closed. It asks one node, at CHATCTL_ADMIN_LISTEN or --admin, with CHATCTL_ADMIN_TOKEN where that is set.
#[derive(Debug, Args)]
pub struct RevokeArgs {
    /// All tokens of a user that were issued up to now; where authentication is off, only the sessions are closed
    #[arg(long, value_name = "NAME", value_parser = user_name, required_unless_present = "token_id", conflicts_with = "token_id")]
    user: Option<UserName>,
    /// One token, by its jti
    #[arg(long, value_name = "JTI", value_parser = token_id)]
    token_id: Option<TokenId>,
    /// Admin listener of a node; not given: CHATCTL_ADMIN_LISTEN
    #[arg(long, value_name = "HOST:PORT")]
    admin: Option<String>,
}

/// Prints the node's answer, one line of JSON.
pub async fn run(args: RevokeArgs) -> anyhow::Result<Exit> {
    let revoked = match (args.user, args.token_id) {
        (Some(user), _) => Revoked::User(user),
        (None, Some(id)) => Revoked::TokenId(id),
        (None, None) => bail!("give --user or --token-id"),
    };
    let sources = Sources::of_process(&VariableArgs::default())?;
    let (listen, token) = Config::admin(&sources)?;
    let admin = args.admin.unwrap_or_else(|| {
        // What listens everywhere is reached here, too.
        let ip = match listen.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        std::net::SocketAddr::new(ip, listen.port()).to_string()
    });
    let answer = revoke(&admin, &revoked, token.as_ref().map(|token| token.expose())).await?;
    print_out(&format!("{}\n", answer.trim()))?;
    Ok(Exit::Pass)
}
