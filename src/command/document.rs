//! The documents in `docs/` that are made from the code, for `make documents` and its tests.

use clap::ValueEnum;

use crate::config::limits_table;
use crate::documents::{asyncapi, codes, frames_schema};
use crate::server;

/// A document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Document {
    /// `docs/frames.schema.json`
    Frames,
    /// `docs/asyncapi.json`
    Asyncapi,
    /// `docs/openapi.json`
    Openapi,
    /// `docs/openapi-admin.json`
    OpenapiAdmin,
    /// `docs/errors.md`
    Errors,
    /// `docs/limits.md`
    Limits,
    /// `docs/metrics.md`
    Metrics,
}

impl Document {
    /// Its text.
    pub fn text(self) -> serde_json::Result<String> {
        match self {
            Self::Frames => frames_schema(),
            Self::Asyncapi => asyncapi(),
            Self::Openapi => server::openapi(),
            Self::OpenapiAdmin => server::openapi_admin(),
            Self::Errors => Ok(codes()),
            Self::Limits => Ok(limits_table()),
            Self::Metrics => Ok(server::metrics_table()),
        }
    }
}
