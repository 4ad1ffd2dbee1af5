//! `docs/conformance.md` names tests that are there, for every behaviour.

// A test fails by panicking, in the functions it calls, too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::fs;
use std::path::Path;

#[test]
fn every_test_that_the_table_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let table = fs::read_to_string(root.join("docs/conformance.md")).unwrap();
    let mut numbers = Vec::new();
    let mut wrong = Vec::new();
    for line in table.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let number = cells.get(1).and_then(|cell| cell.parse::<usize>().ok());
        let Some(number) = number else { continue };
        numbers.push(number);
        assert_eq!(cells.len(), 6, "{line}");
        let names = line.split('`').filter(|text| text.contains(".rs::"));
        let mut found = 0;
        for name in names {
            let (file, test) = name.split_once("::").unwrap();
            let source = fs::read_to_string(root.join(file)).unwrap_or_default();
            // A test, and not only a function or a word of that name.
            let is_test = source
                .match_indices(&format!("fn {test}() {{"))
                .any(|(at, _)| {
                    let before = source[..at].trim_end_matches("async ");
                    let attribute = before.trim_end().lines().last().unwrap_or_default().trim();
                    attribute.starts_with("#[test") || attribute.starts_with("#[tokio::test")
                });
            match is_test {
                true => found += 1,
                false => wrong.push(format!("{number}: {name}")),
            }
        }
        // Health is in the README, and distributed workers are not here.
        assert!(
            found > 0 || [21, 40].contains(&number),
            "nothing shows {number}"
        );
    }
    assert_eq!(numbers, (1..=40).collect::<Vec<_>>());
    assert!(wrong.is_empty(), "these are not there: {wrong:#?}");
}
