//! Valid requests with random damage.

use futures::{StreamExt, stream};
use tonic::Code;

use super::{valid, world::World};
use crate::{
    api,
    harness::backend::{Backend, on_both_stores},
    raw,
};

/// Damaged copies of each valid request.
const COPIES: usize = 250;
/// Each login costs a hash.
const LOGINS: usize = 40;
/// Calls under way at once.
const PARALLEL: usize = 16;

/// SplitMix64: small, and the same for the same seed everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    fn byte(&mut self) -> u8 {
        self.next() as u8
    }

    /// Damages bytes in one to four ways.
    fn damage(&mut self, mut bytes: Vec<u8>, other: &[u8]) -> Vec<u8> {
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len());
            let until = at + self.below(bytes.len() - at + 1).min(16);
            match self.below(8) {
                _ if bytes.is_empty() => bytes.push(self.byte()),
                0 => bytes[at] ^= 1 << self.below(8),
                1 => bytes[at] = self.byte(),
                2 => bytes[at] = [0, 0x7f, 0x80, 0xff][self.below(4)],
                3 => bytes.truncate(at),
                4 => drop(bytes.drain(at..until)),
                5 => bytes.insert(at, self.byte()),
                6 => bytes.extend_from_within(at..until),
                _ => {
                    let end = self.below(other.len() + 1);
                    drop(bytes.splice(at..until, other[..end].iter().copied()));
                }
            }
        }
        bytes
    }
}

fn seed() -> u64 {
    let given = std::env::var("FUZZ_SEED").ok().map(|seed| seed.parse().expect("FUZZ_SEED is a number"));
    given.unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0)
}

async fn survives(backend: Backend) {
    let seed = seed();
    println!("again with FUZZ_SEED={seed}");
    let mut random = Random(seed);
    let world = World::on(backend).await;
    let documented = api::documented();
    let requests = valid::all();
    let mut damaged = Vec::new();
    for request in &requests {
        let copies = if request.path.ends_with("/Login") { LOGINS } else { COPIES };
        for _ in 0..copies {
            let other = &requests[random.below(requests.len())].bytes;
            damaged.push((request.path.clone(), random.damage(request.bytes.clone(), other)));
        }
    }
    let world = &world;
    let answers = stream::iter(damaged).map(async |(path, bytes)| {
        let answer = raw::send(&world.admin, &path, raw::frame(&bytes), &[]).await;
        (path, bytes, answer.status)
    });
    let answers: Vec<_> = answers.buffer_unordered(PARALLEL).collect().await;
    let (mut taken, mut refused) = (0, 0);
    for (path, bytes, status) in answers {
        let said = api::written(&status);
        match status.code() {
            Code::Ok => taken += 1,
            _ => {
                assert!(documented.contains(&said), "{path} ended with {said}, seed {seed}, bytes {bytes:02x?}");
                assert_ne!(status.code(), Code::Internal, "{path}, seed {seed}, bytes {bytes:02x?}");
                refused += 1;
            }
        }
    }
    println!("{taken} taken, {refused} refused");
    assert!(taken > 100 && refused > 1000, "{taken} taken, {refused} refused: the damage is not of the right size");
    world.is_unharmed().await;
}

on_both_stores! {
    async fn damaged_requests_get_documented_answers_and_never_harm_the_server(backend: Backend) {
        survives(backend).await;
    }
}
