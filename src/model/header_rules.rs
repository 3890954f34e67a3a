use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// More fields than this are not changed for one route.
const MOST: usize = 50;
/// Longest value, in bytes.
const LONGEST: usize = 4 * 1024;
/// Fields that frame a message or belong to a connection (RFC 9110 7.6.1), and those by which back ends are told who asks,
/// or what is asked for: what is forwarded must be what was authorised.
const OURS: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "client-cert",
    "client-cert-chain",
    "forwarded",
    "proxy",
    "x-forwarded",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-middleware-subrequest",
    "x-real-ip",
    "x-request-id",
];
const OUR_PREFIXES: &[&str] = &["x-auth-", "x-cedargate-", "x-forwarded-", "x-original-", "x-rewrite-"];

/// Which fields of a head are set and taken away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "ChangesFields")]
pub struct HeaderChanges {
    /// Fields by name, with their values; what was there goes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<String, String>,
    /// Names of fields that go.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ChangesFields {
    #[serde(default)]
    set: BTreeMap<String, String>,
    #[serde(default)]
    remove: Vec<String>,
}

impl TryFrom<ChangesFields> for HeaderChanges {
    type Error = String;
    fn try_from(ChangesFields { set, remove }: ChangesFields) -> Result<Self, String> {
        if set.len() + remove.len() > MOST {
            return Err(format!("at most {MOST} fields can be changed"));
        }
        let mut names: Vec<String> = set.keys().map(|name| name.to_ascii_lowercase()).collect();
        names.sort_unstable();
        if let Some(twice) =
            names.windows(2).find_map(|pair| matches!(pair, [one, other] if one == other).then(|| &pair[0]))
        {
            return Err(format!("'{twice}' is set twice"));
        }
        for (name, value) in &set {
            check_name(name)?;
            if value.len() > LONGEST || HeaderValue::from_str(value).is_err() {
                return Err(format!("the value of '{name}' is no value of a header field"));
            }
        }
        for name in &remove {
            check_name(name)?;
            if set.keys().any(|other| other.eq_ignore_ascii_case(name)) {
                return Err(format!("'{name}' is both set and removed"));
            }
        }
        Ok(Self { set, remove })
    }
}

fn check_name(name: &str) -> Result<(), String> {
    if HeaderName::from_bytes(name.as_bytes()).is_err() {
        return Err(format!("'{name}' is no name of a header field"));
    }
    // Back ends that read `_`, or every punctuation mark, as `-` would take one for ours.
    let dashed = name.to_ascii_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    if OURS.contains(&dashed.as_str()) || OUR_PREFIXES.iter().any(|prefix| dashed.starts_with(prefix)) {
        return Err(format!("'{name}' is not a route's to change"));
    }
    Ok(())
}

/// What a route changes in heads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeaderRules {
    /// Of requests, on their way to the upstream.
    #[serde(default)]
    pub request: HeaderChanges,
    /// Of answers, on their way to the client.
    #[serde(default)]
    pub response: HeaderChanges,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_routes_to_change_is_refused() {
        let read = |text: &str| serde_json::from_str::<HeaderRules>(text);
        let fine = r#"{"request": {"set": {"X-Tenant": "a"}, "remove": ["Cookie"]}}"#;
        assert_eq!(read(fine).unwrap().request.remove, ["Cookie"]);
        let bad =
            "Content-Length X-Auth-User-Id x_auth_user_id x.auth.user_id Host X-Forwarded-For X-HTTP-Method-Override";
        for bad in bad.split(' ').chain(["a b", "", "a:"]) {
            assert!(read(&serde_json::json!({"request": {"remove": [bad]}}).to_string()).is_err(), "{bad}");
            assert!(read(&serde_json::json!({"response": {"set": {bad: "1"}}}).to_string()).is_err(), "{bad}");
        }
        assert!(read(r#"{"request": {"set": {"A": "1\r\nB: 2"}}}"#).is_err());
        assert!(read(r#"{"request": {"set": {"A": "1"}, "remove": ["a"]}}"#).is_err());
        assert!(read(r#"{"request": {"set": {"A": "1", "a": "2"}}}"#).is_err());
        assert!(read(&serde_json::json!({"request": {"set": {"A": "x".repeat(4_097)}}}).to_string()).is_err());
        let many = |count: usize| (0..count).map(|n| format!("x-{n}")).collect::<Vec<_>>();
        assert!(read(&serde_json::json!({"response": {"remove": many(50)}}).to_string()).is_ok());
        assert!(read(&serde_json::json!({"response": {"remove": many(51)}}).to_string()).is_err());
    }
}
