//! The cases that every executor must pass.
