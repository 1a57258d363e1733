//! API keys.

use tonic::Status;

use super::{Checks, checks::text, duration, timestamp};
use crate::{
    domain::{ConsumerName, ProducerName, Username},
    grpc::reason::Reason,
    proto::v1,
    store::{ApiKeyRecord, KeyOwner},
};

/// Bytes in the id of a key, at most, with room for those of later versions.
const KEY_ID_BYTES: usize = 64;

/// A key for the wire, without its secret.
pub(crate) fn api_key(key: ApiKeyRecord) -> v1::ApiKey {
    let ApiKeyRecord { id, secret_hash: _, owner, create_time, expire_time, last_used_time, revoked } = key;
    v1::ApiKey {
        id,
        owner: owner.to_string(),
        create_time: Some(timestamp(create_time)),
        expire_time: expire_time.map(timestamp),
        last_used_time: last_used_time.map(timestamp),
        revoked,
    }
}

/// The id of a key that a request names.
pub(crate) fn key_id(id: String) -> Result<String, Status> {
    let mut checks = Checks::default();
    checked_id(&mut checks, &id);
    checks.finish(Some(id))
}

/// What a rotation asks for: the key, and how long it goes on working.
pub(crate) fn rotation(request: v1::RotateApiKeyRequest) -> Result<(String, Option<std::time::Duration>), Status> {
    let v1::RotateApiKeyRequest { id, grace_period } = request;
    let mut checks = Checks::default();
    checked_id(&mut checks, &id);
    let grace = grace_period.and_then(|grace| checks.check(Reason::RequestInvalid, "grace_period", duration(grace)));
    checks.finish(Some((id, grace)))
}

/// What a new key is to be: its owner, and how long it works.
pub(crate) fn new_key(request: v1::CreateApiKeyRequest) -> Result<(KeyOwner, Option<std::time::Duration>), Status> {
    let v1::CreateApiKeyRequest { owner, ttl } = request;
    let mut checks = Checks::default();
    let owner = key_owner(&mut checks, &owner);
    let ttl = ttl.and_then(|ttl| checks.check(Reason::RequestInvalid, "ttl", duration(ttl)));
    if ttl.is_some_and(|ttl| ttl.is_zero()) {
        checks.add(Reason::RequestInvalid, "ttl", "is 0 s; leave it out for a key that never expires");
    }
    checks.finish(owner.map(|owner| (owner, ttl)))
}

/// An owner of keys, such as `producers/shop`.
pub(crate) fn key_owner(checks: &mut Checks, owner: &str) -> Option<KeyOwner> {
    let parsed = match owner.split_once('/') {
        Some(("users", name)) => Username::parse(name).map(KeyOwner::User),
        Some(("producers", name)) => ProducerName::parse(name).map(KeyOwner::Producer),
        Some(("consumers", name)) => ConsumerName::parse(name).map(KeyOwner::Consumer),
        Some(_) | None => Err("is no owner; write for example producers/shop, consumers/billing or users/ci".into()),
    };
    checks.check(Reason::NameInvalid, "owner", parsed)
}

fn checked_id(checks: &mut Checks, id: &str) {
    if id.is_empty() {
        checks.add(Reason::RequestInvalid, "id", "must be set; take it from ListApiKeys");
    }
    checks.check(Reason::RequestInvalid, "id", text(id, KEY_ID_BYTES));
}
