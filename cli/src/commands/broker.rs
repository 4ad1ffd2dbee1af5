//! `connect broker start` and `connect broker stop`: one broker as a process.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use broker::{Broker, BrokerConfig};
use clap::{Args, Command};
use connect_runtime::config::Problems;
use connect_runtime::logging::{self, LogFormat};
use rustix::process::{Pid, Signal, kill_process};
use tokio::signal::unix::{SignalKind, signal};

use crate::daemon::{self, Detached};
use crate::invocation::Invocation;
use crate::pid_file::{self, PidFile};
use crate::properties::{self, Properties};
use crate::{CliError, output};

/// Where `configs/server.toml` keeps its data, and so where `stop` looks when it is told nothing.
const DEFAULT_DATA_FOLDER: &str = "data/broker";
const PID_FILE: &str = "broker.pid";
const LOG_FILE: &str = "broker.out";

/// Arguments of `connect broker start`.
#[derive(Debug, Args)]
pub struct StartArguments {
    /// Detach from the terminal; return once the broker listens, or with the reason why it does not.
    #[arg(long)]
    pub daemon: bool,
    /// The broker's settings, .toml or .properties with Kafka's keys.
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Set a key, whatever the file says; may be repeated.
    #[arg(long = "override", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
    /// Where to write the process id [default: broker.pid in the data folder].
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
    /// Where -daemon writes the log [default: broker.out in the data folder].
    #[arg(long, value_name = "FILE")]
    pub log_file: Option<PathBuf>,
    /// How log lines look: text or json.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,
    /// This process is the detached one.
    #[arg(long, hide = true)]
    pub detached: bool,
}

/// Arguments of `connect broker stop`.
#[derive(Debug, Args)]
pub struct StopArguments {
    /// The settings the broker was started with [default: look for its pid file in ./data/broker].
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// The broker's pid file.
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    pub pid_file: Option<PathBuf>,
    /// How long to wait for the broker to end.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub timeout: u64,
}

/// The command line of `connect broker`.
pub fn command() -> Command {
    Command::new("broker")
        .about("Start and stop a broker")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            StartArguments::augment_args(Command::new("start"))
                .about("Start a broker; Ctrl-C or SIGTERM stops it"),
        )
        .subcommand(
            StopArguments::augment_args(Command::new("stop"))
                .about("Stop the broker that a pid file names, and wait until it is gone"),
        )
}

/// Starts a broker and runs it until it is told to stop.
///
/// # Errors
/// Wrong settings, each with its place, or why the broker cannot start.
pub fn start(arguments: &StartArguments, invocation: &Invocation) -> Result<(), CliError> {
    let Some(file) = &arguments.file else {
        return Err(invocation.usage(format!(
            "the broker's settings are missing; usage: {} [-daemon] FILE [--override KEY=VALUE]..., \
             for instance with configs/server.toml",
            invocation.display
        )));
    };
    if arguments.detached {
        let detached = Detached::enter()?;
        logging::init(arguments.log_format, "info");
        return match prepare(arguments, file, invocation) {
            Ok((config, folder)) => serve(config, arguments, &folder, Some(detached)),
            Err(error) => {
                detached.failed(&error.to_string());
                Err(error)
            }
        };
    }
    let (config, folder) = prepare(arguments, file, invocation)?;
    if arguments.daemon {
        return launch(arguments, file, &folder);
    }
    logging::init(arguments.log_format, "warn");
    serve(config, arguments, &folder, None)
}

/// Reads and checks the settings, and makes the data folder, where pid file and log go.
fn prepare(
    arguments: &StartArguments,
    file: &Path,
    invocation: &Invocation,
) -> Result<(BrokerConfig, PathBuf), CliError> {
    let mut settings = properties::load(file)?;
    for pair in &arguments.overrides {
        let Some((key, value)) = pair.split_once('=') else {
            return Err(invocation.usage(format!("--override takes KEY=VALUE, but got \"{pair}\"")));
        };
        settings.set(key.trim(), value.trim(), "--override");
    }
    let mut config = check(&settings)?;
    // Said here, where the places are known.
    for warning in std::mem::take(&mut config.warnings) {
        output::note(
            &settings
                .key_warning(&warning.key, warning.message)
                .to_string(),
        );
    }
    let folder = data_folder(&config);
    std::fs::create_dir_all(&folder).map_err(|error| {
        CliError::failed(format!(
            "cannot make the data folder \"{}\": {error}",
            folder.display()
        ))
    })?;
    Ok((config, folder))
}

/// The broker's view of the settings, or all mistakes with their places.
fn check(settings: &Properties) -> Result<BrokerConfig, CliError> {
    BrokerConfig::from_properties(settings.values()).map_err(|problems| {
        let placed = problems
            .into_iter()
            .map(|problem| settings.problem(&problem.key, problem.message));
        CliError::failed(Problems(placed.collect()).sorted().to_string())
    })
}

/// The first data folder, which also keeps the pid file and the log.
fn data_folder(config: &BrokerConfig) -> PathBuf {
    config
        .log_dirs
        .first()
        .cloned()
        .unwrap_or_else(|| PathBuf::from(DEFAULT_DATA_FOLDER))
}

