//! Reads a topic, and looks at each event as far as it is counted.
//!
//! What comes is decoded to the payload and the offset only, and neither is copied: the readers share a machine with
//! the server that they measure, and a frame decoded whole costs several times what it costs the server.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::uri::PathAndQuery;
use tonic::{Status, Streaming, client::Grpc, transport::Channel};
use tonic_prost::ProstCodec;

use super::{
    entries::{Event, Events},
    figures::Verified,
    order::checksum,
    target::Caller,
};
use crate::{
    cli::failure::Failure,
    proto::v1::{StopAt, SubscribeRequest, subscribe_request},
};

/// A reader that gets nothing for so long has been forgotten.
const PATIENCE: Duration = Duration::from_secs(60);
const SUBSCRIBE: &str = "/eventflow.v1.ConsumerService/Subscribe";

/// `SubscribeResponse`, as far as it is looked at.
#[derive(Clone, PartialEq, prost::Message)]
struct Frame {
    #[prost(message, optional, tag = "1")]
    started: Option<Untold>,
    /// A batch, not decoded.
    #[prost(bytes = "bytes", optional, tag = "2")]
    batch: Option<Bytes>,
    #[prost(message, optional, tag = "4")]
    caught_up: Option<Untold>,
    #[prost(message, optional, tag = "6")]
    skipped: Option<Untold>,
    #[prost(message, optional, tag = "7")]
    closing: Option<Untold>,
}

/// A message that only has to be there.
#[derive(Clone, PartialEq, prost::Message)]
struct Untold {}

/// Where reading ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// At the newest event of now.
    Head,
    /// Nowhere.
    Never,
}

/// An open stream of a topic. Each event must come once and in its place.
pub(super) struct Reader {
    frames: Streaming<Frame>,
    verified: Verified,
    last: i64,
}

impl Reader {
    /// Subscribes to a topic.
    pub(super) async fn open(channel: Channel, caller: &Caller, topic: &str, end: End) -> Result<Self, Failure> {
        Self::open_after(channel, caller, topic, 0, end).await
    }

    /// Subscribes to what is after an offset.
    pub(super) async fn open_after(
        channel: Channel,
        caller: &Caller,
        topic: &str,
        after: i64,
        end: End,
    ) -> Result<Self, Failure> {
        let stop = match end {
            End::Head => StopAt::Head,
            End::Never => StopAt::Never,
        };
        let request = SubscribeRequest {
            from: Some(subscribe_request::From::Topic(topic.to_owned())),
            start: Some(subscribe_request::Start::AfterOffset(after)),
            stop_at: stop.into(),
            ..Default::default()
        };
        // As the generated client does it, but for the type of what comes.
        let mut grpc = Grpc::new(channel);
        grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
        let codec: ProstCodec<SubscribeRequest, Frame> = ProstCodec::default();
        let path = PathAndQuery::from_static(SUBSCRIBE);
        let frames = grpc.server_streaming(caller.request(request), path, codec).await?.into_inner();
        Ok(Self { frames, verified: Verified::default(), last: after })
    }

    /// Waits until everything that was there is read, so that what follows is live.
    pub(super) async fn caught_up(&mut self) -> Result<(), Failure> {
        loop {
            let Some(frame) = self.frames.message().await? else { return Err(ended()) };
            self.take(&frame, &mut |_| {})?;
            if frame.caught_up.is_some() {
                return Ok(());
            }
        }
    }

    /// Waits for the first event.
    pub(super) async fn begun(&mut self) -> Result<(), Failure> {
        while self.verified.events == 0 {
            let Some(frame) = self.frames.message().await? else { return Err(ended()) };
            self.take(&frame, &mut |_| {})?;
        }
        Ok(())
    }

    /// Reads until `events` have come since the beginning, or until the end of the stream; tells the offset of each.
    pub(super) async fn read(mut self, events: u64, mut seen: impl FnMut(i64)) -> Result<Verified, Failure> {
        let mut heard = Instant::now();
        while self.verified.events < events {
            let Some(frame) = self.frames.message().await? else { break };
            let before = self.verified.events;
            self.take(&frame, &mut seen)?;
            if self.verified.events > before {
                heard = Instant::now();
            } else if heard.elapsed() > PATIENCE {
                let had = self.verified.events;
                return Err(Failure::Local(format!("nothing came for a minute, after {had} of {events} events")));
            }
        }
        Ok(self.verified)
    }

    /// Ignores everything that comes, for as long as it comes.
    pub(super) async fn idle(mut self) -> Result<(), Failure> {
        while let Some(frame) = self.frames.message().await? {
            self.take(&frame, &mut |_| {})?;
        }
        Err(ended())
    }

    fn take(&mut self, frame: &Frame, seen: &mut impl FnMut(i64)) -> Result<(), Failure> {
        if frame.skipped.is_some() {
            return Err(Failure::Local("the server skipped events that it had not removed".to_owned()));
        }
        if frame.closing.is_some() {
            return Err(ended());
        }
        let Some(batch) = &frame.batch else { return Ok(()) };
        let mut batch = Events::of(batch);
        while let Some(Event { text, offset }) = batch.next()? {
            if offset != self.last + 1 {
                return Err(Failure::Local(format!("offset {offset} came after {}", self.last)));
            }
            self.last = offset;
            self.verified.checksum = self.verified.checksum.wrapping_add(checksum(text));
            self.verified.events += 1;
            seen(offset);
        }
        Ok(())
    }
}

fn ended() -> Failure {
    Status::unavailable("the server ended the stream").into()
}
