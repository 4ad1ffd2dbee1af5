//! Values as text, the way Java's `toString` renders them.
//!
//! That is what Kafka's `StringConverter` and `FileStreamSink` write: `null`, `true`, `1.0E10`,
//! `[a, b]`, `{k=v}`, `Struct{a=1,b=x}` (fields that are null are left out).
//!
//! Two renderings differ on purpose, because Java's say nothing useful: bytes are base64 (Java prints
//! an object's address) and logical dates are ISO 8601 in UTC (Java prints the machine's time zone).

use std::fmt::{self, Display, Formatter, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::structure::Struct;
use crate::value::Value;

const DAY_MS: i64 = 86_400_000;

impl Display for Value {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => f.write_str("null"),
            Value::Boolean(value) => write!(f, "{value}"),
            Value::Int8(value) => write!(f, "{value}"),
            Value::Int16(value) => write!(f, "{value}"),
            Value::Int32(value) => write!(f, "{value}"),
            Value::Int64(value) => write!(f, "{value}"),
            Value::Float32(value) => float(f, &format!("{value:e}"), f64::from(*value)),
            Value::Float64(value) => float(f, &format!("{value:e}"), *value),
            Value::String(text) => f.write_str(text),
            Value::Bytes(bytes) => f.write_str(&STANDARD.encode(bytes)),
            Value::Array(values) => list(f, values),
            Value::Map(entries) => map(f, entries),
            Value::Struct(fields) => Display::fmt(&**fields, f),
            Value::Decimal(decimal) => Display::fmt(&**decimal, f),
            Value::Date(days) => date(f, i64::from(*days)),
            Value::Time(ms) => time(f, i64::from(*ms)),
            Value::Timestamp(ms) => {
                date(f, ms.div_euclid(DAY_MS))?;
                f.write_char('T')?;
                time(f, ms.rem_euclid(DAY_MS))
            }
        }
    }
}

impl Display for Struct {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("Struct{")?;
        for (index, (name, _, value)) in self
            .fields()
            .filter(|(_, _, value)| !value.is_null())
            .enumerate()
        {
            if index > 0 {
                f.write_char(',')?;
            }
            write!(f, "{name}={value}")?;
        }
        f.write_char('}')
    }
}

fn list(f: &mut Formatter<'_>, values: &[Value]) -> fmt::Result {
    f.write_char('[')?;
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            f.write_str(", ")?;
        }
        Display::fmt(value, f)?;
    }
    f.write_char(']')
}

fn map(f: &mut Formatter<'_>, entries: &[(Value, Value)]) -> fmt::Result {
    f.write_char('{')?;
    for (index, (key, value)) in entries.iter().enumerate() {
        if index > 0 {
            f.write_str(", ")?;
        }
        write!(f, "{key}={value}")?;
    }
    f.write_char('}')
}

/// Java's `Double.toString` from Rust's shortest scientific form of the same number.
fn float(f: &mut Formatter<'_>, scientific: &str, value: f64) -> fmt::Result {
    if value.is_nan() {
        return f.write_str("NaN");
    }
    if value.is_infinite() {
        return f.write_str(if value > 0.0 { "Infinity" } else { "-Infinity" });
    }
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (sign, mantissa) = mantissa
        .strip_prefix('-')
        .map_or(("", mantissa), |rest| ("-", rest));
    let digits: String = mantissa.chars().filter(|c| *c != '.').collect();
    f.write_str(sign)?;
    match exponent {
        0..7 => {
            let before = usize::try_from(exponent).unwrap_or(0) + 1;
            let padded = format!("{digits:0<before$}");
            let (whole, fraction) = padded.split_at(before);
            write!(
                f,
                "{whole}.{}",
                if fraction.is_empty() { "0" } else { fraction }
            )
        }
        -3..0 => {
            let zeros = usize::try_from(-exponent - 1).unwrap_or(0);
            write!(f, "0.{:0<zeros$}{digits}", "")
        }
        _ => {
            let (first, rest) = digits.split_at(1.min(digits.len()));
            write!(
                f,
                "{first}.{}E{exponent}",
                if rest.is_empty() { "0" } else { rest }
            )
        }
    }
}

/// `yyyy-MM-dd` of a day since the epoch in the proleptic Gregorian calendar.
///
/// After Howard Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`.
fn date(f: &mut Formatter<'_>, days: i64) -> fmt::Result {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_shifted + 2) / 5 + 1;
    let month = if month_shifted < 10 {
        month_shifted + 3
    } else {
        month_shifted - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    write!(f, "{year:04}-{month:02}-{day:02}")
}

/// `HH:mm:ss.SSSZ` of milliseconds since midnight.
fn time(f: &mut Formatter<'_>, ms: i64) -> fmt::Result {
    let (hours, minutes, seconds) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    write!(f, "{hours:02}:{minutes:02}:{seconds:02}.{:03}Z", ms % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{Schema, SchemaRef};

    #[test]
    fn numbers_look_as_in_java() {
        for (number, text) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (1.5, "1.5"),
            (100.0, "100.0"),
            (1_234_567.0, "1234567.0"),
            (9_999_999.5, "9999999.5"),
            (10_000_000.0, "1.0E7"),
            (1.5e10, "1.5E10"),
            (0.001, "0.001"),
            (0.0123, "0.0123"),
            (0.5, "0.5"),
            (0.0001, "1.0E-4"),
            (-1.25e-9, "-1.25E-9"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(Value::Float64(number).to_string(), text);
        }
        assert_eq!(Value::Float32(0.1).to_string(), "0.1");
    }

    #[test]
    fn collections_look_as_in_java() {
        let schema = Schema::structure()
            .field("a", SchemaRef::INT32)
            .field("b", SchemaRef::OPTIONAL_STRING)
            .field("c", SchemaRef::STRING)
            .build();
        let fields = Struct::new(schema)
            .unwrap()
            .with("a", 1i32)
            .unwrap()
            .with("c", "x")
            .unwrap();
        assert_eq!(Value::from(fields).to_string(), "Struct{a=1,c=x}");
        assert_eq!(
            Value::array(["a".into(), Value::Null]).to_string(),
            "[a, null]"
        );
        assert_eq!(
            Value::map([("k".into(), "v".into()), ("l".into(), Value::Int8(1))]).to_string(),
            "{k=v, l=1}"
        );
    }

    #[test]
    fn dates_are_iso_in_utc() {
        assert_eq!(Value::Date(0).to_string(), "1970-01-01");
        assert_eq!(Value::Date(-1).to_string(), "1969-12-31");
        assert_eq!(Value::Date(19_782).to_string(), "2024-02-29");
        assert_eq!(Value::Time(86_399_999).to_string(), "23:59:59.999Z");
        assert_eq!(
            Value::Timestamp(1_700_000_000_123).to_string(),
            "2023-11-14T22:13:20.123Z"
        );
        assert_eq!(Value::Timestamp(-1).to_string(), "1969-12-31T23:59:59.999Z");
    }
}
