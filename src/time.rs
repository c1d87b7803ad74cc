//! Instants and spans. There is no clock here: time comes in as an argument.
//!
//! Two times run side by side. *Engine time* orders everything about sales and years (session
//! expiry, grants, history); it is kept per app and mode, never goes backwards, and in test mode
//! can be moved forward by the host. *Host time* is the host's clock as it is; it rules what the
//! outside world sees (signature timestamps, delivery due times, leases, look-up back-off). Both
//! are [`Timestamp`]s; which of the two a value is, its documentation says.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
#[cfg(feature = "engine")]
use chrono::{Months, NaiveDate, NaiveDateTime};

use crate::error::{Error, Invalid};

/// An instant in milliseconds since the Unix epoch, between the years 1970 and 9999, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// 1970-01-01T00:00:00.000Z.
    pub const MIN: Timestamp = Timestamp(0);
    /// 9999-12-31T23:59:59.999Z.
    pub const MAX: Timestamp = Timestamp(253_402_300_799_999);

    /// An instant from milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// [`Error::Invalid`] outside [`Timestamp::MIN`] to [`Timestamp::MAX`].
    pub fn from_millis(millis: i64) -> Result<Timestamp, Error> {
        if (Self::MIN.0..=Self::MAX.0).contains(&millis) {
            return Ok(Timestamp(millis));
        }
        Err(Invalid::new("time", millis, "milliseconds since 1970 up to the end of the year 9999").into())
    }

    /// The nearest representable instant.
    #[must_use]
    pub fn from_millis_clamped(millis: i64) -> Timestamp {
        Timestamp(millis.clamp(Self::MIN.0, Self::MAX.0))
    }

    /// An instant from an RFC 3339 text such as `2026-01-31T12:00:00Z`.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the text is not RFC 3339 or lies outside the representable years.
    pub fn parse_rfc3339(text: &str) -> Result<Timestamp, Error> {
        let parsed = DateTime::parse_from_rfc3339(text)
            .map_err(|_| Invalid::new("time", text, "RFC 3339 text such as 2026-01-31T12:00:00Z"))?;
        Timestamp::from_millis(parsed.timestamp_millis())
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, rounded down.
    #[must_use]
    pub const fn as_secs(self) -> i64 {
        self.0 / 1_000
    }

    /// This instant moved forward, stopping at [`Timestamp::MAX`].
    #[must_use]
    pub fn plus(self, span: Duration) -> Timestamp {
        let millis = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        Timestamp::from_millis_clamped(self.0.saturating_add(millis))
    }

    /// How long after `earlier` this instant lies; zero if it lies before.
    #[must_use]
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(u64::try_from(self.0 - earlier.0).unwrap_or(0))
    }

    /// An instant from a date of HTTP, in the form that is sent or one of the two that were:
    /// `Sun, 06 Nov 1994 08:49:37 GMT`, `Sunday, 06-Nov-94 08:49:37 GMT`, `Sun Nov  6 08:49:37 1994`.
    #[cfg(feature = "engine")]
    pub(crate) fn parse_http_date(text: &str) -> Option<Timestamp> {
        const FORMS: [&str; 3] = [
            "%a, %d %b %Y %H:%M:%S GMT",
            "%A, %d-%b-%y %H:%M:%S GMT",
            "%a %b %e %H:%M:%S %Y",
        ];
        let parsed = |form: &&str| NaiveDateTime::parse_from_str(text, form).ok();
        let date = FORMS.iter().find_map(parsed)?;
        Timestamp::from_millis(date.and_utc().timestamp_millis()).ok()
    }

    /// The first instant after a month, in UTC; none if there is no such month.
    #[cfg(feature = "engine")]
    pub(crate) fn after_month(month: u8, year: u16) -> Option<Timestamp> {
        let first = NaiveDate::from_ymd_opt(i32::from(year), u32::from(month), 1)?;
        let next = first.checked_add_months(Months::new(1))?.and_hms_opt(0, 0, 0)?;
        Timestamp::from_millis(next.and_utc().timestamp_millis()).ok()
    }

    /// `2026-01-31T12:00:00Z`.
    #[cfg(feature = "engine")]
    pub(crate) fn in_seconds(self) -> String {
        self.utc().to_rfc3339_opts(SecondsFormat::Secs, true)
    }

    /// `2026-01-31T12:00:00.000+00:00`.
    #[cfg(feature = "engine")]
    pub(crate) fn with_offset(self) -> String {
        self.utc().to_rfc3339_opts(SecondsFormat::Millis, false)
    }

    /// `2026-01-31 12:00:00`, UTC without saying so.
    #[cfg(feature = "engine")]
    pub(crate) fn spaced(self) -> String {
        self.utc().format("%Y-%m-%d %H:%M:%S").to_string()
    }

    fn utc(self) -> DateTime<Utc> {
        // Every representable value is a valid date, so the fallback is never taken; it is there
        // instead of a panic.
        DateTime::from_timestamp_millis(self.0).unwrap_or(DateTime::UNIX_EPOCH)
    }
}

