//! Dates and times in the three forms that Kafka's headers know.

use crate::schema::{Schema, SchemaRef};
use crate::value::Value;

/// `yyyy-MM-dd`, `HH:mm:ss.SSSZ` or both with a `T` between; only these lengths are tried.
pub(super) fn parse(text: &str) -> Option<(SchemaRef, Value)> {
    match text.len() {
        10 => Some((
            Schema::date().build(),
            Value::Date(i32::try_from(date(text)?).ok()?),
        )),
        13 => Some((
            Schema::time().build(),
            Value::Time(i32::try_from(time(text)?).ok()?),
        )),
        24 => {
            let (day, rest) = text.split_once('T')?;
            let ms = date(day)? * 86_400_000 + time(rest)?;
            Some((Schema::timestamp().build(), Value::Timestamp(ms)))
        }
        _ => None,
    }
}

fn number(text: &str, digits: usize, range: std::ops::RangeInclusive<i64>) -> Option<i64> {
    if text.len() != digits || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|number| range.contains(number))
}

/// Days since the epoch in the proleptic Gregorian calendar.
///
/// After Howard Hinnant, "chrono-compatible low-level date algorithms", `days_from_civil`.
fn date(text: &str) -> Option<i64> {
    let mut parts = text.split('-');
    let year = number(parts.next()?, 4, 0..=9999)?;
    let month = number(parts.next()?, 2, 1..=12)?;
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let days = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let day = number(parts.next()?, 2, 1..=days)?;
    if parts.next().is_some() {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

/// Milliseconds since midnight.
fn time(text: &str) -> Option<i64> {
    let (clock, ms) = text.strip_suffix('Z')?.split_once('.')?;
    let mut parts = clock.split(':');
    let hours = number(parts.next()?, 2, 0..=23)?;
    let minutes = number(parts.next()?, 2, 0..=59)?;
    let seconds = number(parts.next()?, 2, 0..=59)?;
    if parts.next().is_some() {
        return None;
    }
    Some(((hours * 60 + minutes) * 60 + seconds) * 1000 + number(ms, 3, 0..=999)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_read_back_as_they_are_displayed() {
        for days in [-719_528, -1, 0, 59, 60, 11_016, 11_017, 19_782, 2_932_896] {
            let text = Value::Date(days).to_string();
            assert_eq!(
                parse(&text).map(|(_, value)| value),
                Some(Value::Date(days)),
                "{text}"
            );
        }
        assert_eq!(parse("2023-02-29"), None);
        assert_eq!(parse("24:00:00.000Z"), None);
        assert_eq!(parse("ééééé"), None);
    }
}
