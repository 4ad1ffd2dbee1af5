use std::fs::{self, OpenOptions};
use std::io::Write;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

struct World {
    directory: TempDir,
    path: PathBuf,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("test.txt");
        Self { directory, path }
    }

    fn with(content: impl AsRef<[u8]>) -> Self {
        let world = Self::new();
        fs::write(&world.path, content).unwrap();
        world
    }

    fn append(&self, bytes: impl AsRef<[u8]>) {
        append(&self.path, bytes);
    }

    fn other(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn tail(&self) -> Tail {
        self.tail_from(None)
    }

    fn tail_from(&self, stored: Option<FilePosition>) -> Tail {
        let options = TailOptions {
            read_bytes: 16,
            max_line_bytes: 40,
            rotate_wait: Duration::ZERO,
        };
        Tail::new(self.path.clone(), options, stored)
    }
}

fn append(path: &Path, bytes: impl AsRef<[u8]>) {
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .unwrap();
    file.write_all(bytes.as_ref()).unwrap();
}

#[derive(Debug, Default)]
struct Read {
    lines: Vec<String>,
    offset: Option<FilePosition>,
    too_long: Vec<u64>,
    idle: Option<Idle>,
}

/// Steps until there is nothing new.
fn drain(tail: &mut Tail) -> Read {
    let mut read = Read::default();
    loop {
        match tail.step().unwrap() {
            Step::Lines(mut chunk) => {
                while let Some(line) = chunk.line() {
                    read.lines.push(chunk.text(line).unwrap().to_string());
                    chunk.advance(line);
                }
                read.offset = Some(chunk.offset());
            }
            Step::TooLong(position) => read.too_long.push(position),
            Step::Idle(idle) => {
                read.idle = Some(idle);
                return read;
            }
        }
    }
}

#[test]
fn lines_arrive_as_they_are_appended() {
    let world = World::with("foo\nbar\n");
    let mut tail = world.tail();
    assert_eq!(drain(&mut tail).lines, ["foo", "bar"]);
    world.append("ba");
    assert!(drain(&mut tail).lines.is_empty());
    world.append("z\n");
    assert_eq!(drain(&mut tail).lines, ["baz"]);
}

#[test]
fn a_missing_file_is_waited_for() {
    let world = World::new();
    let mut tail = world.tail();
    assert_eq!(drain(&mut tail).idle, Some(Idle::Missing));
    world.append("foo\n");
    assert_eq!(drain(&mut tail).lines, ["foo"]);
}

#[test]
fn a_missing_directory_is_waited_for() {
    let world = World::new();
    let path = world.other("later/test.txt");
    let mut tail = Tail::new(path.clone(), world.tail().options, None);
    assert_eq!(drain(&mut tail).idle, Some(Idle::Missing));
    fs::create_dir(world.other("later")).unwrap();
    fs::write(&path, "foo\n").unwrap();
    assert_eq!(drain(&mut tail).lines, ["foo"]);
}

#[test]
fn a_directory_is_an_error_with_the_way_out() {
    let world = World::new();
    fs::create_dir(&world.path).unwrap();
    let error = world.tail().step().unwrap_err().to_string();
    assert!(error.contains("is a directory; set \"file\""), "{error}");
}

#[test]
fn positions_count_bytes_not_characters() {
    let world = World::with("éééé\nnext\n");
    let mut tail = world.tail();
    let Step::Lines(mut chunk) = tail.step().unwrap() else {
        panic!("no lines")
    };
    chunk.advance(chunk.line().unwrap());
    assert_eq!(chunk.position(), 9);
    let mut resumed = world.tail_from(Some(chunk.offset()));
    assert_eq!(drain(&mut resumed).lines, ["next"]);
}

#[test]
fn truncation_is_noticed() {
    let world = World::with("one\ntwo\nthree\n");
    let mut tail = world.tail();
    drain(&mut tail);
    fs::write(&world.path, "four\n").unwrap();
    assert_eq!(drain(&mut tail).lines, ["four"]);
}

