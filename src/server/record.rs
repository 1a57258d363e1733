//! `server.json` in the data folder: where a server listens, for the commands and for tests.

use std::{fs, io, net::SocketAddr, path::Path};

use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use super::StartError;
use crate::domain::ServerId;

/// The name of the file in the data folder.
const FILE: &str = "server.json";

/// Where a server listens.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ServerRecord {
    /// For gRPC.
    pub listen: SocketAddr,
    /// For metrics and health over plain HTTP.
    pub http_listen: SocketAddr,
    /// The process.
    pub pid: u32,
    /// Another one after each start.
    pub instance: String,
}

impl ServerRecord {
    pub(super) fn new(listen: &TcpListener, http: &TcpListener, server: ServerId) -> Result<Self, StartError> {
        let address = |listener: &TcpListener| listener.local_addr().map_err(StartError::Address);
        Ok(Self {
            listen: address(listen)?,
            http_listen: address(http)?,
            pid: std::process::id(),
            instance: server.0.to_string(),
        })
    }

    /// Writes the file at once: a reader sees the old one or the new one, whole.
    pub(super) fn write(&self, folder: &Path) -> Result<(), StartError> {
        let failed = |source| StartError::Record { folder: folder.to_owned(), source };
        let text = serde_json::to_string(self).map_err(|error| failed(io::Error::other(error)))?;
        let draft = folder.join(format!("{FILE}.{}", self.pid));
        fs::create_dir_all(folder).map_err(failed)?;
        fs::write(&draft, text).map_err(failed)?;
        fs::rename(&draft, folder.join(FILE)).map_err(failed)
    }

    /// Removes the file, if it is still this server's.
    pub(super) fn remove(&self, folder: &Path) {
        if read_record(folder).is_some_and(|record| record.instance == self.instance) {
            // A file that stays is overwritten by the next server.
            let _ = fs::remove_file(folder.join(FILE));
        }
    }
}

/// The record in a data folder; `None` if there is none that can be read.
pub fn read_record(folder: &Path) -> Option<ServerRecord> {
    serde_json::from_slice(&fs::read(folder.join(FILE)).ok()?).ok()
}
