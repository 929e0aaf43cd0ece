//! Dates as people read them, always in UTC and always saying so.

use std::time::Duration;

use keybound_protocol::time::Timestamp;

const A_DAY: Duration = Duration::from_secs(86_400);

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// A moment for `<time>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// RFC 3339.
    pub(crate) datetime: String,
    /// `24 November 2026, 14:37:08 UTC`
    pub(crate) text: String,
}

impl Moment {
    pub(crate) fn of(at: Timestamp) -> Moment {
        let datetime = at.to_string();
        let time = datetime.get(11..19).unwrap_or_default();
        Moment {
            text: format!("{}, {time} UTC", day(at)),
            datetime,
        }
    }
}

/// Until when something lasts: the day, and within a day also the minute.
pub(crate) fn until(end: Timestamp, now: Timestamp) -> String {
    if end.duration_since(now) >= A_DAY {
        return day(end);
    }
    let text = end.to_string();
    format!("{}, {} UTC", day(end), text.get(11..16).unwrap_or_default())
}

/// `24 November 2026`
fn day(at: Timestamp) -> String {
    let text = at.to_string();
    let part = |range| text.get(range).and_then(|digits: &str| digits.parse::<usize>().ok());
    let (year, month, day) = (part(0..4), part(5..7), part(8..10));
    let month = month.and_then(|month| MONTHS.get(month.checked_sub(1)?));
    match (year, month, day) {
        (Some(year), Some(month), Some(day)) => format!("{day} {month} {year}"),
        // A year of five digits: nobody's grant.
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_day_month_year_and_utc() {
        let at = Timestamp::from_unix_secs(1_767_225_600);
        assert_eq!(day(at), "1 January 2026");
        let moment = Moment::of(at.plus(Duration::from_secs(52_628)));
        assert_eq!(moment.text, "1 January 2026, 14:37:08 UTC");
        assert_eq!(moment.datetime, "2026-01-01T14:37:08Z");
    }

    #[test]
    fn what_ends_within_a_day_ends_at_a_minute() {
        let now = Timestamp::from_unix_secs(1_767_225_600);
        assert_eq!(until(now.plus(A_DAY), now), "2 January 2026");
        let soon = now.plus(Duration::from_secs(360));
        assert_eq!(until(soon, now), "1 January 2026, 00:06 UTC");
    }
}
