//! Chance that can be repeated: `TEST_SEED=n` in the environment takes the seed of an earlier run.

use std::{
    ops::Range,
    time::{Duration, SystemTime},
};

/// Random numbers from a seed that is printed (SplitMix64).
#[derive(Debug)]
pub struct Chance(u64);

impl Chance {
    /// From a seed of its own, which it prints.
    pub fn printed() -> Self {
        let given = std::env::var("TEST_SEED").ok().map(|seed| seed.parse().expect("TEST_SEED is a number"));
        let now = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("the clock is right").as_nanos();
        let seed = given.unwrap_or_else(|| now() as u64);
        println!("seed {seed}");
        Self(seed)
    }

    /// From this seed, such as a number of another one.
    pub fn of(seed: u64) -> Self {
        Self(seed)
    }

    /// A number of the range.
    pub fn number(&mut self, range: Range<u64>) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        range.start + (mixed ^ (mixed >> 31)) % (range.end - range.start)
    }

    /// Waits for a time below `most`, so that what comes next comes at a random moment.
    pub async fn moment(&mut self, most: Duration) {
        let micros = self.number(0..most.as_micros() as u64);
        tokio::time::sleep(Duration::from_micros(micros)).await;
    }
}
