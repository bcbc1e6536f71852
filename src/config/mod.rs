//! What a server can be told: one table of variables, and what becomes of it.
//!
//! [`VARIABLES`] feeds the parser, the flags and `--help` of `serve`, and `.env.example`. Flags
//! override the environment, the environment overrides `.env`, `.env` overrides defaults. Nothing
//! outside this folder reads the environment.

mod args;
mod env_example;
mod error;
mod load;
mod nearest;
mod origin;
mod sources;
mod values;
mod variables;

pub use args::VariableArgs;
pub use env_example::env_example;
pub use error::ConfigError;
pub use origin::{Authority, Origin};
pub use sources::{Source, Sources};
pub use values::{
    Config, DistributionEngine, LocalConfig, LocalSync, LogFormat, PersistenceEngine, RedisConfig,
    RegistryEngine,
};
pub use variables::{Kind, VARIABLES, Variable};
