//! Regular expressions as Java's `Pattern` reads them.
//!
//! Most patterns run in linear time, whatever they are asked. Those with look-around, back-references,
//! possessive quantifiers or atomic groups need backtracking, which ends after a million steps with an
//! error. What only Java writes in its way is rewritten: `\Q…\E`, `\h`, the classes `\d`, `\s` and `\w` and
//! `\p{Upper}` and its likes, which are those of ASCII. Different are: look-behind without a fixed length
//! and `\R`, `\X` and `\G` are refused, and `(?i)` does not stop at ASCII.

use fancy_regex::{Captures, Regex};

use crate::error::ConnectError;

/// Whitespace on a line.
const HORIZONTAL: &str = r" \t\x{A0}\x{1680}\x{180E}\x{2000}-\x{200A}\x{202F}\x{205F}\x{3000}";

/// A pattern, read once.
#[derive(Debug)]
pub(super) struct JavaPattern {
    /// Has to match all of a text.
    whole: Regex,
    regex: Regex,
}

impl JavaPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn new(pattern: &str) -> Result<Self, String> {
        let pattern = rewritten(pattern)?;
        // By itself first: its own brackets must be balanced.
        let regex = compile(&pattern)?;
        // A comment at its end must not hide the bracket.
        let whole = compile(&format!(r"\A(?:{pattern})\z"))
            .or_else(|_| compile(&format!("\\A(?:{pattern}\n)\\z")))?;
        Ok(JavaPattern { whole, regex })
    }

    /// Whether it matches all of a text.
    ///
    /// # Errors
    /// Record: it takes too many steps to find out.
    pub(super) fn is_whole(&self, text: &str) -> Result<bool, ConnectError> {
        self.whole.is_match(text).map_err(|_| too_long(text))
    }

    /// Replaces every match in a text.
    ///
    /// # Errors
    /// Record: it takes too many steps to find one.
    pub(super) fn replace(
        &self,
        text: &str,
        mut by: impl FnMut(&Captures<'_, str>) -> String,
    ) -> Result<String, ConnectError> {
        let mut new = String::with_capacity(text.len());
        let mut at = 0;
        for captures in self.regex.captures_iter(text) {
            let captures = captures.map_err(|_| too_long(text))?;
            let Some(found) = captures.get(0) else {
                continue;
            };
            new.push_str(text.get(at..found.start()).unwrap_or_default());
            new.push_str(&by(&captures));
            at = found.end();
        }
        new.push_str(text.get(at..).unwrap_or_default());
        Ok(new)
    }

    /// Groups, with that of the whole match.
    pub(super) fn groups(&self) -> usize {
        self.regex.captures_len()
    }

    /// The number of a group with a name.
    pub(super) fn group(&self, name: &str) -> Option<usize> {
        let mut names = self.regex.capture_names();
        names.position(|other| other == Some(name))
    }
}

fn too_long(text: &str) -> ConnectError {
    ConnectError::record(format!(
        "the pattern takes too many steps for \"{text}\"; make it simpler"
    ))
}

fn compile(pattern: &str) -> Result<Regex, String> {
    Regex::new(pattern).map_err(|error| {
        // The last line says what is wrong, those before draw where.
        let text = error.to_string();
        let reason = text.lines().last().unwrap_or_default();
        let reason = reason.trim_start_matches("error: ");
        format!("expected a regular expression: {reason}")
    })
}

/// A pattern in the words of the regex crates.
fn rewritten(pattern: &str) -> Result<String, String> {
    let mut new = String::with_capacity(pattern.len());
    let mut rest = pattern.chars().peekable();
    let mut depth = 0_usize;
    while let Some(symbol) = rest.next() {
        match symbol {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            '\\' => {
                let Some(letter) = rest.next() else {
                    return Err("expected a character behind the last backslash".to_owned());
                };
                match letter {
                    'Q' => {
                        let text: String = rest.by_ref().collect();
                        let (text, behind) = text.split_once(r"\E").unwrap_or((&text, ""));
                        new.push_str(&fancy_regex::escape(text));
                        new.push_str(&rewritten(behind)?);
                        return Ok(new);
                    }
                    'w' => class(&mut new, depth, "0-9A-Za-z_", false),
                    'W' => class(&mut new, depth, "0-9A-Za-z_", true),
                    'd' => class(&mut new, depth, "0-9", false),
                    'D' => class(&mut new, depth, "0-9", true),
                    's' => class(&mut new, depth, r" \t\n\x0B\x0C\r", false),
                    'S' => class(&mut new, depth, r" \t\n\x0B\x0C\r", true),
                    'h' => class(&mut new, depth, HORIZONTAL, false),
                    'H' => class(&mut new, depth, HORIZONTAL, true),
                    'R' | 'X' | 'G' => {
                        return Err(format!("expected a pattern without \\{letter}"));
                    }
                    'p' | 'P' if rest.peek() == Some(&'{') => {
                        let name: String = rest.by_ref().take_while(|c| *c != '}').collect();
                        let name = name.trim_start_matches('{');
                        match posix(name) {
                            Some(members) => class(&mut new, depth, members, letter == 'P'),
                            None => new.push_str(&format!("\\{letter}{{{name}}}")),
                        }
                    }
                    other => new.extend(['\\', other]),
                }
                continue;
            }
            _ => {}
        }
        new.push(symbol);
    }
    Ok(new)
}

