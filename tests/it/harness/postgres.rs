//! A private Postgres, on a Unix socket that only this user can reach.

use std::{
    net::SocketAddr,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, User, geteuid},
};
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;

use super::{
    folder,
    guard::{Guarded, Program},
    patience::{eventually, eventually_blocking},
};

/// The superuser of the private Postgres.
pub const SUPERUSER: &str = "eventflow";

/// Generous with connections, since every test has servers of its own; otherwise as in production: above all,
/// it waits for the disk.
const SETTINGS: [&str; 6] = [
    "port=5432",
    "listen_addresses=",
    "fsync=on",
    "max_connections=300",
    "shared_buffers=128MB",
    "log_min_messages=warning",
];

/// A running Postgres of our own.
pub struct Postgres {
    program: Guarded,
    folder: TempDir,
}

impl Postgres {
    /// The one of this run, started when first asked for.
    pub async fn shared() -> &'static Postgres {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        let start = || SHARED.get_or_init(|| Postgres::start(None));
        tokio::task::spawn_blocking(start).await.expect("Postgres starts")
    }

    /// Another one, for a test that wants to stop or to kill it; takes a second or two.
    pub async fn private() -> Postgres {
        tokio::task::spawn_blocking(|| Postgres::start(None)).await.expect("Postgres starts")
    }

    /// Another one, of which no file may grow beyond `largest` bytes until [`Postgres::start_again`]. If
    /// that is not a multiple of a page, Postgres takes the page that was cut short for a full disk.
    pub async fn cramped(largest: u64) -> Postgres {
        tokio::task::spawn_blocking(move || Postgres::start(Some(largest))).await.expect("Postgres starts")
    }

    /// Ends it as an administrator would (SIGINT): connections are ended, and everything is written;
    /// nothing accepts connections until [`Postgres::start_again`].
    pub async fn stop(&mut self) {
        self.program.signal(Signal::SIGINT);
        eventually("a stopped Postgres to end", async || self.program.ended()).await;
    }

    /// Ends it as a crash would (SIGQUIT); nothing accepts connections until [`Postgres::start_again`].
    pub async fn crash(&mut self) {
        self.program.signal(Signal::SIGQUIT);
        eventually("a crashed Postgres to end", async || self.program.ended()).await;
    }

    /// Kills all of its processes (SIGKILL); nothing accepts connections until [`Postgres::start_again`].
    pub async fn kill(&mut self) {
        self.program.signal(Signal::SIGKILL);
        let data = self.folder.path().join("data");
        eventually("all processes of a killed Postgres to end", async || {
            let rest = processes_in(&data);
            for pid in &rest {
                // One that has ended since is what was wanted.
                let _ended = kill(Pid::from_raw(*pid), Signal::SIGKILL);
            }
            (rest.is_empty() && self.program.ended().is_some()).then_some(())
        })
        .await;
    }

    /// Starts it again on what is on its disk.
    pub async fn start_again(&mut self) {
        let folder = self.folder.path().to_owned();
        self.program = tokio::task::spawn_blocking(move || run(&folder, None)).await.expect("Postgres starts");
    }

    /// The URL of a database, through the Unix socket.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{SUPERUSER}@localhost:5432/{database}?host={}", self.folder.path().display())
    }

    /// The URL of its first database, by way of a proxy before [`Postgres::socket`].
    pub fn url_through(&self, proxy: SocketAddr) -> String {
        format!("postgres://{SUPERUSER}@{proxy}/postgres?sslmode=disable")
    }

    /// A connection of the superuser to its first database.
    pub async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.url("postgres")).await.expect("Postgres accepts connections")
    }

    /// The Unix socket itself, as the target of a proxy.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join(".s.PGSQL.5432")
    }

    /// The folder of its socket; its data is in `data`.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Whether it has ended.
    pub(super) fn has_ended(&mut self) -> bool {
        self.program.ended().is_some()
    }

    /// Starts it in a folder that has data.
    pub(super) fn start_in(folder: TempDir) -> Postgres {
        Postgres { program: run(folder.path(), None), folder }
    }

    fn start(largest: Option<u64>) -> Postgres {
        let folder = new_folder();
        initdb(folder.path());
        Postgres { program: run(folder.path(), largest), folder }
    }
}

