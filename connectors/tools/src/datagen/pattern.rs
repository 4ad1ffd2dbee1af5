//! Text that matches a pattern: what people write in schemas, such as `User_[1-9]{0,1}`.
//!
//! Letters, classes, `.`, `\d`, `\w`, `\s`, groups, alternatives and repetitions. What can be repeated
//! without end is repeated at most eight times more than it must.

use super::random::Random;

/// The most that an open repetition repeats beyond what it must.
const OPEN_REPEATS: usize = 8;
/// The longest text that a pattern may make.
const LENGTH_MAX: usize = 65_536;

/// A pattern, read once.
#[derive(Debug, Clone)]
pub(crate) struct Pattern(Alternatives);

type Alternatives = Vec<Vec<Piece>>;

#[derive(Debug, Clone)]
struct Piece {
    atom: Atom,
    repeats: (usize, usize),
}

#[derive(Debug, Clone)]
enum Atom {
    Letter(char),
    /// At least one range, each from … to, both included.
    Class(Vec<(char, char)>),
    Group(Alternatives),
}

const DIGITS: &[(char, char)] = &[('0', '9')];
const WORD: &[(char, char)] = &[('a', 'z'), ('A', 'Z'), ('0', '9'), ('_', '_')];
/// What `.` and classes of all others stand for: what can be read.
const PRINTABLE: (char, char) = (' ', '~');

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What of it cannot be made.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        // It is about the whole text anyway.
        let text = text.strip_prefix('^').unwrap_or(text);
        let text = match text.strip_suffix('$') {
            Some(rest) if !rest.ends_with('\\') => rest,
            _ => text,
        };
        let mut reader = Reader {
            rest: text.chars().peekable(),
            depth: 0,
        };
        let alternatives = reader.alternatives()?;
        if reader.rest.next().is_some() {
            return Err("a \")\" closes nothing".to_owned());
        }
        match longest(&alternatives) {
            length if length > LENGTH_MAX => Err(format!(
                "it may make {length} letters, more than {LENGTH_MAX}"
            )),
            _ => Ok(Self(alternatives)),
        }
    }

    /// Adds a text that matches.
    pub(crate) fn write(&self, random: &mut Random, text: &mut String) {
        write(&self.0, random, text);
    }
}

fn write(alternatives: &Alternatives, random: &mut Random, text: &mut String) {
    let chosen = alternatives.get(random.index(alternatives.len()));
    for piece in chosen.into_iter().flatten() {
        for _ in 0..random.length(piece.repeats) {
            match &piece.atom {
                Atom::Letter(letter) => text.push(*letter),
                Atom::Class(ranges) => text.extend(pick(ranges, random)),
                Atom::Group(group) => write(group, random, text),
            }
        }
    }
}

fn pick(ranges: &[(char, char)], random: &mut Random) -> Option<char> {
    let size = |(from, to): &(char, char)| u64::from(u32::from(*to) - u32::from(*from)) + 1;
    let mut left = random.below(ranges.iter().map(size).sum());
    for range in ranges {
        if left < size(range) {
            let letter = u32::from(range.0) + u32::try_from(left).unwrap_or(0);
            return char::from_u32(letter);
        }
        left -= size(range);
    }
    None
}

fn longest(alternatives: &Alternatives) -> usize {
    let piece = |piece: &Piece| {
        let atom = match &piece.atom {
            Atom::Group(group) => longest(group),
            Atom::Letter(_) | Atom::Class(_) => 1,
        };
        atom.saturating_mul(piece.repeats.1)
    };
    let lengths = alternatives
        .iter()
        .map(|pieces| pieces.iter().map(piece).fold(0, usize::saturating_add));
    lengths.max().unwrap_or(0)
}

struct Reader<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    depth: usize,
}

