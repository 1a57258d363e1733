//! Storing how far a consumer has got.

use std::time::Duration;

use tokio::time::Instant;
use tonic::Code;

use super::follow::Tail;
use crate::{
    cli::failure::{Failure, is_unavailable},
    proto::v1::{
        CommitOffsetRequest, SettleRequest, SettleResponse, consumer_service_client::ConsumerServiceClient,
        settle_failure::Cause,
    },
};

/// A commit that takes longer is left to the next one.
const DEADLINE: Duration = Duration::from_secs(5);

impl Tail {
    /// Stores what was printed, if that is wanted and something is new. A server that is away, or a stream that lost
    /// the consumer, is no failure here: the stream itself says so.
    pub(super) async fn commit(&mut self) -> Result<(), Failure> {
        match self.commit_rest().await {
            Err(Failure::Refused(status)) if is_passing(&status) => {
                self.say(format_args!("not committed: {}", status.message()));
                Ok(())
            }
            result => result,
        }
    }

    /// Stores what was printed; everything that keeps it from being stored is a failure.
    pub(super) async fn commit_rest(&mut self) -> Result<(), Failure> {
        self.settle().await?;
        let Some(consumer) = self.wanted.committing() else { return Ok(()) };
        let Some(commit) = self.place.to_commit() else { return Ok(()) };
        let message = CommitOffsetRequest { consumer: consumer.to_owned(), offset: commit.offset, epoch: commit.epoch };
        let mut request = self.connection.request(message).await?;
        request.set_timeout(DEADLINE);
        ConsumerServiceClient::new(self.connection.channel()).commit_offset(request).await?;
        self.place.committed(commit);
        Ok(())
    }

    /// Acknowledges what was printed of a queue, or asks for more time for it if it is only looked at.
    async fn settle(&mut self) -> Result<(), Failure> {
        let Some((consumer, acknowledge)) = self.wanted.settling() else { return Ok(()) };
        let mut client = ConsumerServiceClient::new(self.connection.channel());
        for (lease, offsets) in self.leased.due(acknowledge) {
            let (consumer, lease_id) = (consumer.to_owned(), lease.clone());
            let mut message = SettleRequest { consumer, lease_id, ..SettleRequest::default() };
            *if acknowledge { &mut message.ack } else { &mut message.extend } = offsets.clone();
            let mut request = self.connection.request(message).await?;
            request.set_timeout(DEADLINE);
            let asked = Instant::now();
            let SettleResponse { failures, lease_remaining } = client.settle(request).await?.into_inner();
            let lost = failures.iter().filter(|failure| failure.cause() != Cause::AlreadySettled);
            let lost: Vec<_> = lost.map(|failure| failure.offset).collect();
            if acknowledge {
                self.leased.settled(&lease, &offsets);
            } else {
                self.leased.extended(&lease, &lost, asked, lease_remaining.as_ref());
            }
            if !lost.is_empty() {
                let lost: Vec<_> = lost.iter().map(ToString::to_string).collect();
                self.say(format_args!("too late to settle, and coming again: {}", lost.join(", ")));
            }
        }
        Ok(())
    }
}

fn is_passing(status: &tonic::Status) -> bool {
    is_unavailable(status) || matches!(status.code(), Code::Aborted | Code::DeadlineExceeded | Code::ResourceExhausted)
}
