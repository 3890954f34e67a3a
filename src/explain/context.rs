//! What a request would bring along beside its address: a closed set of keys.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::model::{Claims, ClientCertificate, Timestamp, rules::UserState};

/// The keys, for whoever has to say which there are.
pub const KEYS: [&str; 9] =
    ["client_ip", "now", "host", "claims", "scopes", "mfa", "tenant", "issuer", "client_certificate"];

/// A token is not longer either.
const MOST_CLAIM_BYTES: usize = 16 * 1024;
/// Claims that say whose token it is: those of the user who is asked about.
const OWN_CLAIMS: [&str; 4] = ["sub", "uid", "ver", "type"];

/// What differs from a request that is made at this moment from this machine, with a token that says nothing special.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[schemars(inline, with = "Raw")]
#[serde(try_from = "Map<String, Value>")]
pub struct Context {
    pub(super) client_ip: Option<IpAddr>,
    pub(super) now: Option<Timestamp>,
    pub(super) host: Option<String>,
    /// All that the token says beyond whose it is.
    pub(super) claims: Map<String, Value>,
    pub(super) client_certificate: Option<ClientCertificate>,
}

/// The same as it is written.
#[derive(Default, Deserialize, JsonSchema)]
#[schemars(inline)]
#[serde(default, deny_unknown_fields)]
struct Raw {
    /// The client's address.
    client_ip: Option<IpAddr>,
    /// When the request is made.
    now: Option<Timestamp>,
    /// The host it is made to, where the address names none.
    host: Option<String>,
    /// Claims of the token.
    claims: Map<String, Value>,
    /// The claim `scope`, word by word.
    scopes: Option<Vec<String>>,
    /// Whether the claim `amr` has `mfa` in it.
    mfa: Option<bool>,
    /// The claim `tenant`.
    tenant: Option<String>,
    /// The claim `iss`.
    issuer: Option<String>,
    /// What the client's certificate says; what is left out is empty.
    client_certificate: Option<ClientCertificate>,
}

impl TryFrom<Map<String, Value>> for Context {
    /// What is wrong, with the key.
    type Error = String;

    fn try_from(object: Map<String, Value>) -> Result<Self, String> {
        let raw: Raw = serde_path_to_error::deserialize(Value::Object(object)).map_err(|error| {
            match error.path().iter().next() {
                Some(_) => format!("{}: {}", error.path(), error.inner()),
                None => error.inner().to_string(),
            }
        })?;
        if let Some(own) = OWN_CLAIMS.iter().find(|name| raw.claims.contains_key(**name)) {
            return Err(format!("claims: '{own}' says whose token it is, which the user does"));
        }
        if let Some(scope) = raw.scopes.iter().flatten().find(|scope| !is_scope(scope)) {
            return Err(format!("scopes: '{scope}' is not one word"));
        }
        let mut claims = raw.claims;
        let short = [
            ("scopes", "scope", raw.scopes.map(|scopes| Value::from(scopes.join(" ")))),
            ("mfa", "amr", raw.mfa.map(|mfa| if mfa { json!(["mfa"]) } else { json!([]) })),
            ("tenant", "tenant", raw.tenant.map(Value::from)),
            ("issuer", "iss", raw.issuer.map(Value::from)),
        ];
        for (key, claim, value) in short {
            let Some(value) = value else { continue };
            if claims.insert(claim.to_owned(), value).is_some() {
                return Err(format!("{key}: the claim '{claim}' is given already"));
            }
        }
        let bytes = Value::Object(claims.clone()).to_string().len();
        if bytes > MOST_CLAIM_BYTES {
            return Err(format!("claims: {bytes} bytes, {MOST_CLAIM_BYTES} at most"));
        }
        let Raw { client_ip, now, host, client_certificate, .. } = raw;
        Ok(Self { client_ip, now, host, claims, client_certificate })
    }
}

impl Context {
    /// Reads what the command line says: `KEY=VALUE`, `claims.NAME=VALUE` for one claim, or `client_certificate.NAME=VALUE`
    /// for what a certificate says.
    ///
    /// # Errors
    /// A text of another form, a key that is not one of [`KEYS`] or is given twice, or a value that does not fit it.
    pub fn from_pairs<'p>(pairs: impl IntoIterator<Item = &'p str>) -> Result<Self, String> {
        let mut object = Map::new();
        let (mut claims, mut certificate) = (Map::new(), Map::new());
        for pair in pairs {
            let (key, text) = pair.split_once('=').ok_or_else(|| format!("'{pair}' is not KEY=VALUE"))?;
            let before = match key.split_once('.') {
                Some(("claims", claim)) => claims.insert(claim.to_owned(), json_or_text(text)),
                Some(("client_certificate", field)) => certificate.insert(field.to_owned(), value(field, text)),
                _ => object.insert(key.to_owned(), value(key, text)),
            };
            if before.is_some() {
                return Err(format!("{key} is given twice"));
            }
        }
        for (key, part) in [("claims", claims), ("client_certificate", certificate)] {
            if !part.is_empty() && object.insert(key.to_owned(), Value::Object(part)).is_some() {
                return Err(format!("{key} is given twice, whole and in part"));
            }
        }
        Self::try_from(object)
    }

    /// Whether it speaks of a token.
    pub(super) fn has_claims(&self) -> bool {
        !self.claims.is_empty()
    }

    /// What the user's token would say.
    pub(super) fn token(&self, user: &UserState) -> Claims {
        let own = [
            ("sub", json!(user.username)),
            ("uid", json!(user.id)),
            ("ver", json!(user.token_epoch)),
            ("type", json!("access")),
        ];
        let own = own.map(|(name, value)| (name.to_owned(), value));
        let all: Map<String, Value> = own.into_iter().chain(self.claims.clone()).collect();
        let all = all.into();
        Claims { user_id: Some(user.id), epoch: user.token_epoch, all, ..Claims::none(&user.username) }
    }
}

