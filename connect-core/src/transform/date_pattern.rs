//! Date patterns as Java's `SimpleDateFormat` has them, in UTC and English.
//!
//! | letter | meaning |
//! |---|---|
//! | `G` | AD or BC |
//! | `y` | year of the era; `yy` two digits, read as 1950 to 2049 |
//! | `M`, `L` | month; `MMM` Jan, `MMMM` January |
//! | `d`, `D` | day in month, day in year |
//! | `H`, `k`, `K`, `h` | hour: 0–23, 1–24, 0–11, 1–12 |
//! | `m`, `s`, `S` | minute, second, millisecond |
//! | `a` | AM or PM |
//! | `E`, `u` | day of the week: Tue or Tuesday, 1 (Monday) to 7; read, but nothing follows from it |
//! | `Y`, `w`, `W`, `F` | year of the week, week in year and month, the how-manieth such weekday of the month; written only |
//! | `z`, `Z`, `X` | time zone: UTC, +0000, Z; UTC, GMT, GMT+1:30, +0130 and +01:30 can be read, and no other names |
//!
//! Weeks begin on Sundays, and the first of a year is that of January 1st. Text in quotes stands for
//! itself, two quotes for one. What comes behind the pattern in a text is ignored, as in Java; values out of
//! range are refused, where Java counts on (the 32nd of January), and there is no Julian calendar before 1582.

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];
const LETTERS: &str = "GyMLdDHkKhmsSaEuYwWFzZX";
/// Nobody needs longer fields, and they would only take memory.
const COUNT_MAX: usize = 32;
const DAY_MS: i64 = 86_400_000;

#[derive(Debug, PartialEq)]
enum Token {
    Literal(String),
    Field(char, usize),
}

/// A pattern, read once.
#[derive(Debug)]
pub(super) struct DatePattern(Vec<Token>);

/// A point in time, in its parts.
struct Parts {
    year: i64,
    month: i64,
    day: i64,
    day_of_year: i64,
    /// 0 is Monday.
    weekday: i64,
    ms_of_day: i64,
}

impl DatePattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn new(pattern: &str) -> Result<Self, String> {
        let mut tokens = Vec::new();
        let mut literal = String::new();
        let mut rest = pattern.chars().peekable();
        while let Some(symbol) = rest.next() {
            match symbol {
                '\'' if rest.next_if_eq(&'\'').is_some() => literal.push('\''),
                '\'' => loop {
                    match rest.next() {
                        Some('\'') if rest.next_if_eq(&'\'').is_some() => literal.push('\''),
                        Some('\'') => break,
                        Some(other) => literal.push(other),
                        None => return Err("expected a quote at the end of a text".to_owned()),
                    }
                },
                letter if letter.is_ascii_alphabetic() => {
                    if !LETTERS.contains(letter) {
                        return Err(format!(
                            "expected a date pattern of the letters {LETTERS}, got '{letter}'"
                        ));
                    }
                    let mut count = 1;
                    while rest.next_if_eq(&letter).is_some() {
                        count += 1;
                    }
                    if letter == 'X' && count > 3 {
                        return Err("expected at most 3 times 'X'".to_owned());
                    }
                    if count > COUNT_MAX {
                        return Err(format!("expected at most {COUNT_MAX} times '{letter}'"));
                    }
                    if !literal.is_empty() {
                        tokens.push(Token::Literal(std::mem::take(&mut literal)));
                    }
                    tokens.push(Token::Field(letter, count));
                }
                other => literal.push(other),
            }
        }
        if !literal.is_empty() {
            tokens.push(Token::Literal(literal));
        }
        Ok(DatePattern(tokens))
    }

    /// Milliseconds since the epoch as text.
    pub(super) fn format(&self, ms: i64) -> String {
        let parts = Parts::of(ms);
        let mut text = String::new();
        for token in &self.0 {
            match token {
                Token::Literal(literal) => text.push_str(literal),
                Token::Field(letter, count) => text.push_str(&parts.field(*letter, *count)),
            }
        }
        text
    }

    /// Text as milliseconds since the epoch; `None` if it does not fit the pattern.
    pub(super) fn parse(&self, text: &str) -> Option<i64> {
        let mut read = Read::default();
        let mut rest = text;
        let mut tokens = self.0.iter().peekable();
        while let Some(token) = tokens.next() {
            rest = match token {
                Token::Literal(literal) => rest.strip_prefix(literal.as_str())?,
                Token::Field(letter, count) => {
                    // Where numbers follow each other, their width tells them apart.
                    let adjacent = matches!(tokens.peek(), Some(Token::Field(next, count)) if is_number(*next, *count));
                    read.field(*letter, *count, adjacent, rest)?
                }
            };
        }
        read.millis()
    }
}

