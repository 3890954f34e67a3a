//! Identity providers whose tokens are believed, and what becomes of what those say.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use url::{Host, Url};

use super::{ClaimSet, IssuerId, RoleName, address::is_public_address, nearest};

/// Issuers that are trusted at once, those of the settings included.
pub const MOST_ISSUERS: usize = 64;
/// Role names in one token; one that has more is refused, since it cannot be told which of them matter.
pub const MOST_ROLES: usize = 128;
const MOST_AUDIENCES: usize = 32;
const MOST_MAPPED: usize = 256;
const LONGEST_NAME: usize = 63;
const LONGEST_TEXT: usize = 512;
const LONGEST_URL: usize = 2_048;
const LONGEST_LEEWAY_S: u32 = 60;

/// A signature of a key pair; secrets that are shared with others are no option.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the names of RFC 7518 and RFC 8037")]
pub enum IssuerAlgorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

/// Who somebody with a token of an issuer is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum IssuerPrincipal {
    /// An account here, found by a claim the first time.
    #[default]
    Account,
    /// The same, and one is made if there is none.
    Create,
    /// Nobody but what the token says: no account is needed.
    Claims,
}

/// An issuer as settings and clients write it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IssuerSpec {
    /// What it is called here: `[a-z0-9][a-z0-9_-]{0,62}`.
    pub name: String,
    /// The tokens' `iss`, exactly.
    pub issuer: String,
    /// Where its keys are, if discovery (`<issuer>/.well-known/openid-configuration`) shall not find that out.
    #[serde(default)]
    pub jwks_url: Option<String>,
    /// A file with its keys, if nothing shall be fetched; in the settings only.
    #[serde(default)]
    pub jwks_file: Option<String>,
    /// One of these is in the tokens' `aud`.
    pub audiences: Vec<String>,
    /// How its tokens may be signed.
    #[serde(default = "usual_algorithms")]
    pub algorithms: Vec<IssuerAlgorithm>,
    /// By how much its clock may differ.
    #[serde(default = "usual_leeway")]
    pub leeway_seconds: u32,
    /// Whether its keys may be fetched from addresses that are not public.
    #[serde(default)]
    pub allow_private_addresses: bool,
    /// Whether they may be fetched without TLS, from such addresses only.
    #[serde(default)]
    pub allow_http: bool,
    /// Who somebody with its token is.
    #[serde(default)]
    pub principal: IssuerPrincipal,
    /// The claim with the user name, or `email`, by which an account is found the first time.
    #[serde(default = "usual_claim")]
    pub user_claim: String,
    /// The claim with role names, in an array or with spaces between; dots lead into objects.
    #[serde(default)]
    pub roles_claim: Option<String>,
    /// Which role a value of that claim stands for; without it, the role of that name.
    #[serde(default)]
    pub roles: Option<BTreeMap<String, String>>,
    /// Whether system roles may be had by it, and accounts that have one be found.
    #[serde(default)]
    pub system_roles: bool,
}

fn usual_algorithms() -> Vec<IssuerAlgorithm> {
    vec![IssuerAlgorithm::RS256, IssuerAlgorithm::ES256, IssuerAlgorithm::EdDSA]
}

fn usual_leeway() -> u32 {
    5
}

fn usual_claim() -> String {
    "sub".to_owned()
}

/// What is wrong with an issuer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} {reason}")]
pub struct IssuerFault {
    /// The field.
    pub field: String,
    /// What is wrong with it.
    pub reason: String,
}

fn fault(field: &str, reason: impl Into<String>) -> IssuerFault {
    IssuerFault { field: field.to_owned(), reason: reason.into() }
}

/// Nothing but what need not be said; it has to be given a name, an `iss` and audiences.
impl Default for IssuerSpec {
    fn default() -> Self {
        Self {
            name: String::new(),
            issuer: String::new(),
            jwks_url: None,
            jwks_file: None,
            audiences: Vec::new(),
            algorithms: usual_algorithms(),
            leeway_seconds: usual_leeway(),
            allow_private_addresses: false,
            allow_http: false,
            principal: IssuerPrincipal::default(),
            user_claim: usual_claim(),
            roles_claim: None,
            roles: None,
            system_roles: false,
        }
    }
}

