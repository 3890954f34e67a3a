use std::{net::IpAddr, sync::Arc};

use http::Method;

use super::{
    caller::Caller,
    engine::Determining,
    operation::{CompiledOperation, GatewayRoute},
};
use crate::model::{Claims, ClientCertificate, Reason, Timestamp, UserId};

/// How one request was decided, and all that is needed to tell why afterwards.
///
/// Of the query there is only the owner that was found in it, since it may hold secrets; of the token only its claims.
#[derive(Clone, Debug)]
pub struct Decided {
    /// When it was answered.
    pub at: Timestamp,
    /// The method.
    pub method: Option<Method>,
    /// The canonical host.
    pub host: Option<String>,
    /// The path as it came, without query.
    pub path: String,
    /// The client's address.
    pub client: Option<IpAddr>,
    /// What the client's certificate said, if it presented one.
    pub client_certificate: Option<Arc<ClientCertificate>>,
    /// What the token said, if it was valid.
    pub claims: Option<Arc<Claims>>,
    /// Who asked, if that was somebody who may ask at all.
    pub caller: Option<Caller>,
    /// The matched route.
    pub route: Option<Arc<GatewayRoute>>,
    /// The matched operation.
    pub operation: Option<Arc<CompiledOperation>>,
    /// The owner that the request named.
    pub owner: Option<String>,
    /// Whether it was let through.
    pub allowed: bool,
    /// Why; after it was let through, what kept it from being fulfilled.
    pub reason: Reason,
    /// The determining policies.
    pub policies: Determining,
    /// Policies that could not be evaluated, with Cedar's words.
    pub errors: Vec<(String, String)>,
    /// The rules it was decided by.
    pub policy_revision: i64,
    /// The status of the answer, if one was sent.
    pub status: Option<u16>,
}

impl Decided {
    /// Whether it is known to have been made by this user.
    pub fn is_of(&self, user: UserId) -> bool {
        match &self.caller {
            Some(caller) => caller.user_id() == Some(user),
            None => self.claims.as_ref().is_some_and(|claims| claims.user_id == Some(user)),
        }
    }
}
