//! A process that does not outlive this one, not even when this one is killed.

use std::{
    io::{BufRead, BufReader},
    os::unix::process::{CommandExt, ExitStatusExt},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
};

use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::patience::eventually_blocking;

/// The parent of every process that the tests start.
const SCRIPT: &str = include_str!("guard.sh");

/// A program to be started.
pub struct Program {
    /// What to run.
    pub path: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Added to the environment.
    pub environment: Vec<(String, String)>,
    /// Where it runs.
    pub folder: PathBuf,
    /// Where its output goes, added at the end.
    pub log: PathBuf,
    /// What ends it when the tests are gone.
    pub end: Signal,
    /// Runs as this user and group; `None`: as this process does.
    pub user: Option<(u32, u32)>,
}

/// A running program; dropping it ends the program and waits for its end.
pub struct Guarded {
    guard: Child,
    /// Open for as long as the program shall run.
    lifeline: Option<ChildStdin>,
    pid: i32,
    log: PathBuf,
}

impl Program {
    /// Starts the program under a guard.
    pub fn start(self) -> Guarded {
        let mut command = Command::new("sh");
        command.args(["-c", SCRIPT, "guard", signal_name(self.end)]).arg(&self.log).arg(&self.path);
        // Nothing of the developer's own settings shall decide a test.
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_setting(&name.to_string_lossy())) {
            command.env_remove(name);
        }
        command.args(&self.arguments).envs(self.environment).current_dir(&self.folder);
        // A group of its own: Ctrl-C in a terminal ends the tests, and the guard then ends the program.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        let mut guard = command.spawn().expect("sh can be started");
        let mut line = String::new();
        let stdout = guard.stdout.take().expect("the guard's output is piped");
        BufReader::new(stdout).read_line(&mut line).expect("the guard prints a process id");
        let pid = line.trim().parse().expect("the guard prints a process id");
        Guarded { lifeline: guard.stdin.take(), guard, pid, log: self.log }
    }
}

impl Guarded {
    /// The program's process id.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// What the program has written so far.
    pub fn log(&self) -> String {
        read_log(&self.log)
    }

    /// Sends a signal to the program, if it still runs.
    pub fn signal(&self, signal: Signal) {
        match kill(Pid::from_raw(self.pid), signal) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => panic!("cannot send {signal} to process {}: {error}", self.pid),
        }
    }

    /// The exit code if the program has ended; 128 + n after signal n.
    pub fn ended(&mut self) -> Option<i32> {
        let status = self.guard.try_wait().expect("the guard can be waited for")?;
        Some(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default()))
    }

    /// Waits for the program to end by itself, and returns its exit code.
    pub fn wait(&mut self) -> i32 {
        eventually_blocking("the end of a program", || self.ended())
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        let _ended = self.guard.wait();
    }
}

/// A signal as `kill -s` takes it.
fn signal_name(signal: Signal) -> &'static str {
    signal.as_str().trim_start_matches("SIG")
}

/// Whether a variable of the environment configures Postgres or us.
fn is_setting(name: &str) -> bool {
    name.starts_with("PG") || name.starts_with("EVENTFLOW_")
}

fn read_log(path: &Path) -> String {
    let bytes = std::fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}
