//! What a run must be like for a fault to show.

/// The servers of a run, and what is done to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One server, with any engines.
    OneNode,
    /// Two servers on one store, the second of which is broken. LOCAL is a single node's, so it is not for LOCAL.
    TwoNodes,
    /// One server, and the service of its messages stops for a while. Only REDIS can be had for a run alone in a second, and LOCAL
    /// has no service.
    BrokenService,
}
