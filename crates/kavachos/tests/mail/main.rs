//! Mail, as services are asked to send it.

#[cfg(feature = "mail")]
#[cfg(test)]
mod services;
