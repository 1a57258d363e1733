//! Slows down the guessing of passwords, user by user.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::domain::Username;

/// Failures of a user within [`WINDOW`] that cost nothing.
const FREE_FAILURES: usize = 10;
/// How long a failure counts; a user without one for so long starts afresh.
const WINDOW: Duration = Duration::from_secs(15 * 60);
/// The first delay; each further failure doubles it, up to [`WINDOW`].
const FIRST_DELAY: Duration = Duration::from_secs(1);
/// Names remembered, known ones or not: about 2 MiB. When there are more, the one that was quiet for
/// longest is forgotten, so that it takes as many checked passwords to clear one.
const NAMES: usize = 10_000;

/// Remembers the failed logins of this process.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    users: Mutex<HashMap<Username, Failures>>,
}

/// The failures of one user.
#[derive(Debug)]
struct Failures {
    /// The newest ones, at most [`FREE_FAILURES`].
    recent: VecDeque<Instant>,
    /// How many came beyond the free ones.
    beyond: u32,
}

impl Throttle {
    /// Lets an attempt begin, or says how long to wait.
    ///
    /// It counts as a failure until [`Throttle::succeeded`] or [`Throttle::withdraw`], so that many
    /// attempts at once are no way round, nor is hanging up before the answer.
    pub(super) fn begin(&self, user: &Username, now: Instant) -> Result<(), Duration> {
        let mut users = self.users.lock();
        if let Some(failures) = users.get_mut(user) {
            failures.forget_old(now);
            if let Some(wait) = failures.wait(now) {
                return Err(wait);
            }
            failures.add(now);
            return Ok(());
        }
        if users.len() >= NAMES {
            users.retain(|_, failures| !failures.is_over(now));
        }
        if users.len() >= NAMES
            && let Some(quiet) = users.iter().min_by_key(|(_, failures)| failures.last()).map(|(user, _)| user.clone())
        {
            users.remove(&quiet);
        }
        let failures = Failures { recent: VecDeque::from([now]), beyond: 0 };
        users.insert(user.clone(), failures);
        Ok(())
    }

    /// The password was right: the user starts afresh.
    pub(super) fn succeeded(&self, user: &Username) {
        self.users.lock().remove(user);
    }

    /// The password was not looked at: the newest failure does not count.
    pub(super) fn withdraw(&self, user: &Username) {
        let mut users = self.users.lock();
        if let Some(failures) = users.get_mut(user) {
            failures.take_back();
            if failures.recent.is_empty() {
                users.remove(user);
            }
        }
    }
}

impl Failures {
    fn last(&self) -> Option<Instant> {
        self.recent.back().copied()
    }

    /// Whether the newest failure counts no more.
    fn is_over(&self, now: Instant) -> bool {
        self.last().is_none_or(|last| now.duration_since(last) >= WINDOW)
    }

    /// Before the delays begin, single failures grow old; then all of them together.
    fn forget_old(&mut self, now: Instant) {
        if self.is_over(now) {
            self.recent.clear();
            self.beyond = 0;
        }
        if self.beyond == 0 {
            self.recent.retain(|&failure| now.duration_since(failure) < WINDOW);
        }
    }

    /// How long the next attempt has to wait; `None`: not at all.
    fn wait(&self, now: Instant) -> Option<Duration> {
        if self.recent.len() < FREE_FAILURES {
            return None;
        }
        let doubled = 2_u32.checked_pow(self.beyond).and_then(|times| FIRST_DELAY.checked_mul(times));
        let allowed = self.last()? + doubled.unwrap_or(WINDOW).min(WINDOW);
        (now < allowed).then(|| allowed - now)
    }

    fn take_back(&mut self) {
        // Once delays have begun the free failures stay used up, however many attempts are taken back.
        if self.beyond > 0 {
            self.beyond -= 1;
        } else {
            self.recent.pop_back();
        }
    }

