//! Comparing what a topic keeps with its chain: whether stored events still are what they were when linked.

mod walk;

use metrics::counter;
use tracing::error;

use super::{Broker, HistoryError};
use crate::{
    domain::{ChainEnd, ChainHash, LogId, Offset, Permission, Principal, TopicName},
    store::Chain,
    telemetry::metric,
};
use walk::{Step, Walk};

/// Links read by one statement.
const LINKS: usize = 1000;

/// What is to be verified.
#[derive(Debug, Clone)]
pub struct VerifyTopic {
    /// The topic.
    pub topic: TopicName,
    /// Where the chain ended once, and its hash there, as somebody noted it.
    pub noted: Option<ChainEnd>,
    /// Where the part before ended; `None`: from the beginning.
    pub resume: Option<VerifiedPart>,
}

/// Up to where a topic was verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifiedPart {
    /// The incarnation of the log.
    pub log_id: LogId,
    /// The end of a link.
    pub end: ChainEnd,
}

/// What verifying a part of a topic found.
#[derive(Debug, Clone)]
pub struct Verified {
    /// The incarnation of the log.
    pub log_id: LogId,
    /// The last offset that was trimmed.
    pub trimmed_to: Offset,
    /// The newest offset.
    pub head: Offset,
    /// Up to here events are packed and linked.
    pub linked_to: Offset,
    /// Up to here everything that is kept is what it was.
    pub end: ChainEnd,
    /// Events that were compared.
    pub events: u64,
    /// What comes next is not what it was.
    pub altered: Option<Altered>,
    /// What became of the noted hash, if its offset was passed.
    pub noted: Option<Noted>,
    /// There is more to verify.
    pub more: bool,
}

/// Events that are not what they were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Altered {
    /// The first of them.
    pub first: Offset,
    /// The last of them.
    pub last: Offset,
    /// What is wrong.
    pub how: Alteration,
}

/// What is wrong with a range of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alteration {
    /// The events do not have the hash of their link: they or the link were changed.
    Changed,
    /// The events are not there, or not in a form that can be read.
    Unreadable,
    /// The link of the events is not there.
    Unlinked,
}

/// What became of a hash that somebody noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noted {
    /// The chain has it at its offset.
    Matches,
    /// The chain has another one there, or no link that ends there.
    Differs,
    /// What was there is trimmed, its link too.
    Trimmed,
    /// The chain ends before.
    Beyond,
}

impl Broker {
    /// Verifies a topic from its oldest event, or from where the part before ended, until enough was looked at.
    pub async fn verify_topic(&self, principal: &Principal, verify: &VerifyTopic) -> Result<Verified, HistoryError> {
        let name = &verify.topic;
        let handle = self.readable(principal, Permission::ListEvents, name).await?;
        let log_id = handle.topic.log_id;
        if verify.resume.is_some_and(|resume| resume.log_id != log_id) {
            return Err(HistoryError::LogReplaced { topic: name.clone(), log_id });
        }
        let begin = ChainEnd { offset: Offset::ZERO, hash: ChainHash::NONE };
        let mut walk = Walk::new(self, &handle, verify.noted, verify.resume.map_or(begin, |resume| resume.end));
        loop {
            let found = self.store().links(handle.topic.id, walk.end.offset, LINKS).await?;
            let chain = found.ok_or_else(|| HistoryError::TopicNotFound { topic: name.clone() })?;
            if chain.log_id != log_id {
                return Err(HistoryError::LogReplaced { topic: name.clone(), log_id: chain.log_id });
            }
            let step = walk.along(&chain).await?;
            if let Step::Further = step {
                continue;
            }
            counter!(metric::VERIFIED_EVENTS).increment(walk.events);
            if let Step::Altered(Altered { first, last, how }) = step {
                counter!(metric::ALTERED_RANGES).increment(1);
                error!(topic = %name, %first, %last, ?how, "events {first} to {last} of topic {name} were altered");
            }
            return Ok(walk.result(&chain, step));
        }
    }
}

impl Walk<'_> {
    /// What was found when the walk came to its end.
    fn result(&self, chain: &Chain, step: Step) -> Verified {
        let (altered, more) = match step {
            Step::Altered(altered) => (Some(altered), false),
            Step::Enough => (None, true),
            Step::Further | Step::End => (None, false),
        };
        let beyond = || {
            let ended = altered.is_none() && !more;
            (ended && self.noted.is_some_and(|noted| noted.offset > self.end.offset)).then_some(Noted::Beyond)
        };
        Verified {
            log_id: chain.log_id,
            trimmed_to: chain.trimmed_to,
            head: chain.head,
            linked_to: chain.linked_to,
            end: self.end,
            events: self.events,
            altered,
            noted: self.found.or_else(beyond),
            more,
        }
    }
}
