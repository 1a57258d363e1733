//! Opening a stream: every refusal is an error before it begins.

use std::{sync::Arc, time::Duration};

use bytestring::ByteString;
use uuid::Uuid;

use super::{
    Broker, ClosingReason, Frame,
    queue::QueueSubscription,
    streams::NoRoom,
    subscription::{LogSubscription, Reader},
    topic_cache::TopicHandle,
};
use crate::{
    domain::{
        Bounds, Consumer, ConsumerName, Filter, LogId, Mode, Offset, Permission, Principal, StartFrom, SubscriptionId,
        TopicName,
    },
    store::StoreError,
};

/// A request for a stream.
#[derive(Debug, Clone)]
pub struct Subscribe {
    /// What is read.
    pub from: Source,
    /// When the stream ends by itself.
    pub stop: StopAt,
    /// Events in one frame, at most.
    pub max_batch_events: usize,
    /// How often the stream gives a sign of life.
    pub heartbeat_interval: Duration,
    /// End the stream that holds the consumer.
    pub take_over: bool,
    /// Wait until the consumer is free.
    pub wait: bool,
    /// Go on behind events that were trimmed.
    pub skip_trimmed: bool,
    /// The incarnation of the log that the caller's offsets belong to.
    pub log_id: Option<LogId>,
    /// For a consumer in MODE_QUEUE: deliveries that may be leased to the stream at once.
    pub max_in_flight: Option<usize>,
    /// The client's address.
    pub peer: String,
}

/// What a stream reads.
#[derive(Debug, Clone)]
pub enum Source {
    /// A registered consumer, from its stored offset.
    Consumer(ConsumerName),
    /// A topic, without a stored offset.
    Topic {
        /// The topic.
        name: TopicName,
        /// Where to begin.
        start: StartFrom,
        /// Which events.
        filter: Filter,
    },
}

/// When a stream ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopAt {
    /// Never.
    Never,
    /// At the head that it sees when it begins.
    Head,
    /// After this offset.
    Offset(Offset),
}

/// Why a stream was refused, or ended.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SubscribeError {
    /// The caller may not read this.
    #[error("{principal} may not subscribe to {what}")]
    Denied {
        /// The caller.
        principal: ByteString,
        /// The topic or consumer.
        what: String,
    },
    /// There is no such topic, or not any more.
    #[error("topic {topic} does not exist")]
    TopicNotFound {
        /// The topic.
        topic: TopicName,
    },
    /// There is no such consumer, or not any more.
    #[error("consumer {consumer} does not exist")]
    ConsumerNotFound {
        /// The consumer.
        consumer: ConsumerName,
    },
    /// The request has fields for the other mode.
    #[error(
        "consumer {consumer} is in the other mode: max_in_flight is for MODE_QUEUE, \
        take_over, wait and after_offset for MODE_ORDERED"
    )]
    WrongMode {
        /// The consumer.
        consumer: ConsumerName,
    },
    /// Another stream has the consumer.
    #[error("another stream holds consumer {consumer}; wait, or take it over")]
    ConsumerBusy {
        /// The consumer.
        consumer: ConsumerName,
        /// How long that stream's hold lasts unless renewed.
        remaining: Duration,
    },
    /// Another stream took the consumer, or it was moved.
    #[error("another stream took consumer {consumer}")]
    ConsumerFenced {
        /// The consumer.
        consumer: ConsumerName,
    },
    /// The offsets belong to another incarnation of the log.
    #[error("topic {topic} is not the log that the offsets belong to: its log_id is {log_id}")]
    LogReplaced {
        /// The topic.
        topic: TopicName,
        /// The incarnation that is.
        log_id: LogId,
    },
    /// The wanted events are gone.
    #[error("events after offset {after} of topic {topic} were trimmed; the earliest is {earliest}")]
    OffsetTrimmed {
        /// The topic.
        topic: TopicName,
        /// The position.
        after: Offset,
        /// The oldest offset still kept.
        earliest: Offset,
    },
    /// The position is not reached yet.
    #[error("offset {after} of topic {topic} is beyond its head {head}; start at {head} or earlier")]
    OffsetBeyondHead {
        /// The topic.
        topic: TopicName,
        /// The position.
        after: Offset,
        /// The newest offset.
        head: Offset,
    },
    /// The log lost its tail: what was recorded is not there any more.
    #[error(
        "topic {topic} lost its tail: what is after offset {head} is not what was there; the stream was at {after}"
    )]
    LogShortened {
        /// The topic.
        topic: TopicName,
        /// The position.
        after: Offset,
        /// Up to here nothing changed, as far as the server can tell.
        head: Offset,
    },
    /// As many streams are open as may be.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    /// The server stops.
    #[error("the server is draining; connect again")]
    Draining,
    /// The stream is as old as streams may get, or its consumer was changed.
    #[error("the stream ends here; open it again")]
    Rotated(ClosingReason),
    /// The caller's credential ended.
    #[error("the credential ended")]
    CredentialEnded(CredentialEnd),
    /// The store failed.
    #[error("the store failed")]
    Store(#[source] Arc<StoreError>),
}

/// How a credential ended while it was in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CredentialEnd {
    /// By its time.
    Expired,
    /// It was revoked, its session ended, or its owner was disabled or deleted.
    Revoked,
    /// Its user may do less than when the stream began.
    RoleLowered,
}

