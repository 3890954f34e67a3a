//! Where a request comes from, for the list of sessions and of what was done.

use std::net::{IpAddr, Ipv4Addr};

use axum::extract::FromRequestParts;
use axum::http::{header, request::Parts};

use crate::admin::client::ClientAddress;
use crate::admin::error::{Error, RequestId};
use crate::control;
use crate::mail;
use crate::model::{Timestamp, UserId};
use crate::store::activity::{Action, NewActivity};

/// As much of `User-Agent` as is kept, in characters.
const MAX_USER_AGENT: usize = 512;

/// Where a request comes from.
pub(super) struct Origin {
    pub(super) client: IpAddr,
    pub(super) user_agent: Option<String>,
    request_id: Option<String>,
    method: String,
    path: String,
}

impl Origin {
    /// What `user` did, or what was tried in that name.
    pub(super) fn did(&self, user_id: UserId, action: Action, success: bool, at: Timestamp) -> NewActivity {
        NewActivity { user_id, action, success, client: self.client, user_agent: self.user_agent.clone(), at }
    }

    /// The same for the audit trail.
    pub(super) fn witness(&self) -> control::Scene {
        let Self { client, user_agent, request_id, .. } = self;
        control::Scene { client: Some(*client), user_agent: user_agent.clone(), request_id: request_id.clone() }
    }

    /// The same for a letter.
    pub(super) fn scene(&self, at: Timestamp) -> mail::Scene {
        mail::Scene { at, client: self.client, user_agent: self.user_agent.clone() }
    }

    /// A write of `user`, who is known by something else than a token.
    pub(super) fn of(&self, user: UserId) -> control::Origin {
        control::Origin {
            actor: user,
            permission: None,
            method: self.method.clone(),
            path: self.path.clone(),
            client: self.client,
            user_agent: self.user_agent.clone(),
            request_id: self.request_id.clone(),
            if_match: None,
            if_policy_revision: None,
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Origin {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let agent = parts.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
        let client = parts.extensions.get::<ClientAddress>().map_or(Ipv4Addr::UNSPECIFIED.into(), |client| client.0);
        let request_id = parts.extensions.get::<RequestId>().and_then(|id| id.0.to_str().ok()).map(str::to_owned);
        let user_agent = agent.map(|text| text.chars().take(MAX_USER_AGENT).collect());
        let (method, path) = (parts.method.to_string(), parts.uri.path().to_owned());
        Ok(Self { client, user_agent, request_id, method, path })
    }
}
