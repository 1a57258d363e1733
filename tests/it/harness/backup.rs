//! A copy of all data of a Postgres that was stopped, and going back to it.

use std::{path::Path, process::Command};

use tempfile::TempDir;

use super::{folder, postgres::Postgres};

/// The data as it was.
pub struct Backup(TempDir);

impl Postgres {
    /// Copies its data; it must have been stopped.
    pub async fn back_up(&mut self) -> Backup {
        assert!(self.has_ended(), "what changes cannot be copied");
        let backup = folder::fresh("backup");
        copy(self.folder(), backup.path());
        Backup(backup)
    }

    /// Puts the data of a backup in the place of its own; it must have been stopped.
    pub async fn restore(&mut self, backup: &Backup) {
        assert!(self.has_ended(), "what is in use cannot be replaced");
        std::fs::remove_dir_all(self.folder().join("data")).expect("our own folder");
        copy(backup.0.path(), self.folder());
    }
}

/// Copies the folder `data`, and whom it belongs to.
fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from.join("data")).arg(to).status().expect("cp can be started");
    assert!(status.success(), "{} was not copied", from.display());
}
