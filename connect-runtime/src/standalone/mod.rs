//! The standalone program: `connect-standalone WORKER [CONNECTOR…]` in a function, for a `main` of
//! three lines.
//!
//! ```no_run
//! use std::process::ExitCode;
//! // use my_connector as _; // links the connectors that the program should have
//! fn main() -> ExitCode {
//!     connect_runtime::standalone::run_main(None)
//! }
//! ```
//!
//! Without `bootstrap.servers` the worker needs a broker in the same process; this crate knows
//! none, so the program hands in what starts one: an [`EmbeddedBroker`].
//!
//! | exit code | meaning |
//! |---|---|
//! | 0 | stopped in order by Ctrl-C or SIGTERM: everything drained and committed |
//! | 1 | wrong usage |
//! | 2 | the worker could not be initialised |
//! | 3 | a connector could not be created |
//! | 4 | stopped, but a connector did not end in time; what it had not committed comes again |
//! | 130 | a second signal stopped it at once |

mod arguments;
mod banner;
mod files;
mod reload;
mod watch;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use connect_core::ConfigMap;

pub use arguments::{Arguments, Request, parse};
use reload::Reload;

use crate::config::connector::ConnectorConfig;
use crate::config::worker::WorkerConfig;
use crate::config::{Problems, RestConfig, Settings, apply_environment};
use crate::error::WorkerError;
use crate::logging;
use crate::rest::{RestError, RestListeners};
use crate::worker::Worker;

/// Wrong usage.
const USAGE: u8 = 1;
/// The worker could not be initialised.
const INITIALISATION: u8 = 2;
/// A connector could not be created.
const CONNECTOR: u8 = 3;
/// A connector did not end in time.
const ABANDONED: u8 = 4;
/// Stopped at once by a second signal.
const INTERRUPTED: u8 = 130;

/// Shells and programs like `timeout` send one signal to the process and to its group; within this
/// time they are one.
const SAME_SIGNAL: Duration = Duration::from_millis(300);

/// What the embedded broker is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbeddedBrokerOptions {
    /// The folder of its data (`data.dir`).
    pub data_dir: std::path::PathBuf,
    /// Its own keys: `broker.…` of the worker's file, with the prefix cut.
    pub properties: ConfigMap,
}

/// A broker in the same process, as the program that has one provides it.
#[async_trait]
pub trait EmbeddedBroker: Send {
    /// Starts it and returns the addresses to bootstrap from, once it answers.
    ///
    /// # Errors
    /// What is wrong and what to do, for the user.
    async fn start(&mut self, options: EmbeddedBrokerOptions) -> Result<Vec<String>, String>;

    /// Stops it in order; called once, after the worker has stopped.
    async fn stop(&mut self);
}

/// Runs the program with the process's arguments and environment, until it is told to stop.
#[must_use]
pub fn run_main(broker: Option<Box<dyn EmbeddedBroker>>) -> ExitCode {
    let mut arguments = std::env::args();
    let program = arguments.next();
    let program = program
        .as_deref()
        .and_then(|path| Path::new(path).file_name()?.to_str());
    let program = program.unwrap_or("connect-standalone").to_owned();
    run(&program, arguments, broker)
}

/// As [`run_main`], for a program that has looked at its arguments already.
#[must_use]
pub fn run(
    program: &str,
    arguments: impl Iterator<Item = String>,
    broker: Option<Box<dyn EmbeddedBroker>>,
) -> ExitCode {
    let arguments = match parse(arguments) {
        Ok(Request::Run(arguments)) => arguments,
        Ok(Request::Help) => {
            banner::print(&arguments::help(program));
            return ExitCode::SUCCESS;
        }
        Ok(Request::Version) => {
            banner::print(&format!("{program} {}", env!("CARGO_PKG_VERSION")));
            return ExitCode::SUCCESS;
        }
        Err(message) => {
            banner::complain(&format!("{message}\n{}", arguments::usage(program)));
            return ExitCode::from(USAGE);
        }
    };
    logging::init(arguments.log_format, arguments.log_filter());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("worker")
        .build();
    match runtime {
        Ok(runtime) => {
            let code = runtime.block_on(run_program(&arguments, broker));
            // Abandoned calls into connectors must not keep the process.
            runtime.shutdown_background();
            code
        }
        Err(error) => {
            banner::complain(&format!("no threads could be started: {error}"));
            ExitCode::from(INITIALISATION)
        }
    }
}

async fn run_program(arguments: &Arguments, broker: Option<Box<dyn EmbeddedBroker>>) -> ExitCode {
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => {
            banner::complain(&format!("signals cannot be received: {error}"));
            return ExitCode::from(INITIALISATION);
        }
    };
    let mut broker = broker;
    let served = serve(arguments, &mut broker, &mut signals).await;
    if let Some(broker) = broker.as_mut().filter(|_| served.broker_started) {
        tokio::select! {
            () = broker.stop() => {}
            () = signals.next() => stop_now(),
        }
    }
    ExitCode::from(served.code)
}

/// Nothing may hold this up, neither a connector nor the broker: both survive it.
fn stop_now() -> ! {
    banner::complain("stopped at once; what was not committed comes again");
    std::process::exit(INTERRUPTED.into())
}

/// How serving ended.
struct Served {
    code: u8,
    broker_started: bool,
}

