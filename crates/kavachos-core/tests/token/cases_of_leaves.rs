//! Vectors of leaves. Each that fails is one change away from one that passes.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use kavachos_core::revocation::HandleKind;
use kavachos_core::token::{Authority, Leaf};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::cases::Case;
use crate::scene::{
    ISSUER, NOW, Parts, TOOLS, authority, hop, key, leaf, life, mark, message, permissions,
    seconds, signed,
};

fn case(name: &str, token: impl Into<String>) -> Case {
    Case::new("leaf", name, token)
}

fn token() -> String {
    leaf().sign(&key("issuer")).unwrap()
}

fn parts() -> Parts {
    Parts::of(&token())
}

fn good(name: &str, leaf: &Leaf) -> Value {
    case(name, leaf.sign(&key("issuer")).unwrap()).passes()
}

fn of(authority: Authority) -> Leaf {
    Leaf {
        authority,
        ..leaf()
    }
}

fn chain_of(hops: usize) -> Leaf {
    of(Authority {
        chain: (0..hops).map(hop).collect(),
        max_depth: 7,
        ..authority()
    })
}

pub fn that_pass() -> Vec<Value> {
    let mut cases: Vec<Value> = (1..=8)
        .map(|hops| good(&format!("a chain of {hops}"), &chain_of(hops)))
        .collect();
    let es256 = leaf().sign(&key("issuerEs256")).unwrap();
    let open = |mut authority: Authority| {
        authority
            .chain
            .iter_mut()
            .for_each(|hop| hop.expires_at = None);
        authority
    };
    let keyless = |mut authority: Authority| {
        authority.chain.iter_mut().for_each(|hop| hop.key = None);
        authority
    };
    let third_party = Authority {
        subject: "pair_8Jx2mP0aQd".parse().unwrap(),
        marks: vec![mark(HandleKind::Grant, 0xa2)],
        reason: "audit_01jd6zc5g0e8srqv1pgs6wqr3h".to_owned(),
        ..authority()
    };
    let lives = |issued: i64, ends: i64| {
        let mut leaf = leaf();
        leaf.life.issued_at = seconds(issued);
        leaf.life.expires_at = seconds(ends);
        leaf
    };
    cases.extend([
        case("signed with ES256", es256).passes(),
        good("grants without an end", &of(open(authority()))),
        good("agents without keys", &of(keyless(authority()))),
        good("a third party's tool server", &of(third_party)),
        good(
            "an audience without a path",
            &Leaf {
                audience: "https://tools.example.com".parse().unwrap(),
                ..leaf()
            },
        ),
        good("the last second of its life", &lives(NOW - 60, NOW + 1)),
        good("an issuer 30 seconds ahead", &lives(NOW + 30, NOW + 60)),
        good("the longest life", &lives(NOW - 1, NOW + 599)),
        good("as long as its grant", &{
            let mut leaf = leaf();
            leaf.authority.chain[1].expires_at = Some(leaf.life.expires_at);
            leaf
        }),
        good("a later generation than the one that was killed", &leaf()),
    ]);
    // What is expected of the audience, and what was killed, where it is not the default.
    let at = |name: &str| {
        cases
            .iter()
            .position(|case| case["name"] == format!("leaf: {name}"))
            .unwrap()
    };
    let (audience, killed) = (
        at("an audience without a path"),
        at("a later generation than the one that was killed"),
    );
    cases[audience]["audience"] = json!("https://tools.example.com");
    cases[killed]["revoked"] = json!([
        killed_mark(HandleKind::Agent, 0x11, 1),
        killed_mark(HandleKind::Agent, 0x77, 9)
    ]);
    cases
}

fn killed_mark(kind: HandleKind, byte: u8, generation: u64) -> Value {
    json!({"kind": kind as u8, "handle": URL_SAFE_NO_PAD.encode([byte; 16]), "generation": generation})
}