/// A class, or its members where it stands in one.
fn class(new: &mut String, depth: usize, members: &str, negated: bool) {
    match (depth, negated) {
        (0, false) => new.push_str(&format!("[{members}]")),
        (_, true) => new.push_str(&format!("[^{members}]")),
        (_, false) => new.push_str(members),
    }
}

/// The members of Java's POSIX classes, which are of ASCII alone.
fn posix(name: &str) -> Option<&'static str> {
    Some(match name {
        "Lower" => "a-z",
        "Upper" => "A-Z",
        "ASCII" => r"\x00-\x7F",
        "Alpha" => "A-Za-z",
        "Digit" => "0-9",
        "Alnum" => "0-9A-Za-z",
        "Punct" => r"!-/:-@\[-`{-~",
        "Graph" => "!-~",
        "Print" => " -~",
        "Blank" => r" \t",
        "Cntrl" => r"\x00-\x1F\x7F",
        "XDigit" => "0-9A-Fa-f",
        "Space" => r" \t\n\x0B\x0C\r",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(pattern: &str, text: &str) -> bool {
        JavaPattern::new(pattern).unwrap().is_whole(text).unwrap()
    }

    #[test]
    fn what_only_java_writes_is_understood() {
        assert!(takes(r"\Qa.b\E.*", "a.bc") && !takes(r"\Qa.b\E", "axb"));
        assert!(takes(r"\Qa.b", "a.b"), "a quotation without an end");
        assert!(takes(r"\w+", "orders_1") && !takes(r"\w+", "été"));
        assert!(takes(r"[\w.-]+", "my-topic.v2") && !takes(r"[\W]", "a"));
        assert!(takes(r"[^\d]", "x") && !takes(r"[^\d]", "5"));
        assert!(takes(r"\p{Upper}\p{Lower}+", "Orders") && takes(r"\P{Digit}", "x"));
        assert!(takes(r"\p{L}+", "été") && takes(r"a\hb", "a b"));
        assert!(takes("[a-z&&[^b]]", "c") && !takes("[a-z&&[^b]]", "b"));
        assert!(takes(r"\x74\u0074", "tt"));
    }

    #[test]
    fn look_around_and_references_backwards_work() {
        assert!(takes("(?!test).*", "orders") && !takes("(?!test).*", "test-orders"));
        assert!(takes("(?!.*internal).*", "orders") && !takes("(?!.*internal).*", "an-internal"));
        assert!(takes(".*(?<!-dead)", "orders") && !takes(".*(?<!-dead)", "orders-dead"));
        assert!(takes(r"(a|b)\1", "aa") && !takes(r"(a|b)\1", "ab"));
        assert!(takes("a++b", "aab") && !takes("a++ab", "aab"), "possessive");
        assert!(
            takes("(?>a|ab)c", "ac") && !takes("(?>a|ab)c", "abc"),
            "atomic"
        );
    }

    #[test]
    fn a_pattern_that_never_ends_is_an_error_of_the_record() {
        let pattern = JavaPattern::new(r"((a*)*)*\2b(?=x)").unwrap();
        let error = pattern.is_whole(&"a".repeat(64)).unwrap_err();
        assert_eq!(error.class(), crate::ErrorClass::Record);
    }

    #[test]
    fn wrong_patterns_say_what_is_wrong() {
        for pattern in ["(", "a)(b", "[a", "*", r"a\", r"\R", "(?<n"] {
            let error = JavaPattern::new(pattern).unwrap_err();
            assert!(error.starts_with("expected a"), "{pattern}: {error}");
        }
    }
}
