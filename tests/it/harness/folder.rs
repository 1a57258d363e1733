//! Temporary folders, all in one folder of the run, which is removed even when the tests are killed.

use std::{
    io::Write,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::Path,
    process::{Child, Command, Stdio},
    sync::LazyLock,
};

use tempfile::TempDir;

/// Removes the folder `$1` when our standard input closes; what still runs in it may need a moment to end.
const SCRIPT: &str = r#"
cat >/dev/null
for _ in 1 2 3 4 5 6 7 8 9 10; do
    rm -rf "$1" && exit
    sleep 0.5
done 2>/dev/null
"#;

/// The folder of this run, and the process that removes it.
struct Run {
    folder: TempDir,
    _remover: Child,
}

static RUN: LazyLock<Run> = LazyLock::new(|| {
    let folder = tempfile::Builder::new().prefix("eventflow-tests-").tempdir().expect("a folder can be made");
    // Other users may pass through: Postgres runs as one of them if we are root.
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o711)).expect("our own folder");
    let remover = Command::new("sh")
        .args(["-c", SCRIPT, "remover"])
        .arg(folder.path())
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("sh can be started");
    Run { folder, _remover: remover }
});

/// The folder that everything of this run lies in.
pub fn of_run() -> &'static Path {
    RUN.folder.path()
}

/// A new empty folder, readable by this user only, removed when dropped.
pub fn fresh(name: &str) -> TempDir {
    tempfile::Builder::new().prefix(&format!("{name}-")).tempdir_in(of_run()).expect("a folder can be made")
}

/// Writes a file that this user alone may read.
pub fn write_private(path: &Path, content: &str) {
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .expect("a new file in our folder");
    file.write_all(content.as_bytes()).expect("a file in our folder takes text");
}