fn is_number(letter: char, count: usize) -> bool {
    match letter {
        'M' | 'L' => count < 3,
        'G' | 'a' | 'E' | 'z' | 'Z' | 'X' => false,
        _ => true,
    }
}

impl Parts {
    fn of(ms: i64) -> Self {
        let days = ms.div_euclid(DAY_MS);
        let (year, month, day) = civil(days);
        Parts {
            year,
            month,
            day,
            day_of_year: days - days_of(year, 1, 1) + 1,
            weekday: (days + 3).rem_euclid(7),
            ms_of_day: ms.rem_euclid(DAY_MS),
        }
    }

    fn field(&self, letter: char, count: usize) -> String {
        let hour = self.ms_of_day / 3_600_000;
        let name = |names: &[&'static str], index: i64| {
            let name = usize::try_from(index)
                .ok()
                .and_then(|index| names.get(index));
            name.copied().unwrap_or_default()
        };
        let short = |name: &'static str| name.get(..3).unwrap_or(name).to_owned();
        let letter = if letter == 'L' { 'M' } else { letter };
        let number = match letter {
            'G' if self.year > 0 => return "AD".to_owned(),
            'G' => return "BC".to_owned(),
            'y' if count == 2 => of_era(self.year).rem_euclid(100),
            'y' => of_era(self.year),
            'Y' if count == 2 => of_era(self.week().0).rem_euclid(100),
            'Y' => of_era(self.week().0),
            'w' => self.week().1,
            'W' => (self.day + 6 + (self.sunday() - self.day + 1).rem_euclid(7)) / 7,
            'F' => (self.day + 6) / 7,
            'M' if count == 3 => return short(name(&MONTHS, self.month - 1)),
            'M' if count > 3 => return name(&MONTHS, self.month - 1).to_owned(),
            'M' => self.month,
            'd' => self.day,
            'D' => self.day_of_year,
            'H' => hour,
            'k' if hour == 0 => 24,
            'k' => hour,
            'K' => hour % 12,
            'h' if hour % 12 == 0 => 12,
            'h' => hour % 12,
            'm' => self.ms_of_day / 60_000 % 60,
            's' => self.ms_of_day / 1000 % 60,
            'S' => self.ms_of_day % 1000,
            'u' => self.weekday + 1,
            'a' if hour < 12 => return "AM".to_owned(),
            'a' => return "PM".to_owned(),
            'E' if count < 4 => return short(name(&WEEKDAYS, self.weekday)),
            'E' => return name(&WEEKDAYS, self.weekday).to_owned(),
            'Z' => return "+0000".to_owned(),
            'X' => return "Z".to_owned(),
            _ if count > 3 => return "Coordinated Universal Time".to_owned(),
            _ => return "UTC".to_owned(),
        };
        format!("{number:0count$}")
    }

    /// Days since Sunday.
    fn sunday(&self) -> i64 {
        (self.weekday + 1) % 7
    }

    /// The year of the week and the week's number in it.
    fn week(&self) -> (i64, i64) {
        let length = days_of(self.year + 1, 1, 1) - days_of(self.year, 1, 1);
        // Days behind January 1st; the week is the next year's if that year's first day is in it.
        let day = self.day_of_year - 1;
        if day + 6 - self.sunday() >= length {
            return (self.year + 1, 1);
        }
        let first = (self.sunday() - day).rem_euclid(7);
        (self.year, (day + first) / 7 + 1)
    }
}

/// The year as it is called in its era: before 1 AD was 1 BC.
fn of_era(year: i64) -> i64 {
    if year > 0 { year } else { 1 - year }
}

/// What was read so far.
struct Read {
    year: i64,
    month: i64,
    day: i64,
    day_of_year: Option<i64>,
    /// Whether the year is one before Christ.
    before: bool,
    hour: i64,
    /// Whether it is after noon, if that was said.
    afternoon: Option<bool>,
    minute: i64,
    second: i64,
    ms: i64,
    zone_ms: i64,
}