impl IssuerSpec {
    /// The names of all fields.
    pub const FIELDS: [&str; 14] = [
        "name",
        "issuer",
        "jwks_url",
        "jwks_file",
        "audiences",
        "algorithms",
        "leeway_seconds",
        "allow_private_addresses",
        "allow_http",
        "principal",
        "user_claim",
        "roles_claim",
        "roles",
        "system_roles",
    ];

    /// Reads one from JSON.
    ///
    /// # Errors
    /// A key that does not exist, with the one that was probably meant, and a value of the wrong type.
    pub fn read(object: Map<String, Value>) -> Result<Self, IssuerFault> {
        if let Some(unknown) = object.keys().find(|key| !Self::FIELDS.contains(&key.as_str())) {
            let near = nearest(unknown, Self::FIELDS).map(|name| format!(", did you mean {name}?"));
            return Err(fault(unknown, format!("is not a key of an issuer{}", near.unwrap_or_default())));
        }
        serde_path_to_error::deserialize(Value::Object(object)).map_err(|error| {
            let told = error.inner().to_string();
            let missing = told.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
            match missing {
                Some(name) => fault(name, "is missing"),
                None => fault(&error.path().to_string(), format!("does not fit: {told}")),
            }
        })
    }
}

/// Where an issuer's keys come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeySource<'i> {
    /// What discovery says.
    Discovery,
    /// An address.
    Url(&'i str),
    /// A file.
    File(&'i Path),
}

/// An issuer that can work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    id: Option<IssuerId>,
    spec: IssuerSpec,
}

/// All that are trusted, by `iss`.
pub type Issuers = HashMap<Arc<str>, Arc<Issuer>>;

impl Issuer {
    /// An issuer of the database.
    ///
    /// # Errors
    /// The first thing that cannot work.
    pub fn stored(id: IssuerId, spec: IssuerSpec) -> Result<Self, IssuerFault> {
        check_stored(&spec)?;
        Ok(Self { id: Some(id), spec })
    }

    /// An issuer of the settings.
    ///
    /// # Errors
    /// The first thing that cannot work.
    pub fn configured(spec: IssuerSpec) -> Result<Self, IssuerFault> {
        check(&spec)?;
        Ok(Self { id: None, spec })
    }

    /// Its row; `None` if it stands in the settings.
    pub fn id(&self) -> Option<IssuerId> {
        self.id
    }

    /// What it says.
    pub fn spec(&self) -> &IssuerSpec {
        &self.spec
    }

    /// Where its keys come from.
    pub fn keys(&self) -> KeySource<'_> {
        match (&self.spec.jwks_url, &self.spec.jwks_file) {
            (Some(url), _) => KeySource::Url(url),
            (None, Some(file)) => KeySource::File(Path::new(file)),
            (None, None) => KeySource::Discovery,
        }
    }

    /// Whether its keys are found as those of `other` are.
    pub fn finds_keys_as(&self, other: &Self) -> bool {
        let reach = |spec: &IssuerSpec| (spec.allow_http, spec.allow_private_addresses);
        self.spec.issuer == other.spec.issuer && self.keys() == other.keys() && reach(&self.spec) == reach(&other.spec)
    }

    /// Calls `found` with the name of each role that a token with these claims has by its claims.
    ///
    /// # Errors
    /// The token names more than [`MOST_ROLES`].
    pub fn each_role(&self, claims: &ClaimSet, found: impl FnMut(&str)) -> Result<(), TooMany> {
        let Some(value) = self.spec.roles_claim.as_deref().and_then(|name| claim(claims, name)) else { return Ok(()) };
        let (words, items): (Option<&str>, &[Value]) = match &value {
            Value::String(text) => (Some(text), &[]),
            Value::Array(items) => (None, items),
            _ => return Ok(()),
        };
        let named = words.into_iter().flat_map(str::split_ascii_whitespace);
        let named = named.chain(items.iter().filter_map(Value::as_str));
        if named.clone().nth(MOST_ROLES).is_some() {
            return Err(TooMany);
        }
        match &self.spec.roles {
            Some(table) => named.filter_map(|name| table.get(name)).map(String::as_str).for_each(found),
            None => named.for_each(found),
        }
        Ok(())
    }

    /// Whether a token may have the role of that name by its claims.
    pub fn may_give(&self, role: &str) -> bool {
        let in_table = |table: &BTreeMap<String, String>| table.values().any(|name| name == role);
        self.spec.roles_claim.is_some() && self.spec.roles.as_ref().is_none_or(in_table)
    }

    /// The text of the claim that says which account is meant; a mail address only if the issuer has verified it.
    pub fn user_of(&self, claims: &ClaimSet) -> Option<String> {
        if self.by_mail() && !claims.is_true("email_verified") {
            return None;
        }
        claim(claims, &self.spec.user_claim)?.as_str().map(str::to_owned)
    }

    /// Whether accounts are found by mail address.
    pub fn by_mail(&self) -> bool {
        self.spec.user_claim == "email"
    }
}

