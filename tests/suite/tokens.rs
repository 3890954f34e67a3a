//! Tokens between us and libraries of others: `tests/tokens` has two of them sign and verify with each algorithm. And no
//! mutation of a valid token is one.

use std::process::Command;
use std::time::Duration;

use cedargate::jwt::{Kind, Minter, NewToken, Own, PrivateKey, Verifier};
use cedargate::model::{Secret, SigningAlgorithm, Timestamp, UserId};
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use tempfile::TempDir;

use crate::support::Backend;
use crate::support::app::{App, SECRET};

async fn agrees(algorithm: &'static str, key: Option<PrivateKey>) {
    let files = TempDir::new().unwrap();
    let path = files.path().join("key.pem");
    let mut place = SECRET.to_owned();
    let mut settings = vec![("CEDARGATE_AUTH__SIGNING_ALGORITHM", algorithm)];
    if let Some(key) = key {
        std::fs::write(&path, key.pem().expose()).unwrap();
        path.to_str().unwrap().clone_into(&mut place);
        settings.push(("CEDARGATE_AUTH__SIGNING_KEY_FILE", place.as_str()));
    }
    let app = App::start_with(Backend::Sqlite, &settings).await;
    let (gateway, token) = (format!("http://{}", app.gateway), app.token("testuser").await);
    let mut command = Command::new("bash");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/check.sh"));
    command.args(["tokens", &gateway, algorithm, &token, &place]);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn other_libraries_agree_with_us() {
    agrees("HS256", None).await;
    for algorithm in SigningAlgorithm::ALL {
        agrees(algorithm.name(), Some(PrivateKey::generate(algorithm, None).unwrap())).await;
    }
}

/// Another token, made of this one.
fn mutation(token: &str, random: &mut SmallRng) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ \t%";
    let mut bytes = token.as_bytes().to_vec();
    for _ in 0..random.random_range(1..4) {
        if bytes.is_empty() {
            break;
        }
        let at = random.random_range(0..bytes.len());
        let letter = LETTERS[random.random_range(0..LETTERS.len())];
        match random.random_range(0..6) {
            0 => bytes[at] = letter,
            1 => bytes.insert(at, letter),
            2 => drop(bytes.remove(at)),
            3 => bytes.truncate(at.max(1)),
            4 => {
                let other = random.random_range(0..bytes.len());
                bytes.swap(at, other);
            }
            _ => {
                let piece = bytes[at..(at + 8).min(bytes.len())].to_vec();
                bytes.extend(piece);
            }
        }
    }
    String::from_utf8(bytes).unwrap()
}

#[test]
fn no_mutation_of_a_token_is_one() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = SmallRng::seed_from_u64(seed);
    let (secret, now) = (Secret::new(SECRET.to_owned()), Timestamp::now());
    let keys = SigningAlgorithm::ALL.map(|algorithm| PrivateKey::generate(algorithm, None).unwrap());
    let hour = Duration::from_hours(1);
    for signs in [None, Some(0), Some(1), Some(2)] {
        let mut own = Own::secret(&secret);
        for key in &keys {
            own.put_key(key.kid(), key.algorithm().name().parse().unwrap(), &key.public().unwrap()).unwrap();
        }
        if let Some(key) = signs.map(|index: usize| &keys[index]) {
            let algorithm = key.algorithm().name().parse().unwrap();
            own.put_signer(key.kid(), algorithm, key.signing().unwrap(), Timestamp::FIRST).unwrap();
        }
        let verifier = Verifier::new(own, Duration::ZERO, 100);
        let name = "alice".try_into().unwrap();
        let new = NewToken {
            kind: Kind::Access,
            user: (UserId(1), &name),
            epoch: 0,
            session: "s",
            id: "t",
            issued_at: now,
            expires_at: now.plus(hour),
        };
        let minted = Minter::new(&verifier, hour, hour).mint(&new).unwrap();
        let token = minted.expose();
        for _ in 0..10_000 {
            assert!(verifier.verify(token, now).is_ok());
            let other = mutation(token, &mut random);
            assert!(other == *token || verifier.verify(&other, now).is_err(), "seed {seed}: {other}");
        }
    }
}
