//! KavachOS.