pub fn that_are_no_token() -> Vec<Value> {
    let token = token();
    let (message_, signature) = token.rsplit_once('.').unwrap();
    let (header, claims) = message_.split_once('.').unwrap();
    let text = |part: &str| String::from_utf8(URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
    let (header_text, claims_text) = (text(header), text(claims));
    let doubled = claims_text.replacen('{', &format!("{{\"iss\":\"{ISSUER}\","), 1);
    let doubled_within =
        claims_text.replacen("\"resource\":", "\"resource\":\"*\",\"resource\":", 1);
    let loose = format!("{message_}.{}", loosened(signature));
    let mut long = parts();
    long.claims["rsn"] = "x".repeat(6_000).into();
    vec![
        case("nothing", "").fails("malformed"),
        case("no dots", "token").fails("malformed"),
        case("no signature", message_).fails("malformed"),
        case("an empty signature", format!("{message_}.")).fails("malformed"),
        case("a dot at the end", format!("{token}.")).fails("malformed"),
        case("dots alone", "..").fails("malformed"),
        case("padding", format!("{token}=")).fails("malformed"),
        case("a blank before it", format!(" {token}")).fails("malformed"),
        case(
            "a line end in it",
            format!("{header}\n.{claims}.{signature}"),
        )
        .fails("malformed"),
        case(
            "the other alphabet",
            format!("{message_}.{}", "+/".repeat(43)),
        )
        .fails("malformed"),
        case("bits behind the signature", loose).fails("malformed"),
        case(
            "a short signature",
            format!("{message_}.{}", &signature[..84]),
        )
        .fails("malformed"),
        case("a member twice", signed(&header_text, &doubled, "issuer")).fails("malformed"),
        case(
            "a member twice in a permission",
            signed(&header_text, &doubled_within, "issuer"),
        )
        .fails("malformed"),
        case(
            "`null` for a member that is left out",
            signed(
                &header_text,
                &claims_text.replacen('{', "{\"cnf\":null,", 1),
                "issuer",
            ),
        )
        .fails("malformed"),
        case(
            "more behind the claims",
            signed(&header_text, &format!("{claims_text}{{}}"), "issuer"),
        )
        .fails("malformed"),
        case(
            "claims in a list",
            signed(&header_text, &format!("[{claims_text}]"), "issuer"),
        )
        .fails("malformed"),
        case(
            "claims cut short",
            signed(&header_text, &claims_text[..200], "issuer"),
        )
        .fails("malformed"),
        case("longer than 8,000 bytes", long.signed("issuer")).fails("malformed"),
    ]
}

/// A base64url text whose last character has other bits behind the last byte.
fn loosened(text: &str) -> String {
    let (start, last) = text.split_at(text.len() - 1);
    let other = match last {
        "A" => "B",
        "Q" => "R",
        "g" => "h",
        _ => "x",
    };
    format!("{start}{other}")
}

pub fn with_another_header() -> Vec<Value> {
    let with = |name: &str, path: &str, value: Value| {
        case(name, parts().header(path, value).signed("issuer"))
    };
    let named =
        |name: &str, algorithm: &str| with(name, "/alg", json!(algorithm)).fails("alg_not_allowed");
    let mut cases = vec![
        with("no `kid`", "/kid", Value::Null).fails("malformed"),
        with(
            "a key in the header",
            "/jwk",
            key("stranger").public().to_jwk(),
        )
        .fails("malformed"),
        with(
            "a URL of keys in the header",
            "/jku",
            json!("https://evil.example/jwks"),
        )
        .fails("malformed"),
        with(
            "an extension that must be understood",
            "/crit",
            json!(["exp"]),
        )
        .fails("malformed"),
        with("a payload that is not encoded", "/b64", json!(false)).fails("malformed"),
        with("an `alg` that is no text", "/alg", json!(["EdDSA"])).fails("malformed"),
        with("no `alg`", "/alg", Value::Null).fails("malformed"),
        with("no `typ`", "/typ", Value::Null).fails("malformed"),
    ];
    for typ in [
        "JWT",
        "AT+JWT",
        "application/at+jwt",
        "kvr+jwt",
        "kvd+jwt",
        "kvs+jwt",
        "kvf+jwt",
        "dpop+jwt",
        "logout+jwt",
    ] {
        cases.push(with(&format!("of type `{typ}`"), "/typ", json!(typ)).fails("wrong_type"));
    }
    cases.extend([
        named("`alg` none", "none"),
        named("`alg` None", "None"),
        named("`alg` nOnE", "nOnE"),
        named("no text as `alg`", ""),
        named("`alg` RS256", "RS256"),
        named("`alg` PBES2", "PBES2-HS256+A128KW"),
        named("an Ed25519 key as ES256", "ES256"),
        named("`alg` Ed25519 in a leaf", "Ed25519"),
        case("an ES256 key as EdDSA", {
            let parts = parts().header("/kid", json!(key("issuerEs256").thumbprint()));
            parts.signed("issuerEs256")
        })
        .fails("alg_not_allowed"),
    ]);
    cases.extend(as_hmac_secrets());
    cases
}

/// The public key in all its forms as the secret of an HMAC (CVE-2022-29217 and its family).
fn as_hmac_secrets() -> Vec<Value> {
    let public = key("issuer").public().clone();
    let jwk = public.to_jwk();
    let raw = URL_SAFE_NO_PAD.decode(jwk["x"].as_str().unwrap()).unwrap();
    let mut der = vec![
        0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
    ];
    der.extend_from_slice(&raw);
    let pem = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        base64::engine::general_purpose::STANDARD.encode(&der)
    );
    let secrets = [
        ("bytes", raw),
        ("DER", der),
        ("PEM", pem.clone().into_bytes()),
        ("PEM behind a blank", format!(" {pem}").into_bytes()),
        ("JWK", jwk.to_string().into_bytes()),
    ];
    let header = parts().header("/alg", json!("HS256")).header.to_string();
    let message = message(&header, &parts().claims.to_string());
    let sign = |secret: &[u8]| {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
        mac.update(message.as_bytes());
        // Twice the 32 bytes: no length is wrong.
        let tag = mac.finalize().into_bytes();
        URL_SAFE_NO_PAD.encode([tag, tag].concat())
    };
    secrets
        .into_iter()
        .map(|(name, secret)| {
            let token = format!("{message}.{}", sign(&secret));
            case(&format!("HS256 with the public key as {name}"), token).fails("alg_not_allowed")
        })
        .collect()
}