#[test]
fn copy_truncate_loses_nothing_that_was_seen() {
    let world = World::with("one\ntwo\n");
    let mut tail = world.tail();
    assert_eq!(drain(&mut tail).lines, ["one", "two"]);
    fs::copy(&world.path, world.other("test.txt.1")).unwrap();
    OpenOptions::new()
        .write(true)
        .open(&world.path)
        .unwrap()
        .set_len(0)
        .unwrap();
    assert!(drain(&mut tail).lines.is_empty());
    world.append("three\n");
    assert_eq!(drain(&mut tail).lines, ["three"]);
}

#[test]
fn a_rewrite_of_the_same_length_is_noticed() {
    let world = World::with("one\n");
    let mut tail = world.tail();
    drain(&mut tail);
    fs::write(&world.path, "two\n").unwrap();
    assert_eq!(drain(&mut tail).lines, ["two"]);
}

#[test]
fn a_longer_rewrite_is_noticed() {
    let world = World::with("one\n");
    let mut tail = world.tail();
    drain(&mut tail);
    fs::write(&world.path, "first\nsecond\n").unwrap();
    assert_eq!(drain(&mut tail).lines, ["first", "second"]);
}

#[test]
fn a_rotated_file_is_finished_before_the_new_one() {
    let world = World::with("one\n");
    let mut tail = world.tail();
    drain(&mut tail);
    world.append("two\n");
    fs::rename(&world.path, world.other("test.txt.1")).unwrap();
    assert_eq!(drain(&mut tail).lines, ["two"]);
    append(&world.other("test.txt.1"), "late\nunfinished");
    fs::write(&world.path, "new\n").unwrap();
    assert_eq!(drain(&mut tail).lines, ["late", "unfinished", "new"]);
}

#[test]
fn an_empty_new_file_does_not_end_the_old_one() {
    let world = World::with("one\n");
    let mut tail = world.tail();
    drain(&mut tail);
    fs::rename(&world.path, world.other("test.txt.1")).unwrap();
    fs::write(&world.path, "").unwrap();
    assert_eq!(
        drain(&mut tail).idle,
        Some(Idle::AtEnd { unfinished: false })
    );
    append(&world.other("test.txt.1"), "late\n");
    assert_eq!(drain(&mut tail).lines, ["late"]);
    world.append("new\n");
    assert_eq!(drain(&mut tail).lines, ["new"]);
}

#[test]
fn a_rotated_file_is_kept_until_it_is_quiet() {
    let world = World::with("one\n");
    let mut tail = world.tail();
    tail.options.rotate_wait = Duration::from_millis(50);
    drain(&mut tail);
    fs::rename(&world.path, world.other("test.txt.1")).unwrap();
    fs::write(&world.path, "new\n").unwrap();
    assert!(matches!(drain(&mut tail).idle, Some(Idle::Rotating(_))));
    append(&world.other("test.txt.1"), "late\n");
    assert_eq!(drain(&mut tail).lines, ["late"]);
    std::thread::sleep(Duration::from_millis(60));
    assert_eq!(drain(&mut tail).lines, ["new"]);
}

#[test]
fn an_atomic_replacement_is_read_from_its_start() {
    let world = World::with("one\ntwo\n");
    let mut tail = world.tail();
    drain(&mut tail);
    fs::write(world.other("new"), "one\ntwo\nthree\n").unwrap();
    fs::rename(world.other("new"), &world.path).unwrap();
    assert_eq!(drain(&mut tail).lines, ["one", "two", "three"]);
    world.append("four\n");
    assert_eq!(drain(&mut tail).lines, ["four"]);
}

#[test]
fn a_rotation_while_stopped_is_followed() {
    let world = World::with("one\n");
    let offset = drain(&mut world.tail()).offset;
    world.append("two\n");
    fs::rename(&world.path, world.other("test.txt.1")).unwrap();
    fs::write(&world.path, "three\nfour\n").unwrap();
    let mut resumed = world.tail_from(offset);
    assert_eq!(drain(&mut resumed).lines, ["two", "three", "four"]);
}

