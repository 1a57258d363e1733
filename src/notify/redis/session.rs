//! Connecting to Redis, listening and publishing, and connecting again when that ends.

use std::{convert::Infallible, sync::Arc, time::Duration};

use fred::{
    clients::Client,
    error::Error,
    interfaces::{ClientLike, EventInterface, PubsubInterface},
    types::{Builder, ConnectHandle, Message as Published, config::Config},
};
use futures::future::try_join_all;
use tokio::{
    sync::{
        broadcast::{Receiver, error::RecvError},
        watch,
    },
    time::{Instant, MissedTickBehavior, interval, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{
    Counters, RedisOptions,
    outbox::Outbox,
    wire::{Heard, Message, TOPICS, Wire},
};
use crate::notify::{Cause, Control, Hub, NotifierState};

/// Messages that are published without waiting for Redis's answers to those before; topics that grew are one.
const CHUNK: usize = TOPICS;

/// One session after another, until stopped. It has no `Debug`, since it knows the password.
pub(super) struct Sessions {
    builder: Builder,
    wire: Wire,
    options: RedisOptions,
    hub: Arc<Hub>,
    outbox: Arc<Outbox>,
    counters: Arc<Counters>,
    state: watch::Sender<NotifierState>,
    /// What the times in beats are counted from.
    began: Instant,
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
enum SessionEnd {
    /// A connection failed, or Redis refused something.
    #[error("{0}")]
    Failed(#[from] Error),
    /// Redis closed a connection.
    #[error("the connection was closed")]
    Closed,
    /// The own beat did not come back in time.
    #[error("the own beat was not heard for {0:?}")]
    Silent(Duration),
}

/// Whether a message was the own beat, back in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beat {
    Fresh,
    None,
}

/// A connection, closed when dropped.
struct Connection {
    client: Client,
    task: ConnectHandle,
}

impl Sessions {
    /// Sessions that begin with [`Self::run`].
    pub(super) fn new(
        config: Config,
        wire: Wire,
        options: RedisOptions,
        hub: Arc<Hub>,
        outbox: Arc<Outbox>,
        counters: Arc<Counters>,
        state: watch::Sender<NotifierState>,
    ) -> Self {
        let mut builder = Builder::from_config(config);
        builder
            .with_connection_config(|connection| {
                connection.connection_timeout = options.patience;
                connection.internal_command_timeout = options.patience;
                connection.max_command_attempts = 1;
                connection.tcp.nodelay = Some(true);
            })
            .with_performance_config(|performance| {
                performance.default_command_timeout = options.patience;
                performance.broadcast_channel_capacity = options.heard_capacity;
            });
        Self { builder, wire, options, hub, outbox, counters, state, began: Instant::now() }
    }

    /// Keeps a session with Redis until `stop`.
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut pause = self.options.pause_min;
        let mut told = false;
        loop {
            let result = tokio::select! {
                () = stop.cancelled() => return,
                result = self.session() => result,
            };
            let Err(end) = result;
            if self.state.send_replace(NotifierState::Degraded) == NotifierState::Healthy {
                (pause, told) = (self.options.pause_min, false);
            }
            if told {
                debug!(error = %end, "Redis is still away: {end}");
            } else {
                warn!(error = %end, "Redis cannot be relied on, polling faster: {end}");
                told = true;
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(pause) => {}
            }
            pause = self.options.pause_max.min(pause * 2);
        }
    }

    /// Listens and publishes until either fails. Cancelling it closes both connections.
    async fn session(&self) -> Result<Infallible, SessionEnd> {
        let mut listener = Connection::open(&self.builder)?;
        let mut publisher = Connection::open(&self.builder)?;
        let (listening, publishing) = (listener.client.clone(), publisher.client.clone());
        tokio::select! {
            end = listener.ended() => end,
            end = publisher.ended() => end,
            end = self.talk(listening, publishing) => end,
        }
    }

    async fn talk(&self, listening: Client, publishing: Client) -> Result<Infallible, SessionEnd> {
        // Before subscribing, so that nothing heard is missed.
        let heard = listening.message_rx();
        listening.psubscribe(self.wire.pattern()).await?;
        listening.subscribe(self.wire.channels()).await?;
        self.counters.connected.add(1);
        tokio::select! {
            end = self.listen(heard) => end,
            end = self.beat(&publishing) => end,
            end = self.publish(&publishing) => end,
        }
    }

    async fn listen(&self, mut heard: Receiver<Published>) -> Result<Infallible, SessionEnd> {
        let mut deadline = Instant::now() + self.options.patience;
        loop {
            let message = tokio::select! {
                message = heard.recv() => message,
                () = sleep_until(deadline) => return Err(SessionEnd::Silent(self.options.patience)),
            };
            match message {
                Ok(message) => {
                    if self.hear(&message) == Beat::Fresh {
                        deadline = Instant::now() + self.options.patience;
                        self.recover();
                    }
                }
                Err(RecvError::Lagged(lost)) => {
                    self.counters.lagged.add(lost);
                    self.suspect_everything();
                }
                Err(RecvError::Closed) => return Err(SessionEnd::Closed),
            }
        }
    }

    fn hear(&self, published: &Published) -> Beat {
        let payload = published.value.as_bytes().unwrap_or_default();
        let Some(Heard { speaker, messages }) = self.wire.read(&published.channel, payload) else {
            self.counters.ignored.add(1);
            return Beat::None;
        };
        self.counters.received.add(1);
        let own = speaker == self.wire.speaker();
        for message in messages {
            match message {
                Message::Beat { sent_ms } if own && self.is_fresh(sent_ms) => return Beat::Fresh,
                Message::Beat { .. } => {}
                // What this server says, its own readers knew before.
                Message::Grew(_) | Message::Control(_) if own => {}
                Message::Grew(topic) => drop(self.hub.wake(topic, self.hub.clock(), Cause::Redis)),
                Message::Control(Control::Everything) => self.suspect_everything(),
                Message::Control(control) => self.hub.control(control),
            }
        }
        Beat::None
    }

    /// Whether a beat sent then took no longer than allowed; one from the future is not ours.
    fn is_fresh(&self, sent_ms: u64) -> bool {
        let age = self.now_ms().checked_sub(sent_ms);
        age.is_some_and(|age| Duration::from_millis(age) <= self.options.patience)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Everything said from now on is heard; what was said before may have been missed.
    fn recover(&self) {
        if *self.state.borrow() == NotifierState::Degraded {
            // First, so that whoever sees the state knows that nothing is left over from before.
            self.suspect_everything();
            self.state.send_replace(NotifierState::Healthy);
            info!("Redis can be relied on");
        }
    }

    fn suspect_everything(&self) {
        self.hub.wake_all();
        self.hub.control(Control::Everything);
    }

    async fn beat(&self, client: &Client) -> Result<Infallible, SessionEnd> {
        let mut beats = interval(self.options.beat_interval);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            beats.tick().await;
            self.say(client, Message::Beat { sent_ms: self.now_ms() }).await?;
        }
    }

    async fn publish(&self, client: &Client) -> Result<Infallible, SessionEnd> {
        loop {
            let mut taken = self.outbox.take().await;
            while !taken.chunk(CHUNK).is_empty() {
                let chunk = taken.chunk(CHUNK);
                let (mut grown, mut others) = (Vec::new(), Vec::new());
                for message in chunk {
                    match *message {
                        Message::Grew(topic) => grown.push(topic),
                        other => others.push(self.wire.write(other)),
                    }
                }
                if !grown.is_empty() {
                    others.push(self.wire.write_grown(&grown));
                }
                let (sent, published) = (chunk.len(), others.len());
                let publish = |(channel, payload)| client.publish::<(), _, _>(channel, payload);
                try_join_all(others.into_iter().map(publish)).await?;
                taken.sent(sent);
                self.counters.published.add(published as u64);
            }
        }
    }

    async fn say(&self, client: &Client, message: Message) -> Result<(), Error> {
        let (channel, payload) = self.wire.write(message);
        client.publish::<(), _, _>(channel, payload).await
    }
}

impl Connection {
    /// Begins to connect; commands wait until that is done.
    fn open(builder: &Builder) -> Result<Self, Error> {
        let client = builder.build()?;
        Ok(Self { task: client.connect(), client })
    }

    /// Completes when the connection has failed, or could not be made.
    async fn ended(&mut self) -> Result<Infallible, SessionEnd> {
        match (&mut self.task).await {
            Ok(Err(error)) => Err(error.into()),
            Ok(Ok(())) | Err(_) => Err(SessionEnd::Closed),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}