/// What stands behind a backslash.
enum Escaped {
    /// A letter that is meant as it is.
    Letter(char),
    Class(&'static [(char, char)]),
}

/// How deep groups may lie in each other.
const DEPTH_MAX: usize = 32;

impl Reader<'_> {
    /// Up to the end, or to the end of the group.
    fn alternatives(&mut self) -> Result<Alternatives, String> {
        let mut all = vec![Vec::new()];
        while let Some(next) = self.rest.peek().copied() {
            match next {
                ')' if self.depth > 0 => break,
                ')' => return Err("a \")\" closes nothing".to_owned()),
                '|' => {
                    self.rest.next();
                    all.push(Vec::new());
                }
                _ => {
                    let atom = self.atom()?;
                    let repeats = self.repeats()?;
                    if let Some(last) = all.last_mut() {
                        last.push(Piece { atom, repeats });
                    }
                }
            }
        }
        Ok(all)
    }

    fn atom(&mut self) -> Result<Atom, String> {
        Ok(match self.rest.next() {
            Some('(') => Atom::Group(self.group()?),
            Some('[') => Atom::Class(self.class()?),
            Some('.') => Atom::Class(vec![PRINTABLE]),
            Some('\\') => match self.escape()? {
                Escaped::Letter(letter) => Atom::Letter(letter),
                Escaped::Class(ranges) => Atom::Class(ranges.to_vec()),
            },
            Some(wild @ ('*' | '+' | '?' | '{' | '}' | ']' | '^' | '$')) => {
                return Err(format!("\"{wild}\" stands where nothing can be made of it"));
            }
            Some(letter) => Atom::Letter(letter),
            None => return Err("it ends too early".to_owned()),
        })
    }

    fn group(&mut self) -> Result<Alternatives, String> {
        if self.rest.peek() == Some(&'?') {
            self.rest.next();
            if self.rest.next() != Some(':') {
                return Err(
                    "groups that begin with \"(?\" are not understood, except \"(?:\"".to_owned(),
                );
            }
        }
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(format!("groups lie deeper than {DEPTH_MAX} in each other"));
        }
        let group = self.alternatives()?;
        self.depth -= 1;
        match self.rest.next() {
            Some(')') => Ok(group),
            _ => Err("a \"(\" is not closed".to_owned()),
        }
    }

    fn escape(&mut self) -> Result<Escaped, String> {
        match self.rest.next() {
            Some('d') => Ok(Escaped::Class(DIGITS)),
            Some('w') => Ok(Escaped::Class(WORD)),
            Some('s') => Ok(Escaped::Letter(' ')),
            Some('t') => Ok(Escaped::Letter('\t')),
            Some('n') => Ok(Escaped::Letter('\n')),
            Some(letter) if letter.is_ascii_alphanumeric() => {
                Err(format!("\"\\{letter}\" is not understood"))
            }
            Some(letter) => Ok(Escaped::Letter(letter)),
            None => Err("it ends with \"\\\"".to_owned()),
        }
    }

    fn class(&mut self) -> Result<Vec<(char, char)>, String> {
        let open = || "a \"[\" is not closed".to_owned();
        let others = self.rest.peek() == Some(&'^');
        if others {
            self.rest.next();
        }
        let mut ranges: Vec<(char, char)> = Vec::new();
        loop {
            let from = match self.rest.next().ok_or_else(open)? {
                ']' if !ranges.is_empty() => break,
                '\\' => match self.escape()? {
                    Escaped::Letter(letter) => letter,
                    Escaped::Class(class) => {
                        ranges.extend_from_slice(class);
                        continue;
                    }
                },
                letter => letter,
            };
            let mut ahead = self.rest.clone();
            let is_range = ahead.next() == Some('-') && ahead.next().is_some_and(|to| to != ']');
            if !is_range {
                ranges.push((from, from));
                continue;
            }
            self.rest.next();
            let to = match self.rest.next().ok_or_else(open)? {
                '\\' => match self.escape()? {
                    Escaped::Letter(letter) => letter,
                    Escaped::Class(_) => return Err("a range ends with a class".to_owned()),
                },
                letter => letter,
            };
            if to < from {
                return Err(format!("the range {from}-{to} is empty"));
            }
            ranges.push((from, to));
        }
        match others {
            false => Ok(ranges),
            true => all_but(&ranges),
        }
    }

    fn repeats(&mut self) -> Result<(usize, usize), String> {
        let repeats = match self.rest.peek() {
            Some('?') => (0, 1),
            Some('*') => (0, OPEN_REPEATS),
            Some('+') => (1, 1 + OPEN_REPEATS),
            Some('{') => {
                self.rest.next();
                return self.counted();
            }
            _ => return Ok((1, 1)),
        };
        self.rest.next();
        Ok(repeats)
    }

    fn counted(&mut self) -> Result<(usize, usize), String> {
        let mut text = String::new();
        loop {
            match self.rest.next() {
                Some('}') => break,
                Some(letter) => text.push(letter),
                None => return Err("a \"{\" is not closed".to_owned()),
            }
        }
        let wrong = || format!("\"{{{text}}}\" is no number of repetitions");
        let number = |text: &str| text.trim().parse::<usize>().map_err(|_| wrong());
        let (from, to) = match text.split_once(',') {
            None => (number(&text)?, number(&text)?),
            Some((from, to)) if to.trim().is_empty() => {
                let from = number(from)?;
                (from, from.saturating_add(OPEN_REPEATS))
            }
            Some((from, to)) => (number(from)?, number(to)?),
        };
        match from <= to {
            true => Ok((from, to)),
            false => Err(wrong()),
        }
    }
}

