//! Combinations of settings that no server may run with.

use kavachos::{Loopback, SecondFactor};

use super::Server;
use super::layer::Layers;
use super::problem::Problem;
use super::value::is_loopback;

/// The methods that are a second factor, or two at once.
const FACTORS: [&str; 2] = ["totp", "passkey"];

/// Settings under which credentials would travel in clear text, or anybody could say where they come from.
struct Rule {
    /// The settings that it is about, first the one to blame. If one of them cannot be read, nothing is said.
    about: &'static [&'static str],
    /// Why a server would not be safe.
    broken: fn(&Server) -> Option<String>,
}

const RULES: [Rule; 6] = [
    Rule {
        about: &["issuer"],
        broken: clear_text,
    },
    Rule {
        about: &["listen", "issuer"],
        broken: unnamed,
    },
    Rule {
        about: &["fetch.loopback", "listen"],
        broken: lent,
    },
    Rule {
        about: &["fetch.ca_file", "issuer"],
        broken: believed,
    },
    Rule {
        about: &["trusted_proxies"],
        broken: gullible,
    },
    Rule {
        about: &["auth.second_factor", "auth.methods"],
        broken: shut,
    },
];

/// Everything that is not safe about a server, but for settings with problems of their own.
pub(super) fn check(server: &Server, layers: &Layers, known: &[Problem]) -> Vec<Problem> {
    let is_read = |key: &&str| !known.iter().any(|problem| problem.key == **key);
    let judged = RULES.iter().filter(|rule| rule.about.iter().all(&is_read));
    judged
        .filter_map(|rule| {
            let message = (rule.broken)(server)?;
            Some(layers.conflict(rule.about.first()?, message))
        })
        .collect()
}

fn clear_text(server: &Server) -> Option<String> {
    let unsafe_scheme = server.issuer.scheme_str() == Some("http") && !is_loopback(&server.issuer);
    unsafe_scheme.then(|| {
        "credentials would travel in clear text: use the https address at which people reach this server"
            .to_owned()
    })
}

fn unnamed(server: &Server) -> Option<String> {
    let address = server.listen.reachable()?;
    is_loopback(&server.issuer).then(|| {
        format!(
            "others can reach {address}, but the public address is `{}`: set `issuer` to the https address of the proxy \
             in front, or listen on 127.0.0.1",
            server.issuer
        )
    })
}

fn lent(server: &Server) -> Option<String> {
    let address = server.listen.reachable()?;
    (server.loopback == Loopback::Allowed).then(|| {
        format!(
            "others can reach {address}, and could let this server call others of this machine: leave it out, or listen \
             on 127.0.0.1"
        )
    })
}

fn believed(server: &Server) -> Option<String> {
    let is_public = server.fetch_ca_file.is_some() && !is_loopback(&server.issuer);
    is_public.then(|| {
        format!(
            "these authorities could speak for all that this server fetches, providers of humans too: leave it out but for \
             development, where `issuer` is this machine and not `{}`",
            server.issuer
        )
    })
}

fn gullible(server: &Server) -> Option<String> {
    let trusted = &server.trusted_proxies;
    let all = trusted.iter().any(|network| network.prefix_len() == 0);
    all.then(|| {
        "this trusts every address, so that anybody could claim any: name your proxies".to_owned()
    })
}

fn shut(server: &Server) -> Option<String> {
    let demanded = server.settings.second_factor != SecondFactor::Offered;
    let has_one = FACTORS.iter().any(|one| server.methods.on.contains(one));
    (demanded && !has_one).then(|| {
        "nobody could set up the second factor that is demanded: name `totp` or `passkey` in `auth.methods`"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::environment;
    use super::super::{Config, ConfigError};

    fn loaded(variables: &[(&str, &str)]) -> Result<(), ConfigError> {
        Config::gather(&environment(variables), &[])
            .server()
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
                &[
                    ("KAVACH_FETCH_CA_FILE", "authorities.pem"),
                    ("KAVACH_ISSUER", "https://kavach.example.com"),
                ],
                &[("KAVACH_FETCH_CA_FILE", "authorities.pem")],
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
