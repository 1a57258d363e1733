//! MODE_QUEUE: streams share a consumer's events, and settle each by itself.
//!
//! One [`Dispatcher`](dispatcher::Dispatcher) for each consumer and process does all that concerns the store: it
//! settles and leases for all of its streams and calls, in batches, one statement under way at a time, the next
//! one taking everything that waits meanwhile. Nothing of a consumer is owned by a process: any number of
//! dispatchers lease and settle what any other has leased.

mod ahead;
mod dead_letters;
mod delivery;
mod dispatcher;
mod looking;
mod member;
mod poll;
mod registry;
mod settle;
mod stream;
mod sweep;

pub use dead_letters::{DeadLetterView, DeadLettersError};
pub use delivery::{Deliveries, Delivery};
pub use poll::PolledQueue;
pub(super) use registry::Queues;
pub use settle::{Settle, SettleOutcome, SettlementError};
pub use stream::QueueSubscription;
