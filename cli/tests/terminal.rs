//! The terminal runs in `docs/terminal`, done again: each command of a page, in a folder of its own with the
//! shipped files, the worker of the README's main job running.
//!
//! In a page, lines of a `console` block that begin with `$ ` are commands for the shell, those behind them with
//! `> ` their further lines, and the others what has to be printed: `…` within a line is any text, a line of nothing else any lines. What only looks is
//! looked at again until it is as printed, because the worker takes its time. The worker's own addresses
//! stand in place of those that it has by default. `TERMINAL_SHOW=1` prints what the commands print.

// A test fails by panicking, in the functions it calls, too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod world;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use regex::Regex;
use world::job::{Job, LIMIT, Running};

const REST: &str = "127.0.0.1:8083";
const BROKER: &str = "127.0.0.1:9092";
/// What may be done again.
const LOOKS: [&str; 8] = [
    "cat ",
    "connect connectors list",
    "connect connectors describe",
    "connect offsets show",
    "connect offsets history",
    "connect dlq ls",
    "connect dlq show",
    "connect loggers list",
];

/// One command of a page.
struct Step {
    line: usize,
    command: String,
    expected: Vec<String>,
}

/// The commands in the `console` blocks of a page.
fn steps(page: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut is_inside = false;
    for (index, line) in page.lines().enumerate() {
        match line.strip_prefix("$ ") {
            _ if line.starts_with("```") => is_inside = line == "```console",
            _ if !is_inside => {}
            Some(command) => steps.push(Step {
                line: index + 1,
                command: command.to_owned(),
                expected: Vec::new(),
            }),
            None => {
                let step = steps.last_mut().expect("a block begins with a command");
                match line.strip_prefix("> ") {
                    Some(more) if step.expected.is_empty() => {
                        step.command += "\n";
                        step.command += more;
                    }
                    _ => step.expected.push(line.to_owned()),
                }
            }
        }
    }
    steps
}

/// Whether a text is as expected.
fn is_as(expected: &[String], text: &str) -> bool {
    let mut pattern = String::from("(?s)^");
    for line in expected {
        match line.trim() {
            "…" => pattern += "(?:[^\n]*\n)*?",
            _ => {
                let parts: Vec<String> = line.split('…').map(regex::escape).collect();
                pattern += &(parts.join("[^\n]*") + "\n");
            }
        }
    }
    Regex::new(&(pattern + "$")).unwrap().is_match(text)
}

/// Runs a command in a shell; what it says on both of its outputs, and how it ended if not well.
fn run(job: &Job, running: &Running, command: &str) -> String {
    let rest = running.url().trim_start_matches("http://").to_owned();
    let broker = running.broker();
    let command = command.replace(REST, &rest).replace(BROKER, &broker);
    let program = Path::new(env!("CARGO_BIN_EXE_connect"));
    let path = std::env::var("PATH").unwrap();
    let output = Command::new("sh")
        .args(["-c", &format!("{{ {command}\n}} 2>&1")])
        .current_dir(job.folder.path())
        .env(
            "PATH",
            format!("{}:{path}", program.parent().unwrap().display()),
        )
        .env("CONNECT_URL", running.url())
        .output()
        .unwrap();
    let mut text = String::from_utf8(output.stdout).unwrap();
    if !output.status.success() {
        text += &format!("exit {}\n", output.status.code().unwrap_or(-1));
    }
    text.replace(&rest, REST).replace(&broker, BROKER)
}

fn replay(name: &str) {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/terminal");
    let page = std::fs::read_to_string(page.join(name)).unwrap();
    let steps = steps(&page);
    assert!(!steps.is_empty(), "{name} has commands");
    let (job, running) = Job::started();
    for Step {
        line,
        command,
        expected,
    } in steps
    {
        let may_look_again = LOOKS.iter().any(|look| command.starts_with(look));
        let deadline = Instant::now() + LIMIT;
        let printed = loop {
            let printed = run(&job, &running, &command);
            let is_over = !may_look_again || Instant::now() > deadline;
            if is_over || is_as(&expected, &printed) {
                break printed;
            }
            std::thread::sleep(Duration::from_millis(50));
        };
        if std::env::var_os("TERMINAL_SHOW").is_some() {
            println!("$ {command}\n{printed}");
            continue;
        }
        assert!(
            is_as(&expected, &printed),
            "docs/terminal/{name}:{line}: $ {command}\nhas printed\n{printed}\nand not\n{}",
            expected.join("\n")
        );
    }
    assert_eq!(running.interrupt(), Some(0));
}

#[test]
fn connectors_of_a_running_worker() {
    replay("connectors.md");
}

#[test]
fn offsets_and_what_undoes_a_change() {
    replay("offsets.md");
}

#[test]
fn records_before_and_while_they_flow() {
    replay("records.md");
}

#[test]
fn every_page_is_replayed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/terminal");
    let mut pages: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    pages.sort();
    assert_eq!(pages, ["connectors.md", "offsets.md", "records.md"]);
}

#[test]
fn a_page_is_read_and_compared_line_by_line() {
    let page = "text\n```console\n$ a\n> b\none …\n…\nlast\n$ c\n```\n$ no command\n```toml\n$ nor this\n```\n";
    let steps = steps(page);
    let commands: Vec<&str> = steps.iter().map(|step| step.command.as_str()).collect();
    assert_eq!(commands, ["a\nb", "c"]);
    let expected = &steps[0].expected;
    for (text, is_right) in [
        ("one 1\nlast\n", true),
        ("one \nx\ny\nlast\n", true),
        ("one 1\nx\n", false),
        ("one\nlast\n", false),
        ("one 1\nlast\nmore\n", false),
    ] {
        assert_eq!(is_as(expected, text), is_right, "{text}");
    }
    assert!(is_as(&steps[1].expected, ""));
}
