//! Passwords: what they may be, how they are kept, and how one is compared.