pub fn with_another_signature() -> Vec<Value> {
    let by = |name: &str, kid: &str, signer: &str| {
        case(
            name,
            parts()
                .header("/kid", json!(key(kid).thumbprint()))
                .signed(signer),
        )
    };
    let other = Leaf {
        life: life(301),
        ..leaf()
    }
    .sign(&key("issuer"))
    .unwrap();
    let token = token();
    let (message, signature) = token.rsplit_once('.').unwrap();
    let (_, other_signature) = other.rsplit_once('.').unwrap();
    let es256 = leaf().sign(&key("issuerEs256")).unwrap();
    let (es256_message, _) = es256.rsplit_once('.').unwrap();
    let with = |message: &str, signature: &[u8; 64]| {
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    };
    let mut flipped: [u8; 64] = URL_SAFE_NO_PAD
        .decode(signature)
        .unwrap()
        .try_into()
        .unwrap();
    flipped[40] ^= 1;
    vec![
        by(
            "signed by a stranger under its own name",
            "stranger",
            "stranger",
        )
        .fails("unknown_key"),
        by("signed by the agent's key", "agent", "agent").fails("unknown_key"),
        case(
            "the name of no key",
            parts()
                .header("/kid", json!("A".repeat(43)))
                .signed("issuer"),
        )
        .fails("unknown_key"),
        by(
            "signed by a stranger in the issuer's name",
            "issuer",
            "stranger",
        )
        .fails("bad_signature"),
        case(
            "another token's signature",
            format!("{message}.{other_signature}"),
        )
        .fails("bad_signature"),
        case("one bit of the signature", with(message, &flipped)).fails("bad_signature"),
        case("a signature of zeros", with(message, &[0; 64])).fails("bad_signature"),
        case("an ES256 signature of zeros", with(es256_message, &[0; 64])).fails("bad_signature"),
        case(
            "an ES256 signature of large numbers",
            with(es256_message, &[0xff; 64]),
        )
        .fails("bad_signature"),
        case(
            "the other ES256 signature",
            with(es256_message, &high_s(&es256)),
        )
        .fails("bad_signature"),
        case(
            "a line end behind the claims",
            format!("{message}\n.{signature}"),
        )
        .fails("bad_signature"),
        case("claims changed after signing", {
            let changed = parts().claim("/sub", json!("user_01jd6zc5g0e8srqv1pgs6wqr3j"));
            let message =
                crate::scene::message(&changed.header.to_string(), &changed.claims.to_string());
            format!("{message}.{signature}")
        })
        .fails("bad_signature"),
    ]
}

