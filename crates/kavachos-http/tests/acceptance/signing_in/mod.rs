//! People sign in: every method over real HTTP, its mail taken by a real SMTP server, and what those do not get who are
//! somebody else.

mod codes;
mod cookies;
mod email_password;
mod guests;
mod links;
mod passwords;
mod scene;