fn all_but(ranges: &[(char, char)]) -> Result<Vec<(char, char)>, String> {
    let is_left = |letter: &char| {
        !ranges
            .iter()
            .any(|(from, to)| (from..=to).contains(&letter))
    };
    let left: Vec<(char, char)> = (PRINTABLE.0..=PRINTABLE.1)
        .filter(is_left)
        .map(|letter| (letter, letter))
        .collect();
    match left.is_empty() {
        false => Ok(left),
        true => Err("a class leaves no letter".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_matches() {
        let is_page = |text: &str| {
            let digits = text.strip_prefix("Page_").unwrap_or("");
            (1..=2).contains(&digits.len())
                && !digits.starts_with('0')
                && digits.parse::<u8>().is_ok()
        };
        type Check<'a> = &'a dyn Fn(&str) -> bool;
        let checks: [(&str, Check<'_>); 6] = [
            ("Page_[1-9][0-9]?", &is_page),
            ("^(MALE|FEMALE)$", &|text| {
                ["MALE", "FEMALE"].contains(&text)
            }),
            (r"\d{3}-\d{2,4}", &|text| {
                (6..=8).contains(&text.len()) && text.get(3..4) == Some("-")
            }),
            (r"[^a-zA-Z]+", &|text| {
                !text.is_empty() && !text.contains(char::is_alphabetic)
            }),
            (r"a\.b[\]x-]", &|text| {
                ["a.b]", "a.bx", "a.b-"].contains(&text)
            }),
            ("(?:ab){2}c*", &|text| text.starts_with("abab")),
        ];
        for (pattern, check) in checks {
            let read = Pattern::read(pattern).unwrap();
            for number in 0..200 {
                let mut text = String::new();
                read.write(&mut Random::of(1, 0, number), &mut text);
                assert!(check(&text), "{pattern}: {text}");
            }
        }
    }

    #[test]
    fn what_cannot_be_made_is_refused() {
        for pattern in [
            "(",
            ")",
            "[",
            "[b-a]",
            "a{2",
            "a{3,2}",
            "*",
            "(?=x)",
            r"\b",
            "a**",
            r"[^\w\W]",
            "a|{",
            "((((a{99}){99}){99}){99})",
        ] {
            assert!(Pattern::read(pattern).is_err(), "{pattern}");
        }
        let deep = "(".repeat(100_000);
        assert!(Pattern::read(&deep).is_err());
    }
}
