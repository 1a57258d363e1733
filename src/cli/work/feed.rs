//! Streams of deliveries, one after the other.

use std::time::Duration;

use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until, timeout},
};
use tonic::{Code, Status, Streaming};

use crate::{
    cli::{
        connection::Connection,
        failure::{Failure, is_unavailable, reason},
        moment::proto_duration,
        note::Notes,
        retry::Backoff,
    },
    proto::v1::{
        self, DeliveryBatch, SubscribeResponse, closing::Reason, consumer_service_client::ConsumerServiceClient,
        subscribe_request::From, subscribe_response::Frame,
    },
};

/// How often it is asked whether everything up to the end is settled. The server ends the stream then only if it has
/// nothing later for it.
const END_CHECK: Duration = Duration::from_secs(1);

/// When working ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// Never.
    Never,
    /// When everything up to the head of the first stream is settled.
    Head,
    /// When everything up to this offset is settled.
    At(i64),
}

/// What a stream brought.
pub(super) enum News {
    /// It is open, and what was leased by an earlier one runs on.
    Open,
    /// Deliveries, and when they came.
    Deliveries(DeliveryBatch, Instant),
}

/// The streams of one run of `work`.
pub(super) struct Feed<'a> {
    connection: &'a Connection,
    consumer: String,
    heartbeat: Duration,
    max_in_flight: i32,
    stop: Stop,
    notes: Notes,
    /// Whether a stream was ever open: before, a server that is away is a failure, since its address may be wrong.
    was_open: bool,
    /// Whether this stream sent frames.
    is_open: bool,
}

/// How one stream ended.
enum End {
    /// Everything up to the end is settled.
    Done,
    /// Open the next one.
    Again(Option<Status>),
}

impl<'a> Feed<'a> {
    /// Twice as many deliveries as commands: the next one is there when one ends, and little waits here that others
    /// could do.
    pub(super) fn new(
        connection: &'a Connection,
        consumer: String,
        heartbeat: Duration,
        concurrency: usize,
        stop: Stop,
        notes: Notes,
    ) -> Self {
        let max_in_flight = i32::try_from(concurrency.saturating_mul(2)).unwrap_or(i32::MAX);
        Self { connection, consumer, heartbeat, max_in_flight, stop, notes, was_open: false, is_open: false }
    }

    /// Tells what comes, until everything up to the end is settled. Cancelling it ends the stream, and so gives back
    /// what is leased to it.
    pub(super) async fn follow(mut self, news: mpsc::Sender<News>) -> Result<(), Failure> {
        let mut backoff = Backoff::default();
        loop {
            let status = match self.stream(&news).await {
                Ok(End::Done) => return Ok(()),
                Ok(End::Again(status)) => status,
                Err(Failure::Refused(status)) if self.may_resume(&status) => Some(*status),
                Err(failure) => return Err(failure),
            };
            if std::mem::take(&mut self.is_open) {
                backoff.reset();
            }
            let why = status.as_ref().map_or("the stream is over", |status| status.message());
            self.notes.say(format_args!("reconnecting: {why}"));
            sleep(backoff.pause(status.as_ref())).await;
        }
    }

    fn may_resume(&self, status: &Status) -> bool {
        // An expired token may have been renewed; if not, the next stream is refused before it opens.
        let renewable = self.is_open && reason(status).as_deref() == Some("CREDENTIAL_EXPIRED");
        renewable || self.was_open && is_unavailable(status)
    }

