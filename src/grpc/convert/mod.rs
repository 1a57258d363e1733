//! Wire messages to domain values and back.
//!
//! What comes in is destructured whole, so that a new field does not compile until it is handled, and
//! all its violations are reported at once.

mod checks;
mod consumer;
mod event;
mod filter;
mod history;
mod paging;
mod producer;
mod publish_stream;
mod server;
mod subscribe;
mod time;
mod topic;

pub(super) use checks::Checks;
pub(super) use consumer::{consumer, new_consumer};
pub(super) use event::{event, publish, published};
pub(super) use filter::{filter, filter_message};
pub(super) use history::{get_event, list_events, next_page_token};
pub(super) use paging::page;
pub(super) use producer::{api_key, new_producer, producer};
pub(super) use publish_stream::{Pipelined, answer, closing, pipelined};
pub(super) use server::running_server;
pub(super) use subscribe::{frame, subscribe};
pub(super) use time::{duration, duration_message, timestamp, timestamp_value};
pub(super) use topic::{new_topic, position, topic, topic_change};
