use serde_json::{Map, Value};

use super::{Error, Issuer};
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
    /// The value of `type`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Refresh => "refresh",
        }
    }

    /// The value of `typ` where tokens say it (RFC 8725 3.11); that of access tokens is RFC 9068's.
    pub(super) fn typ(self) -> &'static str {
        match self {
            Self::Access => "at+jwt",
            Self::Refresh => "rt+jwt",
        }
    }
}

/// The claims of a token, of which no key stands twice.
pub(super) struct Payload(pub(super) Map<String, Value>);

impl Payload {
    fn text(&self, name: &'static str) -> Result<Option<&str>, Error> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Error::Invalid("a claim is not text")),
        }
    }

    fn number(&self, name: &'static str) -> Result<Option<i64>, Error> {
        // `as_i64` is `None` for floats, so 1e400, 1.5 and null are all refused.
        let whole = |value: &Value| value.as_i64().filter(|number| *number >= 0);
        match self.0.get(name) {
            None => Ok(None),
            Some(value) => whole(value).map(Some).ok_or(Error::Invalid("a claim is not a number")),
        }
    }

    fn subject(&self) -> Result<String, Error> {
        let subject = self.text("sub")?.filter(|subject| !subject.is_empty());
        subject.map(str::to_owned).ok_or(Error::Invalid("no sub"))
    }

    /// `iss`, which is believed once the signature is checked.
    pub(super) fn issuer(&self) -> Result<Option<&str>, Error> {
        self.text("iss")
    }

    /// Who the token is for is one of `audiences` (RFC 7519 4.1.3).
    ///
    /// # Errors
    /// `Invalid` if it is not, or is not text or a list of texts; `None` is who says nothing of it.
    fn audience(&self, audiences: &[String]) -> Result<Option<()>, Error> {
        let is_ours = |value: &Value| value.as_str().map(|text| audiences.iter().any(|known| known == text));
        let ours = match self.0.get("aud") {
            None => return Ok(None),
            Some(Value::Array(values)) => {
                let each: Option<Vec<bool>> = values.iter().map(is_ours).collect();
                each.map(|each| each.contains(&true))
            }
            Some(value) => is_ours(value),
        };
        match ours {
            Some(true) => Ok(Some(())),
            Some(false) => Err(Error::Invalid("aud is somebody else")),
            None => Err(Error::Invalid("aud is not text")),
        }
    }

    /// `nbf` of the token.
    pub(super) fn not_before(&self) -> Result<Option<i64>, Error> {
        self.number("nbf")
    }

    /// The claims of a token of `kind` that we have made ourselves; with `addressed`, it must say for whom and by whom.
    ///
    /// # Errors
    /// `Invalid` for a claim that is missing or of the wrong type, `Kind` for a token of another kind. A token without
    /// `type` is one of the predecessor's access tokens.
    pub(super) fn of_ours(self, kind: Kind, audience: &[String], addressed: bool) -> Result<Claims, Error> {
        let of_kind = match (self.text("type")?, kind) {
            (None, Kind::Access) => !addressed,
            (Some(name), kind) => name == kind.name(),
            (None, Kind::Refresh) => false,
        };
        if !of_kind {
            return Err(Error::Kind);
        }
        self.number("iat")?;
        let audience = self.audience(audience)?;
        if addressed && (audience.is_none() || self.issuer()?.is_none()) {
            return Err(Error::Invalid("no iss or no aud"));
        }
        Ok(Claims {
            subject: self.subject()?,
            issuer: None,
            user_id: self.number("uid")?.map(UserId),
            token_id: self.text("jti")?.map(str::to_owned),
            session_id: self.text("sid")?.map(str::to_owned),
            epoch: self.number("ver")?.unwrap_or(0),
            expires_at: self.number("exp")?.ok_or(Error::Invalid("no exp"))?,
            all: self.0,
        })
    }

    /// The claims of a token of another issuer: none of its ids is one of ours. `id` identifies the token.
    ///
    /// # Errors
    /// `Invalid` for a claim that is missing or of the wrong type, and for a token that is not meant for us.
    pub(super) fn of_another(self, issuer: &Issuer, id: String) -> Result<Claims, Error> {
        self.number("iat")?;
        self.audience(&issuer.audiences)?.ok_or(Error::Invalid("no aud"))?;
        Ok(Claims {
            subject: self.subject()?,
            issuer: Some(issuer.name.clone()),
            user_id: None,
            token_id: Some(id),
            session_id: None,
            epoch: 0,
            expires_at: self.number("exp")?.ok_or(Error::Invalid("no exp"))?,
            all: self.0,
        })
    }
}
