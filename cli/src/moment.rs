//! Points and spans of time as Kafka's tools take them: `2026-01-31T12:30:00.000` and `P1DT2H30M`.

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Parses `YYYY-MM-DDThh:mm[:ss[.SSS]]` with an optional `Z` or `±hh[:mm]`, into milliseconds since
/// 1970. Without a zone it is UTC, as in Kafka's tools.
pub fn parse_datetime(text: &str) -> Option<i64> {
    let (date, rest) = text.split_once('T')?;
    let zone_at = rest.find(['Z', '+', '-']).unwrap_or(rest.len());
    let (time, zone) = rest.split_at_checked(zone_at)?;
    let mut parts = date.splitn(3, '-');
    let year: i64 = digits(parts.next()?)?;
    let month: i64 = digits(parts.next()?)?;
    let day: i64 = digits(parts.next()?)?;
    if !(1..=9999).contains(&year)
        || !(1..=12).contains(&month)
        || day < 1
        || day > days_in(year, month)
    {
        return None;
    }
    let local_ms = days_since_1970(year, month, day) * DAY_MS + time_of_day(time)?;
    Some(local_ms - zone_offset(zone)?)
}

/// `YYYY-MM-DDThh:mm:ss.SSSZ` of milliseconds since 1970, as [`parse_datetime`] reads it.
pub fn datetime(unix_ms: i64) -> String {
    let (days, of_day) = (unix_ms.div_euclid(DAY_MS), unix_ms.rem_euclid(DAY_MS));
    // Years are counted from March, so that the leap day is a year's last; 400 of them are an era.
    let from_march = days + 719_468;
    let (era, of_era) = (
        from_march.div_euclid(146_097),
        from_march.rem_euclid(146_097),
    );
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    let (seconds, millis) = (of_day / 1000, of_day % 1000);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{millis:03}Z")
}

/// Parses an ISO 8601 duration such as `P7D`, `PT30M` or `P1DT2H3.5S`, into milliseconds.
/// Years and months have no fixed length and are refused.
pub fn parse_duration(text: &str) -> Option<i64> {
    let (sign, body) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let body = body.strip_prefix(['P', 'p'])?;
    let (days, time) = match body.split_once(['T', 't']) {
        Some((_, "")) => return None,
        Some((days, time)) => (days, time),
        None => (body, ""),
    };
    if days.is_empty() && time.is_empty() {
        return None;
    }
    let date_ms = sum_units(days, &[('D', DAY_MS)])?;
    let time_ms = sum_units(time, &[('H', 3_600_000), ('M', 60_000), ('S', 1000)])?;
    date_ms.checked_add(time_ms)?.checked_mul(sign)
}

fn sum_units(text: &str, units: &[(char, i64)]) -> Option<i64> {
    let mut rest = text;
    let mut total = 0_i64;
    for (unit, unit_ms) in units {
        let split = rest.split_once([*unit, unit.to_ascii_lowercase()]);
        let Some((number, after)) = split else {
            continue;
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if !fraction.is_empty() && *unit != 'S' {
            return None;
        }
        let whole_ms = whole.parse::<i64>().ok()?.checked_mul(*unit_ms)?;
        let fraction_ms = thousandths(fraction)?;
        let part = if whole.starts_with('-') {
            whole_ms - fraction_ms
        } else {
            whole_ms + fraction_ms
        };
        total = total.checked_add(part)?;
        rest = after;
    }
    rest.is_empty().then_some(total)
}

fn time_of_day(text: &str) -> Option<i64> {
    let mut parts = text.splitn(3, ':');
    let hours = digits(parts.next()?)?;
    let minutes = digits(parts.next()?)?;
    let (seconds, fraction) = match parts.next() {
        Some(part) => part.split_once('.').unwrap_or((part, "")),
        None => ("0", ""),
    };
    let seconds = digits(seconds)?;
    if hours > 23 || minutes > 59 || seconds > 59 {
        return None;
    }
    Some(((hours * 60 + minutes) * 60 + seconds) * 1000 + thousandths(fraction)?)
}

fn zone_offset(text: &str) -> Option<i64> {
    let (sign, body) = match (text, text.split_at_checked(1)) {
        ("" | "Z", _) => return Some(0),
        (_, Some(("+", body))) => (1, body),
        (_, Some(("-", body))) => (-1, body),
        _ => return None,
    };
    let (hours, minutes) = match body.split_once(':') {
        Some(parts) => parts,
        None if body.len() == 4 => body.split_at_checked(2)?,
        None => (body, "0"),
    };
    let (hours, minutes) = (digits(hours)?, digits(minutes)?);
    (hours <= 18 && minutes <= 59).then_some(sign * (hours * 60 + minutes) * 60_000)
}

/// `"5"` is 500, `"05"` is 50: the first three digits after the decimal point.
fn thousandths(fraction: &str) -> Option<i64> {
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) || fraction.len() > 9 {
        return None;
    }
    let padded: String = fraction.chars().chain("000".chars()).take(3).collect();
    padded.parse().ok()
}

