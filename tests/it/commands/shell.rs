//! A terminal without a screen: commands run in it to their end, or go on in the background.

use std::{
    cell::Cell,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt, process::Command, time::timeout};

use crate::harness::{
    backend::Backend,
    folder,
    guard::{Guarded, Program},
    patience::eventually_within,
    server::Server,
};

/// The program under test.
pub(super) const PROGRAM: &str = env!("CARGO_BIN_EXE_eventflow");
/// How long a command may take, several attempts to reach the server included.
const PATIENCE: Duration = Duration::from_secs(240);

/// Where commands run: a home of their own, and the data folder of a server.
pub(super) struct Shell {
    home: TempDir,
    data_dir: PathBuf,
    background: Cell<u32>,
}

/// A command that has ended.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) code: i32,
    pub(super) out: String,
    pub(super) err: String,
}

impl Shell {
    /// For the server of this data folder.
    pub(super) fn of(server: &Server) -> Self {
        Self { home: folder::fresh("home"), data_dir: server.data_dir(), background: Cell::new(0) }
    }

    /// A new server on SQLite, and a shell for it.
    pub(super) async fn embedded() -> (Server, Self) {
        Self::on(Backend::Sqlite).await
    }

    /// A new server, and a shell that may do everything with it.
    pub(super) async fn on(backend: Backend) -> (Server, Self) {
        let server = backend.server().await.start().await;
        let shell = Self::of(&server);
        if backend == Backend::Postgres {
            shell.ok(&["login", "admin", "--password-file", &shell.password_file()]).await;
        }
        (server, shell)
    }

    /// Where the first start has written the password of the admin.
    pub(super) fn password_file(&self) -> String {
        self.data_dir.join("admin-password").display().to_string()
    }

    /// The folder that the commands run in, and in which they keep logins.
    pub(super) fn home(&self) -> &Path {
        self.home.path()
    }

    /// A command that sees this home and no setting of the developer's own.
    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("EVENTFLOW_")) {
            command.env_remove(name);
        }
        for (name, value) in self.environment() {
            command.env(name, value);
        }
        command.args(arguments).current_dir(self.home()).kill_on_drop(true);
        command
    }

    fn environment(&self) -> [(String, String); 3] {
        let path = |path: &Path| path.display().to_string();
        [
            ("HOME".into(), path(self.home())),
            ("XDG_CONFIG_HOME".into(), path(&self.home().join("config"))),
            ("EVENTFLOW_DATA_DIR".into(), path(&self.data_dir)),
        ]
    }

    /// Runs a command to its end, without any input.
    pub(super) async fn run(&self, arguments: &[&str]) -> Done {
        self.fed(arguments, "").await
    }

    /// Runs a command to its end with this standard input.
    pub(super) async fn fed(&self, arguments: &[&str], input: &str) -> Done {
        finished(self.command(arguments), input).await
    }

    /// What a command prints, which must succeed and say nothing else.
    pub(super) async fn ok(&self, arguments: &[&str]) -> String {
        self.fed(arguments, "").await.ok()
    }

    /// The JSON objects that a command prints, one a line.
    pub(super) async fn json(&self, arguments: &[&str]) -> Vec<Value> {
        let arguments = [arguments, &["-o", "json"]].concat();
        let text = self.ok(&arguments).await;
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// What a command says on standard error, which must end with this code and print no result.
    pub(super) async fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let done = self.run(arguments).await;
        assert_eq!((done.code, done.out.as_str()), (code, ""), "{arguments:?}: {}", done.err);
        done.err
    }

    /// Starts a command that goes on until it is told to stop.
    pub(super) fn follow(&self, arguments: &[&str]) -> Running {
        let number = self.background.get() + 1;
        self.background.set(number);
        let program = Program {
            path: PROGRAM.into(),
            arguments: arguments.iter().map(ToString::to_string).collect(),
            environment: self.environment().into(),
            folder: self.home().into(),
            log: self.home().join(format!("{number}.log")),
            end: Signal::SIGKILL,
            user: None,
        };
        Running::start(program)
    }
}

impl Done {
    /// What it printed; it must have succeeded without a remark.
    #[track_caller]
    pub(super) fn ok(self) -> String {
        assert_eq!((self.code, self.err.as_str()), (0, ""), "{self:?}");
        self.out
    }
}

/// Runs a command to its end with this standard input.
pub(super) async fn finished(mut command: Command, input: &str) -> Done {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.kill_on_drop(true).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let write = async move {
        // A command that reads no input, or not all of it, may have ended by now.
        let _closed = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
    };
    // At the same time: it may print more than a pipe takes before it has read everything.
    let done = timeout(PATIENCE, async { tokio::join!(child.wait_with_output(), write).0 }).await;
    let output = done.unwrap_or_else(|_| panic!("{command:?} did not end")).unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Done { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

/// A command in the background; it is killed when dropped.
pub(super) struct Running {
    program: Guarded,
}

impl Running {
    /// Starts it under a guard.
    pub(super) fn start(program: Program) -> Self {
        Self { program: program.start() }
    }

    /// The whole lines that it has written, errors among them.
    pub(super) fn lines(&self) -> Vec<String> {
        let log = self.program.log();
        let whole = log.rfind('\n').map_or("", |end| &log[..end]);
        whole.lines().map(str::to_owned).collect()
    }

    /// Waits until it has written as many lines.
    pub(super) async fn printed(&mut self, count: usize) -> Vec<String> {
        eventually_within(PATIENCE, &format!("{count} lines"), async || {
            if let Some(code) = self.program.ended() {
                let lines = self.lines();
                assert!(lines.len() >= count, "ended with {code} after {lines:?}");
            }
            (self.lines().len() >= count).then(|| self.lines())
        })
        .await
    }

    /// Sends it a signal.
    pub(super) fn signal(&self, signal: Signal) {
        self.program.signal(signal);
    }

    /// Waits for its end and returns its exit code.
    pub(super) async fn ended(&mut self) -> i32 {
        eventually_within(PATIENCE, "the end of a command", async || self.program.ended()).await
    }
}

/// The offsets at the beginning of the lines of `tail`, or of `publish`.
pub(super) fn offsets<'a>(lines: impl IntoIterator<Item = &'a str>) -> Vec<u64> {
    let first = |line: &'a str| line.split(' ').next().and_then(|word| word.parse().ok());
    lines.into_iter().map(|line| first(line).unwrap_or_else(|| panic!("{line:?} begins with no offset"))).collect()
}

/// The value of a line `name:   value`.
#[track_caller]
pub(super) fn field<'a>(text: &'a str, name: &str) -> &'a str {
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).trim()
}
