//! Cron expressions in time zones.

use std::str::FromStr;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use croner::parser::{CronParser, Seconds, Year};

/// A cron expression of five fields (minute, hour, day of the month, month, day of the week) in a time zone.
///
/// When clocks are put forward, a fixed time that does not exist becomes the first time after the gap. When clocks are
/// put back, a fixed time that happens twice counts once, at its first pass. Expressions with a wildcard or a step in
/// minute or hour follow the real time: they match in both passes and never in the gap.
#[derive(Debug, Clone)]
pub struct Cron {
    expression: croner::Cron,
    zone: Tz,
}

/// Why a cron expression or its time zone cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// The expression is wrong.
    #[error("`{expression}` is not a cron expression of five fields such as `0 2 * * *`: {reason}")]
    Expression {
        /// The expression.
        expression: String,
        /// What is wrong.
        reason: String,
    },
    /// No such time zone.
    #[error("`{0}` is not a time zone of the IANA database such as Europe/Berlin or UTC")]
    Zone(String),
    /// The expression is well formed, but no time matches it.
    #[error("`{0}` never matches")]
    Never(String),
}

impl Cron {
    /// Reads a cron expression and the name of its time zone.
    ///
    /// # Errors
    /// See [`CronError`]. Whether a time matches is found out by [`next_after`](Self::next_after).
    pub fn parse(expression: &str, zone: &str) -> Result<Self, CronError> {
        let zone = Tz::from_str(zone).map_err(|_| CronError::Zone(zone.to_owned()))?;
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let parsed = parser
            .parse(expression)
            .map_err(|error| CronError::Expression { expression: expression.to_owned(), reason: error.to_string() })?;
        Ok(Self { expression: parsed, zone })
    }

    /// Returns the first match after a time.
    ///
    /// # Errors
    /// [`CronError::Never`] when there is none.
    pub fn next_after(&self, time: DateTime<Utc>) -> Result<DateTime<Utc>, CronError> {
        let next = self.expression.find_next_occurrence(&time.with_timezone(&self.zone), false);
        next.map(|next| next.to_utc()).map_err(|_| CronError::Never(self.expression.as_str().to_owned()))
    }

