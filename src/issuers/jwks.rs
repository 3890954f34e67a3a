//! Sets of keys (RFC 7517): what can be trusted of one.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

use super::fetch::Error;
use crate::jwt::{Algorithm, DecodingKey, TrustedKey, UnusableKey};
use crate::model::IssuerAlgorithm;

/// More keys are no issuer's, and would have to be looked through for every token.
const MOST_KEYS: usize = 64;
const LEAST_RSA_BITS: usize = 2_048;
/// Verifying takes time by the square of this.
const MOST_RSA_BITS: usize = 8_192;
const LONGEST_KID: usize = 256;

/// What a set of keys came to.
#[derive(Debug)]
pub(super) struct Keys {
    pub(super) usable: Vec<TrustedKey>,
    /// Keys that are not used: each with its reason.
    pub(super) ignored: Vec<(String, &'static str)>,
}

/// Reads a set of keys, of which those are used that sign by one of `algorithms`.
pub(super) fn read(text: &[u8], algorithms: &[IssuerAlgorithm]) -> Result<Keys, Error> {
    let malformed = |reason: String| Error::Malformed(reason);
    let set: Value = serde_json::from_slice(text).map_err(|error| malformed(format!("no set of keys: {error}")))?;
    let keys = set.get("keys").and_then(Value::as_array);
    let keys = keys.ok_or_else(|| malformed("no set of keys: there is no list of them".to_owned()))?;
    if keys.len() > MOST_KEYS {
        return Err(malformed(format!("{} keys, at most {MOST_KEYS} are looked at", keys.len())));
    }
    let mut found = Keys { usable: Vec::new(), ignored: Vec::new() };
    for (index, key) in keys.iter().enumerate() {
        let name = || key["kid"].as_str().map_or_else(|| index.to_string(), |kid| kid.chars().take(64).collect());
        match key.as_object().ok_or("no key").and_then(|key| usable(key, algorithms)) {
            Ok(key) => found.usable.push(key),
            Err(reason) => found.ignored.push((name(), reason)),
        }
    }
    Ok(found)
}

fn usable(key: &Map<String, Value>, allowed: &[IssuerAlgorithm]) -> Result<TrustedKey, &'static str> {
    let text = |name: &str| key.get(name).and_then(Value::as_str);
    if text("use").is_some_and(|purpose| purpose != "sig") {
        return Err("not for signatures");
    }
    let operations = key.get("key_ops").and_then(Value::as_array);
    if operations.is_some_and(|operations| !operations.iter().any(|operation| operation == "verify")) {
        return Err("not for verifying");
    }
    if ["d", "k", "p", "q"].iter().any(|name| key.contains_key(*name)) {
        return Err("a secret, not a public key");
    }
    let kid = text("kid");
    if kid.is_some_and(|kid| kid.is_empty() || kid.len() > LONGEST_KID) {
        return Err("its name is empty or too long");
    }
    let (possible, decoding) = match text("kty") {
        Some("RSA") => rsa(text("n"), text("e"))?,
        Some("EC") => ec(text("crv"), text("x"), text("y"))?,
        Some("OKP") => okp(text("crv"), text("x"))?,
        _ => return Err("of a kind that is not used"),
    };
    let stated = key.get("alg");
    let is_meant = |algorithm: &Algorithm| match stated {
        None => true,
        Some(stated) => stated.as_str().and_then(|name| name.parse().ok()) == Some(*algorithm),
    };
    let is_allowed = |algorithm: &Algorithm| allowed.iter().any(|allowed| of(*allowed) == *algorithm);
    let algorithms: Vec<Algorithm> =
        possible.iter().copied().filter(|algorithm| is_meant(algorithm) && is_allowed(algorithm)).collect();
    TrustedKey::new(kid, &algorithms, &decoding).map_err(|unusable| match unusable {
        UnusableKey::Malformed => "not a key of its kind",
        UnusableKey::Secret | UnusableKey::NoAlgorithm | UnusableKey::Mismatch => {
            "without an algorithm that is allowed"
        }
    })
}

fn of(algorithm: IssuerAlgorithm) -> Algorithm {
    match algorithm {
        IssuerAlgorithm::RS256 => Algorithm::RS256,
        IssuerAlgorithm::RS384 => Algorithm::RS384,
        IssuerAlgorithm::RS512 => Algorithm::RS512,
        IssuerAlgorithm::PS256 => Algorithm::PS256,
        IssuerAlgorithm::PS384 => Algorithm::PS384,
        IssuerAlgorithm::PS512 => Algorithm::PS512,
        IssuerAlgorithm::ES256 => Algorithm::ES256,
        IssuerAlgorithm::ES384 => Algorithm::ES384,
        IssuerAlgorithm::EdDSA => Algorithm::EdDSA,
    }
}

type Found = (&'static [Algorithm], DecodingKey);

fn bytes(part: Option<&str>) -> Result<Vec<u8>, &'static str> {
    URL_SAFE_NO_PAD.decode(part.ok_or("a part is missing")?).map_err(|_| "a part is not base64url")
}