impl Default for Read {
    fn default() -> Self {
        Read {
            year: 1970,
            month: 1,
            day: 1,
            day_of_year: None,
            before: false,
            hour: 0,
            afternoon: None,
            minute: 0,
            second: 0,
            ms: 0,
            zone_ms: 0,
        }
    }
}

impl Read {
    /// Reads a field from the beginning of a text, and gives what comes behind it.
    fn field<'t>(
        &mut self,
        letter: char,
        count: usize,
        adjacent: bool,
        text: &'t str,
    ) -> Option<&'t str> {
        if !is_number(letter, count) {
            return self.word(letter, text);
        }
        let width = if adjacent { count } else { 18 };
        let text = text.trim_start_matches(' ');
        let digits = text.bytes().take(width).take_while(u8::is_ascii_digit);
        let (number, rest) = text.split_at_checked(digits.count())?;
        let digits = number.len();
        let number: i64 = number.parse().ok()?;
        let within =
            |range: std::ops::RangeInclusive<i64>| range.contains(&number).then_some(number);
        match letter {
            // Two digits are a year of this time only where two were asked for.
            'y' if count <= 2 && digits == 2 => {
                self.year = if number < 50 {
                    2000 + number
                } else {
                    1900 + number
                };
            }
            'y' => self.year = within(0..=200_000)?,
            'M' | 'L' => self.month = within(1..=12)?,
            'd' => self.day = within(1..=31)?,
            'D' => self.day_of_year = Some(within(1..=366)?),
            'H' => self.hour = within(0..=23)?,
            'k' => self.hour = within(1..=24)? % 24,
            'K' => self.hour = within(0..=11)?,
            'h' => self.hour = within(1..=12)? % 12,
            'm' => self.minute = within(0..=59)?,
            's' => self.second = within(0..=59)?,
            'S' => self.ms = within(0..=999)?,
            'u' => {
                within(1..=7)?;
            }
            // A week alone is no day.
            _ => return None,
        }
        Some(rest)
    }

    fn word<'t>(&mut self, letter: char, text: &'t str) -> Option<&'t str> {
        match letter {
            'M' | 'L' => {
                let (index, rest) = named(&MONTHS, text)?;
                self.month = index + 1;
                Some(rest)
            }
            'E' => Some(named(&WEEKDAYS, text)?.1),
            'G' => {
                let (era, rest) = text.split_at_checked(2)?;
                self.before = era.eq_ignore_ascii_case("BC");
                (self.before || era.eq_ignore_ascii_case("AD")).then_some(rest)
            }
            'a' => {
                let (half, rest) = text.split_at_checked(2)?;
                self.afternoon = Some(half.eq_ignore_ascii_case("PM"));
                (self.afternoon == Some(true) || half.eq_ignore_ascii_case("AM")).then_some(rest)
            }
            _ => {
                let behind = ["UTC", "GMT", "Z"]
                    .iter()
                    .find_map(|name| text.strip_prefix(name));
                let signed = behind.unwrap_or(text);
                let (sign, rest) = match (signed.strip_prefix('-'), signed.strip_prefix('+')) {
                    (Some(rest), _) => (-1, rest),
                    (_, Some(rest)) => (1, rest),
                    // A zone's name, and nothing added to it.
                    (None, None) => return behind,
                };
                let (hours, rest) = match two_digits(rest) {
                    Some(found) => found,
                    None => one_digit(rest)?,
                };
                let minutes = two_digits(rest.strip_prefix(':').unwrap_or(rest));
                let (minutes, rest) = minutes.unwrap_or((0, rest));
                self.zone_ms = sign * (hours * 60 + minutes) * 60_000;
                (hours < 24 && minutes < 60).then_some(rest)
            }
        }
    }

    fn millis(&self) -> Option<i64> {
        let year = if self.before {
            1 - self.year
        } else {
            self.year
        };
        let days = match self.day_of_year {
            Some(day) => days_of(year, 1, 1) + day - 1,
            None => days_of(year, self.month, self.day),
        };
        // A day that the month or year does not have would be one of the next.
        let (in_year, month, day) = civil(days);
        let there = self.day_of_year.is_some() || (month, day) == (self.month, self.day);
        if in_year != year || !there {
            return None;
        }
        let hour = match self.afternoon {
            Some(afternoon) => self.hour % 12 + if afternoon { 12 } else { 0 },
            None => self.hour,
        };
        let seconds = (hour * 60 + self.minute) * 60 + self.second;
        Some(days * DAY_MS + seconds * 1000 + self.ms - self.zone_ms)
    }
}