    /// Returns the last match from `due` until `now` that is at most `catch_up` old, and the first one after `now`.
    /// `due` is a match, not after `now`.
    ///
    /// # Errors
    /// [`CronError::Never`] when there is no later match.
    pub(crate) fn slot(
        &self,
        due: DateTime<Utc>,
        now: DateTime<Utc>,
        catch_up: TimeDelta,
    ) -> Result<(Option<DateTime<Utc>>, DateTime<Utc>), CronError> {
        let oldest = now - catch_up;
        // Times have whole seconds, so this also finds a match at `oldest`.
        let start = oldest - TimeDelta::milliseconds(1);
        let mut slot = Some(due).filter(|due| *due >= oldest);
        let mut next = self.next_after(if slot.is_some() { due } else { start })?;
        while next <= now {
            slot = Some(next);
            next = self.next_after(next)?;
        }
        Ok((slot, next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utc(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    /// The matches after a time, in UTC.
    fn matches(expression: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
        let cron = Cron::parse(expression, zone).unwrap();
        let mut time = utc(after);
        let mut found = Vec::new();
        for _ in 0..count {
            time = cron.next_after(time).unwrap();
            found.push(time.format("%m-%dT%H:%M").to_string());
        }
        found
    }

    #[test]
    fn a_fixed_time_matches_once_a_day_over_both_changes_of_summer_time() {
        // 2026-03-29 02:00 becomes 03:00 in Berlin: 02:30 does not exist, and 03:00 is 01:00 UTC.
        let spring = matches("30 2 * * *", "Europe/Berlin", "2026-03-27T12:00:00Z", 3);
        assert_eq!(spring, ["03-28T01:30", "03-29T01:00", "03-30T00:30"]);
        // 2026-10-25 03:00 becomes 02:00: 02:30 happens at 00:30 and at 01:30 UTC.
        let autumn = matches("30 2 * * *", "Europe/Berlin", "2026-10-23T12:00:00Z", 3);
        assert_eq!(autumn, ["10-24T00:30", "10-25T00:30", "10-26T01:30"]);
        // A search that starts between the two passes does not find the second one.
        assert_eq!(matches("30 2 * * *", "Europe/Berlin", "2026-10-25T00:45:00Z", 1), ["10-26T01:30"]);
    }

    #[test]
    fn a_fixed_time_matches_once_a_day_where_clocks_change_at_midnight_or_by_half_an_hour() {
        // 2018-11-04 00:00 becomes 01:00 in São Paulo, and 2018-02-18 00:00 becomes 23:00 of the day before.
        let spring = matches("0 0 * * *", "America/Sao_Paulo", "2018-11-03T12:00:00Z", 2);
        assert_eq!(spring, ["11-04T03:00", "11-05T02:00"]);
        let autumn = matches("30 23 * * *", "America/Sao_Paulo", "2018-02-17T12:00:00Z", 2);
        assert_eq!(autumn, ["02-18T01:30", "02-19T02:30"]);
        // 2026-10-04 02:00 becomes 02:30 on Lord Howe Island, and 2026-04-05 02:00 becomes 01:30.
        let spring = matches("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00:00Z", 2);
        assert_eq!(spring, ["10-03T15:30", "10-04T15:15"]);
        let autumn = matches("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T12:00:00Z", 2);
        assert_eq!(autumn, ["04-04T14:45", "04-05T15:15"]);
    }

    #[test]
    fn an_interval_follows_the_real_time() {
        let spring = matches("*/30 * * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", 4);
        assert_eq!(spring, ["03-29T00:30", "03-29T01:00", "03-29T01:30", "03-29T02:00"]);
        let autumn = matches("*/30 * * * *", "Europe/Berlin", "2026-10-25T00:00:00Z", 4);
        assert_eq!(autumn, ["10-25T00:30", "10-25T01:00", "10-25T01:30", "10-25T02:00"]);
    }

    #[test]
    fn only_the_last_missed_slot_is_caught_up() {
        let cron = Cron::parse("0 * * * *", "UTC").unwrap();
        let slot = |due: &str, now: &str, catch_up| {
            let (slot, next) = cron.slot(utc(due), utc(now), TimeDelta::seconds(catch_up)).unwrap();
            (slot, next)
        };
        let at = |hour: u32| utc(&format!("2026-01-01T{hour:02}:00:00Z"));
        assert_eq!(slot("2026-01-01T01:00:00Z", "2026-01-01T01:00:00Z", 0), (Some(at(1)), at(2)));
        assert_eq!(slot("2026-01-01T01:00:00Z", "2026-01-01T05:10:00Z", 3600), (Some(at(5)), at(6)));
        assert_eq!(slot("2026-01-01T01:00:00Z", "2026-01-01T05:10:00Z", 600), (Some(at(5)), at(6)));
        assert_eq!(slot("2026-01-01T01:00:00Z", "2026-01-01T05:10:00Z", 599), (None, at(6)));
        assert_eq!(slot("2026-01-01T01:00:00Z", "2026-01-01T01:00:10Z", 5), (None, at(2)));
    }

    #[test]
    fn wrong_expressions_and_zones_are_refused() {
        for expression in ["", "* * * *", "60 * * * *", "* * * * * *", "x * * * *", "@yearlyish"] {
            assert!(Cron::parse(expression, "UTC").is_err(), "{expression}");
        }
        assert_eq!(Cron::parse("* * * * *", "Berlin").unwrap_err(), CronError::Zone("Berlin".to_owned()));
        let never = Cron::parse("0 0 30 2 *", "UTC").unwrap().next_after(utc("2026-01-01T00:00:00Z"));
        assert!(matches!(never, Err(CronError::Never(_))), "{never:?}");
    }
}