fn digits(text: &str) -> Option<i64> {
    let sane =
        !text.is_empty() && text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit());
    if sane { text.parse().ok() } else { None }
}

fn days_in(year: i64, month: i64) -> i64 {
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar, counting years from March so that the
/// leap day is a year's last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let march_year = if month <= 2 { year - 1 } else { year };
    let march_month = (month + 9) % 12;
    let day_of_year = (153 * march_month + 2) / 5 + day - 1;
    march_year * 365 + march_year.div_euclid(4) - march_year.div_euclid(100)
        + march_year.div_euclid(400)
        + day_of_year
        - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_in_time_without_zone_is_utc() {
        assert_eq!(parse_datetime("1970-01-01T00:00:00.000"), Some(0));
        assert_eq!(
            parse_datetime("2024-02-29T12:30:15.250"),
            Some(1_709_209_815_250)
        );
        assert_eq!(parse_datetime("2024-02-29T12:30"), Some(1_709_209_800_000));
    }

    #[test]
    fn a_point_in_time_is_written_as_it_is_read() {
        assert_eq!(datetime(0), "1970-01-01T00:00:00.000Z");
        for text in [
            "2024-02-29T12:30:15.250Z",
            "2000-12-31T23:59:59.999Z",
            "1969-03-01T00:00:00.001Z",
        ] {
            assert_eq!(datetime(parse_datetime(text).unwrap()), text);
        }
        // What records may hold, however odd.
        for odd in [i64::MIN, i64::MAX] {
            assert!(datetime(odd).ends_with('Z'));
        }
    }

    #[test]
    fn a_zone_is_subtracted() {
        assert_eq!(parse_datetime("1970-01-01T01:00:00.000+01:00"), Some(0));
        assert_eq!(parse_datetime("1969-12-31T19:00:00-0500"), Some(0));
        assert_eq!(parse_datetime("1970-01-01T00:00:00Z"), Some(0));
    }

    #[test]
    fn impossible_points_in_time_are_refused() {
        for text in [
            "",
            "2024-02-30T00:00",
            "2023-13-01T00:00",
            "2023-01-01",
            "2023-01-01T24:00",
            "é-1-1T0:0",
        ] {
            assert_eq!(parse_datetime(text), None, "{text}");
        }
    }

    #[test]
    fn durations_add_up() {
        assert_eq!(parse_duration("P1DT2H3M4.5S"), Some(DAY_MS + 7_384_500));
        assert_eq!(parse_duration("PT0S"), Some(0));
        assert_eq!(parse_duration("P7D"), Some(7 * DAY_MS));
        assert_eq!(parse_duration("-PT1M"), Some(-60_000));
    }

    #[test]
    fn durations_of_unknown_length_are_refused() {
        for text in [
            "",
            "P",
            "P1M",
            "P1Y",
            "1D",
            "PT",
            "PT5",
            "P9999999999999999D",
        ] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }
}