#[test]
fn files_rotated_away_unseen_are_read_in_their_order() {
    for restarted in [false, true] {
        let world = World::with("one\n");
        let mut tail = world.tail();
        let mut offset = drain(&mut tail).offset;
        fs::write(world.other("test.txt.bak"), "not a line of the log\n").unwrap();
        for line in ["two", "three", "four", "five"] {
            for number in (1..9).rev() {
                let older = world.other(&format!("test.txt.{number}"));
                if older.exists() {
                    fs::rename(older, world.other(&format!("test.txt.{}", number + 1))).unwrap();
                }
            }
            fs::rename(&world.path, world.other("test.txt.1")).unwrap();
            // The clock of the file system is coarse.
            std::thread::sleep(Duration::from_millis(20));
            fs::write(&world.path, format!("{line}\n")).unwrap();
        }
        if restarted {
            tail = world.tail_from(offset);
        }
        let read = drain(&mut tail);
        assert_eq!(read.lines, ["two", "three", "four", "five"]);
        offset = read.offset;
        assert!(drain(&mut world.tail_from(offset)).lines.is_empty());
    }
}

#[test]
fn a_replacement_while_stopped_is_read_from_its_start() {
    let world = World::with("one\n");
    let offset = drain(&mut world.tail()).offset;
    fs::write(world.other("new"), "alpha\nbeta\n").unwrap();
    fs::rename(world.other("new"), &world.path).unwrap();
    assert_eq!(drain(&mut world.tail_from(offset)).lines, ["alpha", "beta"]);
}

#[test]
fn a_rewrite_while_stopped_is_read_from_its_start() {
    let world = World::with("one\n");
    let offset = drain(&mut world.tail()).offset;
    fs::write(&world.path, "two\nthree\n").unwrap();
    assert_eq!(drain(&mut world.tail_from(offset)).lines, ["two", "three"]);
}

#[test]
fn a_position_beyond_the_end_starts_over() {
    let world = World::with("short\n");
    let stored = FilePosition {
        position: 1000,
        inode: None,
        checksum: None,
    };
    assert_eq!(drain(&mut world.tail_from(Some(stored))).lines, ["short"]);
}

#[test]
fn an_offset_of_kafkas_connector_resumes() {
    let world = World::with("one\ntwo\n");
    let stored = FilePosition {
        position: 4,
        inode: None,
        checksum: None,
    };
    assert_eq!(drain(&mut world.tail_from(Some(stored))).lines, ["two"]);
}

#[test]
fn a_restored_copy_resumes() {
    let long = "a long line that fills the window\n".repeat(20);
    let world = World::with(&long);
    let offset = drain(&mut world.tail()).offset;
    fs::remove_file(&world.path).unwrap();
    fs::write(world.other("copy"), format!("{long}more\n")).unwrap();
    fs::rename(world.other("copy"), &world.path).unwrap();
    assert_eq!(drain(&mut world.tail_from(offset)).lines, ["more"]);
}

#[test]
fn an_endless_line_is_reported_once_and_skipped() {
    let world = World::with("one\n");
    let mut tail = world.tail();
    world.append("x".repeat(100));
    let read = drain(&mut tail);
    assert_eq!(
        (read.lines, read.too_long),
        (vec!["one".to_owned()], vec![4])
    );
    assert!(tail.buffer.len() <= 60);
    world.append("x".repeat(1000));
    assert!(drain(&mut tail).too_long.is_empty());
    world.append("x\r\ntwo\n");
    let read = drain(&mut tail);
    assert_eq!(read.lines, ["two"]);
    assert_eq!(read.offset.clone().unwrap().position, 4 + 1100 + 3 + 4);
    world.append("three\n");
    assert_eq!(drain(&mut world.tail_from(read.offset)).lines, ["three"]);
}

