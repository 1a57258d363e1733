//! A server of our own, in a folder that goes with it.

use std::{
    fs::File,
    process::Stdio,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    time::{sleep, timeout},
};

use crate::{
    cli::{
        args::ClientOptions,
        connection::Connection,
        credentials::{Given, embedded_key},
        failure::Failure,
    },
    server::{ServerRecord, read_record},
};

/// How long the server may take until it serves.
const START: Duration = Duration::from_secs(30);
/// How long it may take to end: longer than it takes for a drain.
const END: Duration = Duration::from_secs(30);
/// How often it is looked for.
const LOOK: Duration = Duration::from_millis(20);

/// A server on SQLite in a temporary folder. It is to be [ended](Self::end); dropping it kills it.
#[derive(Debug)]
pub(super) struct Embedded {
    child: Child,
    folder: TempDir,
}

impl Embedded {
    /// Starts the process, which no interrupt of this one reaches.
    pub(super) fn start() -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::Local(format!("no server can be started: {error}"));
        let folder = tempfile::Builder::new().prefix("eventflow-bench-").tempdir().map_err(failed)?;
        let log = File::create(folder.path().join("log")).map_err(failed)?;
        let mut command = Command::new(std::env::current_exe().map_err(failed)?);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("EVENTFLOW_") {
                command.env_remove(name);
            }
        }
        command.args(["serve", "--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"]);
        command.arg("--data-dir").arg(folder.path());
        command.stdin(Stdio::null()).stdout(log.try_clone().map_err(failed)?).stderr(log);
        let child = command.process_group(0).kill_on_drop(true).spawn().map_err(failed)?;
        Ok(Self { child, folder })
    }

    /// Waits until it serves. Cancelling it changes nothing.
    pub(super) async fn serves(&mut self) -> Result<ServerRecord, Failure> {
        let started = Instant::now();
        loop {
            if let Some(record) = read_record(self.folder.path()) {
                return Ok(record);
            }
            let ended = self.child.try_wait().map_err(|error| Failure::Local(error.to_string()))?;
            if ended.is_some() || started.elapsed() > START {
                let said = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
                return Err(Failure::Local(format!("the server does not start\n{}", said.trim_end())));
            }
            sleep(LOOK).await;
        }
    }

    /// A connection to it, as its admin.
    pub(super) fn connection(&self, record: &ServerRecord, options: &ClientOptions) -> Result<Connection, Failure> {
        let options = ClientOptions {
            server: Some(record.listen.to_string()),
            data_dir: self.folder.path().to_owned(),
            ..options.clone()
        };
        let given = embedded_key(self.folder.path())?.map_or(Given::Nothing, Given::Credential);
        Connection::open(&options, given)
    }

    /// Stops it and removes its folder.
    pub(super) async fn end(mut self) -> Result<(), Failure> {
        let failed = |why: String| Failure::Local(format!("the server cannot be stopped: {why}"));
        if let Some(pid) = self.child.id().and_then(|pid| i32::try_from(pid).ok()) {
            kill(Pid::from_raw(pid), Signal::SIGTERM).map_err(|error| failed(error.to_string()))?;
        }
        if timeout(END, self.child.wait()).await.is_err() {
            self.child.kill().await.map_err(|error| failed(error.to_string()))?;
        }
        self.folder.close().map_err(|error| failed(error.to_string()))
    }
}
