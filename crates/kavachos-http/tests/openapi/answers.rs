//! Every answer that the document declares is given to some test of the suites of acceptance, or stands here with the
//! reason why none of them gets it. So the document promises no answer that never comes.

use std::collections::BTreeSet;
use std::io::Write;

use kavachos_test::{Declared, contract};

/// Codes that no case of acceptance provokes at each operation that declares them, and where they are tested.
const ELSEWHERE: [(&str, &str); 9] = [
    (
        "internal",
        "a defect of ours; `a_panic_is_a_500` of the pages is the one test that has a handler for it",
    ),
    (
        "busy",
        "needs a full queue: `stress` of the facade, and `writer` of the store",
    ),
    (
        "ledger_unavailable",
        "needs a broken disk: `full_disk` of the server, `failures` of the facade",
    ),
    (
        "provider_unavailable",
        "read in one place for all who call with a provider's token: one operation shows it",
    ),
    (
        "second_factor_required",
        "judged in one place for all who call with a session: `demanded_factor` shows it at every operation, where methods of signing in have routes besides",
    ),
    (
        "outcome_unknown",
        "needs a lost connection: `failures` of the facade, `overdue` of the server",
    ),
    (
        "request_timeout",
        "needs two minutes, or another clock: `overdue` of the server",
    ),
    (
        "too_large",
        "read in one place for all bodies: one operation shows it",
    ),
    (
        "too_many_requests",
        "counted in one place for all agents: `flood` shows it at some",
    ),
];

/// Operations in the words of OAuth whose defects and outages no case provokes: they are told in one place for all.
const IN_OAUTH: [&str; 9] = [
    "authorizeDevice",
    "pushAuthorizationRequest",
    "exchangeToken",
    "introspectToken",
    "revokeToken",
    "registerClient",
    "showRegisteredClient",
    "changeRegisteredClient",
    "removeRegisteredClient",
];
/// Those of their answers. That the token endpoint gets two of them besides, `exchange` shows.
const TOLD_ONCE: [(u16, &str); 5] = [
    (408, "invalid_request"),
    (413, "invalid_request"),
    (429, "temporarily_unavailable"),
    (500, "server_error"),
    (503, "temporarily_unavailable"),
];

/// Why an answer to a link that was mailed does not come.
const MAILED: &str = "takes a mailed link: `signing_in::not_me` and `signing_in::taking_back` follow it, where methods of signing in have routes besides";

/// Single answers that no case gets, each with its reason.
const ALONE: &[(&str, u16, &str, &str)] = &[
    ("revokeAgent", 409, "conflict", CONTENTION),
    ("revokeDelegation", 409, "conflict", CONTENTION),
    ("revokeKey", 409, "conflict", CONTENTION),
    ("revokeResource", 409, "conflict", CONTENTION),
    ("revokeConnection", 409, "conflict", CONTENTION),
    ("revokeConnectionLine", 409, "conflict", CONTENTION),
    ("withdrawConsent", 409, "conflict", CONTENTION),
    ("revokeSession", 409, "conflict", CONTENTION),
    ("revokeSessions", 409, "conflict", CONTENTION),
    ("endOwnSession", 409, "conflict", CONTENTION),
    ("signOut", 409, "conflict", CONTENTION),
    ("notMe", 409, "conflict", CONTENTION),
    ("notMe", 200, "-", MAILED),
    ("restoreEmail", 409, "conflict", MAILED),
    ("restoreEmail", 200, "-", MAILED),
    ("admitUsers", 409, "conflict", CONTENTION),
    ("removeUserFactors", 409, "idempotency_mismatch", FACTORS),
    ("rotateWebhook", 409, "conflict", NO_MASTER_KEY),
    ("testWebhook", 409, "conflict", NO_MASTER_KEY),
    ("updateWebhook", 409, "conflict", NO_MASTER_KEY),
    ("evaluate", 408, "-", PLAIN),
    ("evaluate", 413, "-", PLAIN),
    ("evaluate", 429, "-", PLAIN),
    ("evaluate", 500, "-", PLAIN),
    ("evaluate", 503, "-", PLAIN),
    ("evaluateAll", 408, "-", PLAIN),
    ("evaluateAll", 413, "-", PLAIN),
    ("evaluateAll", 429, "-", PLAIN),
    ("evaluateAll", 500, "-", PLAIN),
    ("evaluateAll", 503, "-", PLAIN),
    ("forwardAuthByPost", 401, "-", BY_GET),
    ("forwardAuthByPost", 401, "unauthenticated", BY_GET),
    ("forwardAuthByPost", 403, "forbidden", BY_GET),
    ("forwardAuthByPost", 429, "-", BY_GET),
    ("redeemDelegation", 403, "not_narrower", OUTGROWN),
    ("readyz", 503, "-", DISK),
    ("createAgent", 422, "grant_limit_exceeded", QUOTA),
];

const FACTORS: &str = "two such requests differ by a method with factors, which a plugin brings: `signing_in::lost_factors`";
const OUTGROWN: &str =
    "only when a chain has come to be too long for a token since it was promised: `promises`";
const CONTENTION: &str =
    "only after eight conflicts in a row: `concurrency` of the facade's `stress`";
const NO_MASTER_KEY: &str =
    "a webhook cannot be made without a master key, so none is there to be refused";
const PLAIN: &str =
    "a plain message, which tells no code; the codes of `ELSEWHERE` for all that is JSON";
const BY_GET: &str = "the very same handler, asked with `GET`";
const DISK: &str = "needs a broken disk: `full_disk` of the server";
const QUOTA: &str =
    "the quota of agents comes first, unless an operator sets it above that of delegations";

#[test]
fn every_declared_answer_is_given_to_a_test() {
    let contract = contract();
    let Some(answered) = contract.answered() else {
        // Not by `print`, which the test runner would keep to itself.
        let words = "skipped: declared answers (run `--test acceptance` first: it writes down what it gets)\n";
        let _ = std::io::stderr().write_all(words.as_bytes());
        return;
    };
    let declared = contract.declared();
    let excused = |(id, status, code): &&Declared| {
        let told_once = TOLD_ONCE.contains(&(*status, code.as_str()));
        ELSEWHERE.iter().any(|(known, _)| known == code)
            || (told_once && IN_OAUTH.contains(&id.as_str()))
            || ALONE.iter().any(|(known, known_status, known_code, _)| {
                (known, known_status, known_code) == (&id.as_str(), status, &code.as_str())
            })
    };
    let missing: BTreeSet<_> = declared
        .difference(&answered)
        .filter(|answer| !excused(answer))
        .collect();
    assert!(
        missing.is_empty(),
        "no test gets these answers: {missing:#?}"
    );
}

#[test]
fn an_answer_that_is_excused_is_one_that_is_declared_and_does_not_come() {
    let contract = contract();
    let declared = contract.declared();
    let answered = contract.answered().unwrap_or_default();
    for (id, status, code, reason) in ALONE {
        let answer = ((*id).to_owned(), *status, (*code).to_owned());
        assert!(
            declared.contains(&answer),
            "{answer:?} is not declared ({reason})"
        );
        assert!(
            !answered.contains(&answer),
            "{answer:?} comes: take the excuse away"
        );
    }
}
