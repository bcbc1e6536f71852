//! The engine against nodes that fail, on real nodes of our own.
