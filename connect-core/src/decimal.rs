//! Exact decimal numbers: the logical type `Decimal`.

use std::fmt;
use std::str::FromStr;

use num_bigint::BigInt;

/// An exact decimal number: `unscaled` × 10^-`scale`.
///
/// Equality is Java's: 1.0 and 1.00 differ, because their scales do. `Display` and `FromStr` are those
/// of Java's `BigDecimal`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Decimal {
    /// The digits as a whole number.
    pub unscaled: BigInt,
    /// How many of the digits stand after the point; negative adds zeros before it.
    pub scale: i32,
}

/// Exponents beyond this are refused: writing the number out would take more memory than its text.
const EXPONENT_MAX: i64 = 10_000;
/// Texts longer than this are refused: reading digits takes the square of their number.
const TEXT_BYTES_MAX: usize = 10_000;

impl Decimal {
    /// A decimal number.
    pub fn new(unscaled: impl Into<BigInt>, scale: i32) -> Self {
        Decimal {
            unscaled: unscaled.into(),
            scale,
        }
    }

    /// From big-endian two's complement digits, as Connect stores them in bytes.
    pub fn from_bytes(bytes: &[u8], scale: i32) -> Self {
        Decimal {
            unscaled: BigInt::from_signed_bytes_be(bytes),
            scale,
        }
    }

    /// The digits as big-endian two's complement, as Connect stores them in bytes.
    pub fn unscaled_bytes(&self) -> Vec<u8> {
        self.unscaled.to_signed_bytes_be()
    }

    /// The same number with another scale, if no digit is lost.
    pub fn with_scale(&self, scale: i32) -> Option<Self> {
        let by = i64::from(scale) - i64::from(self.scale);
        if by.abs() > EXPONENT_MAX {
            return None;
        }
        let factor = BigInt::from(10).pow(u32::try_from(by.unsigned_abs()).ok()?);
        if by >= 0 {
            return Some(Decimal {
                unscaled: &self.unscaled * factor,
                scale,
            });
        }
        let quotient = &self.unscaled / &factor;
        (&quotient * factor == self.unscaled).then_some(Decimal {
            unscaled: quotient,
            scale,
        })
    }

    /// The nearest 64-bit floating point number.
    pub fn to_f64(&self) -> f64 {
        // Rust's own parser rounds correctly; the text is short because exponents are bounded.
        format!("{}e{}", self.unscaled, -i64::from(self.scale))
            .parse()
            .unwrap_or(f64::NAN)
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.unscaled.to_string();
        let (sign, digits) = match text.strip_prefix('-') {
            Some(digits) => ("-", digits),
            None => ("", text.as_str()),
        };
        if self.scale == 0 {
            return write!(f, "{sign}{digits}");
        }
        let length = i64::try_from(digits.len()).unwrap_or(i64::MAX);
        let adjusted = -i64::from(self.scale) + (length - 1);
        if self.scale > 0 && adjusted >= -6 {
            let after = usize::try_from(self.scale).unwrap_or(0);
            return match digits.len().checked_sub(after) {
                Some(before) if before > 0 => {
                    let (whole, fraction) = digits.split_at(before);
                    write!(f, "{sign}{whole}.{fraction}")
                }
                _ => write!(f, "{sign}0.{digits:0>after$}"),
            };
        }
        let (first, rest) = digits.split_at(1.min(digits.len()));
        f.write_str(sign)?;
        f.write_str(first)?;
        if !rest.is_empty() {
            write!(f, ".{rest}")?;
        }
        if adjusted != 0 {
            write!(f, "E{adjusted:+}")?;
        }
        Ok(())
    }
}

/// The text is not a decimal number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a decimal number")]
pub struct NotADecimal(String);

impl FromStr for Decimal {
    type Err = NotADecimal;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| NotADecimal(text.chars().take(64).collect()))
    }
}

fn parse(text: &str) -> Option<Decimal> {
    if text.len() > TEXT_BYTES_MAX {
        return None;
    }
    let (number, exponent) = match text.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, exponent.parse::<i64>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let (negative, whole) = match whole.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, whole.strip_prefix('+').unwrap_or(whole)),
    };
    let digits = format!("{whole}{fraction}");
    if digits.is_empty()
        || !digits.bytes().all(|byte| byte.is_ascii_digit())
        || exponent.abs() > EXPONENT_MAX
    {
        return None;
    }
    let scale = i64::try_from(fraction.len()).ok()? - exponent;
    let magnitude: BigInt = digits.parse().ok()?;
    Some(Decimal {
        unscaled: if negative { -magnitude } else { magnitude },
        scale: i32::try_from(scale).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_that_of_java_s_big_decimal() {
        for (unscaled, scale, text) in [
            (123, 0, "123"),
            (-123, 0, "-123"),
            (123, -1, "1.23E+3"),
            (123, -3, "1.23E+5"),
            (123, 1, "12.3"),
            (123, 5, "0.00123"),
            (123, 10, "1.23E-8"),
            (-123, 12, "-1.23E-10"),
            (0, 2, "0.00"),
            (0, 7, "0E-7"),
            (1, 3, "0.001"),
        ] {
            let decimal = Decimal::new(unscaled, scale);
            assert_eq!(decimal.to_string(), text);
            assert_eq!(text.parse::<Decimal>().unwrap(), decimal);
        }
    }

    #[test]
    fn bytes_are_two_s_complement() {
        assert_eq!(Decimal::new(156, 2).unscaled_bytes(), [0, 156]);
        assert_eq!(Decimal::from_bytes(&[0, 156], 2).to_string(), "1.56");
        assert_eq!(Decimal::from_bytes(&[0xff], 0).to_string(), "-1");
    }

    #[test]
    fn hostile_exponents_are_refused() {
        assert!("1e999999999".parse::<Decimal>().is_err());
        assert!("1".repeat(20_000).parse::<Decimal>().is_err());
        assert!("".parse::<Decimal>().is_err());
        assert!(".".parse::<Decimal>().is_err());
        assert!("1.-5".parse::<Decimal>().is_err());
        assert_eq!(Decimal::new(1, 0).with_scale(i32::MAX), None);
    }

    #[test]
    fn scale_changes_only_without_loss() {
        assert_eq!(Decimal::new(100, 2).with_scale(0), Some(Decimal::new(1, 0)));
        assert_eq!(Decimal::new(101, 2).with_scale(0), None);
        assert_eq!(Decimal::new(1, 0).with_scale(2), Some(Decimal::new(100, 2)));
    }
}
