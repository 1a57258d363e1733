//! What EventFlow is about: parsed values without I/O, async or frameworks.
//!
//! A value that exists is valid: names, filters and events are parsed once, at the edge, and trusted
//! from there on.

mod batch;
mod chain;
mod consumer;
mod event;
mod filter;
mod identity;
mod invalid;
mod key_view;
pub mod limits;
mod name;
mod offset;
mod permission;
mod principal;
mod queue;
mod server;
mod time;
mod topic;

pub use batch::{AppendBatch, BatchId, Incarnation, KnownId, PendingEvent, ReadCap, SeenHead, Segment};
pub use chain::{CHAIN_VERSION, ChainEnd, ChainHash, Link};
pub use consumer::{
    Connection, Consumer, ConsumerChange, ConsumerId, ConsumerName, Epoch, Mode, NewConsumer, QueuePolicy, RenewedHold,
    ServerId, StartFrom, SubscriptionId,
};
pub use event::{Attributes, Event, EventBody, NewEvent, Payload};
pub use filter::{Filter, TypePattern};
pub use identity::{ContentHash, IdKey, Identity};
pub use invalid::{Invalid, Violation};
pub use key_view::KeyView;
pub use name::{NAME_RULE, check_name};
pub use offset::{Bounds, Offset};
pub use permission::{Access, Permission};
pub use principal::{Caller, CredentialRef, Principal, ProducerName, Role, Username};
pub use queue::{
    Attempt, Candidate, Claimed, DeadCause, DeadLetter, DeadLetters, KeyHash, Known, LeaseId, Leased, Moved,
    QueueClaim, QueueStatus, Release, Settled, Settlement, Taker, Unsettled, Verdict,
};
pub use server::RunningServer;
pub use time::Timestamp;
pub use topic::{LogId, NewTopic, Topic, TopicChange, TopicId, TopicName, TopicPattern};
