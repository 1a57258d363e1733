//! Who is calling.

use std::{fmt, sync::Arc};

use bytestring::ByteString;
use uuid::Uuid;

use super::{ConsumerName, Permission, Timestamp, TopicName, TopicPattern, name::name_type};

name_type! {
    /// The name of a user; unique among the users that exist.
    Username
}

name_type! {
    /// The name of a producer; unique among the producers that exist.
    ProducerName
}

/// What a user may do; each role includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Reads everything.
    Viewer,
    /// Manages topics, producers and consumers; publishes and consumes.
    Operator,
    /// Manages users.
    Admin,
}

impl Role {
    /// The name in logs and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// From the store; `None` if there is no such role.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Viewer, Self::Operator, Self::Admin].into_iter().find(|role| role.as_str() == name)
    }
}

/// Whose credential it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// A person, or a program with a role.
    User {
        /// The user.
        name: Username,
        /// What it may do.
        role: Role,
    },
    /// A producer's key.
    Producer {
        /// The producer.
        name: ProducerName,
        /// Where it may publish.
        topics: Arc<[TopicPattern]>,
    },
    /// A consumer's key.
    Consumer {
        /// The consumer.
        name: ConsumerName,
    },
}

/// Which credential proved the caller, so that a stream can ask later whether it still stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CredentialRef {
    /// An API key.
    Key {
        /// Its public part.
        id: Arc<str>,
    },
    /// An access token of a session.
    Session {
        /// The session, the token's `sid`.
        id: Uuid,
    },
}

/// The caller of an RPC, as its credential proved it.
#[derive(Debug, Clone)]
pub struct Principal {
    /// Whose credential it is.
    pub caller: Caller,
    /// `users/ada`, `producers/shop` or `consumers/billing`.
    pub name: ByteString,
    /// What proved it.
    pub credential: CredentialRef,
    /// When the credential ends; `None`: never.
    pub expires: Option<Timestamp>,
}

impl Principal {
    /// The principal of a caller.
    pub fn new(caller: Caller, credential: CredentialRef, expires: Option<Timestamp>) -> Self {
        let name = match &caller {
            Caller::User { name, .. } => format!("users/{name}"),
            Caller::Producer { name, .. } => format!("producers/{name}"),
            Caller::Consumer { name } => format!("consumers/{name}"),
        };
        Self { caller, name: name.into(), credential, expires }
    }

    /// Whether the caller has this permission at all; a producer's and a consumer's key have theirs
    /// on some topics, or one consumer, only.
    pub fn may(&self, permission: Permission) -> bool {
        match &self.caller {
            Caller::User { role, .. } => permission.of_role(*role),
            Caller::Producer { .. } => permission.of_producer(),
            Caller::Consumer { .. } => permission.of_consumer(),
        }
    }

    /// Whether the caller may do this with this topic.
    pub fn may_on_topic(&self, permission: Permission, topic: &TopicName) -> bool {
        let covered = match &self.caller {
            Caller::Producer { topics, .. } => topics.iter().any(|pattern| pattern.covers(topic)),
            Caller::User { .. } | Caller::Consumer { .. } => true,
        };
        covered && self.may(permission)
    }

    /// Whether the caller may do this with this consumer.
    pub fn may_on_consumer(&self, permission: Permission, consumer: &ConsumerName) -> bool {
        let own = match &self.caller {
            Caller::Consumer { name } => name == consumer,
            Caller::User { .. } | Caller::Producer { .. } => true,
        };
        own && self.may(permission)
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