/// A token says too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany;

/// The claim of that name; if there is none, what the dots in the name lead to.
fn claim(claims: &ClaimSet, name: &str) -> Option<Value> {
    if let Some(stated) = claims.get(name) {
        return Some(stated.value());
    }
    let mut parts = name.split('.');
    let first = claims.get(parts.next()?)?.value();
    parts.try_fold(&first, |value, part| value.get(part)).cloned()
}

/// # Errors
/// As [`check`]; a file may be named by whoever writes the settings only.
fn check_stored(spec: &IssuerSpec) -> Result<(), IssuerFault> {
    if spec.jwks_file.is_some() {
        return Err(fault("jwks_file", "can be named in the settings only"));
    }
    check(spec)
}

fn check(spec: &IssuerSpec) -> Result<(), IssuerFault> {
    check_name(&spec.name)?;
    check_text("issuer", &spec.issuer)?;
    // It is followed by one in the names of its people.
    if spec.issuer.contains('|') {
        return Err(fault("issuer", "must not have a | in it"));
    }
    check_keys(spec)?;
    check_trust(spec)?;
    check_mapping(spec)
}

fn check_name(name: &str) -> Result<(), IssuerFault> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let first = name.bytes().next().is_some_and(plain);
    if !first || name.len() > LONGEST_NAME || !name.bytes().all(|b| plain(b) || b == b'_' || b == b'-') {
        return Err(fault("name", "must match [a-z0-9][a-z0-9_-]{0,62}"));
    }
    Ok(())
}

fn check_text(field: &str, text: &str) -> Result<(), IssuerFault> {
    if text.is_empty() || text.len() > LONGEST_TEXT || text.chars().any(char::is_control) {
        return Err(fault(field, format!("must have 1 to {LONGEST_TEXT} characters on one line")));
    }
    Ok(())
}

fn check_keys(spec: &IssuerSpec) -> Result<(), IssuerFault> {
    if spec.jwks_url.is_some() && spec.jwks_file.is_some() {
        return Err(fault("jwks_file", "and jwks_url cannot both be given"));
    }
    if spec.allow_http && !spec.allow_private_addresses {
        return Err(fault("allow_http", "needs allow_private_addresses: elsewhere keys are fetched over TLS only"));
    }
    match (&spec.jwks_url, &spec.jwks_file) {
        (Some(url), _) => check_url("jwks_url", url, spec),
        (None, Some(file)) => check_text("jwks_file", file),
        (None, None) => check_url("issuer", &spec.issuer, spec),
    }
}