/// `2026-01-31T12:00:00.000Z`: ISO 8601 in UTC with milliseconds.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.utc().to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

/// The unit in which the length of a sale or a billing period is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unit {
    /// 24 hours.
    Day,
    /// Seven days.
    Week,
    /// A calendar month for billing; 30 days for a one-time sale.
    Month,
    /// A calendar year for billing; 365 days for a one-time sale.
    Year,
}

impl Unit {
    /// The unit's name in the singular.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Unit::Day => "day",
            Unit::Week => "week",
            Unit::Month => "month",
            Unit::Year => "year",
        }
    }

    /// The unit of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Unit> {
        [Unit::Day, Unit::Week, Unit::Month, Unit::Year]
            .into_iter()
            .find(|unit| unit.as_str() == name)
    }

    /// Days that one unit of a one-time sale gives: 1, 7, 30 or 365.
    #[must_use]
    pub const fn sale_days(self) -> u32 {
        match self {
            Unit::Day => 1,
            Unit::Week => 7,
            Unit::Month => 30,
            Unit::Year => 365,
        }
    }
}

/// A number of [`Unit`]s, such as three months.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Interval {
    unit: Unit,
    count: u16,
}

impl Interval {
    /// The most units that an interval holds.
    pub const MAX_COUNT: u16 = 1_000;
    /// One day.
    pub const DAY: Interval = Interval {
        unit: Unit::Day,
        count: 1,
    };
    /// One week.
    pub const WEEK: Interval = Interval {
        unit: Unit::Week,
        count: 1,
    };
    /// One month.
    pub const MONTH: Interval = Interval {
        unit: Unit::Month,
        count: 1,
    };
    /// One year.
    pub const YEAR: Interval = Interval {
        unit: Unit::Year,
        count: 1,
    };

    /// `count` units.
    ///
    /// # Errors
    /// [`Error::Invalid`] unless `count` is 1 to [`Interval::MAX_COUNT`].
    pub fn new(unit: Unit, count: u16) -> Result<Interval, Error> {
        if (1..=Self::MAX_COUNT).contains(&count) {
            return Ok(Interval { unit, count });
        }
        Err(Invalid::new("interval_count", count, "1 to 1000").into())
    }

    /// The unit.
    #[must_use]
    pub const fn unit(self) -> Unit {
        self.unit
    }

    /// How many units.
    #[must_use]
    pub const fn count(self) -> u16 {
        self.count
    }

    /// Days that a one-time sale over this interval gives.
    #[must_use]
    pub const fn sale_days(self) -> u32 {
        self.unit.sale_days() * self.count as u32
    }
}

/// `days` times 24 hours.
#[cfg(feature = "engine")]
pub(crate) const fn days(days: u32) -> Duration {
    Duration::from_secs(86_400).saturating_mul(days)
}

/// A span in whole milliseconds.
#[cfg(feature = "engine")]
pub(crate) fn in_millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