/// Starts the same command detached and reports what came of it.
fn launch(arguments: &StartArguments, file: &Path, folder: &Path) -> Result<(), CliError> {
    let log = arguments
        .log_file
        .clone()
        .unwrap_or_else(|| folder.join(LOG_FILE));
    let mut command: Vec<OsString> = ["broker", "start", "--detached"].map(OsString::from).into();
    command.push(file.into());
    for pair in &arguments.overrides {
        command.extend([OsString::from("--override"), OsString::from(pair)]);
    }
    if let Some(pid_file) = &arguments.pid_file {
        command.extend([OsString::from("--pid-file"), pid_file.into()]);
    }
    if arguments.log_format == LogFormat::Json {
        command.extend(["--log-format", "json"].map(OsString::from));
    }
    let (pid, said) = daemon::launch(&command, &log)?;
    // Settings that only the command line knows are not in the file that stop would read.
    let elsewhere = arguments
        .overrides
        .iter()
        .any(|pair| pair.starts_with("log.dir"));
    let stop = match &arguments.pid_file {
        Some(pid_file) => format!("--pid-file {}", pid_file.display()),
        None if elsewhere => format!("--pid-file {}", folder.join(PID_FILE).display()),
        None => file.display().to_string(),
    };
    output::print(&format!(
        "{said} (pid {pid})\nlog: {}\nstop it with: connect broker stop {stop}\n",
        log.display()
    ))
}

fn serve(
    config: BrokerConfig,
    arguments: &StartArguments,
    folder: &Path,
    detached: Option<Detached>,
) -> Result<(), CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::failed(format!("cannot start threads: {error}")))?;
    let pid_path = arguments
        .pid_file
        .clone()
        .unwrap_or_else(|| folder.join(PID_FILE));
    let result = runtime.block_on(run_broker(config, &pid_path, folder, detached));
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

/// How long whoever starts a broker in the background waits until it is part of its cluster.
const LAUNCH_TIME: Duration = Duration::from_secs(10);

async fn run_broker(
    config: BrokerConfig,
    pid_path: &Path,
    folder: &Path,
    detached: Option<Detached>,
) -> Result<(), CliError> {
    let started = async {
        let signals = (
            signal(SignalKind::interrupt()),
            signal(SignalKind::terminate()),
        );
        let (Ok(interrupt), Ok(terminate)) = signals else {
            return Err(CliError::failed("cannot listen for signals"));
        };
        let pid_file = PidFile::create(pid_path)?;
        Ok((interrupt, terminate, pid_file))
    };
    let launched = detached.is_some();
    let mut detached = detached;
    let fail = |detached: Option<Detached>, error: CliError| {
        if let Some(detached) = detached {
            detached.failed(&error.to_string());
        }
        Err(error)
    };
    let (mut interrupt, mut terminate, _pid_file) = match started.await {
        Ok(started) => started,
        Err(error) => return fail(detached, error),
    };
    let starting = Broker::start(config);
    tokio::pin!(starting);
    let patience = tokio::time::sleep(LAUNCH_TIME);
    tokio::pin!(patience);
    let broker = loop {
        tokio::select! {
            started = &mut starting => match started {
                Ok(broker) => break broker,
                Err(error) => return fail(detached, CliError::failed(error.to_string())),
            },
            // One of several that are started one after the other: the next ones complete it.
            () = &mut patience, if detached.is_some() => {
                if let Some(detached) = detached.take() {
                    detached.ready("broker runs and waits for the others of its cluster");
                }
            }
            _ = interrupt.recv() => return fail(detached, CliError::Exit(130)),
            _ = terminate.recv() => return fail(detached, CliError::Exit(143)),
        }
    };
    let listens = format!(
        "broker listens on {}, cluster {}, data in {}",
        broker.addr(),
        broker.cluster_id(),
        folder.display()
    );
    match detached {
        Some(detached) => detached.ready(&listens),
        None if launched => tracing::info!("{listens}"),
        None => output::print(&format!("{listens}\nstop it with Ctrl-C\n"))?,
    }
    let outcome = tokio::select! {
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
        // Clients would be told what the cluster was like.
        why = broker.refused() => Err(CliError::failed(why)),
    };
    tracing::info!("stopping: flushing the logs");
    tokio::select! {
        () = broker.shutdown() => outcome,
        _ = interrupt.recv() => {
            output::note("stopped at once; the next start checks the tail of the logs");
            Err(CliError::Exit(130))
        }
    }
}

/// Stops the broker that the pid file names.
///
/// # Errors
/// When none is running there, or it does not end in time.
pub fn stop(arguments: &StopArguments) -> Result<(), CliError> {
    let path = match (&arguments.pid_file, &arguments.file) {
        (Some(path), _) => path.clone(),
        (None, Some(file)) => data_folder(&check(&properties::load(file)?)?).join(PID_FILE),
        (None, None) => Path::new(DEFAULT_DATA_FOLDER).join(PID_FILE),
    };
    let Some(pid) = pid_file::running(&path)? else {
        return Err(CliError::failed(format!(
            "No kafka server to stop: no broker holds the pid file \"{}\"; name the settings it was started with, \
             or its --pid-file",
            path.display()
        )));
    };
    let target =
        Pid::from_raw(pid).ok_or_else(|| CliError::failed(format!("{pid} is no process id")))?;
    kill_process(target, Signal::TERM).map_err(|error| {
        CliError::failed(format!("cannot stop the broker (pid {pid}): {error}"))
    })?;
    let deadline = Instant::now() + Duration::from_secs(arguments.timeout);
    while pid_file::running(&path)? == Some(pid) {
        if Instant::now() >= deadline {
            return Err(CliError::failed(format!(
                "the broker (pid {pid}) is still stopping after {} s; wait for it, or look into its log",
                arguments.timeout
            )));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    output::line(&format!("broker stopped (pid {pid})"))
}
