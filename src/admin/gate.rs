//! Who calls, and whether they may: authentication and authorisation of every endpoint.

use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;

use axum::extract::{FromRef, FromRequest, Request};
use axum::http::{HeaderMap, HeaderName, Method, header};

use super::client::{Actor, ClientAddress};
use super::error::{Error, RequestId};
use super::input::Input;
use crate::control::Origin;
use crate::http;
use crate::jwt::{self, Errand, Errands, Verifier};
use crate::model::{Claims, Etags, Reason, Timestamp, UserId, Username, rules::UserState};
use crate::policy::{Ask, Caller, Decided, Decision, Determining, Facts, Snapshot, SnapshotHandle, Subject};
use crate::telemetry::Recent;
use crate::telemetry::logs::SECURITY;

const IF_POLICY_REVISION: HeaderName = HeaderName::from_static("x-if-policy-revision");
/// As much of `User-Agent` as the audit trail keeps, in characters.
const MAX_USER_AGENT: usize = 512;

/// What is needed to know and to judge a caller.
#[derive(Clone, Debug)]
pub struct Gate {
    /// Where the current snapshot is found.
    pub snapshots: SnapshotHandle,
    /// Verifies access tokens.
    pub verifier: Verifier,
    /// Has found out what tokens of other issuers need.
    pub errands: Errands,
    /// Where refusals are remembered.
    pub recent: Recent<http::RequestId, Decided>,
    /// Answer 403 instead of 401 when no token is presented, as some versions of the predecessor did.
    pub forbid_anonymous: bool,
}

/// A request to an endpoint that is not public: its JSON is well formed and its token valid.
///
/// The contract's order: JSON syntax, authentication, permission, validation.
#[derive(Debug)]
pub(crate) struct Call {
    snapshot: Arc<Snapshot>,
    caller: Caller,
    account: Arc<UserState>,
    origin: Origin,
    input: Input,
    recent: Recent<http::RequestId, Decided>,
}

/// A caller who may, and what a write of theirs is recorded and checked with.
#[derive(Debug)]
pub(crate) struct Authorized {
    caller: Caller,
    account: Arc<UserState>,
    origin: Origin,
}

impl Authorized {
    /// For [`Control::write_as`](crate::control::Control::write_as).
    pub(crate) fn origin(&self) -> Origin {
        self.origin.clone()
    }
}

impl Authorized {
    /// The caller's account: an endpoint that is not public needs one.
    pub(crate) fn id(&self) -> UserId {
        self.account.id
    }

    /// The account's sign-in name.
    pub(crate) fn username(&self) -> &Username {
        &self.account.username
    }
}

impl Deref for Authorized {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.caller
    }
}

impl Call {
    /// Lets the caller through if the engine permits `permission`.
    pub(crate) fn permit(self, permission: &'static str) -> Result<(Authorized, Input), Error> {
        let decision = self.ask(permission);
        match decision.outcome {
            Ok(_permit) => {
                let origin = Origin { permission: Some(permission), ..self.origin };
                Ok((Authorized { caller: self.caller, account: self.account, origin }, self.input))
            }
            Err(reason) => {
                tracing::info!(
                    target: SECURITY,
                    permission,
                    user.id = %self.account.id,
                    reason = reason.code(),
                    policies = ?decision.policies,
                    "admin request refused"
                );
                self.remember(reason, decision.policies, decision.errors);
                Err(Error::permission(permission))
            }
        }
    }

    /// Whether the engine permits `permission`; where something is answered to others too, that is no refusal.
    pub(crate) fn may(&self, permission: &str) -> bool {
        self.ask(permission).outcome.is_ok()
    }

    /// Lets any caller with a valid token through.
    pub(crate) fn signed_in(self) -> (Authorized, Input) {
        (Authorized { caller: self.caller, account: self.account, origin: self.origin }, self.input)
    }

    /// Keeps the refusal, to be explained.
    fn remember(&self, reason: Reason, policies: Determining, errors: Vec<(String, String)>) {
        let id = self.origin.request_id.as_deref().and_then(|id| http::RequestId::given(id.as_bytes()));
        let Some(id) = id else { return };
        let decided = Decided {
            at: Timestamp::now(),
            method: Method::from_bytes(self.origin.method.as_bytes()).ok(),
            host: None,
            path: self.origin.path.clone(),
            client: Some(self.origin.client),
            client_certificate: None,
            claims: Some(Arc::clone(&self.caller.claims)),
            caller: Some(self.caller.clone()),
            route: None,
            operation: None,
            owner: None,
            allowed: false,
            reason,
            policies,
            errors,
            policy_revision: self.snapshot.policy_revision(),
            status: Some(reason.status()),
        };
        self.recent.put(id, decided);
    }

    fn ask(&self, permission: &str) -> Decision {
        let Origin { method, path, client, .. } = &self.origin;
        ask(&self.snapshot, &self.caller, (method, path, *client), permission)
    }
}

