//! `timeWindow`: at which local times a call may be made.
//!
//! A window is a set of minutes of the local week, and one function says which they are; the check and the comparison
//! of two windows both ask it. A minute that a clock change repeats counts both times, one it skips never happens.

use std::fmt;
use std::str::FromStr;

use jiff::tz::{TimeZone, TimeZoneDatabase};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::wire;
use crate::invalid::Invalid;
use crate::time::{Timestamp, clip};

const MINUTES_PER_HOUR: u16 = 60;
const MINUTES_PER_DAY: u16 = 24 * MINUTES_PER_HOUR;
const DAYS_PER_WEEK: u8 = 7;
/// The longest name of a time zone that is looked up; the longest of the database has 32 bytes.
const MAX_ZONE_LEN: usize = 64;

/// A local time of day in whole minutes, `00:00` to `24:00`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct ClockTime(u16);

impl FromStr for ClockTime {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let wrong = || {
            Invalid::new(format!(
                "`{}` is not a time of day like `09:30`",
                clip(text)
            ))
        };
        let two_digits = |digits: &str| {
            let plain = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse::<u16>().ok().filter(|_| plain)
        };
        let (hours, minutes) = text.split_once(':').ok_or_else(wrong)?;
        let hours = two_digits(hours).ok_or_else(wrong)?;
        let minutes = two_digits(minutes).filter(|minutes| *minutes < MINUTES_PER_HOUR);
        let total = hours * MINUTES_PER_HOUR + minutes.ok_or_else(wrong)?;
        if total > MINUTES_PER_DAY {
            return Err(wrong());
        }
        Ok(Self(total))
    }
}

impl fmt::Display for ClockTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (hours, minutes) = (self.0 / MINUTES_PER_HOUR, self.0 % MINUTES_PER_HOUR);
        write!(f, "{hours:02}:{minutes:02}")
    }
}

impl Serialize for ClockTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ClockTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

impl Day {
    const ALL: [Self; 7] = [
        Self::Mon,
        Self::Tue,
        Self::Wed,
        Self::Thu,
        Self::Fri,
        Self::Sat,
        Self::Sun,
    ];
}

/// The days on which a window starts: bit 0 is Monday.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Days(u8);

impl Days {
    const EVERY: Self = Self(0b111_1111);

    fn has(self, day: u8) -> bool {
        self.0 >> day & 1 == 1
    }

    fn is_every(&self) -> bool {
        *self == Self::EVERY
    }
}

impl Default for Days {
    fn default() -> Self {
        Self::EVERY
    }
}

impl Serialize for Days {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(
            (0..)
                .zip(Day::ALL)
                .filter_map(|(bit, day)| self.has(bit).then_some(day)),
        )
    }
}

impl<'de> Deserialize<'de> for Days {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let named: Vec<Day> = wire::list(deserializer, Day::ALL.len())?;
        let bits = (0_u8..)
            .zip(Day::ALL)
            .filter(|(_, day)| named.contains(day))
            .fold(0, |bits, (bit, _)| bits | 1 << bit);
        if usize::try_from(u8::count_ones(bits)).is_ok_and(|days| days < named.len()) {
            return Err(de::Error::custom("a day stands twice; name each once"));
        }
        Ok(Self(bits))
    }
}

/// A named zone of the bundled IANA database.
#[derive(Debug, Clone)]
struct Zone {
    name: String,
    rules: TimeZone,
}

impl Zone {
    fn utc() -> Self {
        Self {
            name: "UTC".to_owned(),
            rules: TimeZone::UTC,
        }
    }
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl FromStr for Zone {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let wrong = || {
            Invalid::new(format!(
                "`{}` is not an IANA time zone like `Europe/Berlin` or `UTC`",
                clip(text)
            ))
        };
        if text.len() > MAX_ZONE_LEN {
            return Err(wrong());
        }
        // The bundled data only: what the host has installed must not change a decision.
        let rules = TimeZoneDatabase::bundled().get(text).map_err(|_| wrong())?;
        // `Etc/Unknown` would be read as UTC.
        let name = rules
            .iana_name()
            .filter(|_| !rules.is_unknown())
            .ok_or_else(wrong)?
            .to_owned();
        Ok(Self { name, rules })
    }
}

impl Serialize for Zone {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.name)
    }
}

