//! Telling the server what became of deliveries.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures::future::join_all;
use tokio::time::Instant;
use tonic::Code;

use super::held::Id;
use crate::{
    cli::{
        connection::Connection,
        failure::{Failure, is_unavailable, reason},
    },
    proto::v1::{self, consumer_service_client::ConsumerServiceClient, settle_failure::Cause},
};

/// Offsets in one call: their errors fit into a request.
const OFFSETS: usize = 500;
/// A call that takes longer is repeated.
const DEADLINE: Duration = Duration::from_secs(10);

/// A command that has ended.
#[derive(Debug, Clone)]
pub(super) struct Finished {
    /// The delivery.
    pub(super) id: Id,
    /// How often the event may have been sent.
    pub(super) attempt: i32,
    /// What it ended with.
    pub(super) result: Result<(), String>,
    /// How long it took.
    pub(super) took: Duration,
}

/// What the server is told of a delivery.
#[derive(Debug, Clone)]
pub(super) enum Word {
    /// Its command has ended.
    Finished(Finished),
    /// It needs more time.
    More(Id),
}

/// What became of one call.
pub(super) struct Answer {
    /// What was told.
    pub(super) words: Vec<Word>,
    /// When.
    pub(super) asked: Instant,
    /// What the server said: the deliveries that are leased no more, and how long the others are.
    pub(super) result: Result<Settled, Failure>,
}

/// What the server said.
pub(super) struct Settled {
    /// Why some deliveries could not be settled.
    pub(super) failures: HashMap<i64, Cause>,
    /// What is left of the lease of those that needed more time.
    pub(super) remaining: Option<prost_types::Duration>,
}

impl Word {
    fn id(&self) -> &Id {
        match self {
            Self::Finished(finished) => &finished.id,
            Self::More(id) => id,
        }
    }
}

/// Tells all of it, with as few calls as leases allow. Cancelling it may or may not tell.
pub(super) async fn settle(connection: &Connection, consumer: &str, words: Vec<Word>) -> Vec<Answer> {
    let mut leases: HashMap<Arc<str>, Vec<Word>> = HashMap::new();
    for word in words {
        leases.entry(word.id().lease.clone()).or_default().push(word);
    }
    let mut calls = Vec::new();
    for (lease, mut words) in leases {
        while !words.is_empty() {
            let rest = words.split_off(words.len().min(OFFSETS));
            calls.push(call(connection, request(consumer, &lease, &words), std::mem::replace(&mut words, rest)));
        }
    }
    join_all(calls).await
}

/// Whether a call that failed so may be repeated: settling again changes nothing.
pub(super) fn may_repeat(failure: &Failure) -> bool {
    let Failure::Refused(status) = failure else { return false };
    is_unavailable(status)
        || matches!(status.code(), Code::DeadlineExceeded | Code::ResourceExhausted)
        || reason(status).as_deref() == Some("CREDENTIAL_EXPIRED")
}

fn request(consumer: &str, lease: &str, words: &[Word]) -> v1::SettleRequest {
    let (consumer, lease_id) = (consumer.to_owned(), lease.to_owned());
    let mut request = v1::SettleRequest { consumer, lease_id, ..v1::SettleRequest::default() };
    for word in words {
        let offset = word.id().offset;
        match word {
            Word::More(_) => request.extend.push(offset),
            Word::Finished(Finished { result: Ok(()), .. }) => request.ack.push(offset),
            Word::Finished(Finished { result: Err(error), .. }) => {
                request.nack.push(v1::Nack { offset, error: error.clone(), ..v1::Nack::default() });
            }
        }
    }
    request
}

async fn call(connection: &Connection, message: v1::SettleRequest, words: Vec<Word>) -> Answer {
    let asked = Instant::now();
    let answer = async {
        let mut request = connection.request(message).await?;
        request.set_timeout(DEADLINE);
        let mut client = ConsumerServiceClient::new(connection.channel());
        let v1::SettleResponse { failures, lease_remaining } = client.settle(request).await?.into_inner();
        let failures = failures.iter().map(|failure| (failure.offset, failure.cause())).collect();
        Ok(Settled { failures, remaining: lease_remaining })
    };
    Answer { words, asked, result: answer.await }
}