impl<S: Send + Sync> FromRequest<S> for Call
where
    Gate: FromRef<S>,
{
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        let gate = Gate::from_ref(state);
        let headers = request.headers().clone();
        let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
        let (client, request_id) = (ClientAddress::of(&request), RequestId::of(&request));
        let extensions = request.extensions().clone();
        let input = Input::from_request(request, state).await?;
        let (snapshot, caller) = gate.patiently(&headers).await?;
        let account = Arc::clone(caller.account().ok_or_else(no_account)?);
        Actor::note(&extensions, account.id);
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let origin = Origin {
            actor: account.id,
            permission: None,
            method,
            path,
            client,
            user_agent: text(header::USER_AGENT).map(|agent| agent.chars().take(MAX_USER_AGENT).collect()),
            request_id,
            if_match: headers.get(header::IF_MATCH).map(|value| Etags::parse(value.to_str().unwrap_or_default())),
            if_policy_revision: policy_revision(&headers)?,
        };
        Ok(Self { snapshot, caller, account, origin, input, recent: gate.recent })
    }
}

fn ask(snapshot: &Snapshot, caller: &Caller, (method, path, client_ip): (&str, &str, IpAddr), name: &str) -> Decision {
    let facts = Facts {
        method,
        path,
        host: "",
        params: &[],
        client_ip,
        now: Timestamp::now(),
        client_certificate: None,
        owner: None,
    };
    snapshot.decide(&Ask { caller: Some(caller), subject: Subject::Permission(name), facts })
}

impl Gate {
    /// Refuses a request of somebody who presents no valid token, or whom the engine does not permit `permission`.
    pub(super) fn let_in(
        &self,
        headers: &HeaderMap,
        request: (&str, &str, IpAddr),
        permission: &'static str,
    ) -> Result<(), Error> {
        let snapshot = self.snapshots.load();
        let caller = self.caller(&snapshot, headers)?;
        ask(&snapshot, &caller, request, permission).outcome.map(drop).map_err(|_| Error::permission(permission))
    }

    /// Who presents a valid token.
    pub(super) fn caller(&self, snapshot: &Snapshot, headers: &HeaderMap) -> Result<Caller, Error> {
        self.judge(snapshot, headers).map_err(Stop::error)
    }

    /// The same; where something has to be found out first, once more when it is. The caller is one of the snapshot.
    async fn patiently(&self, headers: &HeaderMap) -> Result<(Arc<Snapshot>, Caller), Error> {
        // An unknown key, then an unknown account.
        for _ in 0..2 {
            let snapshot = self.snapshots.load();
            match self.judge(&snapshot, headers) {
                Ok(caller) => return Ok((snapshot, caller)),
                Err(Stop::Wait(errand, error)) => {
                    if !self.errands.run(errand).await {
                        return Err(error);
                    }
                }
                Err(Stop::Refuse(error)) => return Err(error),
            }
        }
        let snapshot = self.snapshots.load();
        let caller = self.caller(&snapshot, headers)?;
        Ok((snapshot, caller))
    }

    fn judge(&self, snapshot: &Snapshot, headers: &HeaderMap) -> Result<Caller, Stop> {
        let Some(token) = bearer(headers).map_err(Stop::Refuse)? else {
            let forbidden = || Error::Forbidden("Not authenticated".into());
            return Err(Stop::Refuse(if self.forbid_anonymous { forbidden() } else { Error::unauthenticated() }));
        };
        let now = Timestamp::now();
        let claims: Arc<Claims> = self.verifier.verify(token, now).map_err(|error| {
            tracing::debug!(%error, "token refused");
            let refusal = Error::invalid_token("Invalid authentication token");
            match error {
                jwt::Error::UnknownKey { issuer } => Stop::Wait(Errand::Keys(issuer), refusal),
                _ => Stop::Refuse(refusal),
            }
        })?;
        snapshot.caller(&claims, now).map_err(|reason| {
            let refusal = Error::invalid_token(match reason {
                Reason::UserInactive => "User account is disabled",
                Reason::InvalidToken => "User not found",
                _ => "Invalid authentication token",
            });
            match snapshot.is_newcomer(&claims) {
                true => Stop::Wait(Errand::Account(Arc::clone(&claims)), refusal),
                false => Stop::Refuse(refusal),
            }
        })
    }
}

/// Why a caller is not let in.
enum Stop {
    Refuse(Error),
    /// Something may be found out; until then that is the answer.
    Wait(Errand, Error),
}

impl Stop {
    fn error(self) -> Error {
        match self {
            Self::Refuse(error) | Self::Wait(_, error) => error,
        }
    }
}

/// What is recorded needs somebody whom it is recorded of.
fn no_account() -> Error {
    Error::Forbidden("The token's issuer gives no account here, which the admin API needs".into())
}

/// The rules that the client has seen, if it says so.
fn policy_revision(headers: &HeaderMap) -> Result<Option<i64>, Error> {
    let Some(value) = headers.get(IF_POLICY_REVISION) else { return Ok(None) };
    let revision = value.to_str().ok().and_then(|text| text.parse().ok());
    revision.map(Some).ok_or_else(|| Error::BadRequest("X-If-Policy-Revision must be a number".into()))
}

/// The one bearer token of a request; two `Authorization` headers could be read in two ways.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Error> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(Error::BadRequest("More than one Authorization header".into()));
    }
    let invalid = || Error::invalid_token("Invalid authentication token");
    let (scheme, token) = value.to_str().map_err(|_| invalid())?.split_once(' ').ok_or_else(invalid)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(invalid());
    }
    Ok(Some(token.trim_matches(' ')))
}