impl<'de> Deserialize<'de> for Zone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// From `start` until just before `end`, local time, on windows that start on one of `days`.
///
/// A window whose end is before its start crosses midnight and belongs to the day on which it starts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TimeWindow {
    start: ClockTime,
    end: ClockTime,
    #[serde(skip_serializing_if = "Days::is_every")]
    days: Days,
    timezone: Zone,
}

impl TimeWindow {
    /// Whether this time lies in the window.
    pub(super) fn contains(&self, now: Timestamp) -> bool {
        let local = self.timezone.rules.to_datetime(now.to_jiff());
        let day = local.weekday().to_monday_zero_offset().unsigned_abs();
        let hour = u16::from(local.hour().unsigned_abs());
        let minute = u16::from(local.minute().unsigned_abs());
        self.holds(day, hour * MINUTES_PER_HOUR + minute)
    }

    pub(super) fn narrower_than(&self, parent: &Self) -> Result<(), Invalid> {
        if self.timezone != parent.timezone {
            return Err(Invalid::at(
                "timezone",
                format!("must be the parent's `{}`", parent.timezone.name),
            ));
        }
        let inside = (0..DAYS_PER_WEEK).all(|day| {
            (0..MINUTES_PER_DAY).all(|minute| !self.holds(day, minute) || parent.holds(day, minute))
        });
        if inside {
            Ok(())
        } else {
            Err(Invalid::new("reaches outside the parent's window"))
        }
    }

    /// Whether the window holds this minute of this day of the local week.
    fn holds(&self, day: u8, minute: u16) -> bool {
        let yesterday = (day + DAYS_PER_WEEK - 1) % DAYS_PER_WEEK;
        let (start, end) = (self.start.0, self.end.0);
        if start < end {
            (start..end).contains(&minute) && self.days.has(day)
        } else {
            minute >= start && self.days.has(day) || minute < end && self.days.has(yesterday)
        }
    }
}