    /// Follows one stream from its beginning to its end.
    async fn stream(&mut self, news: &mpsc::Sender<News>) -> Result<End, Failure> {
        if self.stop == Stop::At(0) {
            return Ok(End::Done);
        }
        let mut frames = self.open().await?;
        let mut silence = self.heartbeat.saturating_mul(2);
        let (mut heard, mut check_at) = (Instant::now(), Instant::now() + END_CHECK);
        loop {
            let frame = tokio::select! {
                frame = frames.message() => frame?,
                () = sleep_until(check_at), if self.stop != Stop::Never => {
                    if self.is_settled().await {
                        return Ok(End::Done);
                    }
                    check_at = Instant::now() + END_CHECK;
                    continue;
                }
                () = sleep_until(heard + silence) => {
                    return Ok(End::Again(Some(Status::unavailable("the server has fallen silent"))));
                }
            };
            heard = Instant::now();
            let Some(SubscribeResponse { frame }) = frame else {
                return Ok(if self.stop == Stop::Never { End::Again(None) } else { End::Done });
            };
            (self.was_open, self.is_open) = (true, true);
            match frame {
                Some(Frame::Started(started)) => {
                    silence = interval(&started).unwrap_or(self.heartbeat).saturating_mul(2);
                    if self.stop == Stop::Head {
                        // The head of now is the end, also if the stream breaks and the head has moved on by then.
                        self.stop = Stop::At(started.position.unwrap_or_default().head_offset);
                    }
                    self.tell(news, News::Open).await;
                }
                Some(Frame::Deliveries(batch)) => self.tell(news, News::Deliveries(batch, heard)).await,
                Some(Frame::Heartbeat(heartbeat)) if heartbeat.paused => self.notes.say("the consumer is paused"),
                Some(Frame::Closing(closing)) => match closing.reason() {
                    // The end of the stream is what there is to tell.
                    Reason::TakenOver | Reason::CredentialEnded | Reason::Deleted => {}
                    Reason::Unspecified | Reason::Draining | Reason::MaxAge | Reason::ConsumerChanged => {
                        let why = closing.reason().as_str_name();
                        return Ok(End::Again(Some(Status::new(Code::Unavailable, why))));
                    }
                },
                // Skipped: retention was quicker. The rest says nothing about deliveries.
                Some(Frame::Heartbeat(_) | Frame::CaughtUp(_) | Frame::Skipped(_) | Frame::Batch(_)) | None => {}
            }
        }
    }

    async fn tell(&self, news: &mpsc::Sender<News>, what: News) {
        // Nobody listens to a worker that is about to end, which cancels this.
        let _over = news.send(what).await;
    }

    async fn open(&self) -> Result<Streaming<SubscribeResponse>, Failure> {
        let mut request = v1::SubscribeRequest {
            from: Some(From::Consumer(self.consumer.clone())),
            heartbeat_interval: Some(proto_duration(self.heartbeat)),
            max_in_flight: self.max_in_flight,
            ..v1::SubscribeRequest::default()
        };
        match self.stop {
            Stop::Never => request.set_stop_at(v1::StopAt::Never),
            Stop::Head => request.set_stop_at(v1::StopAt::Head),
            Stop::At(offset) => {
                request.set_stop_at(v1::StopAt::Offset);
                request.stop_offset = offset;
            }
        }
        let request = self.connection.stream_request(request).await?;
        let mut client = ConsumerServiceClient::new(self.connection.channel());
        let opening = timeout(self.connection.timeout(), client.subscribe(request));
        let silent = |_| Status::unavailable(format!("{} does not answer", self.connection.address().name()));
        Ok(opening.await.map_err(silent)??.into_inner())
    }

    /// Whether everything up to the end is settled, by whomever; an answer that does not come says nothing.
    async fn is_settled(&self) -> bool {
        let Stop::At(offset) = self.stop else { return false };
        let request = v1::GetConsumerRequest { name: self.consumer.clone() };
        let Ok(mut request) = self.connection.request(request).await else { return false };
        request.set_timeout(END_CHECK);
        let answer = ConsumerServiceClient::new(self.connection.channel()).get_consumer(request).await;
        let status = answer.ok().and_then(|answer| answer.into_inner().consumer?.status);
        status.and_then(|status| status.position).is_some_and(|position| position.offset >= offset)
    }
}

/// The heartbeat interval in force.
fn interval(started: &v1::Started) -> Option<Duration> {
    let interval = started.heartbeat_interval.as_ref()?;
    let interval = Duration::new(u64::try_from(interval.seconds).ok()?, u32::try_from(interval.nanos).ok()?);
    (!interval.is_zero()).then_some(interval)
}
