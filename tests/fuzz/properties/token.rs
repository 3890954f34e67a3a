use std::sync::LazyLock;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use cedargate::jwt::{Kind, Minter, NewToken, Own, Verifier};
use cedargate::model::{Claims, Secret, Timestamp, UserId};
use serde_json::Value;

const SECRET: &str = "fuzzing-only-fuzzing-only-fuzzing-only-fuzzing-48";

struct Fixed {
    now: Timestamp,
    verifier: Verifier,
    key: hmac::Key,
    /// The one token that was really made.
    token: String,
}

/// The same for every input: a token in the corpus stays valid.
static FIXED: LazyLock<Fixed> = LazyLock::new(|| {
    let now = Timestamp::FIRST.plus_seconds(1_800_000_000);
    let verifier = Verifier::new(Own::secret(&Secret::new(SECRET.to_owned())), Duration::ZERO, 16);
    let name = "alice".try_into().unwrap();
    let hour = Duration::from_hours(1);
    let new = NewToken {
        kind: Kind::Access,
        user: (UserId(1), &name),
        epoch: 0,
        session: "s",
        id: "t",
        issued_at: now,
        expires_at: now.plus(hour),
    };
    let token = Minter::new(&verifier, hour, hour).mint(&new).unwrap().expose().clone();
    Fixed { now, verifier, key: hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), token }
});

/// As text, nothing is a token but the one that was made. As a header and claims, each on a line of its own, which are
/// signed here: what is accepted says what a strict reader finds in it.
pub(super) fn holds(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let fixed = &*FIXED;
    let Some((header, claims)) = text.split_once('\n') else {
        let accepted = fixed.verifier.verify(text, fixed.now).is_ok();
        assert_eq!(accepted, text == fixed.token, "{text:?}");
        assert!(fixed.verifier.verify_refresh(text, fixed.now).is_err(), "{text:?}");
        return;
    };
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&fixed.key, message.as_bytes()));
    let token = format!("{message}.{signature}");
    if let Ok(accepted) = fixed.verifier.verify(&token, fixed.now) {
        strict(header, claims, &accepted, fixed.now);
        // Remembered, it says the same.
        assert!(fixed.verifier.verify(&token, fixed.now).is_ok_and(|again| again.all == accepted.all));
        let later = fixed.now.plus_seconds(accepted.expires_at);
        assert!(fixed.verifier.verify(&token, later).is_err(), "{claims}");
    }
}

fn strict(header: &str, claims: &str, accepted: &Claims, now: Timestamp) {
    let header: Value = serde_json::from_str(header).unwrap();
    assert_eq!(header["alg"], "HS256", "{header}");
    for name in ["crit", "jwk", "jku", "x5u", "x5c", "zip", "enc"] {
        assert!(header.get(name).is_none(), "{header}");
    }
    let parsed: Value = serde_json::from_str(claims).unwrap();
    let kept = accepted.all.iter().map(|(name, stated)| (name.to_owned(), stated.value())).collect();
    assert_eq!(parsed, Value::Object(kept), "{claims}");
    // What stands twice would have been lost by now.
    assert_eq!(parsed["sub"], *accepted.subject, "{claims}");
    assert_eq!(parsed["exp"].as_i64(), Some(accepted.expires_at), "{claims}");
    assert!(Timestamp::FIRST.plus_seconds(accepted.expires_at) > now, "{claims}");
    assert!(parsed.get("nbf").is_none_or(|from| from.as_i64().is_some()), "{claims}");
    assert_ne!(parsed["type"], "refresh", "{claims}");
    assert!(accepted.issuer.is_none(), "{claims}");
}
