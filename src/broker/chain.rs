//! The order of one stream's requests for one topic, kept when one of them fails.
//!
//! Many requests of a stream wait in a topic's queue at once. When one fails in a way that may be repeated,
//! its client will repeat it, so nothing that came after it may be recorded before: the later requests, in
//! the queue or on their way to it, are refused. Whoever finds the failure breaks the chain *before* the
//! failed request is answered, and the appender looks at the chain each time it makes up a batch; as it
//! makes up one batch of a topic after the other, nothing slips between.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::publish::{Published, Refusal};

/// The requests of one stream for one topic, in their order.
#[derive(Debug)]
pub(super) struct Chain {
    /// The next place.
    next: AtomicU64,
    /// The lowest place of a request that failed so that it may be repeated.
    broken: AtomicU64,
}

/// A request's place in its chain. Dropped without an answer, it breaks the chain: nobody knows what became
/// of the request.
#[derive(Debug)]
pub(super) struct Link {
    chain: Arc<Chain>,
    place: u64,
    settled: bool,
}

impl Chain {
    /// Without any request yet.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { next: AtomicU64::new(0), broken: AtomicU64::new(u64::MAX) })
    }

    /// Whether a request failed so that the later ones are refused.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::SeqCst) != u64::MAX
    }

    /// The place of the request that comes now.
    pub(super) fn link(self: &Arc<Self>) -> Link {
        Link { chain: self.clone(), place: self.next.fetch_add(1, Ordering::SeqCst), settled: false }
    }
}

impl Link {
    /// Whether an earlier request failed so that this one must not be recorded.
    pub(super) fn is_overtaken(&self) -> bool {
        self.chain.broken.load(Ordering::SeqCst) < self.place
    }

    /// What the request is answered, after the chain has taken note of it. What may be recorded is said to
    /// be so, whatever became of earlier requests.
    pub(super) fn settle(mut self, answer: Result<Vec<Published>, Refusal>) -> Result<Vec<Published>, Refusal> {
        self.settled = true;
        let Err(refusal) = answer else { return answer };
        if self.is_overtaken() && !matches!(refusal, Refusal::OutcomeUnknown(_)) {
            return Err(Refusal::PredecessorFailed);
        }
        if refusal.may_be_repeated() {
            self.break_off();
        }
        Err(refusal)
    }

    fn break_off(&self) {
        self.chain.broken.fetch_min(self.place, Ordering::SeqCst);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if !self.settled {
            self.break_off();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::Chain;
    use crate::{broker::publish::Refusal, store::StoreError};

    fn overloaded() -> Refusal {
        Refusal::Overloaded { retry_in: Duration::ZERO }
    }

    fn unknown() -> Refusal {
        Refusal::OutcomeUnknown(Arc::new(StoreError::Unavailable("gone".into())))
    }

    #[test]
    fn a_failure_that_may_be_repeated_overtakes_the_later_requests_and_not_the_earlier_ones() {
        let chain = Chain::new();
        let [first, second, third] = [chain.link(), chain.link(), chain.link()];
        assert!(matches!(second.settle(Err(overloaded())), Err(Refusal::Overloaded { .. })));
        assert!(chain.is_broken() && !first.is_overtaken() && third.is_overtaken() && chain.link().is_overtaken());
        assert!(first.settle(Ok(vec![])).is_ok());
        assert!(matches!(third.settle(Err(Refusal::TopicSealed)), Err(Refusal::PredecessorFailed)));
    }

    #[test]
    fn a_refusal_of_the_request_itself_overtakes_nobody() {
        let chain = Chain::new();
        for refusal in [Refusal::TopicNotFound, Refusal::TopicSealed, Refusal::IdReused { index: 0 }] {
            assert!(chain.link().settle(Err(refusal)).is_err());
        }
        assert!(!chain.is_broken());
    }

    #[test]
    fn what_may_be_recorded_is_said_to_be_so() {
        let chain = Chain::new();
        let [first, second] = [chain.link(), chain.link()];
        assert!(first.settle(Err(unknown())).is_err());
        assert!(matches!(second.settle(Err(unknown())), Err(Refusal::OutcomeUnknown(_))));
    }

    #[test]
    fn a_request_that_nobody_answered_overtakes_the_later_ones() {
        let chain = Chain::new();
        drop(chain.link());
        assert!(chain.link().is_overtaken());
    }
}
