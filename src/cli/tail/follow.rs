//! Following a stream, and opening the next one when it breaks.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, Streaming};

use super::{
    bar::Bar,
    leased::Leased,
    line::Printer,
    place::Place,
    request::{Stop, Wanted},
};
use crate::{
    cli::{
        connection::Connection,
        failure::{Failure, is_unavailable, reason},
        note::Notes,
        retry::Backoff,
    },
    proto::v1::{
        self, CaughtUp, Closing, DeliveryBatch, Event, EventBatch, Heartbeat, Skipped, Started, SubscribeResponse,
        closing::Reason, consumer_service_client::ConsumerServiceClient, subscribe_response::Frame,
    },
};

/// How often what was printed is stored, and leases are looked at.
pub(super) const COMMIT_INTERVAL: Duration = Duration::from_secs(1);

/// One run of `tail`, over all of its streams.
pub(super) struct Tail {
    pub(super) connection: Connection,
    pub(super) wanted: Wanted,
    pub(super) place: Place,
    pub(super) leased: Leased,
    notes: Notes,
    bar: Bar,
    printer: Printer,
    printed: u64,
    /// Two heartbeats of the stream that is open.
    silence: Duration,
    progress: Progress,
    /// The stream that is open. It stays so until what it brought is committed: with its end the server gives the
    /// consumer to whoever waits for it, and then refuses the commit.
    frames: Option<Streaming<SubscribeResponse>>,
    /// Ends it between two frames, never while one is being printed: what is printed is known to be.
    stop: CancellationToken,
}

/// What the server has shown so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// Nothing: a server that is away is a failure, since its address may be wrong.
    Nothing,
    /// A stream, but not this one.
    Earlier,
    /// This stream sends frames.
    Open,
}

/// How one stream ended.
enum End {
    /// Everything that was asked for is printed.
    Done,
    /// Open the next one.
    Again(Option<Box<Status>>),
}

impl Tail {
    /// Begins with nothing done.
    pub(super) fn new(
        connection: Connection,
        wanted: Wanted,
        printer: Printer,
        notes: Notes,
        stop: CancellationToken,
    ) -> Self {
        let silence = wanted.heartbeat.saturating_mul(2);
        let (place, bar, progress) = (Place::default(), Bar::default(), Progress::Nothing);
        let leased = Leased::default();
        Self {
            connection,
            wanted,
            place,
            leased,
            notes,
            bar,
            printer,
            printed: 0,
            silence,
            progress,
            frames: None,
            stop,
        }
    }

    /// Prints until the end that was asked for, or until it is told to stop. Cancelling it loses track of what was
    /// printed last.
    pub(super) async fn follow(&mut self) -> Result<(), Failure> {
        let mut backoff = Backoff::default();
        loop {
            let status = match self.stream().await {
                Ok(End::Done) => return Ok(()),
                Ok(End::Again(status)) => status,
                Err(Failure::Refused(status)) if self.may_resume(&status) => Some(status),
                Err(failure) => return Err(failure),
            };
            // The next stream would wait for this one.
            self.frames = None;
            if self.progress == Progress::Open {
                backoff.reset();
                self.progress = Progress::Earlier;
            }
            let why = status.as_ref().map_or("the stream is over", |status| status.message());
            self.say(format_args!("reconnecting: {why}"));
            tokio::select! {
                () = tokio::time::sleep(backoff.pause(status.as_deref())) => {}
                () = self.stop.cancelled() => return Ok(()),
            }
        }
    }

    fn may_resume(&self, status: &Status) -> bool {
        match self.progress {
            Progress::Nothing => false,
            Progress::Earlier => is_unavailable(status),
            // An expired token may have been renewed; if not, the next stream is refused before it opens.
            Progress::Open => is_unavailable(status) || reason(status).as_deref() == Some("CREDENTIAL_EXPIRED"),
        }
    }

    /// Follows one stream from its beginning to its end.
    async fn stream(&mut self) -> Result<End, Failure> {
        if self.is_complete() {
            return Ok(End::Done);
        }
        let frames = tokio::select! {
            frames = self.open() => frames?,
            () = self.stop.cancelled() => return Ok(End::Done),
        };
        self.frames = Some(frames);
        let mut commits = interval_at(Instant::now() + COMMIT_INTERVAL, COMMIT_INTERVAL);
        commits.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        while let Some(frames) = &mut self.frames {
            // Both branches can be cancelled without losing anything; what was received is handled below.
            let frame = tokio::select! {
                frame = frames.message() => frame?,
                _ = commits.tick() => {
                    self.commit().await?;
                    continue;
                }
                () = self.stop.cancelled() => return Ok(End::Done),
                () = sleep_until(heard + self.silence) => {
                    return Ok(End::Again(Some(Box::new(Status::unavailable("the server has fallen silent")))));
                }
            };
            let Some(SubscribeResponse { frame }) = frame else {
                return Ok(if self.wanted.stop == Stop::Never { End::Again(None) } else { End::Done });
            };
            self.progress = Progress::Open;
            if let Some(end) = self.frame(frame).await? {
                return Ok(end);
            }
            self.bar.show(&self.wanted, &self.place, self.printed);
            heard = Instant::now();
        }
        Ok(End::Again(None))
    }

