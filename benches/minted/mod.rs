//! Tokens of our own, for the benchmarks that verify them.

use std::time::Duration;

use cedargate::{
    jwt::{Kind, Minter, NewToken, Own, PrivateKey, Verifier},
    model::{Secret, Timestamp, UserId},
};

pub(crate) const SECRET: &str = "benchmark-benchmark-benchmark-benchmark";

/// So many different tokens signed with `key`, or with a secret, and a verifier that remembers some of them.
pub(crate) fn tokens(
    key: Option<&PrivateKey>,
    count: usize,
    remembered: usize,
    now: Timestamp,
) -> (Verifier, Vec<Secret<String>>) {
    let verifier = Verifier::new(own(key), Duration::ZERO, remembered);
    let minter = Minter::new(&verifier, Duration::from_hours(1), Duration::from_hours(24));
    let name = "alice".try_into().unwrap();
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
    let tokens = (0..count).map(mint).collect();
    (verifier, tokens)
}

fn own(key: Option<&PrivateKey>) -> Own {
    let mut own = Own::secret(&Secret::new(SECRET.to_owned()));
    if let Some(key) = key {
        let algorithm = key.algorithm().name().parse().unwrap();
        own.put_key(key.kid(), algorithm, &key.public().unwrap()).unwrap();
        own.put_signer(key.kid(), algorithm, key.signing().unwrap(), Timestamp::FIRST).unwrap();
    }
    own
}
