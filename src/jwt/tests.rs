use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{private_key::of_jwt, *};
use crate::model::{Secret, SigningAlgorithm, Timestamp};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn verifier() -> Verifier {
    Verifier::new(Own::secret(&Secret::new(SECRET.to_owned())), Duration::ZERO, 100)
}

fn now() -> Timestamp {
    Timestamp::now()
}

fn signed(header: &Value, payload: &str) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(payload));
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
    format!("{message}.{signature}")
}

fn refused(token: &str) -> bool {
    matches!(verifier().verify(token, now()), Err(Error::Invalid(_) | Error::Kind))
}

#[test]
fn tokens_of_the_predecessor_are_honoured() {
    let exp = now().unix_seconds() + 60;
    let claims = json!({ "sub": "alice", "exp": exp });
    let token =
        jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap();
    let read = verifier().verify(&token, now()).unwrap();
    assert_eq!((read.subject.as_str(), read.user_id, read.epoch), ("alice", None, 0));
}

#[test]
fn expiry_is_checked_on_a_cache_hit() {
    let verifier = verifier();
    let exp = now().unix_seconds() + 60;
    let token = signed(&json!({ "alg": "HS256" }), &json!({ "sub": "a", "exp": exp }).to_string());
    assert!(verifier.verify(&token, now()).is_ok());
    assert_eq!(verifier.verify(&token, now().plus_seconds(61)), Err(Error::Expired));
    assert!(verifier.verify(&token, now()).is_ok());
}

#[test]
fn headers_are_refused() {
    let payload = json!({ "sub": "a", "exp": now().unix_seconds() + 60 }).to_string();
    for header in [
        json!({ "alg": "none" }),
        json!({ "alg": "None" }),
        json!({ "alg": "nOnE" }),
        json!({ "alg": "HS384" }),
        json!({ "alg": "RS256" }),
        json!({ "alg": ["HS256"] }),
        json!({ "alg": "HS256", "crit": ["exp"] }),
        json!({ "alg": "HS256", "jwk": {} }),
        json!({ "alg": "HS256", "jku": "http://127.0.0.1/keys" }),
        json!({}),
    ] {
        assert!(refused(&signed(&header, &payload)), "{header}");
    }
}

