//! Servers.

use super::timestamp;
use crate::{domain::RunningServer, proto::v1};

/// A server for the wire.
pub(crate) fn running_server(server: RunningServer) -> v1::RunningServer {
    let RunningServer { id: _, name, version, start_time } = server;
    v1::RunningServer { name, version, start_time: Some(timestamp(start_time)) }
}