#[cfg(unix)]
#[test]
fn a_named_pipe_is_read_and_never_waits_for_a_writer() {
    let world = World::new();
    let made = std::process::Command::new("mkfifo")
        .arg(&world.path)
        .status()
        .unwrap();
    assert!(made.success());
    let mut tail = world.tail();
    assert_eq!(drain(&mut tail).idle, Some(Idle::Pipe { open: true }));
    let mut writer = OpenOptions::new().write(true).open(&world.path).unwrap();
    assert_eq!(drain(&mut tail).idle, Some(Idle::Pipe { open: true }));
    writer.write_all(b"one\ntw").unwrap();
    assert_eq!(drain(&mut tail).lines, ["one"]);
    writer.write_all(b"o\n").unwrap();
    drop(writer);
    let read = drain(&mut tail);
    assert_eq!(
        (read.lines, read.idle),
        (vec!["two".to_owned()], Some(Idle::Pipe { open: true }))
    );
}

fn lines_of(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text
        .replace("\r\n", "\n")
        .replace('\r', "\n")
        .split('\n')
        .map(Into::into)
        .collect();
    lines.pop();
    lines
}

/// What may happen to a log and to who reads it.
#[derive(Debug, Clone)]
enum Event {
    Append(String),
    Rotate,
    Look,
    Restart,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        4 => "[a-c\n]{1,30}".prop_map(Event::Append),
        1 => Just(Event::Rotate),
        2 => Just(Event::Look),
        1 => Just(Event::Restart),
    ];
    proptest::collection::vec(event, 1..25)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// From every position it ever gives out, a restart delivers exactly the rest.
    #[test]
    fn resuming_anywhere_gives_the_rest(text in "([aé漢]{0,12}(\n|\r\n|\r)){1,8}") {
        let text = format!("{text}.\n");
        let world = World::with(&text);
        let expected = lines_of(&text);
        let mut tail = world.tail();
        let mut seen = 0;
        while let Step::Lines(mut chunk) = tail.step().unwrap() {
            while let Some(line) = chunk.line() {
                prop_assert_eq!(&*chunk.text(line).unwrap(), &expected[seen]);
                chunk.advance(line);
                seen += 1;
                let rest = drain(&mut world.tail_from(Some(chunk.offset()))).lines;
                prop_assert_eq!(&rest, &expected[seen..]);
            }
        }
        prop_assert_eq!(seen, expected.len());
    }

    /// Appended byte by byte or in any pieces, the same lines arrive.
    #[test]
    fn growth_in_any_pieces_gives_the_same_lines(text in "[ab\r\n]{0,60}", cuts in proptest::collection::vec(0usize..60, 0..5)) {
        let text = format!("{text}x\n");
        let world = World::new();
        let mut tail = world.tail();
        let mut cuts = cuts;
        cuts.push(text.len());
        cuts.sort_unstable();
        let (mut lines, mut from) = (Vec::new(), 0);
        for cut in cuts {
            let cut = cut.min(text.len());
            world.append(&text[from..cut]);
            from = cut;
            lines.extend(drain(&mut tail).lines);
        }
        prop_assert_eq!(lines, lines_of(&text));
    }

    /// Through any rotations and restarts, looked at or not, every line arrives once and in order.
    #[test]
    fn rotations_and_restarts_at_any_time_lose_and_repeat_nothing(events in events()) {
        let world = World::with("start\n");
        let mut tail = world.tail();
        let mut read = drain(&mut tail);
        let mut offset = read.offset;
        let (mut lines, mut written) = (read.lines, "start\n".to_owned());
        let mut rotations = 0;
        let end = [Event::Append("end\n".to_owned()), Event::Look];
        for event in events.into_iter().chain(end) {
            match event {
                Event::Append(text) => {
                    world.append(&text);
                    written.push_str(&text);
                }
                Event::Rotate if world.path.exists() => {
                    rotations += 1;
                    fs::rename(&world.path, world.other(&format!("test.txt.{rotations}"))).unwrap();
                    // Nothing can be added any more to a line that was begun.
                    if !written.ends_with('\n') {
                        written.push('\n');
                    }
                    std::thread::sleep(Duration::from_millis(8));
                }
                Event::Rotate => {}
                Event::Restart => tail = world.tail_from(offset.clone()),
                Event::Look => {
                    read = drain(&mut tail);
                    lines.extend(read.lines);
                    offset = read.offset.or(offset);
                }
            }
        }
        prop_assert_eq!(lines, lines_of(&written));
    }
}