fn two_digits(text: &str) -> Option<(i64, &str)> {
    let (number, rest) = text.split_at_checked(2)?;
    let digits = number.bytes().all(|byte| byte.is_ascii_digit());
    Some((number.parse().ok().filter(|_| digits)?, rest))
}

fn one_digit(text: &str) -> Option<(i64, &str)> {
    let (digit, rest) = text.split_at_checked(1)?;
    Some((digit.chars().next()?.to_digit(10)?.into(), rest))
}

/// The index of a name, or of its first three letters, at the beginning of a text.
fn named<'t>(names: &[&str], text: &'t str) -> Option<(i64, &'t str)> {
    for (index, name) in (0..).zip(names) {
        for name in [Some(*name), name.get(..3)].into_iter().flatten() {
            if let Some((start, rest)) = text.split_at_checked(name.len())
                && start.eq_ignore_ascii_case(name)
            {
                return Some((index, rest));
            }
        }
    }
    None
}

/// Days since the epoch in the proleptic Gregorian calendar.
///
/// After Howard Hinnant, "chrono-compatible low-level date algorithms", as is [`civil`].
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Year, month and day of a day since the epoch.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> DatePattern {
        DatePattern::new(text).unwrap()
    }

    #[test]
    fn text_is_that_of_java_s_simple_date_format() {
        let ms = 1_700_000_000_123; // Tuesday, 2023-11-14T22:13:20.123Z
        for (text, result) in [
            ("yyyy-MM-dd'T'HH:mm:ss.SSSXXX", "2023-11-14T22:13:20.123Z"),
            ("yy/M/d h:m a", "23/11/14 10:13 PM"),
            (
                "EEE, dd MMM yyyy HH:mm:ss Z",
                "Tue, 14 Nov 2023 22:13:20 +0000",
            ),
            (
                "EEEE MMMM D u 'o''clock' z",
                "Tuesday November 318 2 o'clock UTC",
            ),
            ("yyyyMMdd", "20231114"),
            ("''", "'"),
        ] {
            assert_eq!(pattern(text).format(ms), result, "{text}");
        }
        assert_eq!(
            pattern("yyyy-MM-dd kk KK hh").format(-1),
            "1969-12-31 23 11 11"
        );
    }

    #[test]
    fn what_is_written_reads_back() {
        for ms in [0, -1, 951_782_400_000, 1_700_000_000_123, 4_102_444_799_999] {
            for text in [
                "yyyy-MM-dd'T'HH:mm:ss.SSSX",
                "yyyyMMddHHmmssSSS",
                "EEEE, d MMMM yyyy hh:mm:ss.SSS a z",
            ] {
                let pattern = pattern(text);
                assert_eq!(pattern.parse(&pattern.format(ms)), Some(ms), "{text}");
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let date = pattern("yyyy-MM-dd");
        for text in ["", "2023", "2023-13-01", "2023-02-29", "x", "éé-1-1"] {
            assert_eq!(date.parse(text), None, "{text}");
        }
        assert_eq!(date.parse("2024-02-29T12"), date.parse("2024-2-29"));
        assert_eq!(pattern("HH:mm XX").parse("01:00 +0100"), Some(0));
        assert_eq!(pattern("yy").parse("70"), Some(0));
        assert!(DatePattern::new("'x").is_err());
        assert!(DatePattern::new("yyyyQ").is_err());
        assert_eq!(pattern("YYYY-ww").parse("2022-01"), None, "written only");
        assert_eq!(pattern("D yyyy").parse("366 2022"), None);
        assert_eq!(
            pattern("D yyyy").parse("60 2024"),
            pattern("yyyy-MM-dd").parse("2024-02-29")
        );
        let zone = |text| pattern("HH:mm z").parse(text);
        assert_eq!(zone("01:00 GMT+1"), Some(0));
        assert_eq!(zone("01:30 GMT-01:30"), Some(10_800_000));
        assert_eq!((zone("01:00 PST"), zone("01:00 GMT+99")), (None, None));
        assert!(DatePattern::new(&"S".repeat(100)).is_err());
    }
}
