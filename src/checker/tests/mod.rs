//! Hand-written histories that must trip, and ones close to them that must not; random correct
//! histories, and what is left of them after a mutation.

mod logs;
mod nodes;
mod opens;
mod random;
mod reading;
mod scale;
mod second_judge;
mod simulated;
mod story;
mod streams;
