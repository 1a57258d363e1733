//! Forged, damaged and stale tokens.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use serde_json::{Value, json};

use super::*;

/// How old a further key is before it signs.
const NOTICE: Duration = Duration::from_secs(600);

/// A cluster with one key, and that key.
struct Cluster {
    id: Uuid,
    stored: SigningKey,
    keys: TokenKeys,
}

impl Cluster {
    fn new() -> Self {
        let (id, stored) = (Uuid::new_v4(), new_signing_key().unwrap());
        let keys = TokenKeys::parse(id, std::slice::from_ref(&stored), NOTICE).unwrap();
        Self { id, stored, keys }
    }

    fn claims(&self) -> Value {
        let now = Timestamp::now().seconds_and_nanos().0;
        json!({
            "exp": now + 900, "iat": now, "iss": self.id.to_string(), "aud": self.id.to_string(), "sub": "ada",
            "sid": Uuid::new_v4().to_string(), "jti": Uuid::new_v4().to_string(), "role": "admin",
        })
    }

    fn header(&self) -> Value {
        json!({ "typ": "JWT", "alg": "EdDSA", "kid": self.stored.id })
    }

    fn token(&self) -> String {
        self.signed(&self.header(), &self.claims())
    }

    /// A token with any header and claims, properly signed by the cluster's key.
    fn signed(&self, header: &Value, claims: &Value) -> String {
        sign_with(&self.stored.pkcs8, header, claims)
    }

    fn verify(&self, token: &str) -> Result<Claims, TokenError> {
        self.keys.verify(token, Timestamp::now())
    }
}

fn sign_with(pkcs8: &[u8], header: &Value, claims: &Value) -> String {
    let message = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()));
    let signature = Ed25519KeyPair::from_pkcs8(pkcs8).unwrap().sign(message.as_bytes());
    format!("{message}.{}", BASE64.encode(signature))
}

fn with(value: &Value, field: &str, new: Value) -> Value {
    let mut value = value.clone();
    value[field] = new;
    value
}

fn without(value: &Value, field: &str) -> Value {
    let mut value = value.clone();
    value.as_object_mut().unwrap().remove(field);
    value
}

#[test]
fn a_signed_token_says_what_was_signed() {
    let cluster = Cluster::new();
    let claims: Claims = serde_json::from_value(cluster.claims()).unwrap();
    assert_eq!(cluster.verify(&cluster.keys.sign(&claims).unwrap()), Ok(claims));
    assert!(cluster.verify(&cluster.token()).is_ok(), "the forger of these tests makes good tokens");
}

#[test]
fn other_algorithms_are_refused() {
    let cluster = Cluster::new();
    let (header, claims) = (cluster.header(), cluster.claims());
    for alg in ["none", "None", "NONE", "HS256", "HS512", "RS256", "ES256", "PS256", "eddsa", ""] {
        let forged = cluster.signed(&with(&header, "alg", json!(alg)), &claims);
        assert_eq!(cluster.verify(&forged), Err(TokenError::Invalid), "{alg}");

        let (unsigned, _) = forged.rsplit_once('.').unwrap();
        assert_eq!(cluster.verify(&format!("{unsigned}.")), Err(TokenError::Invalid), "{alg} without a signature");
    }
    let forged = cluster.signed(&without(&header, "alg"), &claims);
    assert_eq!(cluster.verify(&forged), Err(TokenError::Invalid));
}

#[test]
fn the_public_key_is_no_hmac_secret() {
    let cluster = Cluster::new();
    let pair = Ed25519KeyPair::from_pkcs8(&cluster.stored.pkcs8).unwrap();
    for secret in [pair.public_key().as_ref(), &cluster.stored.pkcs8, b""] {
        let header = Header { kid: Some(cluster.stored.id.clone()), ..Header::new(Algorithm::HS256) };
        let forged = jsonwebtoken::encode(&header, &cluster.claims(), &EncodingKey::from_secret(secret)).unwrap();
        assert_eq!(cluster.verify(&forged), Err(TokenError::Invalid));
    }
}