async fn serve(
    arguments: &Arguments,
    broker: &mut Option<Box<dyn EmbeddedBroker>>,
    signals: &mut Signals,
) -> Served {
    let mut served = Served {
        code: INITIALISATION,
        broker_started: false,
    };
    let config = match read_worker(arguments).await {
        Ok(config) => config,
        Err(Problems(mut problems)) => {
            // What can be said about the connectors' files without it comes along.
            for path in &arguments.connectors {
                if let Err(Problems(more)) = Settings::read(path).await {
                    problems.extend(more);
                }
            }
            banner::complain(&Problems(problems).to_string());
            return served;
        }
    };
    // Connector files are read before anything starts, so that every mistake shows at once.
    let files = match files::read_all(arguments, &config).await {
        Ok(files) => files,
        Err(problems) => {
            banner::complain(&problems.to_string());
            served.code = CONNECTOR;
            return served;
        }
    };
    // Before a broker is started for nothing.
    let rest = match listen(&config.rest).await {
        Ok(rest) => rest,
        Err(error) => {
            banner::complain(&error.to_string());
            return served;
        }
    };
    let worker = tokio::select! {
        worker = start(config, broker, &mut served.broker_started) => worker,
        () = signals.next() => {
            served.code = INTERRUPTED;
            return served;
        }
    };
    let worker = match worker {
        Ok(worker) => Arc::new(worker),
        Err(error) => {
            banner::complain(&error.to_string());
            return served;
        }
    };
    let created = tokio::select! {
        created = files::create(&worker, &files) => created,
        () = signals.next() => {
            served.code = stop(&worker, signals).await;
            return served;
        }
    };
    if let Err(refused) = created {
        banner::complain(&refused);
        worker.stop().await;
        served.code = CONNECTOR;
        return served;
    }
    let mut connectors: Vec<Arc<ConnectorConfig>> = files
        .iter()
        .map(|file| Arc::new(file.config.clone()))
        .collect();
    connectors.extend(restore(&worker).await);
    let lines = banner::running(&worker, rest.as_ref(), &connectors, served.broker_started);
    let _rest = rest.map(|rest| rest.serve(Arc::clone(&worker)));
    banner::print(&lines);
    let watched = worker.config().watch_files && !files.is_empty();
    let _reload = watched.then(|| Reload::start(Arc::clone(&worker), files, arguments.strict));
    signals.next().await;
    served.code = stop(&worker, signals).await;
    served
}

/// Starts the stored connectors. One that cannot be started harms no other: it stays stored and is
/// named.
async fn restore(worker: &Worker) -> Vec<Arc<ConnectorConfig>> {
    // It fails only if the worker stops, which is this program's to tell it.
    let restored = worker.start_stored().await.unwrap_or_default();
    for (name, problems) in restored.refused {
        banner::complain(&format!(
            "connector \"{name}\" is stored and cannot be started as it is; change it with PUT \
             /connectors/{name}/config or delete it:\n{problems}"
        ));
    }
    restored.started
}

/// Takes the addresses of the REST interface. The default one is a convenience, and a second worker on
/// a machine does without it.
async fn listen(config: &RestConfig) -> Result<Option<RestListeners>, RestError> {
    if config.listeners.is_empty() && config.admin.own().is_empty() {
        return Ok(None);
    }
    match RestListeners::bind(config).await {
        Ok(listeners) => Ok(Some(listeners)),
        Err(error) if config.configured => Err(error),
        Err(error) => {
            banner::complain(&format!("warning: {error}; this worker goes on without it"));
            Ok(None)
        }
    }
}

async fn stop(worker: &Worker, signals: &mut Signals) -> u8 {
    banner::mention("stopping: finishing what is under way; press Ctrl-C again to stop now");
    tokio::select! {
        stopped = worker.stop() => match stopped.abandoned.is_empty() {
            true => 0,
            false => {
                banner::complain(&format!(
                    "stopped, but without waiting for {}; what was not committed comes again",
                    stopped.abandoned.join(", ")
                ));
                ABANDONED
            }
        },
        () = signals.again() => stop_now(),
    }
}

async fn start(
    config: WorkerConfig,
    broker: &mut Option<Box<dyn EmbeddedBroker>>,
    broker_started: &mut bool,
) -> Result<Worker, WorkerError> {
    let bootstrap_servers = match (&config.bootstrap_servers, broker) {
        (Some(servers), _) => servers.clone(),
        (None, Some(broker)) => {
            let options = EmbeddedBrokerOptions {
                data_dir: config.data_dir.clone(),
                properties: config.broker.clone(),
            };
            let servers = broker
                .start(options)
                .await
                .map_err(WorkerError::EmbeddedBroker)?;
            *broker_started = true;
            servers
        }
        (None, None) => {
            return Err(WorkerError::EmbeddedBroker(
                "bootstrap.servers is not set and this program has no broker of its own; set \
                 bootstrap.servers to host:port of a Kafka broker"
                    .to_owned(),
            ));
        }
    };
    Worker::start(config, bootstrap_servers).await
}

async fn read_worker(arguments: &Arguments) -> Result<WorkerConfig, Problems> {
    let (mut settings, mut notes) = Settings::read(&arguments.worker).await?;
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    apply_environment(&mut settings, variables);
    let (config, more) = match WorkerConfig::read(&settings) {
        Ok(read) => read,
        Err(Problems(mut problems)) => {
            notes.append(&mut problems);
            return Err(Problems(notes).sorted());
        }
    };
    notes.extend(more);
    files::accept(arguments.strict, notes)?;
    Ok(config)
}

/// Ctrl-C and, on Unix, SIGTERM.
struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    /// A signal that was meant as a second one. Cancel-safe.
    async fn again(&mut self) {
        let first = tokio::time::Instant::now();
        loop {
            self.next().await;
            if first.elapsed() >= SAME_SIGNAL {
                return;
            }
        }
    }

    #[cfg(unix)]
    fn listen() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// The next signal to stop. Cancel-safe.
    #[cfg(unix)]
    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    #[cfg(not(unix))]
    fn listen() -> std::io::Result<Self> {
        Ok(Self {})
    }

    /// The next signal to stop. Cancel-safe.
    #[cfg(not(unix))]
    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }
}
