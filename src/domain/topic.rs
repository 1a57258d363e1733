//! Topics: named, totally ordered, append-only logs.

use std::{fmt, sync::Arc, time::Duration};

use uuid::Uuid;

use super::{Bounds, Timestamp, check_name, name::name_type};

name_type! {
    /// The name of a topic; unique among the topics that exist.
    TopicName
}

/// Names a topic in the store; never used again after the topic is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicId(pub i32);

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names one incarnation of a topic's log, so that offsets of another one are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LogId(pub Uuid);

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A topic to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: TopicName,
    /// What it is for, at most 1 KiB.
    pub description: String,
    /// How long events are kept; `None`: for ever.
    pub retention: Option<Duration>,
    /// How many bytes of events are kept, about; 0: all.
    pub retention_bytes: u64,
    /// A sealed topic takes no more events.
    pub sealed: bool,
}

/// A topic as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its key in the store.
    pub id: TopicId,
    /// This incarnation of its log.
    pub log_id: LogId,
    /// What its creator chose.
    pub settings: NewTopic,
    /// When it was created.
    pub create_time: Timestamp,
    /// What it holds, at the time of the look.
    pub bounds: Bounds,
}

/// What to change about a topic; `None` leaves a setting as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicChange {
    /// A new description.
    pub description: Option<String>,
    /// A new retention; `Some(None)`: for ever.
    pub retention: Option<Option<Duration>>,
    /// A new retention in bytes; 0: all.
    pub retention_bytes: Option<u64>,
    /// Seals the topic, or opens it again.
    pub sealed: Option<bool>,
}

/// Topic names: one, or all that begin alike.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TopicPattern {
    /// Exactly this topic.
    Exact(TopicName),
    /// Every topic that begins so; empty: every topic.
    Prefix(Arc<str>),
}

impl TopicPattern {
    /// Parses a name, or a prefix that ends in `*`; the error says what to change.
    pub fn parse(pattern: &str) -> Result<Self, String> {
        match pattern.strip_suffix('*') {
            None => TopicName::parse(pattern).map(Self::Exact),
            Some("") => Ok(Self::Prefix("".into())),
            Some(prefix) => check_name(prefix).map(|()| Self::Prefix(prefix.into())),
        }
    }

    /// Whether the pattern covers this topic.
    pub fn covers(&self, topic: &TopicName) -> bool {
        match self {
            Self::Exact(name) => name == topic,
            Self::Prefix(prefix) => topic.as_str().starts_with(&**prefix),
        }
    }
}

impl fmt::Display for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => name.fmt(f),
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
        }
    }
}
