//! Points in time as the protocol counts them: whole Unix seconds.
//!
//! Nothing here reads a clock: `now` is always an argument (the wall clock belongs to the daemons).

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

const SECS_PER_DAY: i64 = 86_400;

/// A point in time, in whole seconds since 1970-01-01T00:00:00Z, leap seconds not counted.
///
/// Certificates reach back to 1950 and forward to 9999, hence the sign. As JSON it is the integer (RFC 7519 `NumericDate`
/// without a fraction). [`Display`](fmt::Display) writes RFC 3339 in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// `99991231235959Z`: what a certificate says that has no well-defined end (RFC 5280 §4.1.2.5).
    pub const NO_EXPIRATION: Timestamp = Timestamp(253_402_300_799);

    /// The point in time `secs` seconds after the Unix epoch, before it if negative.
    pub const fn from_unix_secs(secs: i64) -> Timestamp {
        Timestamp(secs)
    }

    /// Seconds since the Unix epoch.
    pub const fn unix_secs(self) -> i64 {
        self.0
    }

    /// Later by `duration`, whose fraction of a second is dropped; stays at the end of time instead of overflowing.
    pub const fn plus(self, duration: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add_unsigned(duration.as_secs()))
    }

    /// Earlier by `duration`, whose fraction of a second is dropped; stays at the beginning of time instead of overflowing.
    pub const fn minus(self, duration: Duration) -> Timestamp {
        Timestamp(self.0.saturating_sub_unsigned(duration.as_secs()))
    }

    /// The time from `earlier` to `self`; zero if `earlier` is in fact later.
    pub const fn duration_since(self, earlier: Timestamp) -> Duration {
        if self.0 <= earlier.0 {
            return Duration::ZERO;
        }
        Duration::from_secs(self.0.abs_diff(earlier.0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil_date(self.0.div_euclid(SECS_PER_DAY));
        let second_of_day = self.0.rem_euclid(SECS_PER_DAY);
        let (hour, minute, second) = (second_of_day / 3600, second_of_day / 60 % 60, second_of_day % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

/// Year, month and day of the proleptic Gregorian calendar, `days` after 1970-01-01.
///
/// Howard Hinnant's algorithm: years begin in March, so that the leap day is the last of its year, and 400 years are one
/// era of 146,097 days.
fn civil_date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(secs: i64, expected: &str) {
        assert_eq!(Timestamp::from_unix_secs(secs).to_string(), expected);
    }

    #[test]
    fn displays_rfc_3339() {
        check(0, "1970-01-01T00:00:00Z");
        check(951_827_696, "2000-02-29T12:34:56Z");
        check(1_709_251_199, "2024-02-29T23:59:59Z");
        check(1_709_251_200, "2024-03-01T00:00:00Z");
        check(-631_152_000, "1950-01-01T00:00:00Z");
        check(-1, "1969-12-31T23:59:59Z");
        check(Timestamp::NO_EXPIRATION.unix_secs(), "9999-12-31T23:59:59Z");
    }

    #[test]
    fn arithmetic_saturates() {
        let end = Timestamp::from_unix_secs(i64::MAX);
        assert_eq!(end.plus(Duration::from_secs(1)), end);
        let beginning = Timestamp::from_unix_secs(i64::MIN);
        assert_eq!(beginning.minus(Duration::MAX), beginning);
        assert_eq!(beginning.duration_since(end), Duration::ZERO);
        assert_eq!(end.duration_since(beginning), Duration::from_secs(u64::MAX));
        // Even where no calendar reaches: no panic.
        assert!(!end.to_string().is_empty());
        assert!(!beginning.to_string().is_empty());
    }

    #[test]
    fn is_an_integer_in_json() {
        let timestamp = Timestamp::from_unix_secs(1_700_000_000);
        assert_eq!(serde_json::to_string(&timestamp).ok().as_deref(), Some("1700000000"));
        assert!(serde_json::from_str::<Timestamp>("1700000000.5").is_err());
        assert!(serde_json::from_str::<Timestamp>("\"1700000000\"").is_err());
    }
}
