//! Waiting for something to become true, with a deadline after which the test fails.

use std::time::{Duration, Instant};

/// How long anything may take before a test gives up: far longer than it ever should.
pub const DEADLINE: Duration = Duration::from_secs(45);

/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// Waits until `look` finds something; panics after [`DEADLINE`], saying what was `wanted`.
pub async fn eventually<T>(wanted: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
    eventually_within(DEADLINE, wanted, look).await
}

/// As [`eventually`], with a deadline that is part of the claim.
pub async fn eventually_within<T>(deadline: Duration, wanted: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(start.elapsed() < deadline, "waited {deadline:?} in vain for {wanted}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// As [`eventually`], blocking the thread.
pub fn eventually_blocking<T>(wanted: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < DEADLINE, "waited {DEADLINE:?} in vain for {wanted}");
        std::thread::sleep(PAUSE);
    }
}
