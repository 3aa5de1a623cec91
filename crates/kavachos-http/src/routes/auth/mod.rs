//! `/api/auth`: the caller's own sessions, and an account that is taken back. How one signs in is a matter of plugins.

mod delete_account;
mod export;
mod list;
mod not_me;
mod restore_email;
mod session;
mod sign_out;

use crate::operation::Operation;

pub(crate) fn operations() -> Vec<Operation> {
    vec![
        session::operation(),
        list::operation(),
        list::end::operation(),
        sign_out::operation(),
        not_me::operation(),
        restore_email::operation(),
        export::operation(),
        delete_account::operation(),
    ]
}
