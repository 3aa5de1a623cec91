//! The tool servers that a request names (RFC 8707).

use kavachos_core::tool_server::Audience;

use crate::form::Form;
use crate::refusal::{Code, Refusal};

/// Those that are named, each once.
///
/// # Errors
/// [`Code::InvalidTarget`] for what is none.
pub(crate) fn audiences(form: &mut Form) -> Result<Vec<Audience>, Refusal> {
    let mut audiences = Vec::new();
    for text in form.take_all("resource") {
        let audience = resource(&text)?;
        if !audiences.contains(&audience) {
            audiences.push(audience);
        }
    }
    Ok(audiences)
}

/// The only one, where one is named.
///
/// # Errors
/// [`Code::InvalidTarget`] for several, and for what is none.
pub(crate) fn audience(form: &mut Form) -> Result<Option<Audience>, Refusal> {
    let mut named = audiences(form)?;
    match named.len() {
        0 | 1 => Ok(named.pop()),
        _ => Err(Refusal::new(
            Code::InvalidTarget,
            "a token is for one tool server: ask for one token after the other",
        )),
    }
}

/// The tool server of this address. Scheme and host may stand in capital letters, as addresses may.
///
/// # Errors
/// [`Code::InvalidTarget`]: it is none.
pub(crate) fn resource(text: &str) -> Result<Audience, Refusal> {
    let plain = match text.split_once("://") {
        Some((scheme, rest)) => {
            let end = rest.find('/').unwrap_or(rest.len());
            let (host, path) = rest.split_at(end);
            format!(
                "{}://{}{path}",
                scheme.to_ascii_lowercase(),
                host.to_ascii_lowercase()
            )
        }
        None => text.to_owned(),
    };
    let audience = plain.parse::<Audience>();
    audience.map_err(|error| Refusal::new(Code::InvalidTarget, error.message()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scheme_and_host_are_read_in_small_letters() {
        let read = |text: &str| resource(text).map(|audience| audience.to_string());
        assert_eq!(
            read("HTTPS://Tools.Example.com/MCP").unwrap(),
            "https://tools.example.com/MCP"
        );
        for wrong in [
            "",
            "tools.example.com",
            "https://a.example/x#y",
            "https://a.example/x?y",
            "urn:x",
        ] {
            assert_eq!(
                read(wrong).unwrap_err().code(),
                Code::InvalidTarget,
                "{wrong}"
            );
        }
    }
}
