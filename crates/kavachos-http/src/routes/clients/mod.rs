//! `/api/v1/clients`: OAuth clients.

pub(crate) mod create;
