//! `eventflow health`.

use clap::Args;
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use super::{
    connection::Connection,
    failure::Failure,
    output::{self, Output},
};

/// Arguments of `health`.
#[derive(Debug, Args)]
pub(super) struct HealthArgs {
    /// A service of the server, for example eventflow.v1.EventService or eventflow.store; none asks for all in one.
    #[arg(default_value = "")]
    service: String,
}

/// Prints the state; anything but SERVING is a failure.
pub(super) async fn run(connection: &Connection, output: Output, args: HealthArgs) -> Result<(), Failure> {
    // Health is open to everybody, so a damaged credential does not stand in the way.
    let request = connection.open_request(HealthCheckRequest { service: args.service });
    let state = match HealthClient::new(connection.channel()).check(request).await {
        Ok(answer) => answer.into_inner().status(),
        Err(status) if status.code() == Code::NotFound => ServingStatus::ServiceUnknown,
        Err(status) => return Err(status.into()),
    };
    let name = state.as_str_name();
    output::print(&if output.is_json() { format!("{{\"status\":\"{name}\"}}\n") } else { format!("{name}\n") })?;
    match state {
        ServingStatus::Serving => Ok(()),
        ServingStatus::NotServing | ServingStatus::Unknown | ServingStatus::ServiceUnknown => {
            Err(Failure::NotServing(format!("{} answers {name}", connection.address().name())))
        }
    }
}