impl From<StoreError> for SubscribeError {
    fn from(error: StoreError) -> Self {
        Self::Store(Arc::new(error))
    }
}

/// An open stream; [`next`](Self::next) is its only door. Dropping it gives back what it holds.
#[derive(Debug)]
pub enum Subscription {
    /// Of a topic, or a consumer in MODE_ORDERED.
    Log(Box<LogSubscription>),
    /// Of a consumer in MODE_QUEUE.
    Queue(Box<QueueSubscription>),
}

impl Subscription {
    /// The next frame; `None` after the stream ended well; nothing after an error. Cancelling it loses
    /// nothing.
    pub async fn next(&mut self) -> Option<Result<Frame, SubscribeError>> {
        match self {
            Self::Log(subscription) => subscription.next().await,
            Self::Queue(subscription) => subscription.next().await,
        }
    }
}

impl Broker {
    /// Opens a stream. Cancelling it opens none.
    pub async fn subscribe(
        &self,
        principal: Arc<Principal>,
        request: Subscribe,
    ) -> Result<Subscription, SubscribeError> {
        if self.shutdown().is_draining() {
            return Err(SubscribeError::Draining);
        }
        let room = self.room_for_stream(&principal)?;
        let (reader, handle) = match &request.from {
            Source::Topic { name, .. } => {
                let denied =
                    || SubscribeError::Denied { principal: principal.name.clone(), what: format!("topic {name}") };
                if !principal.may_on_topic(Permission::SubscribeTopic, name) {
                    return Err(denied());
                }
                (Reader::Topic, self.existing(name).await?)
            }
            Source::Consumer(name) => {
                let (consumer, handle) = self.consumer_for(&principal, name).await?;
                if consumer.settings.mode == Mode::Queue {
                    check_log(&handle, request.log_id)?;
                    let opened = QueueSubscription::open(self, principal, request, consumer, handle, room).await?;
                    return Ok(Subscription::Queue(Box::new(opened)));
                }
                if request.max_in_flight.is_some() {
                    return Err(SubscribeError::WrongMode { consumer: name.clone() });
                }
                (Reader::consumer(consumer), handle)
            }
        };
        check_log(&handle, request.log_id)?;
        let id = SubscriptionId(Uuid::now_v7());
        let mut subscription = LogSubscription::new(self.clone(), id, principal, request, reader, handle, room);
        subscription.begin().await?;
        Ok(Subscription::Log(Box::new(subscription)))
    }

    /// A consumer that the caller may use, and its topic.
    pub(super) async fn consumer_for(
        &self,
        principal: &Principal,
        name: &ConsumerName,
    ) -> Result<(Consumer, TopicHandle), SubscribeError> {
        if !principal.may_on_consumer(Permission::Consume, name) {
            let what = format!("consumer {name}");
            return Err(SubscribeError::Denied { principal: principal.name.clone(), what });
        }
        let found = self.store().find_consumer(name).await?;
        let consumer = found.ok_or_else(|| SubscribeError::ConsumerNotFound { consumer: name.clone() })?;
        let handle = self.existing(&consumer.settings.topic).await?;
        match handle.topic.id == consumer.topic_id {
            true => Ok((consumer, handle)),
            false => Err(SubscribeError::TopicNotFound { topic: consumer.settings.topic }),
        }
    }

    pub(super) async fn existing(&self, topic: &TopicName) -> Result<TopicHandle, SubscribeError> {
        self.topic_now(topic).await?.ok_or_else(|| SubscribeError::TopicNotFound { topic: topic.clone() })
    }

    /// The position at which a reader of a topic begins.
    pub(super) async fn resolve_start(&self, handle: &TopicHandle, start: StartFrom) -> Result<Offset, SubscribeError> {
        let bounds = handle.topic.bounds;
        let topic = || handle.topic.settings.name.clone();
        match start {
            StartFrom::Earliest => Ok(bounds.trimmed_to),
            StartFrom::Head => Ok(bounds.head),
            StartFrom::After(after) if after > bounds.head => {
                Err(SubscribeError::OffsetBeyondHead { topic: topic(), after, head: bounds.head })
            }
            StartFrom::After(after) => Ok(after),
            StartFrom::Time(time) => {
                let offset = self.store().before_time(handle.topic.id, time).await?;
                offset.ok_or_else(|| SubscribeError::TopicNotFound { topic: topic() })
            }
        }
    }
}

/// Refuses a position whose events are gone, unless they may be skipped.
pub(super) fn check_kept(
    topic: &TopicName,
    after: Offset,
    bounds: Bounds,
    skip_trimmed: bool,
) -> Result<(), SubscribeError> {
    if after >= bounds.trimmed_to || skip_trimmed {
        return Ok(());
    }
    Err(SubscribeError::OffsetTrimmed { topic: topic.clone(), after, earliest: bounds.earliest() })
}

fn check_log(handle: &TopicHandle, wanted: Option<LogId>) -> Result<(), SubscribeError> {
    let log_id = handle.topic.log_id;
    match wanted {
        Some(wanted) if wanted != log_id => {
            Err(SubscribeError::LogReplaced { topic: handle.topic.settings.name.clone(), log_id })
        }
        Some(_) | None => Ok(()),
    }
}
