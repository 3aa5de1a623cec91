//! What the database holds: whether the ledger's end is what was recorded, the clock, the keys, the webhooks.

use kavachos::SystemClock;
use kavachos::store::Clock as _;
use kavachos_core::time::Timestamp;
use kavachos_store::checkup::{Checkup, Compared, WebhookCheckup};

use super::{Finding, catalogue};
use crate::config::Server;
use crate::master_key;

/// How far the newest record may lie in the future before the clock is wrong.
const CLOCK_SLACK_MICROS: i64 = 5_000_000;

/// Everything about what was read.
pub(super) fn judge(config: &Server, found: &Checkup) -> Vec<Finding> {
    let mut findings = vec![
        end_of_ledger(found.records, &found.ledger),
        clock(SystemClock.now(), found.last_time),
    ];
    findings.push(if found.has_keys || config.admin_key.is_some() {
        Finding::ok("keys", "there is an operator key")
    } else {
        Finding::of(&catalogue::KEYS_NONE, "there is no operator key")
    });
    findings.extend(master_key(config, &found.webhooks));
    findings.extend(dead(&found.webhooks));
    findings
}

fn end_of_ledger(records: u64, compared: &Result<Compared, String>) -> Finding {
    match compared {
        Ok(Compared { recomputed, joined }) => Finding::ok(
            "ledger",
            format!(
                "{records} records; the last {recomputed} were hashed again, and the last {joined} make the edge of \
                 the tree that is stored"
            ),
        ),
        Err(fault) => Finding::of(&catalogue::LEDGER_TAIL, fault.as_str()),
    }
}

/// Whether the newest record was written before now.
fn clock(now: Timestamp, newest: Timestamp) -> Finding {
    if newest.as_micros() > now.as_micros().saturating_add(CLOCK_SLACK_MICROS) {
        let says = format!("it is {now}, but the newest record is of {newest}");
        return Finding::of(&catalogue::CLOCK_BEHIND, says);
    }
    Finding::ok("clock", format!("it is {now}, after every record"))
}

/// Whether the webhooks' secrets can be derived.
fn master_key(config: &Server, webhooks: &[WebhookCheckup]) -> Vec<Finding> {
    let key = match master_key::of(config) {
        Ok(key) => key,
        Err(failure) => {
            let says = failure.to_string();
            return vec![Finding::of(&catalogue::MASTER_KEY_UNUSABLE, says)];
        }
    };
    let Some(key) = key else {
        let count = webhooks.len();
        let says = format!("there is no master key, and there are {count} webhooks");
        let missing = || Finding::of(&catalogue::MASTER_KEY_MISSING, says);
        return (count > 0).then(missing).into_iter().collect();
    };
    let own = kavachos_engine::master_key_fingerprint(&key);
    let others: Vec<String> = webhooks
        .iter()
        .filter(|webhook| webhook.master != own)
        .map(|webhook| webhook.id.to_string())
        .collect();
    if others.is_empty() {
        return Vec::new();
    }
    let says = format!("made with another master key: {}", others.join(", "));
    vec![Finding::of(&catalogue::MASTER_KEY_OTHER, says)]
}

fn dead(webhooks: &[WebhookCheckup]) -> Vec<Finding> {
    let given_up = webhooks.iter().filter(|webhook| webhook.dead > 0);
    let finding = |webhook: &WebhookCheckup| {
        let says = format!(
            "{} deliveries to {} were given up",
            webhook.dead, webhook.id
        );
        Finding::of(&catalogue::WEBHOOKS_DEAD, says)
    };
    given_up.map(finding).collect()
}
