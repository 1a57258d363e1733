//! EventFlow: a gRPC event-streaming server on Postgres and Redis, or embedded on SQLite.
//!
//! This page is the map. The API is in `proto/`, the first steps are in `README.md`.
//!
//! # Map
//!
//! A module imports only what stands to its left; `tests/architecture.rs` checks it.
//!
//! `domain` < `config` < (`store`, `notify`) < `auth` < `broker` < `grpc` < `server` < `cli`
//!
//! | module | what it is |
//! | --- | --- |
//! | [`domain`] | parsed values: topics, events, offsets, filters, consumers, principals, limits; no I/O, no async |
//! | [`config`] | flags and environment, parsed once |
//! | [`store`] | the port: what is kept, by role, with its contract; adapters for Postgres and SQLite |
//! | [`notify`] | the port: wake-ups between servers, through Redis or within one process; the hub |
//! | [`auth`] | credentials become principals |
//! | [`broker`] | the use cases, one file for each verb |
//! | [`grpc`] | the API over gRPC: conversion, errors, permissions, health, reflection |
//! | [`server`] | the composition root: settings become a running server |
//! | [`cli`] | the commands, thin clients of the same API |
//! | [`shutdown`], [`telemetry`] | draining; logs and the table of metrics |
//! | [`proto`] | generated messages, clients and servers; seen by `grpc`, `server` and `cli` only |
//!
//! # Promises
//!
//! Each has tests that would catch its breach.
//!
//! * **P1** A publish that was answered is on disk, at gapless offsets 1, 2, 3, … of its topic, in commit
//!   order, and visible to every later read on every server.
//! * **P2** Publishing with ids is idempotent for the life of the event: the same (topic, source, id) and
//!   content, as sent, gives the first offset with `duplicate`, whatever the head or the seal say
//!   meanwhile; other content is refused, and nothing is stored.
//! * **P3** A request is all or nothing, its new events are contiguous, and it never fails because of
//!   another one that was committed with it.
//! * **P4** A stream delivers every matching event after its start, in offset order, without gap or
//!   repeat; what retention removed is said. A slow reader is never dropped while it makes progress.
//! * **P5** Redis is a hint: losing, delaying, repeating or forging every message of it costs latency.
//! * **P6** A stored offset never goes back by itself, and a commit of another epoch changes nothing.
//! * **P7** A queue delivers at least once, and never again after an ack; events of a key keep their order; each
//!   time that an event may have been sent is counted as an attempt; it is given up at most once at a time.
//! * **P8** Events are immutable: no code changes one, and the database refuses it.
//! * **P9** No stream ends in silence: Closing first where possible, then a status with a reason.
//! * **P10** Bad input of any kind gets a documented status with details, and changes nothing.
//!
//! # The way of one publish
//!
//! 1. `grpc::event_service` checks every field and reports all violations at once.
//! 2. `broker::publish` authorizes, fills in defaults (`broker::enrich`), and computes for each event with
//!    an id its [key and content hash](domain::Identity), over the fields as sent.
//! 3. `broker::appender`: one queue for each topic. One append is under way; the next takes everything
//!    that waits meanwhile, up to 4,096 events or 1 MiB. No artificial delay: the slower the disk, the
//!    larger the group.
//! 4. [`store::LogStore::append`]: one statement. In Postgres a function locks the topic's row, looks for
//!    the batch (a repeat after a lost connection) and for known ids, and inserts **one row for the whole
//!    group**: a segment, with its events as column arrays. The row lock makes the order of offsets the
//!    order of commits and of visibility.
//! 5. Then everyone in the group is answered, the segment goes into the ring of recent segments
//!    (`broker::ring`), readers in this process wake through the [hub](notify::Hub), and other servers
//!    are told through Redis.
//!
//! A stream of requests goes the same way: a task (`grpc::publish_stream`) reads and submits them in their
//! order (`broker::publish_stream`), so that many go by one append, and a chain for each topic
//! (`broker::chain`) keeps anything from being recorded after a request that failed and will be repeated.
//!
//! # The way of one subscribe
//!
//! 1. `broker::subscribe` refuses what it must before the stream opens, and registers with the hub
//!    *before* it looks for events.
//! 2. [`broker::Subscription`] is pulled by its client's demand; it has no task of its own. It looks, sends
//!    what it finds, and looks again; when there is nothing it says so once, and waits for a wake-up, a
//!    heartbeat, the drain, or the end of its credential or hold.
//! 3. `broker::log` answers from the ring, or from the store by a read that all who miss the same range
//!    share. The ring never answers "nothing": that takes a look at the store that was sent after the
//!    caller's reason to look, which the hub's clock decides.
//! 4. `grpc::frames` encodes each event once in a process; a frame is put together from encoded events.
//!
//! Behind all wake-ups one statement a second looks up the heads of all topics with readers (ten a second
//! while Redis is away), so that lost messages cost latency and nothing else.
//!
//! A consumer in MODE_ORDERED is held by one stream at a time: the hold lasts 15 s, is renewed every 5 s
//! for all streams of a server by one statement, and each new one has a higher epoch that fences the
//! commits of the one before.
//!
//! # Packing
//!
//! `broker::packer` looks for topics with old segments that have no link, has the store find the next run of
//! them that nothing can join any more, hashes it behind the hash before ([`domain::Link`]), and has it packed:
//! [`store::ChainStore::pack`] puts one segment in the place of the run and adds the link, if everything is as it
//! was found. The database lets go only of rows whose events it finds again, equal, in one row. `broker::verify`
//! walks along the links beside the events.
//!
//! # When the database is not the one that it was
//!
//! Every new connection says which server it leads to. When that changes, older connections are given up,
//! and the store's [incarnation](domain::Incarnation) is raised before anything is sent to the next one.
//! An append names the incarnation that its head was read from and is not sent to another; a log in memory
//! is compared with the stored one before it is read again, and if its newest event is gone
//! (`broker::shortened`), all streams of the topic end with LOG_SHORTENED.

pub mod auth;
pub mod broker;
pub mod cli;
pub mod config;
pub mod domain;
pub mod grpc;
pub mod notify;
pub mod proto;
pub mod server;
pub mod shutdown;
pub mod store;
pub mod telemetry;
