//! `eventflow whoami`.

use super::{connection::Connection, failure::Failure, moment::show_time, output::Output, user::role_name};
use crate::proto::v1::{self, auth_service_client::AuthServiceClient};

/// Prints the caller as the server sees it.
pub(super) async fn run(connection: &Connection, output: Output) -> Result<(), Failure> {
    let request = connection.request(v1::GetCallerRequest {}).await?;
    let caller = AuthServiceClient::new(connection.channel()).get_caller(request).await?.into_inner();
    let role = role_name(caller.role());
    let fields = [
        ("name", caller.name.clone()),
        ("role", role.to_owned()),
        ("expires", show_time(caller.expire_time.as_ref())),
        ("permissions", if caller.permissions.is_empty() { "-".to_owned() } else { caller.permissions.join(" ") }),
    ];
    output.item("GetCallerResponse", &caller, &fields)
}
