//! Wire messages to domain values and back.
//!
//! What comes in is destructured whole, so that a new field does not compile until it is handled, and
//! all its violations are reported at once.

mod checks;
mod consumer;
mod event;
mod filter;
mod history;
mod key;
mod paging;
mod poll;
mod producer;
mod publish_stream;
mod queue;
mod server;
mod subscribe;
mod time;
mod topic;
mod user;
mod verify;

pub(super) use checks::Checks;
pub(super) use consumer::{consumer, consumer_update, new_consumer, seek};
pub(super) use event::{event, publish, published};
pub(super) use filter::{filter, filter_message};
pub(super) use history::{get_event, list_events, next_page_token};
pub(super) use key::{api_key, key_id, key_owner, new_key, rotation};
pub(super) use paging::page;
pub(super) use poll::{poll, polled};
pub(super) use producer::{new_producer, producer, producer_change};
pub(super) use publish_stream::{Pipelined, answer, closing, pipelined};
pub(super) use queue::{attempt, dead_letters, list_dead_letters, settle, settled, which_dead_letters};
pub(super) use server::running_server;
pub(super) use subscribe::{frame, subscribe};
pub(super) use time::{duration, duration_message, timestamp, timestamp_value, whole_micros};
pub(super) use topic::{new_topic, position, topic, topic_change};
pub(super) use user::{
    PasswordChange, given_password, new_user, password_change, role_message, tokens, user, user_change,
};
pub(super) use verify::{verified, verify_topic};
