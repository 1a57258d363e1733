//! Random bytes, from the one cryptographic provider of the process.

use aws_lc_rs::rand;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

use super::CryptoError;

/// `N` random bytes that nobody can guess.
pub(super) fn bytes<const N: usize>() -> Result<[u8; N], CryptoError> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| CryptoError::Random)?;
    Ok(bytes)
}

/// 256 random bits in base64url without padding: 43 characters, `_` and `-` among them.
pub(super) fn secret() -> Result<String, CryptoError> {
    Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes::<32>()?))
}

/// A public name of 16 characters `[a-z2-7]`, 80 random bits.
pub(super) fn name() -> Result<String, CryptoError> {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    Ok(bytes::<16>()?.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 31)])).collect())
}
