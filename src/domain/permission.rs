//! What the RPCs need, and who has it.

use super::{Principal, Role};

/// What a caller may do, as `GetCaller` lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Permission {
    /// Use the caller's own account: log out, change the own password.
    OwnAccount,
    /// Record events.
    Publish,
    /// See single topics.
    ReadTopics,
    /// Page through all topics.
    ListTopics,
    /// Create, change, trim and delete topics.
    ManageTopics,
    /// See single events.
    ReadEvents,
    /// Page through a topic's events.
    ListEvents,
    /// Subscribe to a plain topic, past every consumer's filter.
    SubscribeTopic,
    /// Subscribe as a consumer, poll, commit and settle.
    Consume,
    /// See single consumers and their dead letters.
    ReadConsumers,
    /// Page through all consumers.
    ListConsumers,
    /// Register, change, move, pause, redrive and delete consumers.
    ManageConsumers,
    /// See producers.
    ReadProducers,
    /// Register, change and delete producers.
    ManageProducers,
    /// Create, list, rotate and revoke keys of producers and consumers.
    ManageKeys,
    /// Manage users and the keys of users.
    ManageUsers,
}

/// What an RPC asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nothing: anybody may call it.
    Open,
    /// Any credential that is valid.
    Authenticated,
    /// This permission.
    Needs(Permission),
    /// Any one of these permissions; the use case decides which by what the request names.
    AnyOf(&'static [Permission]),
}

impl Permission {
    /// Every permission, in the order in which `GetCaller` lists them.
    pub const ALL: [Permission; 16] = [
        Self::OwnAccount,
        Self::Publish,
        Self::ReadTopics,
        Self::ListTopics,
        Self::ManageTopics,
        Self::ReadEvents,
        Self::ListEvents,
        Self::SubscribeTopic,
        Self::Consume,
        Self::ReadConsumers,
        Self::ListConsumers,
        Self::ManageConsumers,
        Self::ReadProducers,
        Self::ManageProducers,
        Self::ManageKeys,
        Self::ManageUsers,
    ];

    /// The name on the wire and in documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OwnAccount => "own_account",
            Self::Publish => "publish",
            Self::ReadTopics => "read_topics",
            Self::ListTopics => "list_topics",
            Self::ManageTopics => "manage_topics",
            Self::ReadEvents => "read_events",
            Self::ListEvents => "list_events",
            Self::SubscribeTopic => "subscribe_topic",
            Self::Consume => "consume",
            Self::ReadConsumers => "read_consumers",
            Self::ListConsumers => "list_consumers",
            Self::ManageConsumers => "manage_consumers",
            Self::ReadProducers => "read_producers",
            Self::ManageProducers => "manage_producers",
            Self::ManageKeys => "manage_keys",
            Self::ManageUsers => "manage_users",
        }
    }

    /// Whether a person or program of this role has it.
    pub fn of_role(self, role: Role) -> bool {
        match self {
            Self::OwnAccount
            | Self::ReadTopics
            | Self::ListTopics
            | Self::ReadEvents
            | Self::ListEvents
            | Self::SubscribeTopic
            | Self::ReadConsumers
            | Self::ListConsumers
            | Self::ReadProducers => role >= Role::Viewer,
            Self::Publish
            | Self::ManageTopics
            | Self::Consume
            | Self::ManageConsumers
            | Self::ManageProducers
            | Self::ManageKeys => role >= Role::Operator,
            Self::ManageUsers => role >= Role::Admin,
        }
    }

    /// Whether a producer's key has it, on the producer's topics and its own events.
    pub fn of_producer(self) -> bool {
        matches!(self, Self::Publish | Self::ReadTopics | Self::ReadEvents)
    }

    /// Whether a consumer's key has it, on that consumer.
    pub fn of_consumer(self) -> bool {
        matches!(self, Self::Consume | Self::ReadConsumers)
    }
}

impl Access {
    /// Whether a caller gets as far as the use case.
    pub fn allows(self, principal: Option<&Principal>) -> bool {
        match (self, principal) {
            (Self::Open, _) | (Self::Authenticated, Some(_)) => true,
            (_, None) => false,
            (Self::Needs(permission), Some(principal)) => principal.may(permission),
            (Self::AnyOf(permissions), Some(principal)) => permissions.iter().any(|&p| principal.may(p)),
        }
    }
}