/// The second signature that everyone can make of an ES256 signature: `s` is the order less `s`.
fn high_s(token: &str) -> [u8; 64] {
    use p256::ecdsa::Signature;
    let signature = URL_SAFE_NO_PAD
        .decode(token.rsplit_once('.').unwrap().1)
        .unwrap();
    let (r, s) = Signature::from_slice(&signature).unwrap().split_scalars();
    let high = Signature::from_scalars(r.to_bytes(), (-s).to_bytes()).unwrap();
    high.to_bytes().into()
}

pub fn with_other_claims() -> Vec<Value> {
    let with = |name: &str, path: &str, value: Value| {
        case(name, parts().claim(path, value).signed("issuer"))
    };
    let mut cases = Vec::new();
    for required in [
        "iss",
        "aud",
        "sub",
        "client_id",
        "act",
        "scope",
        "authorization_details",
        "dlg",
        "ep",
        "rvk",
        "rsn",
        "iat",
        "exp",
        "jti",
    ] {
        cases.push(
            with(
                &format!("no `{required}`"),
                &format!("/{required}"),
                Value::Null,
            )
            .fails("malformed"),
        );
    }
    for (name, path, value) in [
        ("a member that is not known", "/admin", json!(true)),
        (
            "an actor in a list",
            "/act",
            json!([crate::scene::agent(1), {"sub": crate::scene::agent(0)}]),
        ),
        (
            "a generation in a list",
            "/dlg/ch/0/agent",
            json!(["AQEBAQEBAQEBAQEBAQEBAQ", 1]),
        ),
        ("another issuer", "/iss", json!("https://auth.example.com/")),
        (
            "two audiences",
            "/aud",
            json!([TOOLS, "https://other.example"]),
        ),
        ("an audience that is no URL", "/aud", json!("tools")),
        ("a human without a name", "/sub", json!("")),
        (
            "an agent that is not the last of the chain",
            "/client_id",
            json!(crate::scene::agent(0)),
        ),
        (
            "an actor too many",
            "/act/act/act",
            json!({"sub": crate::scene::agent(5)}),
        ),
        ("an actor too few", "/act/act", Value::Null),
        ("more said of an actor", "/act/admin", json!(1)),
        (
            "a hop too many",
            "/dlg/ch/2",
            json!({"agent": {"h": "AAAAAAAAAAAAAAAAAAAAAA", "g": 1},
            "grant": {"h": "AAAAAAAAAAAAAAAAAAAAAA", "g": 1}}),
        ),
        ("a depth that is not the chain's", "/dlg/d", json!(2)),
        ("a handle of another length", "/rvk/0/h", json!("AAAA")),
        ("a kind of handle that is none", "/rvk/0/k", json!(7)),
        ("a handle twice", "/rvk/1", parts().claims["rvk"][0].clone()),
        ("a generation below zero", "/rvk/0/g", json!(-1)),
        ("no details", "/authorization_details", json!([])),
        (
            "details twice",
            "/authorization_details/1",
            parts().claims["authorization_details"][0].clone(),
        ),
        (
            "details of another type",
            "/authorization_details/0/type",
            json!("payment"),
        ),
        (
            "no permissions",
            "/authorization_details/0/permissions",
            json!([]),
        ),
        (
            "a constraint that is not known",
            "/authorization_details/0/permissions/0/constraints",
            json!({"never": 1}),
        ),
        (
            "a guard that is not known",
            "/authorization_details/0/guards",
            json!({"never": 1}),
        ),
        ("a root's reach", "/res", json!([TOOLS])),
        (
            "a key as a root has it",
            "/cnf",
            json!({"jwk": key("agent").public().to_jwk()}),
        ),
        ("bound to nothing", "/cnf", json!({})),
        ("bound to no thumbprint", "/cnf", json!({"jkt": "AAAA"})),
        ("a fraction of a second", "/iat", json!(1_795_255_190.5)),
        ("a time before 1970", "/iat", json!(-1)),
        ("a time as text", "/exp", json!("1795255490")),
        ("a time beyond all calendars", "/exp", json!(u64::MAX)),
        ("an end before its begin", "/exp", json!(NOW - 11)),
        ("a life of 601 seconds", "/exp", json!(NOW + 591)),
        (
            "scopes with two blanks",
            "/scope",
            json!("mcp:search:a  mcp:search:b"),
        ),
        ("a name that is no token's", "/jti", json!("one")),
    ] {
        cases.push(with(name, path, value).fails("malformed"));
    }
    let wide = |name: &str, scope: &str| with(name, "/scope", json!(scope)).fails("not_narrower");
    cases.extend([
        wide(
            "a scope that is not permitted",
            "mcp:search:* mcp:mail:send",
        ),
        wide("a wider scope", "mcp:*"),
        wide("every scope", "*"),
        with(
            "a scope with some actions only",
            "/authorization_details/0/permissions/0/actions",
            json!(["read"]),
        )
        .fails("not_narrower"),
        with(
            "a scope under a guard",
            "/authorization_details/0/guards",
            json!({"ipAllowlist": ["10.0.0.0/8"]}),
        )
        .fails("not_narrower"),
        with("deeper than it may be", "/dlg/m", json!(0)).fails("depth_exceeded"),
        with("a maximum above all maxima", "/dlg/m", json!(8)).fails("depth_exceeded"),
        with("a chain of nine", "/dlg", json!({"d": 8, "m": 8, "ch": []})).fails("depth_exceeded"),
        with("longer than its grant", "/dlg/ch/1/exp", json!(NOW + 289)).fails("outlives_parent"),
        with(
            "longer than the grant of the human",
            "/dlg/ch/0/exp",
            json!(NOW + 289),
        )
        .fails("outlives_parent"),
        with(
            "a grant longer than the one above it",
            "/dlg/ch/1/exp",
            json!(NOW + 3601),
        )
        .fails("outlives_parent"),
    ]);
    cases
}