    fn add(&mut self, now: Instant) {
        if self.recent.len() >= FREE_FAILURES {
            self.recent.pop_front();
            self.beyond = self.beyond.saturating_add(1);
        }
        self.recent.push_back(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn user(name: &str) -> Username {
        Username::parse(name).unwrap()
    }

    /// A throttle for whose user `ada` so many attempts failed just now.
    fn after_failures(count: usize, now: Instant) -> Throttle {
        let throttle = Throttle::default();
        for _ in 0..count {
            throttle.begin(&user("ada"), now).unwrap();
        }
        throttle
    }

    #[test]
    fn ten_failures_are_free_and_the_next_waits() {
        let now = Instant::now();
        let throttle = after_failures(10, now);
        assert_eq!(throttle.begin(&user("ada"), now), Err(SECOND));
        assert_eq!(throttle.begin(&user("bob"), now), Ok(()), "another user is not delayed");
    }

    #[test]
    fn each_further_failure_doubles_the_delay_up_to_the_window() {
        let mut now = Instant::now();
        let throttle = after_failures(10, now);
        for seconds in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900] {
            let delay = Duration::from_secs(seconds);
            assert_eq!(throttle.begin(&user("ada"), now), Err(delay));
            assert_eq!(
                throttle.begin(&user("ada"), now + delay - Duration::from_millis(1)),
                Err(Duration::from_millis(1))
            );
            now += delay;
            assert_eq!(throttle.begin(&user("ada"), now), Ok(()));
        }
    }

    #[test]
    fn refused_attempts_do_not_prolong_the_delay() {
        let now = Instant::now();
        let throttle = after_failures(10, now);
        for _ in 0..100 {
            assert!(throttle.begin(&user("ada"), now).is_err());
        }
        assert_eq!(throttle.begin(&user("ada"), now + SECOND), Ok(()));
    }

    #[test]
    fn failures_spread_over_more_than_the_window_are_free() {
        let throttle = Throttle::default();
        let start = Instant::now();
        for n in 0..100 {
            assert_eq!(throttle.begin(&user("ada"), start + WINDOW / 10 * n), Ok(()), "attempt {n}");
        }
    }

    #[test]
    fn a_quiet_window_starts_afresh() {
        let now = Instant::now();
        let throttle = after_failures(10, now);
        throttle.begin(&user("ada"), now + SECOND).unwrap();
        assert!(throttle.begin(&user("ada"), now + SECOND).is_err());
        let later = now + SECOND + WINDOW;
        for _ in 0..10 {
            assert_eq!(throttle.begin(&user("ada"), later), Ok(()));
        }
    }

    #[test]
    fn the_right_password_starts_afresh() {
        let now = Instant::now();
        let throttle = after_failures(10, now);
        throttle.begin(&user("ada"), now + SECOND).unwrap();
        throttle.succeeded(&user("ada"));
        assert_eq!(throttle.begin(&user("ada"), now + SECOND), Ok(()));
    }

    #[test]
    fn a_withdrawn_attempt_does_not_count() {
        let now = Instant::now();
        let throttle = after_failures(9, now);
        for _ in 0..50 {
            assert_eq!(throttle.begin(&user("ada"), now), Ok(()));
            throttle.withdraw(&user("ada"));
        }
        throttle.withdraw(&user("nobody"));
    }

    #[test]
    fn withdrawn_attempts_do_not_end_the_delays() {
        let now = Instant::now();
        let throttle = after_failures(10, now);
        throttle.begin(&user("ada"), now + SECOND).unwrap();
        throttle.withdraw(&user("ada"));
        assert_eq!(throttle.begin(&user("ada"), now + SECOND), Err(SECOND));
        throttle.begin(&user("ada"), now + SECOND * 2).unwrap();
        assert_eq!(throttle.begin(&user("ada"), now + SECOND * 2), Err(SECOND * 2));
    }

    #[test]
    fn names_are_bounded_and_the_quietest_goes_first() {
        let start = Instant::now();
        let throttle = after_failures(10, start);
        for n in 0..NAMES + 100 {
            // `ada` stays busy, so that a flood of names does not free it.
            if n % 1000 == 0 {
                let _ = throttle.begin(&user("ada"), start + SECOND * (n as u32 / 100 + 1));
            }
            throttle.begin(&user(&format!("u{n}")), start + Duration::from_millis(n as u64)).unwrap();
            assert!(throttle.users.lock().len() <= NAMES);
        }
        assert!(throttle.users.lock().contains_key(&user("ada")));
        assert!(!throttle.users.lock().contains_key(&user("u0")));
    }
}
