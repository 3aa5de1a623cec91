//! `/api/auth`: the caller's own session. How one signs in is a matter of plugins.

mod list;
mod session;
mod sign_out;

use crate::operation::Operation;

pub(crate) fn operations() -> Vec<Operation> {
    vec![
        session::operation(),
        list::operation(),
        list::end::operation(),
        sign_out::operation(),
    ]
}
