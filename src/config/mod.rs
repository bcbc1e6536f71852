//! What a server can be told: one table of variables, and what becomes of it.
//!
//! [`VARIABLES`] feeds the parser, the flags and `--help` of `serve`, and `.env.example`. Flags
//! override the environment, the environment overrides `.env`, `.env` overrides defaults. Nothing
//! outside this folder reads the environment.

mod args;
mod dotenv_file;
mod env_example;
mod error;
mod folders;
mod identity;
mod judged;
mod jwks_url;
mod kafka_access;
mod limits_table;
mod load;
mod origin;
mod redis_place;
mod redis_sentinels;
mod redis_url;
mod secret;
mod services;
mod shown;
mod sources;
mod values;
mod variable;
mod variables;

pub use args::VariableArgs;
pub use dotenv_file::{DotenvMerge, DotenvMergeError, KeptPlace, KeptVariable};
pub use env_example::env_example;
pub use error::ConfigError;
pub use folders::{cache_folder, java_home, search_path, socketio_client, state_folder};
pub use identity::{
    AuthenticationConfig, KeySource, SECRET_BYTES_MIN, SigningConfig, TokenAlgorithm,
    TokenAlgorithmError, TokenConfig,
};
pub use judged::Judged;
pub use jwks_url::{JwksUrl, JwksUrlError};
pub use kafka_access::{KafkaAccess, KafkaLogin};
pub use limits_table::limits_table;
pub use origin::{Authority, Origin};
pub use redis_place::RedisPlace;
pub use redis_sentinels::RedisSentinels;
pub use redis_url::{RedisUrl, RedisUrlError};
pub use secret::Secret;
pub use services::{ServiceTls, ServicesConfig};
pub use shown::Shown;
pub use sources::{Source, Sources, no_colour, unknown_variable};
pub use values::{
    CassandraConfig, Config, DistributionEngine, KafkaConfig, LocalConfig, LocalSync, LogFormat,
    PersistenceEngine, RedisConfig, RegistryEngine, RiakConfig, TlsConfig,
};
pub use variable::{Kind, Variable};
pub use variables::VARIABLES;
