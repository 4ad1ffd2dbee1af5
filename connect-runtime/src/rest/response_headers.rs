//! Headers that all answers have, as `response.http.headers.config` says.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use axum::extract::State;
use axum::http::HeaderValue;
use axum::response::Response;

use crate::config::{HeaderRule, HeaderValueRule};

/// The last second that the form of dates has room for: the year 9999.
const SECONDS_MAX: u64 = 253_402_300_799;

pub(super) async fn put(
    State(rules): State<Arc<[HeaderRule]>>,
    mut response: Response,
) -> Response {
    let headers = response.headers_mut();
    for rule in rules.iter() {
        let value = match &rule.value {
            HeaderValueRule::Text(text) => text.clone(),
            HeaderValueRule::Date(millis) => match date(*millis) {
                Some(date) => date,
                None => continue,
            },
        };
        match rule.add {
            true => headers.append(rule.name.clone(), value),
            false => headers.insert(rule.name.clone(), value).is_some(),
        };
    }
    response
}

/// The time so many milliseconds from now, as HTTP writes it.
fn date(millis: i64) -> Option<HeaderValue> {
    let now = platform::clock::since_epoch();
    let distance = Duration::from_millis(millis.unsigned_abs());
    let time = match millis < 0 {
        true => now.saturating_sub(distance),
        false => now.saturating_add(distance),
    };
    let time = time.min(Duration::from_secs(SECONDS_MAX));
    httpdate::fmt_http_date(UNIX_EPOCH + time).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_number_of_milliseconds_is_a_date() {
        let at = |millis| date(millis).unwrap().to_str().unwrap().to_owned();
        assert_eq!(at(i64::MIN), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(at(i64::MAX), "Fri, 31 Dec 9999 23:59:59 GMT");
    }
}
