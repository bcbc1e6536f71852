//! Where everybody of the workload connects, and by what names.

use std::time::Duration;

use crate::bench::error::BenchError;
use crate::bench::filling::user;
use crate::client::Address;
use crate::model::UserName;

/// What all parts of a step have in common.
#[derive(Debug, Clone, Copy)]
pub struct Desk<'a> {
    /// The servers, at least one.
    pub addresses: &'a [Address],
    /// What user names begin with.
    pub user_prefix: &'a str,
    /// Bytes of each message's content.
    pub size_bytes: usize,
    /// Decides contents and random times.
    pub seed: u64,
    /// How long one client may take to connect.
    pub connect_timeout: Duration,
    /// How long a delivery may take.
    pub delivery_wait: Duration,
}

impl Desk<'_> {
    /// Where writers are.
    pub fn first(&self) -> &Address {
        &self.addresses[0]
    }

    /// Where readers are: with several servers another one.
    pub fn last(&self) -> &Address {
        &self.addresses[self.addresses.len() - 1]
    }

    /// One of its users.
    pub fn user(&self, suffix: &str) -> Result<UserName, BenchError> {
        user(self.user_prefix, suffix)
    }
}