impl<'de> Deserialize<'de> for TimeWindow {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Wire {
            start: ClockTime,
            end: ClockTime,
            #[serde(default)]
            days: Days,
            #[serde(default = "Zone::utc")]
            timezone: Zone,
        }
        let wire: Wire = wire::object(deserializer, "an object with `start` and `end`")?;
        if wire.start == wire.end {
            return Err(de::Error::custom(
                "`start` and `end` are the same, which is either no time or all of it; for whole days write `00:00` \
                 to `24:00`",
            ));
        }
        if wire.start.0 == MINUTES_PER_DAY {
            return Err(de::Error::custom(
                "a window starts at `00:00`, not at `24:00`",
            ));
        }
        Ok(Self {
            start: wire.start,
            end: wire.end,
            days: wire.days,
            timezone: wire.timezone,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::ToSpan;
    use jiff::civil::{self, DateTime};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn window(value: &Value) -> TimeWindow {
        TimeWindow::deserialize(value).unwrap()
    }

    fn open(window: &Value, time: &str) -> bool {
        self::window(window).contains(time.parse().unwrap())
    }

    #[test]
    fn what_is_no_clear_window_is_refused() {
        let day = |start: &str, end: &str| json!({"start": start, "end": end});
        for value in [
            json!({"start": "09:00"}),
            day("9:00", "17:00"),
            day("09:00", "17:60"),
            day("09:00", "24:01"),
            day("09:00", "25:00"),
            day("+9:00", "17:00"),
            day("09:00:00", "17:00"),
            day("0900", "17:00"),
            day("09:00", "17:00 "),
            day("09:00", "09:00"),
            day("24:00", "09:00"),
            day("", ""),
            json!({"start": 9, "end": 17}),
            json!({"start": "09:00", "end": "17:00", "days": []}),
            json!({"start": "09:00", "end": "17:00", "days": ["mon", "mon"]}),
            json!({"start": "09:00", "end": "17:00", "days": ["Mon"]}),
            json!({"start": "09:00", "end": "17:00", "days": "mon"}),
            json!({"start": "09:00", "end": "17:00", "days": null}),
            json!({"start": "09:00", "end": "17:00", "timezone": "Mars/Olympus"}),
            json!({"start": "09:00", "end": "17:00", "timezone": "Etc/Unknown"}),
            json!({"start": "09:00", "end": "17:00", "timezone": "+02:00"}),
            json!({"start": "09:00", "end": "17:00", "timezone": ""}),
            json!({"start": "09:00", "end": "17:00", "timezone": null}),
            json!({"start": "09:00", "end": "17:00", "timezone": "../UTC"}),
            json!({"start": "09:00", "end": "17:00", "zone": "UTC"}),
            json!(["09:00", "17:00"]),
        ] {
            assert!(TimeWindow::deserialize(&value).is_err(), "{value}");
        }
    }

    #[test]
    fn one_window_has_one_form() {
        let written = json!({"start": "22:00", "end": "24:00", "days": ["sun", "mon"], "timezone": "europe/BERLIN"});
        let stored = json!({"start": "22:00", "end": "24:00", "days": ["mon", "sun"], "timezone": "Europe/Berlin"});
        assert_eq!(serde_json::to_value(window(&written)).unwrap(), stored);
        let plain =
            serde_json::to_value(window(&json!({"start": "00:00", "end": "24:00"}))).unwrap();
        assert_eq!(
            plain,
            json!({"start": "00:00", "end": "24:00", "timezone": "UTC"})
        );
    }

    #[test]
    fn the_start_is_inside_and_the_end_is_not() {
        let office = json!({"start": "09:00", "end": "17:00"});
        for (time, inside) in [
            ("2026-11-23T08:59:59.999999Z", false),
            ("2026-11-23T09:00:00Z", true),
            ("2026-11-23T16:59:59.999999Z", true),
            ("2026-11-23T17:00:00Z", false),
        ] {
            assert_eq!(open(&office, time), inside, "{time}");
        }
        let always = json!({"start": "00:00", "end": "24:00"});
        assert!(open(&always, "2026-11-23T17:00:00Z"));
    }

    #[test]
    fn a_window_over_midnight_belongs_to_the_day_it_starts_on() {
        // 2026-11-20 is a Friday.
        let night = json!({"start": "22:00", "end": "06:00", "days": ["fri"]});
        for (time, inside) in [
            ("2026-11-20T05:59:00Z", false),
            ("2026-11-20T21:59:00Z", false),
            ("2026-11-20T22:00:00Z", true),
            ("2026-11-21T05:59:59Z", true),
            ("2026-11-21T06:00:00Z", false),
            ("2026-11-21T22:00:00Z", false),
        ] {
            assert_eq!(open(&night, time), inside, "{time}");
        }
        let every_night = json!({"start": "22:00", "end": "06:00"});
        assert!(open(&every_night, "2026-11-20T05:59:00Z"));
    }

    #[test]
    fn times_are_local_before_and_after_a_clock_change() {
        let office = json!({"start": "09:00", "end": "17:00", "timezone": "America/New_York"});
        let utc = json!({"start": "09:00", "end": "17:00"});
        for (time, local, in_utc) in [
            ("2026-07-01T13:00:00Z", true, true),
            ("2026-07-01T12:59:00Z", false, true),
            ("2026-12-01T13:59:00Z", false, true),
            ("2026-12-01T14:00:00Z", true, true),
            ("2026-12-01T21:30:00Z", true, false),
        ] {
            assert_eq!(open(&office, time), local, "{time}");
            assert_eq!(open(&utc, time), in_utc, "{time}");
        }
    }

    #[test]
    fn a_repeated_hour_counts_twice_and_a_skipped_one_never() {
        let window = |start: &str, end: &str| json!({"start": start, "end": end, "timezone": "Europe/Berlin"});
        let repeated = window("02:00", "03:00");
        for time in ["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"] {
            assert!(open(&repeated, time), "{time}");
        }
        assert!(!open(&repeated, "2026-10-25T02:00:00Z"));
        // On 2026-03-29 the clocks went from 02:00 to 03:00 at 01:00 UTC.
        assert!(!open(&repeated, "2026-03-29T00:59:00Z"));
        assert!(!open(&repeated, "2026-03-29T01:00:00Z"));
        assert!(open(&window("02:30", "04:00"), "2026-03-29T01:00:00Z"));
    }

    #[test]
    fn a_narrower_window_holds_no_other_minute() {
        // Written as start, end, days.
        let read = |text: &str| {
            let mut parts = text.split(' ');
            let (start, end, days) = (parts.next(), parts.next(), parts.collect::<Vec<_>>());
            let mut value = json!({"start": start, "end": end});
            if !days.is_empty() {
                value["days"] = json!(days);
            }
            window(&value)
        };
        for (child, parent, narrower) in [
            ("10:00 11:00", "09:00 17:00", true),
            ("09:00 17:00 mon", "09:00 17:00", true),
            ("09:00 17:00", "09:00 17:00 mon", false),
            ("08:59 17:00", "09:00 17:00", false),
            ("09:00 17:01", "09:00 17:00", false),
            ("23:00 05:00 fri", "22:00 06:00 fri", true),
            ("01:00 05:00 sat", "22:00 06:00 fri", true),
            ("01:00 05:00 fri", "22:00 06:00 fri", false),
            ("22:00 24:00 sun", "22:00 06:00 sun", true),
            ("22:00 00:01 sun", "22:00 24:00 sun", false),
            ("22:00 00:00 sun", "22:00 24:00 sun", true),
            ("00:00 06:00 mon", "22:00 06:00 sun", true),
        ] {
            let verdict = read(child).narrower_than(&read(parent));
            assert_eq!(verdict.is_ok(), narrower, "{child} in {parent}");
        }
        let berlin = json!({"start": "10:00", "end": "11:00", "timezone": "Europe/Berlin"});
        let error = window(&berlin)
            .narrower_than(&read("00:00 24:00"))
            .unwrap_err();
        assert_eq!(error.field(), "timezone");
    }

    /// The same question asked of the calendar: does one of the windows that start around this date hold the time?
    fn by_the_calendar(window: &TimeWindow, local: DateTime) -> bool {
        let midnight = |date: civil::Date| date.to_datetime(civil::Time::midnight());
        (-1..=0).any(|days| {
            let date = local.date().checked_add(days.days()).unwrap();
            let length = if window.end <= window.start { 1440 } else { 0 };
            let start = midnight(date)
                .checked_add(i64::from(window.start.0).minutes())
                .unwrap();
            let end = midnight(date)
                .checked_add((i64::from(window.end.0) + length).minutes())
                .unwrap();
            let named = window.days.0 >> date.weekday().to_monday_zero_offset() & 1 == 1;
            named && start <= local && local < end
        })
    }

    fn windows() -> impl Strategy<Value = TimeWindow> {
        let times = prop_oneof![(0_u16..24).prop_map(|hour| hour * 60), 0_u16..1440];
        let zones = prop_oneof![
            Just("UTC"),
            Just("Europe/Berlin"),
            Just("Australia/Lord_Howe")
        ];
        (times.clone(), times, 1_u8..128, zones).prop_map(|(start, end, days, zone)| TimeWindow {
            start: ClockTime(start),
            end: ClockTime(if start == end { MINUTES_PER_DAY } else { end }),
            days: Days(days),
            timezone: zone.parse().unwrap(),
        })
    }

    /// The Monday of the week in which Berlin leaves summer time, and the one in which Lord Howe does by half an hour.
    const WEEKS: [&str; 3] = [
        "2026-10-19T00:00:00Z",
        "2026-03-23T00:00:00Z",
        "2026-03-30T00:00:00Z",
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn agrees_with_the_calendar_in_every_minute_of_a_week(window in windows(), week in 0_usize..3) {
            let monday: Timestamp = WEEKS[week].parse().unwrap();
            for minute in 0..8 * 1440 {
                let now = Timestamp::from_micros(monday.as_micros() + minute * 60_000_000);
                let local = window.timezone.rules.to_datetime(now.to_jiff());
                prop_assert_eq!(window.contains(now), by_the_calendar(&window, local), "{}", now);
            }
        }
    }

    proptest! {
        #[test]
        fn what_a_narrower_window_holds_its_parent_holds(
            child in windows(),
            parent in windows(),
            shrink in (0_u16..90, 0_u16..90, any::<u8>()),
            related in any::<bool>(),
            minute in 0_i64..7 * 1440,
        ) {
            // Half of the children are cut out of their parent, so that both answers are common.
            let child = if related {
                let start = ClockTime((parent.start.0 + shrink.0) % MINUTES_PER_DAY);
                let end = ClockTime(parent.end.0.saturating_sub(shrink.1).max(1));
                let days = Days((parent.days.0 & shrink.2).max(1));
                TimeWindow { start, end, days, timezone: parent.timezone.clone() }
            } else {
                child
            };
            let monday: Timestamp = WEEKS[0].parse().unwrap();
            let now = Timestamp::from_micros(monday.as_micros() + minute * 60_000_000);
            if child.narrower_than(&parent).is_ok() && child.contains(now) {
                prop_assert!(parent.contains(now));
            }
        }
    }
}
