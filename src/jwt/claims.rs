use serde_json::{Map, Value};

use super::Error;
use crate::model::{Claims, UserId};

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Presented with every request.
    Access,
    /// Exchanged for access tokens.
    Refresh,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Refresh => "refresh",
        }
    }
}

/// The claims of a token of `kind`, and its `nbf`.
///
/// # Errors
/// `Invalid` for a claim of the wrong type, `Kind` for a token of another kind. A token without `type` is one of
/// the predecessor's access tokens.
pub(super) fn read(all: Map<String, Value>, kind: Kind) -> Result<(Claims, Option<i64>), Error> {
    let text = |name: &'static str| match all.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Error::Invalid("a claim is not text")),
    };
    // `as_i64` is `None` for floats, so 1e400, 1.5 and null are all refused.
    let number = |name: &'static str| match all.get(name) {
        None => Ok(None),
        Some(value) => {
            value.as_i64().filter(|number| *number >= 0).map(Some).ok_or(Error::Invalid("a claim is not a number"))
        }
    };
    let stated = text("type")?;
    let of_kind = match (&stated, kind) {
        (None, Kind::Access) => true,
        (Some(name), kind) => name == kind.name(),
        (None, Kind::Refresh) => false,
    };
    if !of_kind {
        return Err(Error::Kind);
    }
    number("iat")?;
    let claims = Claims {
        issuer: None,
        subject: text("sub")?.filter(|subject| !subject.is_empty()).ok_or(Error::Invalid("no sub"))?,
        user_id: number("uid")?.map(UserId),
        token_id: text("jti")?,
        session_id: text("sid")?,
        epoch: number("ver")?.unwrap_or(0),
        expires_at: number("exp")?.ok_or(Error::Invalid("no exp"))?,
        all: Map::new(),
    };
    let not_before = number("nbf")?;
    Ok((Claims { all, ..claims }, not_before))
}