fn check_url(field: &str, text: &str, spec: &IssuerSpec) -> Result<(), IssuerFault> {
    if text.len() > LONGEST_URL {
        return Err(fault(field, format!("is longer than {LONGEST_URL} characters")));
    }
    let needed = if field == "issuer" { " (discovery needs one; otherwise give jwks_url or jwks_file)" } else { "" };
    let url = Url::parse(text).map_err(|error| fault(field, format!("is no address: {error}{needed}")))?;
    match url.scheme() {
        "https" => {}
        "http" if spec.allow_http => {}
        "http" => return Err(fault(field, "is without TLS; https is needed, or allow_http")),
        other => return Err(fault(field, format!("has the scheme {other}; https is needed{needed}"))),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(fault(field, "must hold no credentials"));
    }
    if url.fragment().is_some() || (field == "issuer" && url.query().is_some()) {
        return Err(fault(field, "must have no query and no fragment"));
    }
    let literal = match url.host() {
        Some(Host::Ipv4(v4)) => Some(IpAddr::V4(v4)),
        Some(Host::Ipv6(v6)) => Some(IpAddr::V6(v6)),
        Some(Host::Domain(_)) => None,
        None => return Err(fault(field, "names no host")),
    };
    if literal.is_some_and(|address| !is_public_address(address)) && !spec.allow_private_addresses {
        return Err(fault(field, "has a private address, which allow_private_addresses would allow"));
    }
    Ok(())
}

fn check_trust(spec: &IssuerSpec) -> Result<(), IssuerFault> {
    if spec.audiences.is_empty() || spec.audiences.len() > MOST_AUDIENCES {
        return Err(fault("audiences", format!("must hold 1 to {MOST_AUDIENCES} texts")));
    }
    spec.audiences.iter().try_for_each(|audience| check_text("audiences", audience))?;
    if spec.algorithms.is_empty() || spec.algorithms.len() > 16 {
        return Err(fault("algorithms", "must hold at least one algorithm, and each once"));
    }
    if spec.leeway_seconds > LONGEST_LEEWAY_S {
        return Err(fault("leeway_seconds", format!("must be {LONGEST_LEEWAY_S} at most")));
    }
    Ok(())
}