fn rsa(n: Option<&str>, e: Option<&str>) -> Result<Found, &'static str> {
    let (n, e) = (bytes(n)?, bytes(e)?);
    let bits = n.iter().position(|byte| *byte != 0).map_or(0, |zeros| {
        let leading = usize::try_from(n[zeros].leading_zeros()).unwrap_or(0);
        (n.len() - zeros) * 8 - leading
    });
    if bits < LEAST_RSA_BITS {
        return Err("fewer than 2048 bits");
    }
    if bits > MOST_RSA_BITS {
        return Err("more than 8192 bits");
    }
    let exponent = e.iter().try_fold(0_u64, |sum, byte| Some(sum.checked_mul(256)? + u64::from(*byte)));
    if !exponent.is_some_and(|exponent| exponent >= 3 && exponent % 2 == 1) {
        return Err("an exponent that signs nothing");
    }
    let all: &[Algorithm] =
        &[Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::PS256, Algorithm::PS384, Algorithm::PS512];
    Ok((all, DecodingKey::from_rsa_raw_components(&n, &e)))
}

fn ec(curve: Option<&str>, x: Option<&str>, y: Option<&str>) -> Result<Found, &'static str> {
    let (length, algorithm): (usize, &[Algorithm]) = match curve {
        Some("P-256") => (32, &[Algorithm::ES256]),
        Some("P-384") => (48, &[Algorithm::ES384]),
        _ => return Err("on a curve that is not used"),
    };
    if bytes(x)?.len() != length || bytes(y)?.len() != length {
        return Err("no point of its curve");
    }
    let key = DecodingKey::from_ec_components(x.unwrap_or_default(), y.unwrap_or_default());
    Ok((algorithm, key.map_err(|_| "no point of its curve")?))
}

fn okp(curve: Option<&str>, x: Option<&str>) -> Result<Found, &'static str> {
    if curve != Some("Ed25519") {
        return Err("on a curve that is not used");
    }
    if bytes(x)?.len() != 32 {
        return Err("no point of its curve");
    }
    let key = DecodingKey::from_ed_components(x.unwrap_or_default()).map_err(|_| "no point of its curve")?;
    Ok((&[Algorithm::EdDSA], key))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ALL: &[IssuerAlgorithm] = &[IssuerAlgorithm::RS256, IssuerAlgorithm::ES256, IssuerAlgorithm::EdDSA];

    fn told(key: &Value) -> Result<usize, &'static str> {
        let keys = read(json!({ "keys": [key] }).to_string().as_bytes(), ALL).unwrap();
        match keys.ignored.first() {
            Some((_, reason)) => Err(reason),
            None => Ok(keys.usable.len()),
        }
    }

    #[test]
    fn only_public_keys_for_allowed_signatures_are_used() {
        let n = |bits: usize| URL_SAFE_NO_PAD.encode(vec![0xff; bits / 8]);
        let x = URL_SAFE_NO_PAD.encode([7; 32]);
        let rsa = |extra: Value| -> Value {
            let mut key = json!({ "kty": "RSA", "n": n(2_048), "e": "AQAB", "kid": "a" });
            key.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            key
        };
        assert_eq!(told(&rsa(json!({}))), Ok(1));
        assert_eq!(told(&rsa(json!({ "alg": "RS256", "use": "sig" }))), Ok(1));
        assert_eq!(told(&json!({ "kty": "OKP", "crv": "Ed25519", "x": x })), Ok(1));
        for (key, reason) in [
            (rsa(json!({ "use": "enc" })), "not for signatures"),
            (rsa(json!({ "key_ops": ["encrypt"] })), "not for verifying"),
            (rsa(json!({ "n": n(1_024) })), "fewer than 2048 bits"),
            (rsa(json!({ "n": n(16_384) })), "more than 8192 bits"),
            (rsa(json!({ "e": "AQ" })), "an exponent that signs nothing"),
            (rsa(json!({ "d": "AQAB" })), "a secret, not a public key"),
            (rsa(json!({ "alg": "PS256" })), "without an algorithm that is allowed"),
            (rsa(json!({ "alg": "HS256" })), "without an algorithm that is allowed"),
            (rsa(json!({ "alg": "ES256" })), "without an algorithm that is allowed"),
            (rsa(json!({ "alg": 1 })), "without an algorithm that is allowed"),
            (rsa(json!({ "kid": "" })), "its name is empty or too long"),
            (json!({ "kty": "oct", "k": "AQAB" }), "a secret, not a public key"),
            (json!({ "kty": "oct" }), "of a kind that is not used"),
            (json!({ "kty": "EC", "crv": "P-521", "x": x, "y": x }), "on a curve that is not used"),
            (json!({ "kty": "EC", "crv": "P-384", "x": x, "y": x }), "no point of its curve"),
            (json!({ "kty": "OKP", "crv": "X25519", "x": x }), "on a curve that is not used"),
            (json!("key"), "no key"),
        ] {
            assert_eq!(told(&key), Err(reason), "{key}");
        }
        let many: Vec<Value> = (0..10_000).map(|_| json!({})).collect();
        assert!(read(json!({ "keys": many }).to_string().as_bytes(), ALL).is_err());
        for text in ["", "[]", "{}", r#"{"keys":{}}"#] {
            assert!(read(text.as_bytes(), ALL).is_err());
        }
    }
}
