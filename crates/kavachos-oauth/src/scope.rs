//! What a request asks for with `scope` (RFC 6749, section 3.3).

use crate::form::Form;
use crate::refusal::{Code, Refusal};

/// The most scopes of one request.
pub(crate) const MAX_SCOPES: usize = 100;
/// The longest list of them.
const MAX_SCOPE_BYTES: usize = 8 * 1024;
/// A scope of the protocol, which is let be: whether there are refresh tokens is a matter of the client's grants.
const OFFLINE: &str = "offline_access";

/// Refuses what an exchange alone reads: whoever was let go on without it would get more than they asked for (RFC 9396, section
/// 5).
///
/// # Errors
/// [`Code::InvalidAuthorizationDetails`].
pub(crate) fn refuse_details(form: &mut Form) -> Result<(), Refusal> {
    match form.take("authorization_details") {
        None => Ok(()),
        Some(_) => Err(Refusal::new(
            Code::InvalidAuthorizationDetails,
            "`authorization_details` are taken in a token exchange alone: ask with `scope`",
        )),
    }
}

/// The scopes that name resources; `None` for none.
///
/// # Errors
/// [`Code::InvalidScope`] for too many; those of [`refuse_details`].
pub(crate) fn scopes(form: &mut Form) -> Result<Option<Vec<String>>, Refusal> {
    refuse_details(form)?;
    let Some(text) = form.take("scope") else {
        return Ok(None);
    };
    if text.len() > MAX_SCOPE_BYTES {
        let message = format!("`scope` is longer than {MAX_SCOPE_BYTES} bytes");
        return Err(Refusal::new(Code::InvalidScope, message));
    }
    let names: Vec<String> = text
        .split(' ')
        .filter(|name| !name.is_empty() && *name != OFFLINE)
        .map(str::to_owned)
        .collect();
    if names.len() > MAX_SCOPES {
        let message = format!("a request names at most {MAX_SCOPES} scopes");
        return Err(Refusal::new(Code::InvalidScope, message));
    }
    Ok(Some(names).filter(|names| !names.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<Option<Vec<String>>, Code> {
        let mut form = Form::read(body.as_bytes()).ok().unwrap();
        scopes(&mut form).map_err(|refusal| refusal.code())
    }

    #[test]
    fn names_are_those_of_resources_and_not_without_end() {
        let names = Some(vec!["a".to_owned(), "b".to_owned()]);
        assert_eq!(read("scope=a++offline_access+b"), Ok(names));
        for none in ["", "scope=", "scope=offline_access", "scope=+"] {
            assert_eq!(read(none), Ok(None), "{none}");
        }
        let many = |count: usize| format!("scope={}", vec!["a"; count].join("+"));
        assert!(read(&many(MAX_SCOPES)).is_ok());
        assert_eq!(read(&many(MAX_SCOPES + 1)), Err(Code::InvalidScope));
        let long = |bytes: usize| format!("scope={}", "a".repeat(bytes));
        assert!(read(&long(MAX_SCOPE_BYTES)).is_ok());
        assert_eq!(read(&long(MAX_SCOPE_BYTES + 1)), Err(Code::InvalidScope));
        let details = read("scope=a&authorization_details=[]");
        assert_eq!(details, Err(Code::InvalidAuthorizationDetails));
    }
}
