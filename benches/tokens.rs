//! Verifying tokens: remembered, seen for the first time, and the crypto library's part of that alone.
#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

mod minted;

use std::hint::black_box;

use aws_lc_rs::{hmac, signature};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use cedargate::{
    jwt::PrivateKey,
    model::{SigningAlgorithm, Timestamp},
};
use criterion::{Criterion, criterion_group, criterion_main};

/// More than are remembered of them below, so that each is new when its turn has come again.
const TOKENS: usize = 2_048;
const REMEMBERED: usize = 64;

/// What the library does with a message and its signature.
type Check = Box<dyn Fn(&[u8], &[u8]) -> bool>;

/// The library's own verification of this kind of signature.
fn library(key: Option<&PrivateKey>) -> Check {
    let Some(key) = key else {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, minted::SECRET.as_bytes());
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
    let keys = SigningAlgorithm::ALL.map(|algorithm| PrivateKey::generate(algorithm, None).unwrap());
    for key in std::iter::once(None).chain(keys.iter().map(Some)) {
        let (verifier, tokens) = minted::tokens(key, TOKENS, REMEMBERED, now);
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
