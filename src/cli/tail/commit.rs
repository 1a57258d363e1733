//! Storing how far a consumer has got.

use std::time::Duration;

use tonic::Code;

use super::follow::Tail;
use crate::{
    cli::failure::{Failure, is_unavailable},
    proto::v1::{CommitOffsetRequest, consumer_service_client::ConsumerServiceClient},
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
        let Some(consumer) = self.wanted.committing() else { return Ok(()) };
        let Some(commit) = self.place.to_commit() else { return Ok(()) };
        let message = CommitOffsetRequest { consumer: consumer.to_owned(), offset: commit.offset, epoch: commit.epoch };
        let mut request = self.connection.request(message).await?;
        request.set_timeout(DEADLINE);
        ConsumerServiceClient::new(self.connection.channel()).commit_offset(request).await?;
        self.place.committed(commit);
        Ok(())
    }
}

fn is_passing(status: &tonic::Status) -> bool {
    is_unavailable(status) || matches!(status.code(), Code::Aborted | Code::DeadlineExceeded | Code::ResourceExhausted)
}