#[test]
fn keys_that_a_token_brings_along_are_refused() {
    let (cluster, attacker) = (Cluster::new(), new_signing_key().unwrap());
    let public = Ed25519KeyPair::from_pkcs8(&attacker.pkcs8).unwrap();
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": BASE64.encode(public.public_key()) });
    let extras = [
        ("jwk", jwk),
        ("x5u", json!("https://attacker.example/cert")),
        ("jku", json!("https://attacker.example/keys")),
        ("x5c", json!(["AAAA"])),
        ("x5t", json!("AAAA")),
        ("crit", json!(["exp"])),
        ("b64", json!(false)),
        ("cty", json!("JWT")),
    ];
    for (field, value) in extras {
        let header = with(&cluster.header(), field, value);
        let forged = sign_with(&attacker.pkcs8, &header, &cluster.claims());
        assert_eq!(cluster.verify(&forged), Err(TokenError::Invalid), "{field}, signed by the attacker");
        let odd = cluster.signed(&header, &cluster.claims());
        assert_eq!(cluster.verify(&odd), Err(TokenError::Invalid), "{field}, signed by the cluster");
    }
}

#[test]
fn a_kid_names_one_of_the_clusters_keys_or_nothing() {
    let (cluster, claims) = (Cluster::new(), Cluster::new().claims());
    let hostile =
        ["", "../../dev/null", "' or 1=1 --", "\0", "ä", &"k".repeat(5000), &format!("{} ", cluster.stored.id)];
    for kid in hostile {
        let forged = cluster.signed(&with(&cluster.header(), "kid", json!(kid)), &claims);
        assert_eq!(cluster.verify(&forged), Err(TokenError::UnknownKey), "{kid}");
    }
    for kid in [json!(null), json!(7), json!(["a"]), json!({})] {
        let forged = cluster.signed(&with(&cluster.header(), "kid", kid.clone()), &claims);
        assert_eq!(cluster.verify(&forged), Err(TokenError::Invalid), "{kid}");
    }
    assert_eq!(cluster.verify(&cluster.signed(&without(&cluster.header(), "kid"), &claims)), Err(TokenError::Invalid));
}

#[test]
fn another_key_under_the_same_kid_is_refused() {
    let cluster = Cluster::new();
    let forged = sign_with(&new_signing_key().unwrap().pkcs8, &cluster.header(), &cluster.claims());
    assert_eq!(cluster.verify(&forged), Err(TokenError::Invalid));
}

#[test]
fn tokens_of_another_cluster_are_refused_even_with_the_same_key() {
    let cluster = Cluster::new();
    for field in ["iss", "aud"] {
        for value in
            [json!(Uuid::new_v4().to_string()), json!(""), json!(null), json!([cluster.id.to_string()]), json!(1)]
        {
            let forged = cluster.signed(&cluster.header(), &with(&cluster.claims(), field, value.clone()));
            assert_eq!(cluster.verify(&forged), Err(TokenError::Invalid), "{field} {value}");
        }
    }
}

#[test]
fn every_claim_is_required() {
    let cluster = Cluster::new();
    for field in ["exp", "iat", "iss", "aud", "sub", "sid", "jti", "role"] {
        let claims = without(&cluster.claims(), field);
        let forged = cluster.signed(&cluster.header(), &claims);
        assert_eq!(cluster.verify(&forged), Err(TokenError::Invalid), "without {field}");
    }
}

#[test]
fn a_token_ends_in_the_second_it_names() {
    let cluster = Cluster::new();
    let now = Timestamp::now();
    let (second, _) = now.seconds_and_nanos();
    for (exp, outcome) in [(second - 3600, false), (second - 1, false), (second, false), (second + 900, true)] {
        let token = cluster.signed(&cluster.header(), &with(&cluster.claims(), "exp", json!(exp)));
        let verified = cluster.verify(&token);
        assert_eq!(verified.is_ok(), outcome, "exp {exp} at {second}");
        assert!(outcome || verified == Err(TokenError::Expired), "{verified:?}");
    }
    // The same token, as the clock goes on.
    let token = cluster.signed(&cluster.header(), &with(&cluster.claims(), "exp", json!(second + 900)));
    assert!(cluster.keys.verify(&token, Timestamp::parse(second + 899, 0).unwrap()).is_ok());
    let end = Timestamp::parse(second + 900, 0).unwrap();
    assert_eq!(cluster.keys.verify(&token, end), Err(TokenError::Expired));
}

