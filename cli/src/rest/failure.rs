//! What is said when a worker refuses: its own words, and what to do.

use serde_json::Value;

use super::Answer;
use crate::CliError;

impl Answer {
    /// Whether it was done.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body of an answer that says yes.
    ///
    /// # Errors
    /// What the worker says instead, and what to do.
    pub fn success(self) -> Result<Value, CliError> {
        match self.is_success() {
            true => Ok(self.body),
            false => Err(self.failure()),
        }
    }

    /// An answer that says no as an error.
    pub fn failure(&self) -> CliError {
        CliError::failed(self.refusal())
    }

    /// What the worker says, and what to do.
    pub fn refusal(&self) -> String {
        let message = match self.body.get("message").and_then(Value::as_str) {
            Some(message) => message.trim_end(),
            None => "no reason was given",
        };
        let way_out = match advice(self.status, message) {
            Some(advice) => format!("\n{advice}"),
            None => String::new(),
        };
        format!("error: {message} (HTTP {}){way_out}", self.status)
    }
}

/// What to do about a refusal, where it is clear. The words are Kafka Connect's.
fn advice(status: u16, message: &str) -> Option<&'static str> {
    let says = |text| message.contains(text);
    match status {
        401 => Some(
            "say who you are with --user and --password-file, with CONNECT_USER and CONNECT_PASSWORD, or in \
             a file with --client-config",
        ),
        403 if says("may only read") => {
            Some("ask whoever runs the worker for a user whose role is full")
        }
        409 if says("already exists") => {
            Some("change it with 'connect connectors apply FILE', or give the new one another name")
        }
        409 => Some("the workers are busy with a change; try again in a moment"),
        400 if says("STOPPED state") => Some("stop it first: connect connectors stop NAME"),
        404 if [
            "No status found for connector",
            "Connector ",
            "Unknown connector",
        ]
        .into_iter()
        .any(says) =>
        {
            Some("see which there are with 'connect connectors list'")
        }
        404 if says("invalid log level") => {
            Some("levels are OFF, ERROR, WARN, INFO, DEBUG and TRACE")
        }
        500 if says("Request timed out") => {
            Some("see later how it is with 'connect connectors list'")
        }
        503 => Some("try again when it has started again"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refusal(status: u16, body: Value) -> String {
        Answer { status, body }.refusal()
    }

    #[test]
    fn the_worker_s_own_words_come_with_a_way_out() {
        let body = json!({"error_code": 409, "message": "Connector a already exists"});
        assert_eq!(
            refusal(409, body),
            "error: Connector a already exists (HTTP 409)\n\
             change it with 'connect connectors apply FILE', or give the new one another name"
        );
        let body = json!({"error_code": 404, "message": "Connector a not found"});
        assert!(refusal(404, body).ends_with("'connect connectors list'"));
    }

    #[test]
    fn an_answer_without_words_still_says_its_status() {
        assert_eq!(
            refusal(418, Value::Null),
            "error: no reason was given (HTTP 418)"
        );
    }
}
