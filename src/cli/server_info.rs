//! `eventflow server info`.

use clap::Subcommand;

use super::{connection::Connection, failure::Failure, output::Output};
use crate::proto::v1::{self, auth_service_client::AuthServiceClient};

/// What to ask about the server.
#[derive(Debug, Subcommand)]
pub(super) enum ServerCommand {
    /// Version, store, limits and features.
    Info,
}

/// Prints what the server says about itself.
pub(super) async fn run(connection: &Connection, output: Output, command: ServerCommand) -> Result<(), Failure> {
    let ServerCommand::Info = command;
    let request = connection.request(v1::GetServerInfoRequest {}).await?;
    let info = AuthServiceClient::new(connection.channel()).get_server_info(request).await?.into_inner();
    let v1::GetServerInfoResponse { version, store, limits, features, servers } = &info;
    let servers: Vec<_> = servers.iter().map(|server| server.name.as_str()).collect();
    let mut fields = vec![
        ("server", connection.address().name()),
        ("version", version.clone()),
        ("store", store.clone()),
        ("servers", servers.join(" ")),
        ("features", if features.is_empty() { "-".to_owned() } else { features.join(" ") }),
    ];
    let mut limits: Vec<_> = limits.iter().map(|(name, value)| (name.as_str(), value.to_string())).collect();
    limits.sort();
    fields.extend(limits);
    output.item("GetServerInfoResponse", &info, &fields)
}
