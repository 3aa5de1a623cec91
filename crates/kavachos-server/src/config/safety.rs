//! Combinations of settings that no server may run with.

use kavachos::Loopback;

use super::Server;
use super::layer::{ConfigError, Layers};
use super::value::is_loopback;

/// Refuses settings under which credentials would travel in clear text, or anybody could say where they come from.
pub(super) fn check(server: &Server, layers: &Layers) -> Result<(), ConfigError> {
    let own = is_loopback(&server.issuer);
    if server.issuer.scheme_str() == Some("http") && !own {
        let message = "credentials would travel in clear text: use the https address at which people reach this server";
        return Err(layers.conflict("issuer", message));
    }
    if let Some(address) = server.listen.reachable()
        && own
    {
        let message = format!(
            "others can reach {address}, but the public address is `{}`: set `issuer` to the https address of the proxy \
             in front, or listen on 127.0.0.1",
            server.issuer
        );
        return Err(layers.conflict("listen", message));
    }
    if let Some(address) = server.listen.reachable()
        && server.loopback == Loopback::Allowed
    {
        let message = format!(
            "others can reach {address}, and could let this server call others of this machine: leave it out, or listen \
             on 127.0.0.1"
        );
        return Err(layers.conflict("fetch.loopback", message));
    }
    if server
        .trusted_proxies
        .iter()
        .any(|network| network.prefix_len() == 0)
    {
        let message =
            "this trusts every address, so that anybody could claim any: name your proxies";
        return Err(layers.conflict("trusted_proxies", message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::environment;
    use super::super::{Config, ConfigError};

    fn loaded(variables: &[(&str, &str)]) -> Result<(), ConfigError> {
        Config::load(&environment(variables), &[])
            .and_then(|config| config.server())
            .map(drop)
    }

    #[test]
    fn unsafe_settings_are_refused_and_their_safe_twins_are_not() {
        for (refused, accepted) in [
            (
                &[("KAVACH_ISSUER", "http://kavach.example.com")][..],
                &[("KAVACH_ISSUER", "https://kavach.example.com")][..],
            ),
            (
                &[("KAVACH_LISTEN", "0.0.0.0:3000")],
                &[
                    ("KAVACH_LISTEN", "0.0.0.0:3000"),
                    ("KAVACH_ISSUER", "https://kavach.example.com"),
                ],
            ),
            (
                &[
                    ("KAVACH_LISTEN", "0.0.0.0:3000"),
                    ("KAVACH_ISSUER", "https://kavach.example.com"),
                    ("KAVACH_FETCH_LOOPBACK", "allow"),
                ],
                &[("KAVACH_FETCH_LOOPBACK", "allow")],
            ),
            (
                &[("KAVACH_TRUSTED_PROXIES", "0.0.0.0/0")],
                &[("KAVACH_TRUSTED_PROXIES", "10.0.0.0/8")],
            ),
            (
                &[("KAVACH_TRUSTED_PROXIES", "::/0")],
                &[("KAVACH_ISSUER", "http://127.0.0.1:4000")],
            ),
        ] {
            assert!(loaded(refused).is_err(), "{refused:?}");
            assert_eq!(loaded(accepted), Ok(()), "{accepted:?}");
        }
    }
}
