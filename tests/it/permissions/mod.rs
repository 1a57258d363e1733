//! Every RPC by every kind of credential, against a table written by hand.

mod calls;

use std::{collections::BTreeSet, time::Duration};

use eventflow::proto::v1;
use tonic::{Code, Status};

use self::calls::Call;
use crate::{
    api,
    client::Client,
    harness::backend::{Backend, on_both_stores},
    raw,
};

const TABLE: &str = include_str!("table.txt");

/// The credentials, in the order of the table's columns.
const COLUMNS: [&str; 11] = [
    "none",
    "garbage",
    "expired",
    "revoked",
    "viewer",
    "operator",
    "admin",
    "producer",
    "foreign producer",
    "consumer",
    "foreign consumer",
];

/// What the table says of a call by a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// The handler was reached.
    Reached,
    Denied,
    /// The credential is refused.
    Refused,
}

struct Row {
    /// `AuthService/CreateApiKey:user`: the method, and what the call is about.
    call: &'static str,
    outcomes: [Outcome; COLUMNS.len()],
}

impl Row {
    fn parse(line: &'static str) -> Self {
        let mut words = line.split_whitespace();
        let call = words.next().expect("a row begins with its call");
        let outcomes: Vec<_> = words
            .map(|word| match word {
                "yes" => Outcome::Reached,
                "no" => Outcome::Denied,
                "cred" => Outcome::Refused,
                other => panic!("{call}: {other:?} is no outcome"),
            })
            .collect();
        Self { call, outcomes: outcomes.try_into().unwrap_or_else(|_| panic!("{call}: a row has all columns")) }
    }

    fn all() -> Vec<Self> {
        TABLE.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).map(Self::parse).collect()
    }

    fn path(&self) -> String {
        let method = self.call.split(':').next().unwrap_or_default();
        format!("/eventflow.v1.{method}")
    }
}

/// What a status says of who called.
fn outcome(status: &Status) -> Outcome {
    match status.code() {
        Code::Unauthenticated => Outcome::Refused,
        Code::PermissionDenied => Outcome::Denied,
        _ => Outcome::Reached,
    }
}

/// What the column's credential is told when it is refused.
fn refusal(column: &str) -> &'static str {
    match column {
        "none" => "UNAUTHENTICATED / CREDENTIAL_MISSING",
        "garbage" => "UNAUTHENTICATED / CREDENTIAL_INVALID",
        "expired" => "UNAUTHENTICATED / CREDENTIAL_EXPIRED",
        _ => "UNAUTHENTICATED / CREDENTIAL_REVOKED",
    }
}

async fn create_key(admin: &Client, owner: &str, ttl: Option<Duration>) -> (String, String) {
    let ttl = ttl.map(|ttl| prost_types::Duration::try_from(ttl).unwrap());
    let request = v1::CreateApiKeyRequest { owner: owner.into(), ttl };
    let answer = admin.auth().create_api_key(request).await.unwrap().into_inner();
    (answer.api_key.unwrap().id, answer.secret)
}

/// A client for each column; people have logged in.
async fn clients(admin: &Client, nobody: &Client) -> Vec<Client> {
    let mut clients = vec![nobody.clone(), nobody.with("garbage")];
    let (_, expired) = create_key(admin, "users/admin", Some(Duration::from_millis(1))).await;
    clients.push(nobody.with(&expired));
    let (id, revoked) = create_key(admin, "users/admin", None).await;
    admin.auth().revoke_api_key(v1::RevokeApiKeyRequest { id }).await.unwrap();
    clients.push(nobody.with(&revoked));
    for (name, role) in [("v", v1::Role::Viewer), ("o", v1::Role::Operator), ("a", v1::Role::Admin)] {
        let user = v1::User { username: name.into(), role: role.into(), ..Default::default() };
        let request = v1::CreateUserRequest { user: Some(user), password: calls::PASSWORD.into() };
        admin.auth().create_user(request).await.unwrap();
        let login = v1::LoginRequest { username: name.into(), password: calls::PASSWORD.into() };
        let tokens = admin.auth().login(login).await.unwrap().into_inner().tokens.unwrap();
        clients.push(nobody.with(&tokens.access_token));
    }
    for owner in ["producers/shop", "producers/other", "consumers/billing", "consumers/elsewhere"] {
        clients.push(nobody.with(&create_key(admin, owner, None).await.1));
    }
    clients
}

#[test]
fn the_table_has_every_rpc_of_the_protos() {
    let listed: BTreeSet<_> = Row::all().iter().map(Row::path).collect();
    let described: BTreeSet<_> = api::methods().iter().map(api::path).collect();
    assert_eq!(listed, described);
}

on_both_stores! {
    async fn each_credential_gets_as_far_as_the_table_says(backend: Backend) {
        let server = backend.server().await.start().await;
        let admin = Client::admin(&server).await;
        calls::prepare(&admin).await;
        let nobody = Client::anonymous(&server).await;
        let clients = clients(&admin, &nobody).await;
        let (mut wrong, mut tried) = (Vec::new(), 0);
        let (logouts, rows): (Vec<_>, Vec<_>) = Row::all().into_iter().partition(|row| row.call.ends_with("/Logout"));
        // Logging out comes last, since it ends what the other rows call with.
        for row in rows.into_iter().chain(logouts) {
            for (column, (client, expected)) in COLUMNS.into_iter().zip(clients.iter().zip(row.outcomes)) {
                let Call { path, body } = calls::call(&admin, row.call).await;
                let status = raw::send(client, &path, raw::frame(&body), &[]).await.status;
                tried += 1;
                let said = api::written(&status);
                let as_told = match outcome(&status) {
                    Outcome::Refused => said == refusal(column),
                    Outcome::Denied => said == "PERMISSION_DENIED / PERMISSION_DENIED",
                    Outcome::Reached => true,
                };
                if outcome(&status) != expected || !as_told {
                    wrong.push(format!("{} by {column}: {expected:?} was expected, and it was {said}", row.call));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert!(tried > 500, "{tried} calls");
    }
}
