//! What the crypto library alone takes to verify one signature, with a key that was read before, in microseconds:
//! `HS256=0.5,RS256=19.0,ES256=66.0,EdDSA=41.0`. The median of some rounds, by the clock; run it where nothing else runs.

use std::hint::black_box;
use std::time::{Duration, Instant};

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
    ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair,
};
use aws_lc_rs::{hmac, rsa};

/// As long as what is signed of an ordinary token.
const MESSAGE: [u8; 400] = [b'a'; 400];
const ROUNDS: usize = 15;
const ROUND: Duration = Duration::from_millis(20);

fn main() {
    let random = SystemRandom::new();
    let secret = hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]);
    let tag = hmac::sign(&secret, &MESSAGE);
    let rsa = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key is made");
    let mut rsa_signature = vec![0; rsa.public_modulus_len()];
    rsa.sign(&RSA_PKCS1_SHA256, &random, &MESSAGE, &mut rsa_signature).expect("it signs");
    let rsa_key: &rsa::PublicKey = rsa.public_key();
    let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key is made");
    let ec_signature = ec.sign(&random, &MESSAGE).expect("it signs");
    let ed = Ed25519KeyPair::generate().expect("a key is made");
    let ed_signature = ed.sign(&MESSAGE);

    let parsed = |algorithm, bytes: &[u8]| ParsedPublicKey::new(algorithm, bytes).expect("a key");
    let rsa = parsed(&RSA_PKCS1_2048_8192_SHA256, rsa_key.as_der().expect("a key").as_ref());
    let ec = parsed(&ECDSA_P256_SHA256_FIXED, ec.public_key().as_ref());
    let ed = parsed(&ED25519, ed.public_key().as_ref());
    let public = |key: &ParsedPublicKey, signature: &[u8]| {
        assert!(key.verify_sig(black_box(&MESSAGE), signature).is_ok());
    };
    let all = [
        ("HS256", time(|| assert!(hmac::verify(&secret, black_box(&MESSAGE), tag.as_ref()).is_ok()))),
        ("RS256", time(|| public(&rsa, &rsa_signature))),
        ("ES256", time(|| public(&ec, ec_signature.as_ref()))),
        ("EdDSA", time(|| public(&ed, ed_signature.as_ref()))),
    ];
    println!("{}", all.map(|(name, took)| format!("{name}={took:.2}")).join(","));
}

/// How long `once` takes, in microseconds.
fn time(once: impl Fn()) -> f64 {
    let mut rounds = [0.0; ROUNDS];
    for round in &mut rounds {
        let begin = Instant::now();
        let mut count = 0_u32;
        while begin.elapsed() < ROUND {
            (0..16).for_each(|_| once());
            count += 16;
        }
        *round = begin.elapsed().as_secs_f64() * 1e6 / f64::from(count);
    }
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}