    async fn open(&self) -> Result<Streaming<SubscribeResponse>, Failure> {
        let request = self.connection.stream_request(self.wanted.request(&self.place)).await?;
        let mut client = ConsumerServiceClient::new(self.connection.channel());
        let opening = timeout(self.connection.timeout(), client.subscribe(request));
        let silent = |_| Status::unavailable(format!("{} does not answer", self.connection.address().name()));
        Ok(opening.await.map_err(silent)??.into_inner())
    }

    /// Handles one frame; says so if it is the last one to be looked at.
    async fn frame(&mut self, frame: Option<Frame>) -> Result<Option<End>, Failure> {
        match frame {
            Some(Frame::Started(started)) => self.started(&started),
            Some(Frame::Batch(batch)) => return self.batch(batch).await,
            Some(Frame::Heartbeat(heartbeat)) => self.heartbeat(heartbeat),
            Some(Frame::Skipped(Skipped { from_offset, to_offset })) => {
                self.say(format_args!("events {from_offset} to {to_offset} are no longer kept"));
                self.place.advance(to_offset);
            }
            Some(Frame::CaughtUp(CaughtUp { position })) => {
                self.say(format_args!("caught up at {}", position.unwrap_or_default().offset));
                // Of what is only looked at, nothing will ever be settled.
                let is_over = self.wanted.only_looks() && self.wanted.stop != Stop::Never;
                return Ok(is_over.then_some(End::Done));
            }
            Some(Frame::Closing(closing)) => return self.closing(closing).await,
            Some(Frame::Deliveries(batch)) => return self.deliveries(batch).await,
            // A frame of a kind that this version does not know.
            None => {}
        }
        Ok(None)
    }

    fn started(&mut self, started: &Started) {
        self.place.start(started);
        let interval = started.heartbeat_interval.as_ref().and_then(|interval| {
            let interval = Duration::new(u64::try_from(interval.seconds).ok()?, u32::try_from(interval.nanos).ok()?);
            (!interval.is_zero()).then_some(interval)
        });
        self.silence = interval.unwrap_or(self.wanted.heartbeat).saturating_mul(2);
        if self.wanted.stop == Stop::Head {
            // The head of now is the end, also if the stream breaks and the head has moved on by then.
            self.wanted.stop = Stop::At(started.position.unwrap_or_default().head_offset);
        }
        if self.wanted.settling().is_none() {
            self.bar.begin(&self.wanted, &self.place);
        }
    }

    /// Prints a remark.
    pub(super) fn say(&self, text: impl std::fmt::Display) {
        self.bar.suspend(|| self.notes.say(text));
    }

    async fn batch(&mut self, batch: EventBatch) -> Result<Option<End>, Failure> {
        let EventBatch { events, position } = batch;
        let left = self.wanted.count.map_or(u64::MAX, |count| count.saturating_sub(self.printed));
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        let fresh: Vec<&Event> = events.iter().filter(|event| !self.place.is_done(event.offset)).take(left).collect();
        self.printer.print(fresh.iter().copied()).await?;
        self.printed += fresh.len() as u64;
        if let Some(last) = fresh.last() {
            self.place.advance(last.offset);
        }
        if fresh.len() == left {
            return Ok(Some(End::Done));
        }
        self.pass(position);
        Ok(None)
    }

    /// Prints what is leased to this stream. What comes again is printed again.
    async fn deliveries(&mut self, batch: DeliveryBatch) -> Result<Option<End>, Failure> {
        let received = Instant::now();
        let left = self.wanted.count.map_or(u64::MAX, |count| count.saturating_sub(self.printed));
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        let fresh: Vec<&Event> = batch.deliveries.iter().filter_map(|one| one.event.as_ref()).take(left).collect();
        self.printer.print(fresh.iter().copied()).await?;
        let (printed, offsets) = (fresh.len(), fresh.iter().map(|event| event.offset).collect());
        self.printed += printed as u64;
        let is_short = self.leased.printed(&batch, offsets, received);
        if printed == left {
            return Ok(Some(End::Done));
        }
        if is_short {
            self.commit().await?;
        }
        Ok(None)
    }

    fn heartbeat(&mut self, heartbeat: Heartbeat) {
        let Heartbeat { position, paused, waiting } = heartbeat;
        if waiting {
            self.say("waiting for the consumer");
            return;
        }
        if paused {
            self.say("the consumer is paused");
        }
        self.pass(position);
    }

    /// Everything up to this position was sent, and is printed, or was left out.
    fn pass(&mut self, position: Option<v1::Position>) {
        if let Some(position) = position {
            self.place.advance(position.offset);
        }
    }

    /// Leaves for the next stream at once, unless the end of this one is what there is to tell.
    async fn closing(&mut self, closing: Closing) -> Result<Option<End>, Failure> {
        match closing.reason() {
            Reason::TakenOver | Reason::CredentialEnded | Reason::Deleted => Ok(None),
            Reason::Unspecified | Reason::Draining | Reason::MaxAge | Reason::ConsumerChanged => {
                self.commit().await?;
                let why = closing.reason().as_str_name();
                Ok(Some(End::Again(Some(Box::new(Status::new(Code::Unavailable, why))))))
            }
        }
    }

    /// Whether a stream would have nothing to add.
    fn is_complete(&self) -> bool {
        match self.wanted.stop {
            Stop::At(_) if self.wanted.settling().is_some() => false,
            Stop::At(offset) => self.place.done().is_some_and(|done| done >= offset),
            Stop::Never | Stop::Head => false,
        }
    }
}
