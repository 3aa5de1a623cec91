//! Tokens against the vectors that every language passes, and against everything that can be done to their text.
//!
//! `testdata/vectors.json` is made here: `VECTORS=write cargo test -p kavachos-core --test token`.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::too_many_lines,
    unreachable_pub,
    reason = "a test may panic, has no outside, and its tables are as long as they are"
)]

mod attacks;
mod cases;
mod cases_of_leaves;
mod cases_of_proofs;
mod cases_of_roots;
mod listed;
mod naive;
mod scene;
mod texts;
mod vectors;
