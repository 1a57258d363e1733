//! A private Postgres, on a Unix socket that only this user can reach.

use std::{
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, User, geteuid},
};
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
        tokio::task::spawn_blocking(|| SHARED.get_or_init(Postgres::start)).await.expect("Postgres starts")
    }

    /// Another one, for a test that wants to stop or to kill it; takes a second or two.
    pub async fn private() -> Postgres {
        tokio::task::spawn_blocking(Postgres::start).await.expect("Postgres starts")
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
        self.program = tokio::task::spawn_blocking(move || run(&folder)).await.expect("Postgres starts");
    }

    /// The URL of a database, through the Unix socket.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{SUPERUSER}@localhost:5432/{database}?host={}", self.folder.path().display())
    }

    /// The Unix socket itself, as the target of a proxy.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join(".s.PGSQL.5432")
    }

    fn start() -> Postgres {
        let folder = folder::fresh("postgres");
        let user = unprivileged_user();
        if let Some((user, group)) = user {
            chown(folder.path(), Some(user), Some(group)).expect("root may give a folder away");
        }
        initdb(folder.path(), user);
        let program = run(folder.path());
        Postgres { program, folder }
    }
}

/// Starts Postgres on an initialized folder and waits until it accepts connections.
fn run(folder: &Path) -> Guarded {
    let binaries = binaries();
    let mut arguments = vec!["-D".into(), display(&folder.join("data")), "-k".into(), display(folder)];
    arguments.extend(SETTINGS.iter().flat_map(|setting| ["-c".into(), (*setting).into()]));
    let mut program = Program {
        path: binaries.join("postgres"),
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

fn initdb(folder: &Path, user: Option<(u32, u32)>) {
    let arguments = vec![
        "-D".into(),
        display(&folder.join("data")),
        "-U".into(),
        SUPERUSER.into(),
        "--auth=trust".into(),
        "--encoding=UTF8".into(),
        "--locale=C.UTF-8".into(),
        "--no-instructions".into(),
        "--no-sync".into(),
    ];
    let mut program = Program {
        path: binaries().join("initdb"),
        arguments,
        environment: vec![],
        folder: folder.into(),
        log: folder.join("initdb.log"),
        end: Signal::SIGKILL,
        user,
    }
    .start();
    let code = program.wait();
    assert_eq!(code, 0, "initdb failed:\n{}", program.log());
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