#[test]
fn claims_are_refused() {
    let exp = now().unix_seconds() + 60;
    for payload in [
        r#"{"sub":"a"}"#.to_owned(),
        format!(r#"{{"sub":"a","exp":"{exp}"}}"#),
        format!(r#"{{"sub":"a","exp":{exp}.0}}"#),
        r#"{"sub":"a","exp":1e400}"#.to_owned(),
        r#"{"sub":"a","exp":null}"#.to_owned(),
        r#"{"sub":"a","exp":-1}"#.to_owned(),
        format!(r#"{{"sub":"a","exp":{exp},"nbf":{}}}"#, exp + 60),
        format!(r#"{{"sub":"a","exp":{exp},"nbf":"1"}}"#),
        format!(r#"{{"sub":"a","sub":"b","exp":{exp}}}"#),
        format!(r#"{{"sub":"","exp":{exp}}}"#),
        format!(r#"{{"exp":{exp}}}"#),
        format!(r#"{{"sub":"a","exp":{exp},"type":"refresh"}}"#),
        "[]".to_owned(),
    ] {
        assert!(refused(&signed(&json!({ "alg": "HS256" }), &payload)), "{payload}");
    }
}

#[test]
fn shapes_are_refused() {
    let dots = ".".repeat(1_000_000);
    let long = "a".repeat(1_000_000);
    for token in ["", ".", "..", "a.b", "a.b.c.d", dots.as_str(), long.as_str()] {
        assert!(refused(token));
    }
}

proptest! {
    #[test]
    fn no_mutation_of_a_valid_token_is_accepted(position in 0usize..120, byte in 33u8..127) {
        let token = signed(&json!({ "alg": "HS256" }), &json!({ "sub": "a", "exp": 4_000_000_000_i64 }).to_string());
        let position = position % token.len();
        let mut bytes = token.clone().into_bytes();
        bytes[position] = byte;
        let changed = String::from_utf8(bytes).unwrap();
        prop_assume!(changed != token);
        prop_assert!(verifier().verify(&changed, now()).is_err());
    }
}

const FOREIGN: &str = "https://issuer.example";

fn rsa() -> &'static PrivateKey {
    static KEY: std::sync::LazyLock<PrivateKey> =
        std::sync::LazyLock::new(|| PrivateKey::generate(SigningAlgorithm::Rs256, None).unwrap());
    &KEY
}

fn keys() -> Vec<PrivateKey> {
    let mut keys = vec![PrivateKey::from_pem(rsa().pem()).unwrap()];
    keys.extend([SigningAlgorithm::EdDsa, SigningAlgorithm::Es256].map(|it| PrivateKey::generate(it, None).unwrap()));
    keys
}

/// A token with these words, signed by `key`.
fn by(key: &PrivateKey, header: &Value, payload: &Value) -> String {
    let text = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", text(header), text(payload));
    let algorithm = of_jwt(key.algorithm());
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key.signing().unwrap(), algorithm).unwrap();
    format!("{message}.{signature}")
}

fn header_of(key: &PrivateKey) -> Value {
    json!({ "alg": key.algorithm().name(), "kid": key.kid(), "typ": "at+jwt" })
}

fn ours() -> Value {
    let exp = now().unix_seconds() + 60;
    json!({ "sub": "a", "uid": 1, "exp": exp, "iss": "cedargate", "aud": "cedargate", "type": "access" })
}

fn with_keys(keys: &[PrivateKey]) -> Verifier {
    let verifier = verifier();
    let mut own = Own::secret(&Secret::new(SECRET.to_owned()));
    for key in keys {
        own.put_key(key.kid(), of_jwt(key.algorithm()), &key.public().unwrap()).unwrap();
    }
    verifier.put_own(own);
    verifier
}

#[test]
fn keys_of_every_algorithm_verify_by_their_name() {
    let keys = keys();
    let verifier = with_keys(&keys);
    for key in &keys {
        let token = by(key, &header_of(key), &ours());
        assert!(verifier.verify(&token, now()).is_ok(), "{:?}", key.algorithm());
        for (name, other) in [
            ("kid", Value::Null),
            ("kid", json!("")),
            ("kid", json!("../../dev/null")),
            ("kid", json!("' OR 1=1 --")),
            ("kid", json!("k".repeat(4_000))),
            ("alg", json!("HS256")),
            ("alg", json!("none")),
            ("alg", json!("PS256")),
            ("typ", json!("JWT")),
            ("typ", json!("rt+jwt")),
            ("typ", Value::Null),
        ] {
            let mut header = header_of(key);
            header[name] = other;
            assert!(verifier.verify(&by(key, &header, &ours()), now()).is_err(), "{header}");
        }
        let mut nameless = header_of(key);
        nameless.as_object_mut().unwrap().remove("kid");
        assert!(verifier.verify(&by(key, &nameless, &ours()), now()).is_err());
        // Each name has one key: another's signature under it is none.
        for other in keys.iter().filter(|other| other.kid() != key.kid()) {
            assert!(verifier.verify(&by(other, &header_of(key), &ours()), now()).is_err());
        }
    }
}

#[test]
fn tokens_of_named_keys_say_by_whom_and_for_whom() {
    let key = PrivateKey::generate(SigningAlgorithm::EdDsa, None).unwrap();
    let verifier = with_keys(std::slice::from_ref(&key));
    for (name, value) in [
        ("iss", Value::Null),
        ("iss", json!("")),
        ("iss", json!("cedargate ")),
        ("iss", json!(["cedargate"])),
        ("aud", Value::Null),
        ("aud", json!("")),
        ("aud", json!("somebody")),
        ("aud", json!([])),
        ("aud", json!(["somebody"])),
        ("aud", json!(["cedargate", 1])),
        ("type", json!("refresh")),
        ("type", Value::Null),
    ] {
        let mut claims = ours();
        claims[name] = value;
        assert!(verifier.verify(&by(&key, &header_of(&key), &claims), now()).is_err(), "{claims}");
        claims.as_object_mut().unwrap().remove(name);
        assert!(verifier.verify(&by(&key, &header_of(&key), &claims), now()).is_err(), "{claims}");
    }
    let mut claims = ours();
    claims["aud"] = json!(["somebody", "cedargate"]);
    assert!(verifier.verify(&by(&key, &header_of(&key), &claims), now()).is_ok());
    // With the shared secret they may be absent, not wrong.
    let hs = |claims: Value| verifier.verify(&signed(&json!({ "alg": "HS256" }), &claims.to_string()), now());
    assert!(hs(ours()).is_ok());
    claims["aud"] = json!("somebody");
    assert!(hs(claims.clone()).is_err());
    claims["aud"] = json!("cedargate");
    claims["iss"] = json!("somebody");
    assert!(hs(claims).is_err());
}

#[test]
fn a_key_that_is_taken_away_takes_its_tokens_with_it() {
    let key = PrivateKey::generate(SigningAlgorithm::Es256, None).unwrap();
    let verifier = with_keys(std::slice::from_ref(&key));
    let token = by(&key, &header_of(&key), &ours());
    assert!(verifier.verify(&token, now()).is_ok());
    assert!(verifier.remembered_bytes() > 0);
    verifier.put_own(Own::secret(&Secret::new(SECRET.to_owned())));
    assert_eq!(verifier.verify(&token, now()), Err(Error::Invalid("kid is no key of ours")));
}

fn foreign(key: &PrivateKey, kid: Option<&str>) -> Issuer {
    let algorithm = of_jwt(key.algorithm());
    Issuer {
        name: FOREIGN.into(),
        audiences: vec!["us".to_owned()],
        leeway: Duration::from_secs(10),
        types: vec!["jwt".to_owned(), "at+jwt".to_owned()],
        keys: vec![TrustedKey::new(kid, &[algorithm], &key.public().unwrap()).unwrap()],
    }
}

#[test]
fn another_issuer_vouches_with_its_own_keys_for_its_own_subjects() {
    let (theirs, our_key) = (rsa(), PrivateKey::generate(SigningAlgorithm::EdDsa, None).unwrap());
    let verifier = with_keys(std::slice::from_ref(&our_key));
    let exp = now().unix_seconds() + 60;
    let claims = json!({ "sub": "a", "uid": 1, "sid": "s", "exp": exp, "iss": FOREIGN, "aud": ["x", "us"] });
    let header = json!({ "alg": "RS256", "kid": "k1" });
    let token = by(theirs, &header, &claims);
    assert_eq!(verifier.verify(&token, now()), Err(Error::Invalid("iss is nobody trusted")));
    verifier.change_issuers(|issuers| issuers.put(foreign(theirs, Some("k1"))));
    let read = verifier.verify(&token, now()).unwrap();
    assert_eq!((read.issuer.as_deref(), read.user_id, read.session_id.as_deref()), (Some(FOREIGN), None, None));
    assert!(read.token_id.is_some());
    // What is ours alone may mean anything to others; what is no access token of theirs is none here (threats 54).
    let mut odd = claims.clone();
    (odd["uid"], odd["ver"], odd["sid"], odd["jti"]) = (json!("00u1"), json!("2.0"), json!(7), json!([]));
    odd["type"] = json!(["x"]);
    assert!(verifier.verify(&by(theirs, &header, &odd), now()).is_ok());
    for (name, value) in [("type", "refresh"), ("typ", "Offline"), ("typ", "Refresh"), ("token_type", "REFRESH")] {
        let mut refresh = claims.clone();
        refresh[name] = json!(value);
        assert_eq!(verifier.verify(&by(theirs, &header, &refresh), now()), Err(Error::Kind), "{name}");
    }
    for exp in [i64::MAX, exp * 1_000, 253_402_300_800] {
        let mut far = claims.clone();
        far["exp"] = json!(exp);
        assert!(verifier.verify(&by(theirs, &header, &far), now()).is_err(), "{exp}");
    }
    // Its own leeway.
    assert!(verifier.verify(&token, now().plus_seconds(65)).is_ok());
    assert_eq!(verifier.verify(&token, now().plus_seconds(75)), Err(Error::Expired));
    assert_eq!(verifier.verify_refresh(&token, now()), Err(Error::Kind));
    // A key that it may have by now.
    let unknown = Err(Error::UnknownKey { issuer: FOREIGN.into() });
    assert_eq!(verifier.verify(&by(theirs, &json!({ "alg": "RS256", "kid": "k2" }), &claims), now()), unknown);
    // Neither vouches for the other.
    let mut as_us = claims.clone();
    as_us["iss"] = json!("cedargate");
    as_us["aud"] = json!("cedargate");
    assert!(verifier.verify(&by(theirs, &header, &as_us), now()).is_err());
    assert_eq!(verifier.verify(&by(&our_key, &header_of(&our_key), &claims), now()), unknown);
    assert!(verifier.verify(&signed(&json!({ "alg": "HS256" }), &claims.to_string()), now()).is_err());
    for audience in [Value::Null, json!(""), json!([]), json!("other"), json!({ "us": 1 })] {
        let mut other = claims.clone();
        other["aud"] = audience;
        assert!(verifier.verify(&by(theirs, &header, &other), now()).is_err(), "{other}");
    }
    verifier.change_issuers(|issuers| issuers.remove(FOREIGN));
    assert!(verifier.verify(&token, now()).is_err());
}

#[test]
fn a_token_without_kid_wants_the_one_key_that_fits() {
    let (one, other) = (rsa(), PrivateKey::generate(SigningAlgorithm::Rs256, None).unwrap());
    let verifier = verifier();
    let exp = now().unix_seconds() + 60;
    let token = by(one, &json!({ "alg": "RS256" }), &json!({ "sub": "a", "exp": exp, "iss": FOREIGN, "aud": "us" }));
    let mut issuer = foreign(one, None);
    verifier.change_issuers(|issuers| issuers.put(issuer.clone()));
    assert!(verifier.verify(&token, now()).is_ok());
    issuer.keys.extend(foreign(&other, None).keys);
    verifier.change_issuers(|issuers| issuers.put(issuer.clone()));
    assert_eq!(verifier.verify(&token, now()), Err(Error::Invalid("no kid, and several keys")));
}

#[test]
fn secrets_are_no_public_keys() {
    let secret = || DecodingKey::from_secret(b"public");
    assert_eq!(TrustedKey::new(None, &[Algorithm::HS256], &secret()).unwrap_err(), UnusableKey::Secret);
    let public = || rsa().public().unwrap();
    assert_eq!(TrustedKey::new(None, &[Algorithm::HS256], &public()).unwrap_err(), UnusableKey::Mismatch);
    assert_eq!(TrustedKey::new(None, &[], &public()).unwrap_err(), UnusableKey::NoAlgorithm);
    let mut own = Own::secret(&Secret::new(SECRET.to_owned()));
    assert_eq!(own.put_key("k", Algorithm::HS256, &secret()), Err(UnusableKey::Secret));
    assert_eq!(own.put_key("k", Algorithm::ES256, &public()), Err(UnusableKey::Mismatch));
    let elsewhere = URL_SAFE_NO_PAD.encode([1; 32]);
    let no_point = DecodingKey::from_ec_components(&elsewhere, &elsewhere).unwrap();
    assert_eq!(TrustedKey::new(None, &[Algorithm::ES256], &no_point).unwrap_err(), UnusableKey::Malformed);
}

#[test]
fn keys_that_stand_twice_are_refused_at_any_depth() {
    let exp = now().unix_seconds() + 60;
    for payload in [
        format!(r#"{{"sub":"a","exp":{exp},"realm":{{"roles":["a"],"roles":["b"]}}}}"#),
        format!(r#"{{"sub":"a","exp":{exp},"list":[{{"x":1,"x":2}}]}}"#),
        format!(r#"{{"sub":"a","s\u0075b":"b","exp":{exp}}}"#),
    ] {
        assert!(refused(&signed(&json!({ "alg": "HS256" }), &payload)), "{payload}");
    }
}
