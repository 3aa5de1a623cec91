//! Passkeys: keys of a device that sign in alone (Web Authentication, Level 3).
#![allow(
    dead_code,
    unused_imports,
    reason = "the routes follow with the one function that opens sessions"
)]

mod webauthn;
