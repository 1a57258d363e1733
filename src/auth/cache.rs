//! What the store knows of identities, remembered for a few seconds.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    hash::Hash,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

/// Values remembered for a limited time, and limited in number; the oldest goes first.
///
/// A value's age counts from before it was read, so that what is answered was true at some time within
/// the last `max_age`. Two callers that miss at once may both read.
pub(super) struct Cache<K, V> {
    max_age: Duration,
    capacity: usize,
    entries: Mutex<Entries<K, V>>,
}

struct Entries<K, V> {
    by_key: HashMap<K, (Instant, V)>,
    /// In the order in which they came. A key that came twice stands here twice, and is forgotten
    /// with its latter place; there are never more places than the capacity.
    order: VecDeque<(Instant, K)>,
    /// Raised by `clear`: what was read before is not remembered after.
    generation: u64,
}

/// A look that has begun, to be given back with what it found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    began: Instant,
    generation: u64,
}

impl<K: Clone + Eq + Hash, V: Clone> Cache<K, V> {
    /// An empty one.
    pub(super) fn new(capacity: usize, max_age: Duration) -> Self {
        let entries = Entries { by_key: HashMap::new(), order: VecDeque::new(), generation: 0 };
        Self { max_age, capacity, entries: Mutex::new(entries) }
    }

    /// The value, if it is remembered and young enough; else the beginning of a look for it.
    pub(super) fn get(&self, key: &K, now: Instant) -> Result<V, Look> {
        let entries = self.entries.lock();
        match entries.by_key.get(key) {
            Some((began, value)) if now.duration_since(*began) < self.max_age => Ok(value.clone()),
            Some(_) | None => Err(Look { began: now, generation: entries.generation }),
        }
    }

    /// Remembers what a look found, unless a later look found something, or everything was forgotten
    /// since it began.
    pub(super) fn put(&self, key: K, value: V, look: Look) {
        let mut entries = self.entries.lock();
        let newer = entries.by_key.get(&key).is_some_and(|(began, _)| *began > look.began);
        if newer || entries.generation != look.generation {
            return;
        }
        entries.order.push_back((look.began, key.clone()));
        entries.by_key.insert(key, (look.began, value));
        while entries.order.len() > self.capacity || entries.oldest_is_over(look.began, self.max_age) {
            entries.forget_oldest();
        }
    }

    /// Forgets everything, also what is being read now.
    pub(super) fn clear(&self) {
        let mut entries = self.entries.lock();
        entries.by_key.clear();
        entries.order.clear();
        entries.generation += 1;
    }
}

impl<K: Eq + Hash, V> Entries<K, V> {
    fn oldest_is_over(&self, now: Instant, max_age: Duration) -> bool {
        self.order.front().is_some_and(|(began, _)| now.duration_since(*began) >= max_age)
    }

    fn forget_oldest(&mut self) {
        let Some((place, key)) = self.order.pop_front() else { return };
        if self.by_key.get(&key).is_some_and(|(began, _)| *began == place) {
            self.by_key.remove(&key);
        }
    }
}

impl<K, V> fmt::Debug for Cache<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("entries", &self.entries.lock().by_key.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGE: Duration = Duration::from_secs(5);

    fn remember(cache: &Cache<u32, u32>, key: u32, value: u32, now: Instant) {
        if let Err(look) = cache.get(&key, now) {
            cache.put(key, value, look);
        }
    }

    #[test]
    fn a_value_is_remembered_for_its_age_from_before_it_was_read() {
        let cache = Cache::new(10, AGE);
        let began = Instant::now();
        let look = cache.get(&1, began).unwrap_err();
        // However long the look took.
        cache.put(1, 7, look);
        assert_eq!(cache.get(&1, began + AGE - Duration::from_millis(1)).unwrap(), 7);
        assert!(cache.get(&1, began + AGE).is_err());
    }

    #[test]
    fn it_holds_no_more_than_its_capacity_and_forgets_the_oldest() {
        let (cache, now) = (Cache::new(10, AGE), Instant::now());
        for key in 0..1000 {
            remember(&cache, key, key, now + Duration::from_micros(key.into()));
            assert!(cache.entries.lock().by_key.len() <= 10);
            assert!(cache.entries.lock().order.len() <= 10);
        }
        for key in 0..1000 {
            assert_eq!(cache.get(&key, now).is_ok(), key >= 990, "{key}");
        }
    }

    #[test]
    fn repeated_reads_of_one_key_do_not_grow_it() {
        let (cache, now) = (Cache::new(10, AGE), Instant::now());
        let looks = (0..1000).map(|_| cache.get(&1, now).unwrap_err()).collect::<Vec<_>>();
        for (value, look) in looks.into_iter().enumerate() {
            cache.put(1, value, look);
        }
        assert!(cache.entries.lock().order.len() <= 10);
    }

    #[test]
    fn expired_values_leave_their_place() {
        let (cache, now) = (Cache::new(10, AGE), Instant::now());
        for key in 0..5 {
            remember(&cache, key, key, now);
        }
        remember(&cache, 9, 9, now + AGE);
        assert_eq!(cache.entries.lock().by_key.len(), 1);
    }

    #[test]
    fn an_earlier_look_that_ends_later_changes_nothing() {
        let (cache, now) = (Cache::new(10, AGE), Instant::now());
        let early = cache.get(&1, now).unwrap_err();
        let late = cache.get(&1, now + Duration::from_millis(1)).unwrap_err();
        cache.put(1, 2, late);
        cache.put(1, 1, early);
        assert_eq!(cache.get(&1, now).unwrap(), 2);
    }

    #[test]
    fn a_read_that_began_before_clear_is_not_remembered() {
        let (cache, now) = (Cache::new(10, AGE), Instant::now());
        let look = cache.get(&1, now).unwrap_err();
        cache.clear();
        cache.put(1, 7, look);
        assert!(cache.get(&1, now).is_err());

        remember(&cache, 1, 8, now);
        assert_eq!(cache.get(&1, now).unwrap(), 8);
        cache.clear();
        assert!(cache.get(&1, now).is_err());
    }
}
