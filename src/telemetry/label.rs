//! Values of labels that clients choose: bounded, since each one is kept for the life of the process.

use std::{
    collections::HashSet,
    sync::{Arc, LazyLock},
};

use metrics::SharedString;
use parking_lot::Mutex;

/// Values of one label, at most; all others are [`OTHER`].
pub const VALUES_MAX: usize = 1000;
/// What stands for the values beyond the first [`VALUES_MAX`].
pub const OTHER: &str = "other";

static TOPICS: LazyLock<Values> = LazyLock::new(|| Values::new(VALUES_MAX));
static CONSUMERS: LazyLock<Values> = LazyLock::new(|| Values::new(VALUES_MAX));

/// The value of the label `topic` for a topic's name.
pub fn topic(name: &str) -> SharedString {
    TOPICS.bound(name)
}

/// The value of the label `consumer` for a consumer's name.
pub fn consumer(name: &str) -> SharedString {
    CONSUMERS.bound(name)
}

/// The first values that a label had.
#[derive(Debug)]
struct Values {
    max: usize,
    known: Mutex<HashSet<SharedString>>,
}

impl Values {
    fn new(max: usize) -> Self {
        Self { max, known: Mutex::default() }
    }

    /// The value itself while there is room for it, and from then on; else [`OTHER`].
    fn bound(&self, value: &str) -> SharedString {
        let mut known = self.known.lock();
        if let Some(found) = known.get(value) {
            return found.clone();
        }
        if known.len() >= self.max {
            return SharedString::const_str(OTHER);
        }
        let value = SharedString::from_shared(Arc::from(value));
        known.insert(value.clone());
        value
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{OTHER, VALUES_MAX, Values, consumer, topic};

    #[test]
    fn the_first_values_stand_for_themselves_and_the_rest_for_one() {
        let values = Values::new(2);
        let bound: Vec<_> = ["a", "b", "c", "a", "d", "b"].map(|value| values.bound(value).to_string()).into();
        assert_eq!(bound, ["a", "b", OTHER, "a", OTHER, "b"]);
    }

    #[test]
    fn clients_cannot_make_labels_without_end() {
        for label in [topic, consumer] {
            let labels: HashSet<_> = (0..3000).map(|n| label(&format!("name-{n}"))).collect();
            assert_eq!(labels.len(), VALUES_MAX + 1);
            assert!(labels.contains(OTHER));
        }
    }
}
