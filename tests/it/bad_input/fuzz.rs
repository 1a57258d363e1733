//! Valid requests with random damage, in their bytes and in their fields.

use futures::{StreamExt, stream};
use prost::Message;
use prost_reflect::{DynamicMessage, Kind, MapKey, ReflectMessage, Value};
use tonic::Code;

use super::{
    valid::{self, Valid},
    world::World,
};
use crate::{
    api,
    harness::backend::{Backend, on_both_stores},
    raw,
};

/// Damaged copies of each valid request.
const DAMAGED: usize = 100;
/// Copies of each with odd values.
const ODD: usize = 60;
/// Copies of each that costs a hash of a password.
const HASHED: usize = 20;
/// Calls under way at once.
const PARALLEL: usize = 32;

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

/// Makes spoilt copies of each valid request, sends them all, and looks at every answer.
async fn survives(backend: Backend, copies: usize, spoil: impl Fn(&mut Random, &Valid, &[Valid]) -> Vec<u8>) {
    let seed = seed();
    println!("again with FUZZ_SEED={seed}");
    let mut random = Random(seed);
    let world = World::on(backend).await;
    let requests = valid::harmless();
    let mut spoilt = Vec::new();
    for request in &requests {
        let hashed = ["/Login", "/ChangePassword"].iter().any(|method| request.path.ends_with(method));
        let copies = if hashed { copies.min(HASHED) } else { copies };
        for _ in 0..copies {
            spoilt.push((request.path.clone(), spoil(&mut random, request, &requests)));
        }
    }
    let client = &world.admin;
    let answers = stream::iter(spoilt).map(async |(path, bytes)| {
        let answer = raw::send(client, &path, raw::frame(&bytes), &[]).await;
        (path, bytes, answer.status)
    });
    let answers: Vec<_> = answers.buffer_unordered(PARALLEL).collect().await;
    let documented = api::documented();
    let mut refused = 0;
    for (path, bytes, status) in &answers {
        if status.code() != Code::Ok {
            let said = api::written(status);
            let known = documented.contains(&said) && status.code() != Code::Internal;
            assert!(known, "{path} ended with {said}, seed {seed}, bytes {bytes:02x?}");
            refused += 1;
        }
    }
    let taken = answers.len() - refused;
    println!("{taken} taken, {refused} refused");
    assert!(taken > 50 && refused > 300, "{taken} taken, {refused} refused: the damage is not of the right size");
    world.is_unharmed().await;
}

/// Gives some fields of a message values that nobody should send.
fn disfigure(random: &mut Random, message: &mut DynamicMessage, depth: usize) {
    for field in message.descriptor().fields() {
        if random.below(3) > 0 {
            continue;
        }
        let value = if field.is_map() {
            let key = MapKey::String(text(random));
            Value::Map([(key, Value::String(text(random)))].into())
        } else if field.is_list() {
            Value::List((0..random.below(4)).map(|_| odd(random, &field.kind(), depth)).collect())
        } else {
            odd(random, &field.kind(), depth)
        };
        // A map may have other values than strings: then it stays as it is.
        let _ = message.try_set_field(&field, value);
    }
}

fn text(random: &mut Random) -> String {
    let texts = ["", "\0", "*", "a*b", "orders", "orders.*", "billing", "shop", "é", "\u{202e}", "' or 1=1 --"];
    match random.below(4) {
        0 => texts[random.below(texts.len())].repeat(random.below(300)),
        _ => texts[random.below(texts.len())].to_owned(),
    }
}

fn odd(random: &mut Random, kind: &Kind, depth: usize) -> Value {
    let numbers = [0, 1, 2, -1, 1000, 1001, i64::MAX, i64::MIN, 253_402_300_800, 1_000_000_000];
    let number = numbers[random.below(numbers.len())];
    match kind {
        Kind::String => Value::String(text(random)),
        Kind::Bytes => Value::Bytes(text(random).into()),
        Kind::Bool => Value::Bool(random.below(2) == 0),
        Kind::Double => Value::F64([f64::NAN, f64::INFINITY, -0.0, f64::MAX][random.below(4)]),
        Kind::Enum(_) => Value::EnumNumber(number as i32),
        Kind::Int32 => Value::I32(number as i32),
        Kind::Message(descriptor) => {
            let mut message = DynamicMessage::new(descriptor.clone());
            if depth > 0 {
                disfigure(random, &mut message, depth - 1);
            }
            Value::Message(message)
        }
        _ => Value::I64(number),
    }
}

on_both_stores! {
    async fn damaged_bytes_get_documented_answers_and_never_harm_the_server(backend: Backend) {
        survives(backend, DAMAGED, |random, request, others| {
            let other = &others[random.below(others.len())].bytes;
            random.damage(request.bytes.clone(), other)
        }).await;
    }

    async fn odd_values_get_documented_answers_and_never_harm_the_server(backend: Backend) {
        survives(backend, ODD, |random, request, _| {
            let mut message = DynamicMessage::decode(request.descriptor(), &request.bytes[..]).unwrap();
            disfigure(random, &mut message, 5);
            message.encode_to_vec()
        }).await;
    }
}
