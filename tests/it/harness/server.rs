//! A real `eventflow serve`, as a process of its own.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use nix::sys::signal::Signal;
use serde::Deserialize;
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};

use super::{
    databases::Database,
    folder,
    guard::{Guarded, Program},
    patience::{eventually, eventually_within},
    redis::Redis,
};

/// How long a server may take to end after SIGTERM: it drains for up to 25 s.
const DRAIN: Duration = Duration::from_secs(40);

/// A server to be started.
pub struct Start {
    program: PathBuf,
    folder: TempDir,
    flags: Vec<(String, String)>,
    environment: Vec<(String, String)>,
}

/// A running server; dropping it kills it and removes its data folder.
pub struct Server {
    start: Start,
    program: Guarded,
    addresses: Addresses,
}

/// How a server ended that did not want to start.
pub struct Refusal {
    /// Its exit code.
    pub code: i32,
    /// What it wrote.
    pub log: String,
}

/// What a server writes to `server.json` once it listens.
#[derive(Debug, Clone, Deserialize)]
struct Addresses {
    listen: SocketAddr,
    http_listen: SocketAddr,
    pid: i32,
    instance: String,
}

impl Server {
    /// A server on SQLite, in a new data folder.
    pub fn embedded() -> Start {
        let folder = folder::fresh("server");
        let data = folder.path().join("data").display().to_string();
        Start { program: env!("CARGO_BIN_EXE_eventflow").into(), folder, flags: vec![], environment: vec![] }
            .flag("--data-dir", &data)
            .flag("--listen", "127.0.0.1:0")
            .flag("--http-listen", "127.0.0.1:0")
    }

    /// One of the servers over a database and a Redis.
    pub fn cluster(database: &Database, redis: &Redis) -> Start {
        // By the environment, since anyone can read the arguments of a process.
        Server::embedded()
            .environment("EVENTFLOW_DATABASE_URL", &database.url())
            .environment("EVENTFLOW_REDIS_URL", &redis.url())
    }

    /// Where it serves gRPC.
    pub fn listen(&self) -> SocketAddr {
        self.addresses.listen
    }

    /// Where it serves metrics and health over plain HTTP.
    pub fn http_listen(&self) -> SocketAddr {
        self.addresses.http_listen
    }

    /// What this process calls itself; another one after each start.
    pub fn instance(&self) -> &str {
        &self.addresses.instance
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.program.pid()
    }

    /// Its data folder.
    pub fn data_dir(&self) -> PathBuf {
        self.start.data_dir()
    }

    /// What it has written so far, including what it wrote before it was started again.
    pub fn log(&self) -> String {
        self.program.log()
    }

    /// Waits until it has written `text`.
    pub async fn logged(&self, text: &str) {
        eventually(&format!("{text:?} in the log"), async || self.log().contains(text).then_some(())).await;
    }

    /// A connection to it.
    pub async fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.listen())).expect("an address is a URL's part");
        endpoint.connect().await.expect("a server that wrote server.json accepts connections")
    }

    /// Kills it (SIGKILL) and waits for its end.
    pub async fn kill(&mut self) {
        self.program.signal(Signal::SIGKILL);
        eventually("a killed server to end", async || self.program.ended()).await;
    }

    /// Asks it to end (SIGTERM), waits, and returns its exit code.
    pub async fn terminate(&mut self) -> i32 {
        self.program.signal(Signal::SIGTERM);
        eventually_within(DRAIN, "a terminated server to end", async || self.program.ended()).await
    }

    /// As [`Server::restart`], with another value of a flag.
    pub async fn restart_with(&mut self, flag: &str, value: &str) {
        self.start.replace(flag, value);
        self.restart().await;
    }

    /// Starts it again on the same data and the same ports, killing it if it still runs.
    pub async fn restart(&mut self) {
        self.kill().await;
        self.start.replace("--listen", &self.addresses.listen.to_string());
        self.start.replace("--http-listen", &self.addresses.http_listen.to_string());
        let started = self.start.spawn().await;
        (self.program, self.addresses) =
            started.unwrap_or_else(|refusal| panic!("the server ended ({}):\n{}", refusal.code, refusal.log));
    }
}

impl Start {
    /// Adds a flag, in the place of an earlier one of the same name.
    pub fn flag(mut self, name: &str, value: &str) -> Self {
        self.replace(name, value);
        self
    }

    /// Adds a variable of the environment.
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Runs another program in the place of this build's, such as an older version.
    pub fn program(mut self, program: &Path) -> Self {
        self.program = program.into();
        self
    }

    /// Starts the server and waits until it listens.
    pub async fn start(self) -> Server {
        match self.spawn().await {
            Ok((program, addresses)) => Server { start: self, program, addresses },
            Err(refusal) => panic!("the server ended ({}):\n{}", refusal.code, refusal.log),
        }
    }

    /// Starts the server, which must end by itself before it listens.
    pub async fn refused(self) -> Refusal {
        match self.spawn().await {
            Ok((program, _)) => panic!("the server started:\n{}", program.log()),
            Err(refusal) => refusal,
        }
    }

    /// The data folder, which the server makes if it is missing.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn replace(&mut self, name: &str, value: &str) {
        self.flags.retain(|(flag, _)| flag != name);
        self.flags.push((name.into(), value.into()));
    }

    async fn spawn(&self) -> Result<(Guarded, Addresses), Refusal> {
        let flags = self.flags.iter().map(|(name, value)| format!("{name}={value}"));
        let mut program = Program {
            path: self.program.clone(),
            arguments: std::iter::once("serve".to_owned()).chain(flags).collect(),
            environment: self.environment.clone(),
            folder: self.folder.path().into(),
            log: self.folder.path().join("server.log"),
            end: Signal::SIGKILL,
            user: None,
        }
        .start();
        let file = self.data_dir().join("server.json");
        let started = eventually("server.json of a started server", async || match program.ended() {
            Some(code) => Some(Err(Refusal { code, log: program.log() })),
            None => read_addresses(&file, program.pid()).map(Ok),
        });
        let addresses = started.await?;
        Ok((program, addresses))
    }
}

/// The addresses of this very process; `None` while there is only an earlier one's file, or half a file.
fn read_addresses(file: &Path, pid: i32) -> Option<Addresses> {
    let text = std::fs::read_to_string(file).ok()?;
    let addresses: Addresses = serde_json::from_str(&text).ok()?;
    (addresses.pid == pid).then_some(addresses)
}