fn check_mapping(spec: &IssuerSpec) -> Result<(), IssuerFault> {
    check_text("user_claim", &spec.user_claim)?;
    spec.roles_claim.as_deref().map_or(Ok(()), |claim| check_text("roles_claim", claim))?;
    let Some(table) = &spec.roles else { return Ok(()) };
    if spec.roles_claim.is_none() {
        return Err(fault("roles", "needs roles_claim: the claim whose values it translates"));
    }
    if table.len() > MOST_MAPPED {
        return Err(fault("roles", format!("has more than {MOST_MAPPED} entries")));
    }
    for (value, role) in table {
        check_text("roles", value)?;
        RoleName::try_from(role.as_str())
            .map_err(|_| fault("roles", format!("names '{role}', which no role can be")))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(value: Value) -> Result<IssuerSpec, String> {
        let Value::Object(object) = value else { panic!("an object") };
        IssuerSpec::read(object).map_err(|fault| fault.to_string())
    }

    fn with(changes: Value) -> Result<Issuer, String> {
        let mut base = json!({ "name": "corp", "issuer": "https://id.example.com", "audiences": ["api"] });
        let Value::Object(changes) = changes else { panic!("an object") };
        base.as_object_mut().unwrap().extend(changes);
        Issuer::configured(spec(base)?).map_err(|fault| fault.to_string())
    }

    #[test]
    fn the_fields_are_those_that_are_read() {
        let told = serde_json::from_value::<IssuerSpec>(json!({ "nonsense": 1 })).unwrap_err().to_string();
        let listed: Vec<&str> = told.split('`').skip(3).step_by(2).collect();
        assert_eq!(listed, IssuerSpec::FIELDS, "{told}");
    }

    #[test]
    fn what_cannot_work_is_refused_with_its_reason() {
        assert!(with(json!({})).is_ok());
        for (changes, told) in [
            (json!({ "audience": ["x"] }), "audience is not a key of an issuer, did you mean audiences?"),
            (json!({ "name": "Corp" }), "name must match"),
            (json!({ "audiences": [] }), "audiences must hold 1 to"),
            (json!({ "audiences": "x" }), "audiences does not fit: invalid type"),
            (json!({ "algorithms": [] }), "algorithms must hold"),
            (json!({ "algorithms": ["HS256"] }), "algorithms[0] does not fit: unknown variant `HS256`"),
            (json!({ "algorithms": ["none"] }), "algorithms[0] does not fit"),
            (json!({ "leeway_seconds": 61 }), "leeway_seconds must be 60 at most"),
            (json!({ "issuer": "corp" }), "issuer is no address"),
            (json!({ "issuer": "http://id.example.com" }), "issuer is without TLS"),
            (json!({ "issuer": "https://u:p@id.example.com" }), "issuer must hold no credentials"),
            (json!({ "issuer": "https://127.0.0.1" }), "issuer has a private address"),
            (json!({ "jwks_url": "https://[::ffff:10.0.0.1]/" }), "jwks_url has a private address"),
            (json!({ "jwks_url": "file:///etc/passwd" }), "jwks_url has the scheme file"),
            (json!({ "jwks_url": "https://a.example/", "jwks_file": "x" }), "jwks_file and jwks_url"),
            (json!({ "allow_http": true }), "allow_http needs allow_private_addresses"),
            (json!({ "principal": "anybody" }), "principal does not fit"),
            (json!({ "roles": { "a": "b" } }), "roles needs roles_claim"),
            (json!({ "roles_claim": "r", "roles": { "a": "" } }), "roles names ''"),
        ] {
            let refused = with(changes.clone()).unwrap_err();
            assert!(refused.starts_with(told), "{changes}: {refused}");
        }
        let missing = spec(json!({ "name": "corp", "issuer": "https://id.example.com" }));
        assert_eq!(missing.unwrap_err(), "audiences is missing");
        let file = spec(json!({ "name": "a", "issuer": "x", "audiences": ["x"], "jwks_file": "/k" })).unwrap();
        assert!(Issuer::configured(file.clone()).is_ok());
        assert!(Issuer::stored(IssuerId(1), file).is_err());
    }

    fn claims_of(claims: &Value) -> ClaimSet {
        claims.as_object().cloned().unwrap().into()
    }

    #[test]
    fn claims_become_role_names() {
        let roles = |changes: Value, claims: Value| {
            let issuer = with(changes).unwrap();
            let mut found = Vec::new();
            let told = issuer.each_role(&claims_of(&claims), |name| found.push(name.to_owned()));
            told.map(|()| found)
        };
        let exact = json!({ "roles_claim": "realm_access.roles" });
        let nested = json!({ "realm_access": { "roles": ["a", 1, "b"] } });
        assert_eq!(roles(exact.clone(), nested), Ok(vec!["a".into(), "b".into()]));
        assert_eq!(roles(exact.clone(), json!({ "realm_access.roles": "c  d" })), Ok(vec!["c".into(), "d".into()]));
        assert_eq!(roles(exact.clone(), json!({ "realm_access": "roles" })), Ok(vec![]));
        let table = json!({ "roles_claim": "groups", "roles": { "g1": "editor" } });
        assert_eq!(roles(table, json!({ "groups": ["g1", "editor"] })), Ok(vec!["editor".into()]));
        let many: Vec<String> = (0..=MOST_ROLES).map(|index| index.to_string()).collect();
        assert_eq!(roles(exact, json!({ "realm_access": { "roles": many } })), Err(TooMany));
    }

    #[test]
    fn unverified_mail_is_nobodys() {
        let issuer = with(json!({ "user_claim": "email" })).unwrap();
        let user = |claims: Value| issuer.user_of(&claims_of(&claims));
        assert_eq!(user(json!({ "email": "a@b.example", "email_verified": true })).as_deref(), Some("a@b.example"));
        for claims in [json!({ "email": "a@b.example" }), json!({ "email": "a@b.example", "email_verified": "true" })] {
            assert_eq!(user(claims), None);
        }
    }
}
