//! The tool server that a request names (RFC 8707).

use kavachos_core::tool_server::Audience;

use crate::refusal::{Code, Refusal};

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