/// A new folder that Postgres may use.
pub(super) fn new_folder() -> TempDir {
    let folder = folder::fresh("postgres");
    if let Some((user, group)) = unprivileged_user() {
        chown(folder.path(), Some(user), Some(group)).expect("root may give a folder away");
    }
    folder
}

/// Runs a program with arguments such that its files stay below `$1` blocks.
const CRAMPED: &str = r#"ulimit -S -f "$1" && shift && exec "$@""#;
/// What `ulimit -f` counts in.
const BLOCK_BYTES: u64 = 512;

/// Starts Postgres on an initialized folder and waits until it accepts connections.
fn run(folder: &Path, largest: Option<u64>) -> Guarded {
    let binaries = binaries();
    let mut arguments = vec!["-D".into(), display(&folder.join("data")), "-k".into(), display(folder)];
    arguments.extend(SETTINGS.iter().flat_map(|setting| ["-c".into(), (*setting).into()]));
    let mut path = binaries.join("postgres");
    if let Some(bytes) = largest {
        let script = ["-c".into(), CRAMPED.into(), "cramped".into(), (bytes / BLOCK_BYTES).to_string(), display(&path)];
        arguments.splice(0..0, script);
        path = "/bin/sh".into();
    }
    let mut program = Program {
        path,
        arguments,
        environment: vec![],
        folder: folder.into(),
        log: folder.join("postgres.log"),
        // Ends at once, and takes its children along.
        end: Signal::SIGQUIT,
        user: unprivileged_user(),
    }
    .start();
    eventually_blocking("Postgres to accept connections", || {
        assert_eq!(program.ended(), None, "Postgres ended:\n{}", program.log());
        let mut ready = Command::new(binaries.join("pg_isready"));
        ready.args(["-q", "-p", "5432", "-h"]).arg(folder);
        ready.status().expect("pg_isready runs").success().then_some(())
    });
    program
}

fn initdb(folder: &Path) {
    let data = display(&folder.join("data"));
    let settings = ["--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-instructions", "--no-sync"];
    run_tool(folder, "initdb", &[["-D", &data, "-U", SUPERUSER].as_slice(), &settings].concat());
}

/// Runs one of the programs that come with Postgres, in a folder, until it has done its work.
pub(super) fn run_tool(folder: &Path, name: &str, arguments: &[&str]) {
    let mut program = Program {
        path: binaries().join(name),
        arguments: arguments.iter().map(|argument| argument.to_string()).collect(),
        environment: vec![],
        folder: folder.into(),
        log: folder.join(format!("{name}.log")),
        end: Signal::SIGKILL,
        user: unprivileged_user(),
    }
    .start();
    let code = program.wait();
    assert_eq!(code, 0, "{name} failed:\n{}", program.log());
}

/// The processes that work in a folder, as every process of a Postgres does in its data.
fn processes_in(folder: &Path) -> Vec<i32> {
    let processes = std::fs::read_dir("/proc").expect("/proc can be read").flatten();
    let here =
        processes.filter(|process| std::fs::read_link(process.path().join("cwd")).is_ok_and(|cwd| cwd == folder));
    here.filter_map(|process| process.file_name().to_str()?.parse().ok()).collect()
}

/// Where `initdb` and `postgres` are: Debian keeps them out of the `PATH`.
fn binaries() -> PathBuf {
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    versions.sort();
    let installed = versions.into_iter().rev().map(|(_, folder)| folder);
    let path = std::env::var_os("PATH").unwrap_or_default();
    installed
        .chain(std::env::split_paths(&path))
        .find(|folder| ["initdb", "postgres", "pg_isready"].iter().all(|name| folder.join(name).is_file()))
        .expect("the tests need Postgres (initdb, postgres, pg_isready): install the package `postgresql`")
}

/// Somebody else if we are root, as whom Postgres refuses to run.
fn unprivileged_user() -> Option<(u32, u32)> {
    if !geteuid().is_root() {
        return None;
    }
    let user = ["postgres", "nobody"].iter().find_map(|name| User::from_name(name).ok().flatten());
    let user = user.expect("root runs the tests' Postgres as the user `postgres` or `nobody`: create one of them");
    Some((user.uid.as_raw(), user.gid.as_raw()))
}

fn display(path: &Path) -> String {
    path.display().to_string()
}
