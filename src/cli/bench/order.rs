//! The events of every workload: distinct order-like JSON of about 200 bytes that compresses as real events do.
//!
//! `benches/peers` makes them of this very file, so it names nothing else of this crate.

/// The text of the `n`-th event. Always the same, so that what arrives can be checked, and so that the same events
/// can be given to another system.
pub(super) fn order(n: u64) -> String {
    let random = |i: u64| splitmix(n.wrapping_mul(8).wrapping_add(i));
    format!(
        r#"{{"order_id":"{:016x}","customer":"customer-{}","amount":{}.{:02},"currency":"EUR","items":[{{"sku":"SKU-{}","quantity":{}}},{{"sku":"SKU-{}","quantity":{}}}],"status":"placed","shipping":"standard"}}"#,
        random(0),
        random(1) % 5_000,
        random(2) % 1_000,
        random(2) / 1_000 % 100,
        random(3) % 10_000,
        1 + random(4) % 5,
        random(5) % 10_000,
        1 + random(6) % 5,
    )
}

/// The key of the `n`-th event, where events have one: its customer.
pub(super) fn customer(n: u64) -> String {
    format!("customer-{}", splitmix(n.wrapping_mul(8).wrapping_add(1)) % 5_000)
}

/// What a text adds to the checksum of a workload; the order does not matter. It takes eight bytes at a time, since
/// readers count what comes while the clock runs, on the machine that they measure.
pub(super) fn checksum(text: &[u8]) -> u64 {
    let (words, rest) = text.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let words = words.iter().chain([&last]);
    words.fold(text.len() as u64, |hash, word| {
        let mixed = (hash ^ u64::from_le_bytes(*word)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        mixed ^ (mixed >> 32)
    })
}

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
fn splitmix(n: u64) -> u64 {
    let mut z = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::{checksum, customer, order};

    #[test]
    fn orders_are_json_of_about_200_bytes_and_differ() {
        let orders: std::collections::BTreeSet<_> = (0..1000).map(order).collect();
        assert_eq!(orders.len(), 1000);
        for (n, text) in (0..1000).map(|n| (n, order(n))) {
            let json: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(json["customer"], customer(n));
            assert!((180..240).contains(&text.len()), "{text}");
        }
    }

    #[test]
    fn the_first_orders_stay_what_they_are() {
        let sum = (0..1000).fold(0_u64, |sum, n| sum.wrapping_add(checksum(order(n).as_bytes())));
        assert_eq!(
            format!("{sum:016x}"),
            "d74c74a8f69a5ba6",
            "figures of other events cannot be compared with earlier ones"
        );
    }

    #[test]
    fn each_byte_counts() {
        let text = order(7).into_bytes();
        for place in 0..text.len() {
            let mut other = text.clone();
            other[place] ^= 1;
            assert_ne!(checksum(&text), checksum(&other), "byte {place}");
            assert_ne!(checksum(&text), checksum(&text[..place]), "the first {place}");
        }
        assert_ne!(checksum(b"a"), checksum(b"a\0"));
    }
}
