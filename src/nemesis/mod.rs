//! Breaks things while clients work, by a schedule that a seed decides, and makes them whole again.
//!
//! [`schedule`] says what is done when; [`World`] does and undoes it; [`Nemesis`] is the one with the clock. Every act is a
//! line of the history. Whatever happens, [`World::heal`] can be called, and everything is whole after it.

mod kind;
mod proxy;
mod run;
mod schedule;
mod world;

pub use kind::Kind;
pub use proxy::{Direction, Passed, Proxy, Weather};
pub use run::{Nemesis, Note};
pub use schedule::{Act, Shape, What, schedule};
pub use world::{Link, World};
