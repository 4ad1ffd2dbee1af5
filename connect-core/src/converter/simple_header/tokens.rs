//! Splits a header's text at its delimiters: `:` `,` `{` `}` `[` `]` `"`, unless a backslash precedes.

/// Walks over the tokens; a delimiter is a token of its own.
pub(super) struct Tokens<'a> {
    text: &'a str,
    /// Where the next token starts, in bytes.
    position: usize,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Tokens { text, position: 0 }
    }

    pub(super) fn text(&self) -> &'a str {
        self.text
    }

    pub(super) fn has_next(&self) -> bool {
        self.position < self.text.len()
    }

    pub(super) fn mark(&self) -> usize {
        self.position
    }

    pub(super) fn rewind(&mut self, mark: usize) {
        self.position = mark;
    }

    pub(super) fn next(&mut self) -> Option<&'a str> {
        let rest = self
            .text
            .get(self.position..)
            .filter(|rest| !rest.is_empty())?;
        let mut escaped = false;
        let mut end = rest.len();
        for (index, letter) in rest.char_indices() {
            match letter {
                '\\' => {
                    escaped = !escaped;
                    continue;
                }
                ':' | ',' | '{' | '}' | '[' | ']' | '"' if !escaped => {
                    end = if index == 0 { 1 } else { index };
                    break;
                }
                _ => {}
            }
            escaped = false;
        }
        self.position += end;
        rest.get(..end)
    }

    /// The next tokens as one text; `None`, and nothing consumed, if there are fewer.
    pub(super) fn next_many(&mut self, count: usize) -> Option<&'a str> {
        let start = self.position;
        for _ in 0..count {
            if self.next().is_none() {
                self.position = start;
                return None;
            }
        }
        self.text.get(start..self.position)
    }

    /// Consumes the next token that is not blank if it is `expected`, blanks around it ignored.
    pub(super) fn consume(&mut self, expected: &str) -> bool {
        let start = self.position;
        let mut token = self.next();
        while token.is_some_and(|token| token.trim().is_empty()) && self.has_next() {
            token = self.next();
        }
        if token.is_some_and(|token| token.trim() == expected) {
            return true;
        }
        self.position = start;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delimiters_are_tokens_unless_escaped() {
        let mut tokens = Tokens::new(r#"ab:c\:d,[é"#);
        let all: Vec<&str> = std::iter::from_fn(|| tokens.next()).collect();
        assert_eq!(all, ["ab", ":", r"c\:d", ",", "[", "é"]);
    }

    #[test]
    fn consuming_skips_blanks_and_gives_back_what_it_did_not_want() {
        let mut tokens = Tokens::new(" [ x");
        assert!(!tokens.consume("]"));
        assert!(tokens.consume("["));
        assert_eq!(tokens.next_many(2), None);
        assert_eq!(tokens.next(), Some(" x"));
        assert!(!tokens.has_next());
    }
}
