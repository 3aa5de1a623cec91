//! The OpenAPI document: the committed one is that of the code, its parts fit together, and each answer that it declares
//! was given to a test.
//!
//! Cargo runs the tests of a package in the order of their names, so this runs after the suites of acceptance.

#[cfg(test)]
mod answers;
#[cfg(test)]
mod document;
