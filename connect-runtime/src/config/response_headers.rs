//! `response.http.headers.config` (KIP-577): headers that all answers have.
//!
//! Rules are `[set|add|setDate|addDate] Name: value`, separated by commas; a rule in double quotes may
//! have commas in it. A date is given as milliseconds from the moment of the answer.

use super::keys::TableReader;
use super::settings::Settings;

pub(super) const KEY: &str = "response.http.headers.config";

/// One header of all answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderRule {
    /// Whether it stands beside one of this name that is there already, instead of replacing it.
    pub add: bool,
    /// Its name.
    pub name: axum::http::HeaderName,
    /// What it says.
    pub value: HeaderValueRule,
}

/// What a header of all answers says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderValueRule {
    /// Always the same.
    Text(axum::http::HeaderValue),
    /// The time so many milliseconds after the answer.
    Date(i64),
}

pub(super) fn read(reader: &mut TableReader<'_>, settings: &Settings) -> Vec<HeaderRule> {
    let mut rules = Vec::new();
    for text in split(reader.text(KEY).unwrap_or_default()) {
        match parse(&text) {
            Ok(rule) => rules.push(rule),
            Err(what) => {
                let message = format!(
                    "expected rules such as set X-Frame-Options: DENY, got \"{text}\", {what}"
                );
                reader.problems.push(settings.problem(KEY, message));
            }
        }
    }
    rules
}

/// The rules, without their quotes.
fn split(text: &str) -> Vec<String> {
    let (mut rules, mut rule, mut quoted) = (Vec::new(), String::new(), false);
    for symbol in text.chars() {
        match symbol {
            '"' => quoted = !quoted,
            ',' if !quoted => rules.push(std::mem::take(&mut rule)),
            symbol => rule.push(symbol),
        }
    }
    rules.push(rule);
    let rules = rules.iter().map(|rule| rule.trim());
    rules
        .filter(|rule| !rule.is_empty())
        .map(str::to_owned)
        .collect()
}

fn parse(text: &str) -> Result<HeaderRule, &'static str> {
    let (action, header) = text
        .split_once(char::is_whitespace)
        .ok_or("which is not an action and a header")?;
    let (add, is_date) = match action.to_ascii_lowercase().as_str() {
        "set" => (false, false),
        "add" => (true, false),
        "setdate" => (false, true),
        "adddate" => (true, true),
        _ => return Err("whose action is not one of set, add, setDate, addDate"),
    };
    let (name, value) = header.split_once(':').ok_or("which has no \":\"")?;
    let (name, value) = (name.trim(), value.trim());
    Ok(HeaderRule {
        add,
        name: name
            .parse()
            .map_err(|_| "which does not name a header before \":\"")?,
        value: match is_date {
            true => HeaderValueRule::Date(
                value
                    .parse()
                    .map_err(|_| "whose date is not a number of milliseconds from now")?,
            ),
            false => HeaderValueRule::Text(
                value
                    .parse()
                    .map_err(|_| "whose value has symbols that no header has")?,
            ),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_as_kafka_writes_them() {
        let text = "add Cache-Control: no-cache, \"set X-A: a, b\", setDate Expires: 31540000000,";
        let rules: Vec<HeaderRule> = split(text)
            .iter()
            .map(|rule| parse(rule).unwrap())
            .collect();
        let shown: Vec<(bool, &str)> = rules
            .iter()
            .map(|rule| (rule.add, rule.name.as_str()))
            .collect();
        assert_eq!(
            shown,
            [(true, "cache-control"), (false, "x-a"), (false, "expires")]
        );
        assert_eq!(
            rules[1].value,
            HeaderValueRule::Text("a, b".parse().unwrap())
        );
        assert_eq!(rules[2].value, HeaderValueRule::Date(31_540_000_000));
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        for text in [
            "set",
            "put A: b",
            "set A b",
            "set A b: c",
            "set : b",
            "addDate A: tomorrow",
            "set A: b\u{7}",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
