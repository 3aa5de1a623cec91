//! People sign in: every method over real HTTP, its mail taken by a real SMTP server, and what those do not get who are
//! somebody else.

mod as_it_comes;
mod canaries;
mod canary_flows;
mod canary_pages;
mod change_email;
mod claims;
mod closed;
mod codes;
mod cookies;
mod email_password;
mod guess_runs;
mod guessing;
mod guests;
mod held_up;
mod hostile;
mod links;
mod lost_factors;
mod malformed;
mod not_me;
mod once;
mod passwords;
mod providers;
mod scene;
mod search;
mod second_factor;
mod security_page;
mod standards;
mod strangers;
mod tab;
mod taken_back;
mod taking_back;
mod told;
mod unreachable;