#[test]
fn absurd_times_are_refused() {
    let cluster = Cluster::new();
    let absurd = [json!(-1), json!(1e300), json!("9999999999"), json!(null), json!(u64::MAX), json!(1.5e9)];
    for exp in absurd {
        let token = cluster.signed(&cluster.header(), &with(&cluster.claims(), "exp", exp.clone()));
        assert!(cluster.verify(&token).is_err(), "{exp}");
    }
    let later = Timestamp::now().seconds_and_nanos().0 + 60;
    let early = cluster.signed(&cluster.header(), &with(&cluster.claims(), "nbf", json!(later)));
    assert_eq!(cluster.verify(&early), Err(TokenError::Invalid));
}

#[test]
fn a_token_cut_or_changed_anywhere_is_refused() {
    let cluster = Cluster::new();
    let token = cluster.token();
    for length in 0..token.len() {
        assert!(cluster.verify(&token[..length]).is_err(), "the first {length} characters were accepted");
        assert!(cluster.verify(&token[length + 1..]).is_err(), "the last ones after {length} were accepted");
        for other in ["A", "_", ".", "=", "ä", ""] {
            let changed = format!("{}{other}{}", &token[..length], &token[length + 1..]);
            assert!(changed == token || cluster.verify(&changed).is_err(), "accepted with {other:?} at {length}");
        }
    }
    for extra in
        [format!("{token}A"), format!("{token}="), format!("{token}."), format!(".{token}"), format!(" {token}")]
    {
        assert!(cluster.verify(&extra).is_err(), "{extra}");
    }
}

#[test]
fn the_last_character_has_one_spelling() {
    let cluster = Cluster::new();
    let token = cluster.token();
    let accepted = (b'-'..=b'z').map(char::from).filter(|&last| {
        let spelled = format!("{}{last}", &token[..token.len() - 1]);
        cluster.verify(&spelled).is_ok()
    });
    assert_eq!(accepted.count(), 1, "another spelling of the same signature was accepted");
}

#[test]
fn a_further_key_verifies_at_once_and_signs_when_all_know_it() {
    let mut old = new_signing_key().unwrap();
    let ago = |seconds| Timestamp::parse(Timestamp::now().seconds_and_nanos().0 - seconds, 0).unwrap();
    old.create_time = ago(3600);
    for (age, signer_is_new) in [(599, false), (601, true)] {
        let mut new = new_signing_key().unwrap();
        new.create_time = ago(age);
        let keys = TokenKeys::parse(Uuid::nil(), &[old.clone(), new.clone()], NOTICE).unwrap();
        assert_eq!(keys.signer(Timestamp::now()).unwrap().id == new.id, signer_is_new, "{age} s old");
        for key in [&old, &new] {
            let keys = TokenKeys::parse(Uuid::nil(), &[old.clone(), new.clone()], NOTICE).unwrap();
            let cluster = Cluster { id: Uuid::nil(), stored: key.clone(), keys };
            assert!(cluster.verify(&cluster.token()).is_ok());
        }
    }
}

#[test]
fn damaged_keys_in_the_store_are_corrupt() {
    let mut damaged = new_signing_key().unwrap();
    damaged.pkcs8.truncate(20);
    assert!(matches!(TokenKeys::parse(Uuid::nil(), &[damaged], NOTICE), Err(StoreError::Corrupt(_))));
    assert!(matches!(TokenKeys::parse(Uuid::nil(), &[], NOTICE), Err(StoreError::Corrupt(_))));
}

#[test]
fn debug_shows_ids_only() {
    let cluster = Cluster::new();
    assert_eq!(format!("{:?}", cluster.keys), format!("[{:?}]", cluster.stored.id));
}
