//! A second factor: codes of an authenticator app (RFC 6238), with backup codes on paper.
#![allow(
    dead_code,
    unused_imports,
    reason = "the routes follow with the one function that opens sessions"
)]

mod backup;
mod code;
mod enrolment;
