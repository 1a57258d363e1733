//! What one server knows of the keys that are leased, so that the store need not find it out for each claim.

use std::collections::{HashMap, HashSet};

use super::{Candidate, Claimed, Known, LeaseId, Offset, QueueClaim};
use crate::domain::KeyHash;

/// Events that are remembered at most; a consumer has no more in flight.
const OWN: usize = 100_000;

/// The keys of one consumer's leases, as of its newest lease; never fewer than there are.
#[derive(Debug, Default)]
pub struct KeyView {
    /// While this is the newest, no other server has leased anything. `None`: nothing is known.
    newest: Option<LeaseId>,
    busy: HashSet<KeyHash>,
    /// The events of the leases that this server was given, and their keys.
    own: HashMap<Offset, Option<KeyHash>>,
    /// Events that wait for their keys, in order.
    held: Vec<Candidate>,
}

impl KeyView {
    /// Has the store find out everything with the next claim.
    pub fn forget(&mut self) {
        self.newest = None;
    }

    /// What is known for a claim with these candidates; `None` also if none of them has a key.
    pub fn known(&self, candidates: &[Candidate]) -> Option<Known> {
        let newest = self.newest.filter(|_| self.has_keys(candidates))?;
        let mut first = HashSet::new();
        let free = |(place, candidate): (usize, &Candidate)| {
            let free = candidate.key.is_none_or(|key| !self.busy.contains(&key) && first.insert(key));
            free.then_some(place)
        };
        let free = self.held.iter().chain(candidates).enumerate().filter_map(free).collect();
        Some(Known { newest, free })
    }

    /// Takes note of what a claim got.
    pub fn claimed(&mut self, claim: &QueueClaim, claimed: &Claimed) {
        // Where nobody needs it, nothing is kept of each event.
        self.newest = claimed.newest.filter(|_| self.has_keys(&claim.candidates));
        if self.newest.is_none() {
            self.held.clone_from(&claimed.held);
            return;
        }
        if claimed.judged {
            match &claimed.busy {
                Some(busy) => {
                    self.busy = busy.iter().copied().collect();
                    self.own.retain(|_, key| key.is_none_or(|key| self.busy.contains(&key)));
                }
                None => self.newest = None,
            }
        }
        for offset in claimed.leases.iter().flat_map(|lease| &lease.deliveries).map(|delivery| delivery.offset) {
            match find(&claim.candidates, offset).or_else(|| find(&self.held, offset)) {
                Some(Candidate { key, .. }) => {
                    self.busy.extend(key);
                    self.own.insert(offset, key);
                }
                // It was tried before, and its key is not at hand.
                None => self.newest = None,
            }
        }
        self.held.clone_from(&claimed.held);
        if self.own.len() > OWN {
            // Some were lost, and settled elsewhere.
            self.own.clear();
            self.newest = None;
        }
    }

    fn has_keys(&self, candidates: &[Candidate]) -> bool {
        !self.held.is_empty() || candidates.iter().any(|candidate| candidate.key.is_some())
    }

    /// An event is not leased any more.
    pub fn settled(&mut self, offset: Offset) {
        match self.own.remove(&offset) {
            Some(Some(key)) => {
                self.busy.remove(&key);
            }
            Some(None) => {}
            // Its key, if it has one, is free now, and is not at hand.
            None => self.newest = None,
        }
    }
}

fn find(candidates: &[Candidate], offset: Offset) -> Option<Candidate> {
    let place = candidates.binary_search_by_key(&offset, |candidate| candidate.offset).ok()?;
    candidates.get(place).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Attempt, ConsumerId, Leased, ServerId};
    use std::time::Duration;
    use uuid::Uuid;

    fn candidate(offset: i64, key: i64) -> Candidate {
        Candidate { offset: Offset::new(offset).unwrap(), key: (key > 0).then_some(KeyHash(key)) }
    }

    fn claim(candidates: Vec<Candidate>) -> QueueClaim {
        QueueClaim {
            consumer: ConsumerId(1),
            revision: 1,
            server: ServerId(Uuid::nil()),
            up_to: Offset::new(9).unwrap(),
            after: Offset::ZERO,
            candidates,
            known: None,
            takers: vec![],
            repeated: false,
            note: false,
        }
    }

    fn claimed(newest: i64, offsets: &[i64], busy: Option<&[i64]>, held: Vec<Candidate>) -> Claimed {
        let deliveries =
            offsets.iter().map(|offset| Attempt { offset: Offset::new(*offset).unwrap(), number: 1 }).collect();
        let lease =
            Leased { token: Uuid::nil(), lease: LeaseId(newest), remaining: Duration::ZERO, alone: false, deliveries };
        Claimed {
            newest: Some(LeaseId(newest)),
            judged: busy.is_some(),
            busy: busy.map(|busy| busy.iter().map(|key| KeyHash(*key)).collect()),
            held,
            leases: vec![lease],
            ..Claimed::default()
        }
    }

    #[test]
    fn the_first_of_each_key_that_is_not_leased_is_free() {
        let mut view = KeyView::default();
        assert_eq!(view.known(&[candidate(1, 1)]), None, "nothing is known at first");
        let all = vec![candidate(1, 1), candidate(2, 1), candidate(3, 2), candidate(4, 0)];
        view.claimed(&claim(all), &claimed(7, &[1, 4], Some(&[2]), vec![candidate(2, 1), candidate(3, 2)]));
        let more = [candidate(5, 2), candidate(6, 3), candidate(7, 3), candidate(8, 0), candidate(9, 0)];
        let known = view.known(&more).unwrap();
        assert_eq!((known.newest, known.free), (LeaseId(7), vec![3, 5, 6]), "1 and 2 are leased");
        view.settled(Offset::new(1).unwrap());
        view.settled(Offset::new(4).unwrap());
        assert_eq!(view.known(&more).unwrap().free, vec![0, 3, 5, 6], "2 is leased by others");
        view.settled(Offset::new(3).unwrap());
        assert_eq!(view.known(&more), None, "it was not leased here");
    }

    #[test]
    fn what_cannot_be_known_is_asked_for() {
        let mut view = KeyView::default();
        let all = || claim(vec![candidate(1, 1)]);
        view.claimed(&all(), &claimed(7, &[1], Some(&[]), vec![]));
        assert!(view.known(&[candidate(5, 2)]).is_some());
        view.claimed(&all(), &claimed(8, &[3], None, vec![]));
        assert_eq!(view.known(&[candidate(5, 2)]), None, "3 is a retry");
        view.claimed(&all(), &claimed(9, &[], Some(&[]), vec![]));
        assert!(view.known(&[candidate(5, 2)]).is_some());
        view.claimed(&all(), &Claimed { judged: true, ..claimed(10, &[], None, vec![]) });
        assert_eq!(view.known(&[candidate(5, 2)]), None, "others have leased something meanwhile");
        view.claimed(&all(), &claimed(11, &[], Some(&[]), vec![]));
        assert_eq!(view.known(&[candidate(5, 0)]), None, "events without keys need nothing");
        view.forget();
        assert_eq!(view.known(&[candidate(5, 2)]), None);
    }
}
