//! Who asks for a write, and on what conditions.

use std::net::IpAddr;

use crate::{
    model::{Claims, Etags, Timestamp, UserId},
    policy::{Ask, Facts, Snapshot, Subject},
};

/// Who asks for a write, for the audit trail and for the rules about who may.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The user.
    pub actor: UserId,
    /// The permission that the write needs, asked for again once no other write can come between; none for what
    /// everybody may do to themselves.
    pub permission: Option<&'static str>,
    /// The method of the request.
    pub method: String,
    /// Its path.
    pub path: String,
    /// Where it comes from.
    pub client: IpAddr,
    /// What the client calls itself.
    pub user_agent: Option<String>,
    /// The request's id.
    pub request_id: Option<String>,
    /// `If-Match`: the write is refused when the entity is in none of these states.
    pub if_match: Option<Etags>,
    /// `X-If-Policy-Revision`: the write is refused when the rules are others.
    pub if_policy_revision: Option<i64>,
}

impl Origin {
    /// Whether `snapshot` lets the actor do what needs `permission`.
    pub(super) fn may(&self, snapshot: &Snapshot, permission: &str, now: Timestamp) -> bool {
        let Some(state) = snapshot.user(self.actor).filter(|state| state.is_active) else { return false };
        let caller = snapshot.assume(state, Claims::none(&state.username).into(), now);
        let facts = Facts {
            method: &self.method,
            path: &self.path,
            host: "",
            params: &[],
            client_ip: self.client,
            now,
            client_certificate: None,
            owner: None,
        };
        let ask = Ask { caller: Some(&caller), subject: Subject::Permission(permission), facts };
        snapshot.decide(&ask).outcome.is_ok()
    }
}