pub fn at_another_time_or_place() -> Vec<Value> {
    let at = |name: &str, now: i64| case(name, token()).with("now", json!(now));
    let place = |name: &str, audience: &str| {
        case(name, token())
            .with("audience", json!(audience))
            .fails("audience_mismatch")
    };
    let killed = |name: &str, kind: HandleKind, byte: u8| {
        case(name, token())
            .with("revoked", json!([killed_mark(kind, byte, 2)]))
            .fails("revoked")
    };
    vec![
        at("the second in which it ends", NOW + 290).fails("expired"),
        at("an hour later", NOW + 3600).fails("expired"),
        at("in the year 9999", 253_402_300_000).fails("expired"),
        at("31 seconds before it was made", NOW - 41).fails("not_yet_valid"),
        at("an hour before", NOW - 3600).fails("not_yet_valid"),
        at("in 1970", 0).fails("not_yet_valid"),
        place("another tool server", "https://other.example.com/mcp"),
        place("a slash more", "https://tools.example.com/mcp/"),
        place("its host alone", "https://tools.example.com"),
        place("the issuer", ISSUER),
        killed("the human was revoked", HandleKind::User, 0xa0),
        killed("the session was ended", HandleKind::Session, 0xa1),
        killed("the root grant was narrowed", HandleKind::Grant, 0xa2),
        killed("the agent above was revoked", HandleKind::Agent, 0x01),
        killed("the grant above was revoked", HandleKind::Grant, 0x02),
        killed("the key above was rotated", HandleKind::Key, 0x03),
        killed("the agent was revoked", HandleKind::Agent, 0x11),
        killed("the grant was revoked", HandleKind::Grant, 0x12),
        killed("the key was rotated", HandleKind::Key, 0x13),
        case("of an earlier epoch", token())
            .with("epoch", json!(2))
            .fails("revoked"),
        case("of a later epoch", token())
            .with("epoch", json!(0))
            .fails("revocation_stale"),
        case("without news of revocations", token())
            .with("fresh", json!(false))
            .fails("revocation_stale"),
        case(
            "without news, signed with ES256",
            leaf().sign(&key("issuerEs256")).unwrap(),
        )
        .with("fresh", json!(false))
        .fails("revocation_stale"),
        // The order of the checks: what is wrong first is told.
        at("over, and for another", NOW + 3600)
            .with("audience", json!(ISSUER))
            .fails("expired"),
        case("for another, and revoked", token())
            .with("audience", json!(ISSUER))
            .with("epoch", json!(2))
            .fails("audience_mismatch"),
        case("without news, and revoked", token())
            .with("fresh", json!(false))
            .with("epoch", json!(2))
            .fails("revocation_stale"),
    ]
}