fn is_scope(scope: &str) -> bool {
    !scope.is_empty() && !scope.contains(|c: char| c.is_ascii_whitespace())
}

fn value(key: &str, text: &str) -> Value {
    match key {
        "scopes" | "dns_names" | "uris" => text.split([' ', ',']).filter(|word| !word.is_empty()).collect(),
        "mfa" | "claims" | "client_certificate" => json_or_text(text),
        _ => text.into(),
    }
}

fn json_or_text(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: Value) -> Result<Context, String> {
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    #[test]
    fn the_keys_are_those_that_are_read() {
        let told = read(json!({ "nonsense": 1 })).unwrap_err();
        let listed: Vec<&str> = told.split('`').skip(3).step_by(2).collect();
        assert_eq!(listed, KEYS, "{told}");
    }

    #[test]
    fn short_forms_become_claims() {
        let pairs = ["scopes=a, b", "mfa=true", "tenant=t1", "issuer=https://id", "claims.level=3", "claims.dept=x"];
        let context = Context::from_pairs(pairs).unwrap();
        let claims = json!({
            "level": 3, "dept": "x", "scope": "a b", "amr": ["mfa"], "tenant": "t1", "iss": "https://id",
        });
        assert_eq!(Value::Object(context.claims.clone()), claims);
        let same = json!({ "claims": { "level": 3, "dept": "x" }, "scopes": ["a", "b"], "mfa": true, "tenant": "t1",
            "issuer": "https://id" });
        assert_eq!(read(same), Ok(context));
        let place = Context::from_pairs(["client_ip=::1", "now=2026-01-02T03:04:05Z", "host=a.example"]).unwrap();
        assert_eq!((place.client_ip, place.has_claims()), (Some("::1".parse().unwrap()), false));
        assert_eq!(place.now.map(|now| now.to_string()).as_deref(), Some("2026-01-02T03:04:05.000000Z"));
    }

    #[test]
    fn a_certificate_is_told_whole_or_in_part() {
        let parts = ["client_certificate.subject=CN=a,O=b", "client_certificate.uris=spiffe://a/1 spiffe://a/2"];
        let context = Context::from_pairs(parts).unwrap();
        let certificate = context.client_certificate.clone().unwrap();
        assert_eq!((certificate.subject.as_str(), certificate.uris.len()), ("CN=a,O=b", 2));
        assert!(!context.has_claims());
        let whole =
            json!({ "client_certificate": { "subject": "CN=a,O=b", "uris": ["spiffe://a/1", "spiffe://a/2"] } });
        assert_eq!(read(whole), Ok(context));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (pairs, told) in [
            (&["mfa"][..], "'mfa' is not KEY=VALUE"),
            (&["mfa=1"], "mfa: invalid type"),
            (&["mfa=true", "mfa=true"], "mfa is given twice"),
            (&["client_ip=here"], "client_ip: "),
            (&["now=yesterday"], "now: RFC 3339 is expected"),
            (&["claims=1"], "claims: invalid type"),
            (&["claims={\"a\":1}", "claims.b=2"], "claims is given twice, whole and in part"),
            (&["client_certificate.name=a"], "client_certificate.name: unknown field `name`"),
            (&["client_certificate.fingerprint=AB"], "client_certificate: fingerprint: 64 lower-case"),
            (&["client_certificate=a"], "client_certificate: invalid type"),
            (&["claims.sub=root"], "claims: 'sub' says whose token it is"),
            (&["claims.iss=a", "issuer=b"], "issuer: the claim 'iss' is given already"),
            (&["colour=red"], "unknown field `colour`"),
        ] {
            let error = Context::from_pairs(pairs.iter().copied()).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
        assert!(read(json!({ "scopes": ["a b"] })).unwrap_err().contains("is not one word"));
        let long = "x".repeat(MOST_CLAIM_BYTES);
        assert!(read(json!({ "claims": { "a": long } })).unwrap_err().contains("at most"));
    }
}
