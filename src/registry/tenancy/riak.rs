//! The tenants of a bucket type of Riak: a [roll](super::roll) in one object.
//!
//! It keeps them apart also where a node lets several writers be the first (`conditional_put_mode`), which is where it matters most: what
//! two wrote at once are then siblings, and a reader has both.

use super::entry::Entry;
use super::lease::Lease;
use super::roll::{Failure, Roll, RollSettings, RollTenant};
use crate::riak_link::{Condition, Node, Place, Put, Version};

/// One node's place among the tenants of a bucket type.
pub type RiakTenancy = Lease<RollTenant<RiakRoll>>;

impl RiakTenancy {
    /// A node that has not asked yet. Tenants of another bucket type are not in the way.
    pub fn in_bucket_type(url: String, bucket_type: String, settings: RollSettings) -> Self {
        Self::new(RollTenant::new(RiakRoll { url, bucket_type }, settings))
    }
}

/// An object of a bucket type.
pub struct RiakRoll {
    url: String,
    bucket_type: String,
}

fn object() -> Place {
    Place { bucket: "store".to_owned(), key: "tenants".to_owned() }
}

impl Roll for RiakRoll {
    type Link = Node;
    type Version = Option<Version>;
    const IS_EXCLUSIVE: bool = false;
    const STORE: &'static str = "riak";

    fn address(&self) -> String {
        format!("RIAK_URL={}", self.url)
    }

    fn place(&self) -> String {
        format!("CHATCTL_RIAK_BUCKET_TYPE={}", self.bucket_type)
    }

    async fn dial(&self) -> Result<Node, Failure> {
        Ok(Node::new(&self.url, &self.bucket_type))
    }

    async fn read(&self, node: &Node) -> Result<(Option<Version>, Vec<Entry>), Failure> {
        let Some(found) = node.get(&object()).await? else { return Ok((None, Vec::new())) };
        let mut entries = Vec::new();
        for value in &found.values {
            entries.extend(serde_json::from_slice::<Vec<Entry>>(value)?);
        }
        Ok((Some(found.version), entries))
    }

    async fn write(
        &self,
        node: &Node,
        version: Option<Version>,
        entries: &[Entry],
    ) -> Result<bool, Failure> {
        let condition = version.as_ref().map_or(Condition::Absent, Condition::Unchanged);
        let written = node.put(&object(), serde_json::to_vec(entries)?.into(), condition).await?;
        Ok(written == Put::Stored)
    }
}