/// Tokens that hold, and what they say of a request.
pub fn that_are_asked() -> Vec<Value> {
    let ask = |action: &str, resource: &str| json!({"action": action, "resource": resource});
    let search = || ask("call", "mcp:search:web");
    let with = |name: &str, permission: Value, guards: Value, request: Value| {
        let mut authority = authority();
        authority.permissions = permissions(&json!([permission]));
        authority.guards = (!guards.is_null())
            .then(|| std::sync::Arc::new(serde_json::from_value(guards).unwrap()));
        let leaf = Leaf {
            scopes: Vec::new(),
            authority,
            ..leaf()
        };
        case(name, leaf.sign(&key("issuer")).unwrap()).with("ask", request)
    };
    let under = |constraints: Value| json!({"resource": "mcp:search:*", "actions": ["call"], "constraints": constraints});
    let free = || under(json!({}));
    let searching = |arguments: Value| {
        let mut request = search();
        request["arguments"] = arguments;
        request
    };
    let from = |ip: &str| {
        let mut request = search();
        request["ip"] = json!(ip);
        request
    };
    let local = || under(json!({"args": {"/path": {"prefix": "/srv"}}}));
    let inside = || under(json!({"ipAllowlist": ["10.0.0.0/8"]}));
    let morning = |end: &str| under(json!({"timeWindow": {"start": "08:00", "end": end}}));
    let approval = || json!({"requireApproval": true});
    vec![
        case("a request that it permits", token())
            .with("ask", search())
            .passes(),
        with("one action of one resource", free(), Value::Null, search()).passes(),
        with(
            "an argument that fits",
            local(),
            Value::Null,
            searching(json!({"path": "/srv/a"})),
        )
        .passes(),
        with(
            "an address that fits",
            inside(),
            Value::Null,
            from("10.1.2.3"),
        )
        .passes(),
        with(
            "a guard that fits",
            free(),
            json!({"ipAllowlist": ["10.0.0.0/8"]}),
            from("::ffff:10.1.2.3"),
        )
        .passes(),
        with("inside the window", morning("11:00"), Value::Null, search()).passes(),
        with(
            "another resource",
            free(),
            Value::Null,
            ask("call", "mcp:mail:send"),
        )
        .fails("insufficient_scope"),
        with(
            "the resource above",
            free(),
            Value::Null,
            ask("call", "mcp:search"),
        )
        .fails("insufficient_scope"),
        with(
            "another action",
            free(),
            Value::Null,
            ask("delete", "mcp:search:web"),
        )
        .fails("insufficient_scope"),
        with(
            "another argument",
            local(),
            Value::Null,
            searching(json!({"path": "/etc/passwd"})),
        )
        .fails("constraint_failed"),
        with("no argument", local(), Value::Null, search()).fails("constraint_failed"),
        with("another address", inside(), Value::Null, from("11.1.2.3")).fails("constraint_failed"),
        with("no address", inside(), Value::Null, search()).fails("constraint_failed"),
        with(
            "outside of the window",
            morning("09:00"),
            Value::Null,
            search(),
        )
        .fails("constraint_failed"),
        with(
            "a guard that does not fit",
            free(),
            json!({"ipAllowlist": ["10.0.0.0/8"]}),
            from("11.1.2.3"),
        )
        .fails("constraint_failed"),
        with(
            "a human is to approve",
            under(approval()),
            Value::Null,
            search(),
        )
        .fails("approval_required"),
        with("a guard has a human approve", free(), approval(), search())
            .fails("approval_required"),
        with(
            "a human is to approve in time",
            under(json!({"requireApproval": {"ttlSeconds": 60}})),
            Value::Null,
            search(),
        )
        .fails("approval_required"),
        with(
            "no calls at all",
            under(json!({"rate": {"limit": 0, "per": 60}})),
            Value::Null,
            search(),
        )
        .fails("rate_limited"),
        with(
            "a rate that nobody counts here",
            under(json!({"maxCallsPerHour": 5})),
            Value::Null,
            search(),
        )
        .fails("rate_limited"),
        with(
            "a budget that nobody counts here",
            under(json!({"budget": {"amount": 9, "unit": "calls"}})),
            Value::Null,
            search(),
        )
        .fails("rate_limited"),
        with(
            "a guard's rate",
            free(),
            json!({"maxCallsPerHour": 5}),
            search(),
        )
        .fails("rate_limited"),
    ]
}
