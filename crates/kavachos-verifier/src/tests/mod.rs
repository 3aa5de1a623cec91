//! Tests of the whole: an issuer in memory, and a clock that stands still until it is moved.

mod adversity;
mod asking;
mod build;
mod cached;
mod following;
mod issuer;
mod layer;
mod network;
mod proofs;
mod rooted;
mod scene;
mod tools;
mod vectors;
mod waiting;
