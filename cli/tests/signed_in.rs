//! `connect` as the client of a worker that speaks TLS and asks who it is.

// A test fails by panicking, in the functions it calls, too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod world;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use world::job::{Job, Running};
use world::{Run, connect, done, refused, run};

const FULL: &str = "canary-full";
const LOOK: &str = "canary-look";

fn certificate(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testing/certificates");
    folder.join(format!("{name}.pem"))
}

fn hash(password: &str) -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_connect"));
    let hashed = run(program, &["hash-password"], &format!("{password}\n"));
    done(&hashed).trim_end().to_owned()
}

/// The README's main job behind HTTPS, with two users and files with their passwords.
fn started() -> (Job, Running) {
    let job = Job::new(["worker.toml", "file-source.toml", "file-sink.toml"]);
    let text = fs::read_to_string(job.path("worker.toml")).unwrap();
    let keys = format!(
        "listeners = \"https://127.0.0.1:0\"\n\
         ssl.keystore.location = \"{}\"\n\
         rest.users.ops = {{ role = \"full\", password = \"{}\" }}\n\
         rest.users.viewer = {{ role = \"read-only\", password = \"{}\" }}\n",
        certificate("server").display(),
        hash(FULL),
        hash(LOOK)
    );
    // Top-level keys come before the first table.
    job.write("worker.toml", &(keys + &text));
    job.write("full", &format!("{FULL}\n"));
    job.write("look", &format!("{LOOK}\nand a note"));
    fs::copy(certificate("authority"), job.path("authority.pem")).unwrap();
    let running = job.start();
    assert!(
        running.url().starts_with("https://127.0.0.1:"),
        "{:?}",
        running.banner
    );
    (job, running)
}

/// Runs `connect` with more in its environment.
fn with(job: &Job, variables: &[(&str, &str)], arguments: &[&str]) -> Run {
    let output = Command::new(env!("CARGO_BIN_EXE_connect"))
        .args(arguments)
        .envs(variables.iter().copied())
        .current_dir(job.folder.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let run = Run {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    };
    for secret in [FULL, LOOK] {
        assert!(!run.stdout.contains(secret) && !run.stderr.contains(secret));
    }
    run
}

#[test]
fn commands_say_who_they_are_and_trust_whom_they_are_told() {
    let (job, running) = started();
    let url = running.url().to_owned();
    let list = ["connectors", "list", "--no-headers", "--url", &url];
    let ask = |more: &[&str]| with(&job, &[], &[&list[..], more].concat());

    let unknown = ask(&[]);
    assert!(
        refused(&unknown).contains("--cacert FILE"),
        "{}",
        unknown.stderr
    );
    let trust = ["--cacert", "authority.pem"];
    let nobody = ask(&trust);
    let said = refused(&nobody);
    assert!(
        said.contains("User cannot access the resource. (HTTP 401)"),
        "{said}"
    );
    assert!(said.contains("--user and --password-file"), "{said}");
    let viewer = [&trust[..], &["--user", "viewer", "--password-file", "look"]].concat();
    assert_eq!(done(&ask(&viewer)).lines().count(), 2);
    let wrong = [&trust[..], &["--user", "viewer", "--password-file", "full"]].concat();
    assert!(refused(&ask(&wrong)).contains("HTTP 401"));
    let alone = ask(&[&trust[..], &["--user", "viewer"]].concat());
    assert_eq!(alone.code, 2, "{}", alone.stderr);
    assert!(alone.stderr.contains("has no password"), "{}", alone.stderr);

    let pause = ["connectors", "pause", "local-file-sink", "--url", &url];
    let looked = with(&job, &[], &[&pause[..], &viewer].concat());
    assert!(
        refused(&looked).contains("whose role is full"),
        "{}",
        looked.stderr
    );

    let environment = [
        ("CONNECT_URL", url.as_str()),
        ("CONNECT_CACERT", "authority.pem"),
        ("CONNECT_USER", "ops"),
        ("CONNECT_PASSWORD", FULL),
    ];
    let paused = with(
        &job,
        &environment,
        &["connectors", "pause", "local-file-sink"],
    );
    done(&paused);
    let levels = with(&job, &environment, &["loggers", "list"]);
    assert!(done(&levels).contains("root"));

    fs::create_dir(job.path("access")).unwrap();
    job.write(
        "access/ops.toml",
        &format!("url = \"{url}\"\nuser = \"ops\"\npassword.file = \"../full\"\ncacert = \"../authority.pem\"\n"),
    );
    let resume = [
        "connectors",
        "resume",
        "local-file-sink",
        "--client-config",
        "access/ops.toml",
    ];
    done(&with(&job, &[], &resume));
    let shown = ["offsets", "show", "local-file-source"];
    done(&with(
        &job,
        &[("CONNECT_CLIENT_CONFIG", "access/ops.toml")],
        &shown,
    ));
    job.write("access/odd.toml", "pasword.file = \"x\"\n");
    let odd = with(
        &job,
        &[("CONNECT_CLIENT_CONFIG", "access/odd.toml")],
        &shown,
    );
    assert!(refused(&odd).contains("password.file"), "{}", odd.stderr);

    let plain = url.replace("https", "http");
    let mistaken = with(&job, &[], &["connectors", "list", "--url", &plain]);
    assert!(
        refused(&mistaken).contains("https://"),
        "{}",
        mistaken.stderr
    );
    assert_eq!(running.interrupt(), Some(0));
}

#[test]
fn the_environment_of_commands_is_none_of_the_worker_s() {
    let job = Job::with_rest(["worker.toml", "file-source.toml", "file-sink.toml"]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_connect-standalone"));
    let output = command
        .args(["--strict", "worker.toml", "absent.toml"])
        .envs([
            ("CONNECT_USER", "a"),
            ("CONNECT_PASSWORD", "b"),
            ("CONNECT_PASSWORD_FILE", "c"),
            ("CONNECT_CACERT", "d"),
            ("CONNECT_CERT", "e"),
            ("CONNECT_CLIENT_CONFIG", "f"),
        ])
        .current_dir(job.folder.path())
        .output()
        .unwrap();
    // The connector's file is what is wrong, and nothing before it.
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(!said.contains("unknown key"), "{said}");
}

#[test]
fn a_password_is_hashed_from_standard_input_alone() {
    let (first, second) = (hash("secret"), hash("secret"));
    assert!(first.starts_with("pbkdf2-sha256$600000$"), "{first}");
    assert_ne!(first, second, "salt is fresh");
    let none = connect(&["hash-password"]);
    assert!(
        refused(&none).contains("the password is empty"),
        "{}",
        none.stderr
    );
    assert_eq!(connect(&["hash-password", "secret"]).code, 2);
}
