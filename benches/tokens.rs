//! Verifying tokens: remembered, seen for the first time, and the crypto library's part of that alone.
#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::{hint::black_box, time::Duration};

use aws_lc_rs::{hmac, signature};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use cedargate::{
    jwt::{Kind, Minter, NewToken, Own, PrivateKey, Verifier},
    model::{Secret, SigningAlgorithm, Timestamp, UserId},
};
use criterion::{Criterion, criterion_group, criterion_main};

const SECRET: &str = "benchmark-benchmark-benchmark-benchmark";

/// More than are remembered of them below, so that each is new when its turn has come again.
const TOKENS: usize = 2_048;
const REMEMBERED: usize = 64;

/// What the library does with a message and its signature.
type Check = Box<dyn Fn(&[u8], &[u8]) -> bool>;

fn own(key: Option<&PrivateKey>) -> Own {
    let mut own = Own::secret(&Secret::new(SECRET.to_owned()));
    if let Some(key) = key {
        let algorithm = key.algorithm().name().parse().unwrap();
        own.put_key(key.kid(), algorithm, key.public().unwrap()).unwrap();
        own.put_signer(key.kid(), algorithm, key.signing().unwrap(), Timestamp::FIRST).unwrap();
    }
    own
}

/// The library's own verification of this kind of signature.
fn library(key: Option<&PrivateKey>) -> Check {
    let Some(key) = key else {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
        return Box::new(move |message, tag| hmac::verify(&secret, message, tag).is_ok());
    };
    let jwk = key.public_key().jwk();
    let field = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap();
    let of: (&'static dyn signature::VerificationAlgorithm, Vec<u8>) = match key.algorithm() {
        SigningAlgorithm::EdDsa => (&signature::ED25519, field("x")),
        SigningAlgorithm::Es256 => (&signature::ECDSA_P256_SHA256_FIXED, [vec![4], field("x"), field("y")].concat()),
        SigningAlgorithm::Rs256 => {
            let parts = signature::RsaPublicKeyComponents { n: field("n"), e: field("e") };
            return Box::new(move |message, given| {
                parts.verify(&signature::RSA_PKCS1_2048_8192_SHA256, message, given).is_ok()
            });
        }
    };
    let public = signature::UnparsedPublicKey::new(of.0, of.1);
    Box::new(move |message, given| public.verify(message, given).is_ok())
}

fn verifies(criterion: &mut Criterion) {
    let now = Timestamp::now();
    let name = "alice".try_into().unwrap();
    let keys = SigningAlgorithm::ALL.map(|algorithm| PrivateKey::generate(algorithm, None).unwrap());
    for key in std::iter::once(None).chain(keys.iter().map(Some)) {
        let verifier = Verifier::new(own(key), Duration::ZERO, REMEMBERED);
        let minter = Minter::new(&verifier, Duration::from_hours(1), Duration::from_hours(24));
        let mint = |number: usize| {
            let new = NewToken {
                kind: Kind::Access,
                user: (UserId(1), &name),
                epoch: 0,
                session: "session",
                id: &number.to_string(),
                issued_at: now,
                expires_at: now.plus(Duration::from_hours(1)),
            };
            minter.mint(&new).unwrap()
        };
        let tokens: Vec<Secret<String>> = (0..TOKENS).map(mint).collect();
        let mut group = criterion.benchmark_group(key.map_or("HS256", |key| key.algorithm().name()));
        let first = tokens[0].expose().as_str();
        verifier.verify(first, now).unwrap();
        group.bench_function("cached", |bencher| bencher.iter(|| verifier.verify(black_box(first), now).is_ok()));
        let mut turn = tokens.iter().cycle();
        group.bench_function("uncached", |bencher| {
            bencher.iter(|| assert!(verifier.verify(black_box(turn.next().unwrap().expose()), now).is_ok()));
        });
        let check = library(key);
        let (message, signature) = first.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        group.bench_function("library", |bencher| {
            bencher.iter(|| assert!(check(black_box(message.as_bytes()), &signature)));
        });
    }
}

criterion_group!(benches, verifies);
criterion_main!(benches);
