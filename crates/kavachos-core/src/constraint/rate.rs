//! `rate`: in no period of a given length are more than so many calls allowed.

use serde::{Deserialize, Deserializer, Serialize, de};

use super::wire;
use crate::counter::Rule;
use crate::invalid::Invalid;

/// The highest limit that can be written.
pub const MAX_RATE_LIMIT: u64 = 1_000_000_000;
/// The longest period in seconds: a leap year.
pub const MAX_RATE_PERIOD: u32 = 366 * 86_400;
/// The period of `maxCallsPerHour`, in seconds.
const HOUR: u32 = 3600;

/// At most `limit` calls in every period of `per` seconds; a limit of 0 allows none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct Rate {
    limit: u64,
    per: u32,
}

impl Rate {
    /// A rate of `limit` calls in `per` seconds.
    ///
    /// # Errors
    /// When the limit is above [`MAX_RATE_LIMIT`] or the period is not 1 to [`MAX_RATE_PERIOD`] seconds.
    pub fn new(limit: u64, per: u32) -> Result<Self, Invalid> {
        if limit > MAX_RATE_LIMIT {
            return Err(Invalid::at(
                "limit",
                format!(
                    "a rate may allow at most {MAX_RATE_LIMIT} calls; leave it out for no limit"
                ),
            ));
        }
        if per == 0 || per > MAX_RATE_PERIOD {
            return Err(Invalid::at(
                "per",
                format!("a period is 1 to {MAX_RATE_PERIOD} seconds long"),
            ));
        }
        Ok(Self { limit, per })
    }

    /// The rate that `maxCallsPerHour` means.
    ///
    /// # Errors
    /// When the limit is above [`MAX_RATE_LIMIT`].
    pub fn per_hour(limit: u64) -> Result<Self, Invalid> {
        Self::new(limit, HOUR)
    }

    /// How many calls one period allows.
    pub const fn limit(&self) -> u64 {
        self.limit
    }

    /// The length of the period in seconds.
    pub const fn per_seconds(&self) -> u32 {
        self.per
    }

    /// What the counter of this rate enforces.
    pub const fn rule(&self) -> Rule {
        Rule::Rate {
            limit: self.limit,
            per_seconds: self.per,
        }
    }

    pub(super) fn narrower_than(self, parent: Self) -> Result<(), Invalid> {
        if self.per != parent.per {
            return Err(Invalid::at(
                "per",
                format!("must be the parent's {} seconds", parent.per),
            ));
        }
        if self.limit > parent.limit {
            return Err(Invalid::at(
                "limit",
                format!("must not be above the parent's {}", parent.limit),
            ));
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Wire {
            limit: u64,
            per: u32,
        }
        let wire: Wire = wire::object(deserializer, "an object with `limit` and `per`")?;
        Self::new(wire.limit, wire.per).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rates_out_of_bounds_are_refused() {
        for value in [
            json!({"limit": 1}),
            json!({"per": 60}),
            json!({"limit": 1, "per": 0}),
            json!({"limit": -1, "per": 60}),
            json!({"limit": 1.5, "per": 60}),
            json!({"limit": "1", "per": 60}),
            json!({"limit": MAX_RATE_LIMIT + 1, "per": 60}),
            json!({"limit": 1, "per": MAX_RATE_PERIOD + 1}),
            json!({"limit": 1, "per": 60, "burst": 2}),
            json!([1, 60]),
            json!(5),
        ] {
            assert!(Rate::deserialize(&value).is_err(), "{value}");
        }
        let rate = json!({"limit": 0, "per": 60});
        let read = Rate::deserialize(&rate).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), rate);
    }

    #[test]
    fn a_narrower_rate_has_the_same_period_and_no_higher_limit() {
        let rate = |limit, per| Rate::new(limit, per).unwrap();
        for (child, parent, narrower) in [
            (rate(5, 60), rate(5, 60), true),
            (rate(0, 60), rate(5, 60), true),
            (rate(6, 60), rate(5, 60), false),
            // Five in an hour is stricter than five in a minute, but not slice by slice.
            (rate(5, 3600), rate(5, 60), false),
        ] {
            assert_eq!(child.narrower_than(parent).is_ok(), narrower);
        }
    }
}
