//! Java properties files, as `java.util.Properties` reads them: `=`, `:` or white space after the
//! key, `#` and `!` comments, a backslash at the end of a line continues it, `\t \n \r \f \uXXXX`
//! escapes. The text is UTF-8; a file that is not valid UTF-8 is read as Latin-1, as Java does.

use std::borrow::Cow;

use super::settings::{Place, Position, Reader};

pub(super) fn read(reader: &mut Reader, bytes: &[u8]) {
    let text: Cow<'_, str> = match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text.strip_prefix('\u{feff}').unwrap_or(text)),
        Err(_) => Cow::Owned(bytes.iter().copied().map(char::from).collect()),
    };
    let mut cursor = Cursor::of(&text);
    while cursor.next_entry() {
        let key_at = cursor.position;
        let key = cursor.token(reader, true);
        cursor.separator();
        let value_at = cursor.position;
        let value = cursor.token(reader, false);
        let place = Place {
            key: key_at,
            value: value_at,
        };
        if key.is_empty() {
            reader.error(
                Some(key_at),
                None,
                "expected a key before the \"=\", got none",
            );
            continue;
        }
        reader.add_last_wins(&key, value, place);
    }
}

struct Cursor<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    position: Position,
}

impl<'a> Cursor<'a> {
    fn of(text: &'a str) -> Self {
        Self {
            rest: text.chars().peekable(),
            position: Position { line: 1, column: 1 },
        }
    }

    fn peek(&mut self) -> Option<char> {
        self.rest.peek().copied()
    }

    /// The next character; `\r\n` and `\r` come out as `\n`.
    fn take(&mut self) -> Option<char> {
        let mut next = self.rest.next()?;
        if next == '\r' {
            if self.peek() == Some('\n') {
                self.rest.next();
            }
            next = '\n';
        }
        if next == '\n' {
            self.position.line += 1;
            self.position.column = 1;
        } else {
            self.position.column += 1;
        }
        Some(next)
    }

    fn at_line_end(&mut self) -> bool {
        matches!(self.peek(), None | Some('\n' | '\r'))
    }

    /// Moves to the first character of the next entry; false at the end of the file.
    fn next_entry(&mut self) -> bool {
        loop {
            match self.peek() {
                None => return false,
                Some(' ' | '\t' | '\u{c}' | '\n' | '\r') => {
                    self.take();
                }
                Some('#' | '!') => {
                    while !self.at_line_end() {
                        self.take();
                    }
                }
                Some(_) => return true,
            }
        }
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(' ' | '\t' | '\u{c}')) {
            self.take();
        }
    }

    /// What stands between a key and its value: white space with at most one `=` or `:`, also
    /// across a continued line.
    fn separator(&mut self) {
        self.blanks_and_continuations();
        if matches!(self.peek(), Some('=' | ':')) {
            self.take();
            self.blanks_and_continuations();
        }
    }

    fn blanks_and_continuations(&mut self) {
        loop {
            self.skip_blanks();
            let mut ahead = self.rest.clone();
            let continued = ahead.next() == Some('\\') && matches!(ahead.next(), Some('\n' | '\r'));
            if !continued {
                return;
            }
            self.take();
            self.take();
        }
    }

    /// A key (up to a separator) or a value (up to the end of the line), with its escapes
    /// resolved and continued lines joined.
    fn token(&mut self, reader: &mut Reader, key: bool) -> String {
        let mut text = String::new();
        while let Some(next) = self.peek() {
            match next {
                '\n' | '\r' => break,
                '=' | ':' | ' ' | '\t' | '\u{c}' if key => break,
                '\\' => {
                    let at = self.position;
                    self.take();
                    self.escape(reader, at, &mut text);
                }
                other => {
                    self.take();
                    text.push(other);
                }
            }
        }
        text
    }

    fn escape(&mut self, reader: &mut Reader, at: Position, text: &mut String) {
        match self.take() {
            // A continued line: the white space at its start does not count.
            Some('\n') => self.skip_blanks(),
            Some('t') => text.push('\t'),
            Some('n') => text.push('\n'),
            Some('r') => text.push('\r'),
            Some('f') => text.push('\u{c}'),
            Some('u') => match self.unicode() {
                Some(symbol) => text.push(symbol),
                None => reader.error(
                    Some(at),
                    None,
                    "expected four hexadecimal digits after \"\\u\", got something else; write \
                     \"\\\\u\" for a backslash and a u",
                ),
            },
            Some(other) => text.push(other),
            None => {}
        }
    }

    /// `XXXX` after `\u`; a high surrogate takes the `\uXXXX` of its low surrogate with it.
    fn unicode(&mut self) -> Option<char> {
        let first = self.hex()?;
        if !(0xd800..0xdc00).contains(&first) {
            return char::from_u32(first);
        }
        let mut ahead = self.rest.clone();
        if ahead.next() != Some('\\') || ahead.next() != Some('u') {
            return None;
        }
        self.take();
        self.take();
        let second = self.hex()?;
        let low = second.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
        char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + low)
    }

    fn hex(&mut self) -> Option<u32> {
        let mut value = 0;
        for _ in 0..4 {
            let digit = self.peek()?.to_digit(16)?;
            self.take();
            value = value * 16 + digit;
        }
        Some(value)
    }
}
