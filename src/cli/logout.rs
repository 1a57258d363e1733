//! `eventflow logout`.

use tonic::Code;

use super::{connection::Connection, failure::Failure, output::Output, session::SessionFile};
use crate::proto::v1::{self, auth_service_client::AuthServiceClient};

/// Ends the session that the commands call with, and forgets it if it was kept by `login`.
pub(super) async fn run(connection: &Connection, output: Output) -> Result<(), Failure> {
    let server = connection.address().name();
    let kept = if connection.has_given_credential() { None } else { SessionFile::of_user() };
    let Some(file) = kept else {
        end_session(connection).await?;
        return output.done(&format!("logged out at {server}"));
    };
    let nobody = || Failure::Credential(format!("nobody is logged in at {server}"));
    let username = file.load(&server)?.ok_or_else(nobody)?.username;
    match end_session(connection).await {
        Ok(()) | Err(Failure::Credential(_)) => {}
        // It had ended before.
        Err(Failure::Refused(status)) if status.code() == Code::Unauthenticated => {}
        Err(failure) => return Err(failure),
    }
    file.lock().await?.remove(&server)?;
    output.done(&format!("logged out at {server} as {username}"))
}

async fn end_session(connection: &Connection) -> Result<(), Failure> {
    let request = connection.request(v1::LogoutRequest {}).await?;
    AuthServiceClient::new(connection.channel()).logout(request).await?;
    Ok(())
}
