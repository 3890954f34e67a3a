use std::borrow::Cow;

use super::{Error, Issuer};
use crate::model::{ClaimSet, Claims, Noted, Stated, Timestamp, UserId};

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

/// The claims of a token.
pub(super) struct Payload(pub(super) ClaimSet);

/// The claims that mean something to us, of the types that they must be of.
#[derive(Default)]
struct Known<'c> {
    subject: Option<Cow<'c, str>>,
    kind: Option<Cow<'c, str>>,
    token_id: Option<Cow<'c, str>>,
    session_id: Option<Cow<'c, str>>,
    user_id: Option<i64>,
    epoch: Option<i64>,
    expires_at: Option<i64>,
    not_before: Option<i64>,
    issuer: Option<Cow<'c, str>>,
    audience: Option<Stated<'c>>,
}

impl<'c> Known<'c> {
    /// One pass: looking each of them up would take longer than reading them all. What is our own business (`uid`, `ver`,
    /// …) may mean anything to another issuer.
    fn of(claims: &'c ClaimSet, is_ours: bool) -> Result<Self, Error> {
        let mut known = Self::default();
        for (name, value) in claims.iter() {
            match name {
                "sub" => known.subject = Some(text(value)?),
                "iss" => known.issuer = Some(text(value)?),
                "exp" => known.expires_at = Some(number(value)?),
                "nbf" => known.not_before = Some(number(value)?),
                "iat" => drop(number(value)?),
                "aud" => known.audience = Some(value),
                "type" if is_ours => known.kind = Some(text(value)?),
                "jti" if is_ours => known.token_id = Some(text(value)?),
                "sid" if is_ours => known.session_id = Some(text(value)?),
                "uid" if is_ours => known.user_id = Some(number(value)?),
                "ver" if is_ours => known.epoch = Some(number(value)?),
                "type" | "typ" | "token_type" if !is_ours && is_no_access(value) => return Err(Error::Kind),
                _ => {}
            }
        }
        Ok(known)
    }

    fn subject(&self) -> Result<String, Error> {
        let subject = self.subject.as_deref().filter(|subject| !subject.is_empty());
        subject.map(str::to_owned).ok_or(Error::Invalid("no sub"))
    }

    fn expires_at(&self) -> Result<i64, Error> {
        let expires_at = self.expires_at.ok_or(Error::Invalid("no exp"))?;
        // Beyond, a revocation could not be kept for as long as the token lives: most likely it is no number of seconds.
        let is_sane = expires_at <= Timestamp::LAST.unix_seconds();
        is_sane.then_some(expires_at).ok_or(Error::Invalid("exp is beyond the calendar"))
    }

    /// Who the token is for is one of `audiences` (RFC 7519 4.1.3).
    ///
    /// # Errors
    /// `Invalid` if it is not, or is not text or a list of texts; `None` is who says nothing of it.
    fn audience(&self, audiences: &[String]) -> Result<Option<()>, Error> {
        let is_ours = |text: &str| audiences.iter().any(|known| known == text);
        let Some(stated) = self.audience else { return Ok(None) };
        let ours = match stated.text() {
            Some(text) => Some(is_ours(&text)),
            None => stated.value().as_array().and_then(|values| {
                let each: Option<Vec<bool>> = values.iter().map(|value| value.as_str().map(is_ours)).collect();
                each.map(|each| each.contains(&true))
            }),
        };
        match ours {
            Some(true) => Ok(Some(())),
            Some(false) => Err(Error::Invalid("aud is somebody else")),
            None => Err(Error::Invalid("aud is not text")),
        }
    }
}

/// What issuers that sign all kinds of tokens with one key call those that are no access tokens.
fn is_no_access(value: Stated<'_>) -> bool {
    let others = ["refresh", "offline", "logout", "id", "id_token"];
    value.text().is_some_and(|text| others.iter().any(|other| text.eq_ignore_ascii_case(other)))
}

fn text(value: Stated<'_>) -> Result<Cow<'_, str>, Error> {
    value.text().ok_or(Error::Invalid("a claim is not text"))
}

/// Only what is written as a whole number: 1e400, 1.5 and null are all refused.
fn number(value: Stated<'_>) -> Result<i64, Error> {
    value.integer().filter(|number| *number >= 0).ok_or(Error::Invalid("a claim is not a number"))
}

impl Payload {
    /// `iss`, which is believed once the signature is checked.
    pub(super) fn issuer(&self) -> Result<Option<Cow<'_, str>>, Error> {
        self.0.get("iss").map(text).transpose()
    }

    /// The claims of a token of `kind` that we have made ourselves, and its `nbf`; if `addressed`, it must say for whom and
    /// by whom.
    ///
    /// # Errors
    /// `Invalid` for a claim that is missing or of the wrong type, `Kind` for a token of another kind. A token without
    /// `type` is one of the predecessor's access tokens.
    pub(super) fn of_ours(
        self,
        kind: Kind,
        audience: &[String],
        addressed: bool,
    ) -> Result<(Claims, Option<i64>), Error> {
        let known = Known::of(&self.0, true)?;
        let of_kind = match (known.kind.as_deref(), kind) {
            (None, Kind::Access) => !addressed,
            (Some(name), kind) => name == kind.name(),
            (None, Kind::Refresh) => false,
        };
        if !of_kind {
            return Err(Error::Kind);
        }
        let audience = known.audience(audience)?;
        if addressed && (audience.is_none() || known.issuer.is_none()) {
            return Err(Error::Invalid("no iss or no aud"));
        }
        let not_before = known.not_before;
        let claims = Claims {
            subject: known.subject()?,
            issuer: None,
            user_id: known.user_id.map(UserId),
            token_id: known.token_id.as_deref().map(str::to_owned),
            session_id: known.session_id.as_deref().map(str::to_owned),
            epoch: known.epoch.unwrap_or(0),
            expires_at: known.expires_at()?,
            all: ClaimSet::default(),
            noted: Noted::default(),
        };
        Ok((Claims { all: self.0, ..claims }, not_before))
    }

    /// The claims of a token of another issuer, and its `nbf`: none of its ids is one of ours. `id` identifies the token.
    ///
    /// # Errors
    /// `Invalid` for a claim that is missing or of the wrong type, and for a token that is not meant for us.
    pub(super) fn of_another(self, issuer: &Issuer, id: String) -> Result<(Claims, Option<i64>), Error> {
        let known = Known::of(&self.0, false)?;
        known.audience(&issuer.audiences)?.ok_or(Error::Invalid("no aud"))?;
        let not_before = known.not_before;
        let claims = Claims {
            subject: known.subject()?,
            issuer: Some(issuer.name.clone()),
            user_id: None,
            token_id: Some(id),
            session_id: None,
            epoch: 0,
            expires_at: known.expires_at()?,
            all: ClaimSet::default(),
            noted: Noted::default(),
        };
        Ok((Claims { all: self.0, ..claims }, not_before))
    }
}
