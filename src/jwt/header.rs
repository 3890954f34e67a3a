//! The header of a token: which key it claims to be signed with, and nothing that would have us look elsewhere.

use std::fmt;

use jsonwebtoken::Algorithm;
use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

use super::{Error, part};

/// The longest `kid` that is compared, in bytes.
const MAX_KID: usize = 256;

/// What a header says.
#[derive(Clone, Debug)]
pub(super) struct Header {
    /// What the token claims; it is compared with what our record of the key says, and never followed.
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<String>,
    /// `typ` in lower case, without `application/` (RFC 7515 4.1.9).
    pub(super) typ: Option<String>,
}

impl Header {
    /// # Errors
    /// `Invalid` for what is no header, for an extension that must be understood and is not (RFC 7515 4.1.11), and for
    /// a key within it or an address of one (CVE-2018-0114).
    pub(super) fn read(part: &str) -> Result<Self, Error> {
        let raw: Raw = part::read(part)?;
        if raw.has_extension {
            return Err(Error::Invalid("an extension that is not understood"));
        }
        if raw.has_key {
            return Err(Error::Invalid("a key within the token"));
        }
        if raw.kid.as_ref().is_some_and(|kid| kid.is_empty() || kid.len() > MAX_KID) {
            return Err(Error::Invalid("kid is empty or too long"));
        }
        // `none`, in whatever spelling, is no algorithm (CVE-2022-23540).
        let algorithm = raw.alg.as_deref().and_then(|name| name.parse().ok());
        let algorithm = algorithm.ok_or(Error::Invalid("alg is none that is known"))?;
        Ok(Self { algorithm, kid: raw.kid, typ: raw.typ.as_deref().map(media_type) })
    }

    /// Whether `typ` is one of these, or absent and `absent` allows it.
    pub(super) fn is_of_type(&self, types: &[&str], absent: bool) -> bool {
        self.typ.as_deref().map_or(absent, |typ| types.contains(&typ))
    }
}

fn media_type(text: &str) -> String {
    let mut lower = text.to_ascii_lowercase();
    if let Some(rest) = lower.strip_prefix("application/") {
        lower = rest.to_owned();
    }
    lower
}

#[derive(Debug, Default)]
struct Raw {
    alg: Option<String>,
    kid: Option<String>,
    typ: Option<String>,
    has_extension: bool,
    has_key: bool,
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields)
    }
}

struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a header")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut raw = Raw::default();
        let mut seen: Vec<String> = Vec::with_capacity(4);
        while let Some(name) = access.next_key::<String>()? {
            if seen.contains(&name) {
                return Err(A::Error::custom("a key stands twice"));
            }
            if seen.len() == MAX_FIELDS {
                return Err(A::Error::custom("too many fields"));
            }
            match name.as_str() {
                "alg" => raw.alg = Some(access.next_value()?),
                "kid" => raw.kid = Some(access.next_value()?),
                "typ" => raw.typ = Some(access.next_value()?),
                other => {
                    access.next_value::<IgnoredAny>()?;
                    raw.has_extension |= matches!(other, "crit" | "b64" | "zip" | "enc");
                    raw.has_key |= matches!(other, "jwk" | "jku" | "x5u" | "x5c");
                }
            }
            seen.push(name);
        }
        Ok(raw)
    }
}

/// More than any issuer sends; looking for one that stands twice costs their square.
const MAX_FIELDS: usize = 32;
