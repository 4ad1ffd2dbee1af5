//! Ids of 16 bytes, of topics and data folders, as Kafka writes them: base 64 with `-` and `_`,
//! without padding, 22 characters.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const LENGTH: u32 = 22;

/// Kafka's text for an id.
pub fn format(id: [u8; 16]) -> String {
    let bits = u128::from_be_bytes(id);
    (0..LENGTH)
        .map(|index| {
            // The last character holds the remaining 2 bits, in its upper part.
            let shifted = if index + 1 < LENGTH {
                bits >> (122 - 6 * index)
            } else {
                bits << 4
            };
            let digit = usize::try_from(shifted & 63).unwrap_or_default();
            char::from(ALPHABET.get(digit).copied().unwrap_or(b'A'))
        })
        .collect()
}

/// The id that Kafka writes so; `None` if it is none.
pub fn parse(text: &str) -> Option<[u8; 16]> {
    let mut left = LENGTH;
    let mut bits = 0_u128;
    for byte in text.bytes() {
        let digit = ALPHABET.iter().position(|known| *known == byte)?;
        let digit = u128::try_from(digit).ok()?;
        left = left.checked_sub(1)?;
        bits = if left > 0 {
            bits << 6 | digit
        } else {
            bits << 2 | digit >> 4
        };
    }
    (left == 0).then(|| bits.to_be_bytes())
}

/// Why `text` is no id; `what` names the kind.
pub fn refusal(text: &str, what: &str) -> String {
    format!("\"{text}\" is no {what}; it has {LENGTH} letters, digits, '-' or '_'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_written_as_kafka_writes_it() {
        assert_eq!(format([0; 16]), "AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(format([0xff; 16]), "_____________________w");
        let id = *b"0123456789abcdef";
        assert_eq!(format(id), "MDEyMzQ1Njc4OWFiY2RlZg");
        assert_eq!(parse("MDEyMzQ1Njc4OWFiY2RlZg"), Some(id));
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for text in [
            "",
            "short",
            "MDEyMzQ1Njc4OWFiY2RlZ!",
            "MDEyMzQ1Njc4OWFiY2RlZgg",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
