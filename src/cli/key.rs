//! `eventflow key`.

use std::time::Duration;

use clap::{Args, Subcommand};
use prost::Message;

use super::{
    confirm::confirm,
    connection::Connection,
    failure::Failure,
    moment::{proto_duration, show_time},
    output::{Listing, Output},
};
use crate::{
    config::duration,
    proto::v1::{self, ApiKey, auth_service_client::AuthServiceClient},
};

/// What to do with API keys.
#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Create a further key and print it, this once.
    Create(CreateArgs),
    /// List keys, without their secrets.
    List {
        /// Only those of this owner, for example "producers/shop".
        #[arg(default_value = "")]
        owner: String,
    },
    /// Make a new key with the same owner, print it, this once, and let the old one go on for a while.
    Rotate(RotateArgs),
    /// Refuse a key for good; streams that it opened end.
    Revoke {
        /// The id of the key, as `key list` shows it.
        id: String,
        /// Do not ask.
        #[arg(long, short)]
        yes: bool,
    },
}

/// Arguments of `key create`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  eventflow key create producers/shop\n  eventflow key create users/ci --ttl 90d")]
pub(super) struct CreateArgs {
    /// What the key is for: "producers/shop", "consumers/billing" or "users/ci".
    owner: String,
    /// How long it works. [default: for ever]
    #[arg(long, value_parser = duration, value_name = "TIME")]
    ttl: Option<Duration>,
}

/// Arguments of `key rotate`.
#[derive(Debug, Args)]
pub(super) struct RotateArgs {
    /// The id of the old key, as `key list` shows it.
    id: String,
    /// How long the old key goes on; 0s: not at all. [default: 24h]
    #[arg(long, value_parser = duration, value_name = "TIME")]
    grace: Option<Duration>,
}

/// Does it.
pub(super) async fn run(connection: &Connection, output: Output, command: KeyCommand) -> Result<(), Failure> {
    let mut client = AuthServiceClient::new(connection.channel());
    match command {
        KeyCommand::Create(CreateArgs { owner, ttl }) => {
            let request = v1::CreateApiKeyRequest { owner, ttl: ttl.map(proto_duration) };
            let answer = client.create_api_key(connection.request(request).await?).await?.into_inner();
            show_new(output, "CreateApiKeyResponse", &answer, answer.api_key.as_ref(), &answer.secret)
        }
        KeyCommand::List { owner } => list(connection, output, owner).await,
        KeyCommand::Rotate(RotateArgs { id, grace }) => {
            let request = v1::RotateApiKeyRequest { id, grace_period: grace.map(proto_duration) };
            let answer = client.rotate_api_key(connection.request(request).await?).await?.into_inner();
            show_new(output, "RotateApiKeyResponse", &answer, answer.api_key.as_ref(), &answer.secret)
        }
        KeyCommand::Revoke { id, yes } => {
            confirm(&format!("Revoke the key {id} for good?"), yes)?;
            let request = connection.request(v1::RevokeApiKeyRequest { id }).await?;
            let key = client.revoke_api_key(request).await?.into_inner().api_key.unwrap_or_default();
            output.item("ApiKey", &key, &fields(&key))
        }
    }
}

/// Prints a new key with its secret: whoever makes it has to hand it on, and it is shown this once.
fn show_new(
    output: Output,
    name: &str,
    answer: &impl Message,
    key: Option<&ApiKey>,
    secret: &str,
) -> Result<(), Failure> {
    let mut fields = fields(&key.cloned().unwrap_or_default()).to_vec();
    fields.push(("key", secret.to_owned()));
    output.item(name, answer, &fields)
}

async fn list(connection: &Connection, output: Output, owner: String) -> Result<(), Failure> {
    let mut client = AuthServiceClient::new(connection.channel());
    let (mut keys, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = v1::ListApiKeysRequest { owner: owner.clone(), page_size: 1000, page_token };
        let page = client.list_api_keys(connection.request(request).await?).await?.into_inner();
        keys.extend(page.api_keys);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return output.list(&LISTING, &keys);
        }
    }
}

const LISTING: Listing<ApiKey> = Listing {
    message: "ApiKey",
    columns: &["ID", "OWNER", "CREATED", "EXPIRES", "LAST USED", "STATE"],
    cells: |key| fields(key).map(|(_, value)| value).to_vec(),
};

fn fields(key: &ApiKey) -> [(&'static str, String); 6] {
    let ApiKey { id, owner, create_time, expire_time, last_used_time, revoked } = key;
    let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs()).unwrap_or(i64::MAX);
    let state = match (revoked, expire_time) {
        (true, _) => "revoked",
        (false, Some(end)) if end.seconds <= now => "expired",
        (false, Some(_) | None) => "works",
    };
    [
        ("id", id.clone()),
        ("owner", owner.clone()),
        ("created", show_time(create_time.as_ref())),
        ("expires", show_time(expire_time.as_ref())),
        ("last used", show_time(last_used_time.as_ref())),
        ("state", state.to_owned()),
    ]
}
