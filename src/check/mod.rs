//! The judge: drives a server with real clients, records what they saw, and decides.

pub mod checker;
pub mod drive;
pub mod history;
pub mod report;
pub mod verdict;
