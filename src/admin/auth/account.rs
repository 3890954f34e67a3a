//! The caller's own account, and what the caller may do.

use std::net::IpAddr;

use axum::extract::State;
use axum::http::Uri;
use axum::{Extension, Json};
use schemars::JsonSchema;
use serde::Serialize;

use super::Auth;
use super::origin::Origin;
use crate::admin::client::ClientAddress;
use crate::admin::error::Error;
use crate::admin::gate::{Authorized, Call, Gate};
use crate::admin::input::{Input, Valid};
use crate::admin::record;
use crate::admin::reply::{Message, Written};
use crate::admin::users::{
    changed, existing, flaw, keeps_himself, new_password, profile, same_password, scene, suits, taken,
};
use crate::control::Write;
use crate::http::Attempt;
use crate::model::{
    Email, PermissionName, Reason, RoleId, RoleInfo, Secret, Timestamp, User, UserId, UserPatch, Username,
};
use crate::password::{self, Policy, Verdict};
use crate::policy::{Ask, Caller, Facts, Snapshot, Subject};
use crate::store::{Tx, activity::Action, changes::Change, users, users::Credentials};
use crate::telemetry::logs::SECURITY;

pub(super) async fn me(State(auth): State<Auth>, call: Call) -> Result<Json<User>, Error> {
    let (caller, _input) = call.signed_in();
    let mut tx = auth.control.read().await?;
    existing(&mut tx, caller.id(), Timestamp::now()).await.map(Json)
}

/// The password that one has, and the one that one wants.
pub(super) struct Passwords {
    current: Option<Secret<String>>,
    new: Option<Secret<String>>,
}

pub(super) fn changes(input: &mut Input, policy: Policy) -> Valid<(UserPatch, Passwords)> {
    let mut body = input.body();
    let username = body.optional::<Username>("username");
    let email = body.optional::<Email>("email");
    let new = new_password(&mut body, "password", policy);
    let current = body.optional::<Secret<String>>("current_password");
    let profile = profile(&mut body);
    let is_active = body.optional::<bool>("is_active");
    let role_ids = body.optional::<Vec<RoleId>>("role_ids");
    let (username, email, profile, is_active, role_ids) = (username?, email?, profile?, is_active?, role_ids?);
    let patch = UserPatch { username, email, is_active, profile, role_ids, ..UserPatch::default() };
    Some((patch, Passwords { current: current?, new: new? }))
}

pub(super) async fn update(State(auth): State<Auth>, origin: Origin, call: Call) -> Result<Written<User>, Error> {
    let (caller, input) = call.signed_in();
    let (UserPatch { username, email, is_active, profile, role_ids, .. }, Passwords { current, new }) =
        input.read(|input| changes(input, auth.policy))?;
    if role_ids.is_some() {
        return Err(Error::Forbidden("Cannot modify your own roles".into()));
    }
    keeps_himself(&caller, caller.id(), is_active.unwrap_or(true))?;
    let own = auth.known(&caller).await?;
    if let Some(password) = &new {
        let names = (username.as_ref().unwrap_or(&own.username), email.as_ref().unwrap_or(&own.email));
        suits(auth.policy, "password", password, names)?;
    }
    // An address is as good as a password: links to set one are sent there.
    if new.is_some() || email.as_ref().is_some_and(|email| !email.is_same(&own.email)) {
        auth.confirm(&caller, current.unwrap_or_else(|| Secret::new(String::new())), &origin).await?;
    }
    let must_change_password = new.is_some().then_some(false);
    let password_hash = match new {
        Some(password) => Some(auth.hasher.hash(password).await?),
        None => None,
    };
    let patch = UserPatch { username, email, password_hash, profile, must_change_password, ..UserPatch::default() };
    let mut write = auth.control.write_as(caller.origin()).await?;
    record::before_user(&mut write, caller.id()).await?;
    still_valid(&write, &caller)?;
    let now = write.now();
    if patch.password_hash.is_some() {
        let did = origin.did(caller.id(), Action::PasswordChange, true, now);
        auth.control.keep_activity(write.tx(), &did).await?;
    }
    let before = known(write.tx(), &caller).await?;
    users::update(write.tx(), caller.id(), &patch, now).await.map_err(taken)?;
    auth.mail.tell(write.tx(), (&before, &patch), scene(&caller.origin(), now)).await?;
    changed(write, caller.id()).await
}

/// The password that one has, which some clients call the old one, and the new one.
pub(super) fn passwords(input: &mut Input, policy: Policy) -> Valid<(Secret<String>, Secret<String>)> {
    let mut body = input.body();
    let old = body.optional::<Secret<String>>("old_password");
    let current = match old {
        Some(Some(old)) => body.optional("current_password").map(|current| current.unwrap_or(old)),
        _ => body.required("current_password"),
    };
    let new = body.field::<Secret<String>>("new_password").check(|secret| flaw(policy, secret)).required();
    Some((current?, new?))
}

pub(super) async fn change_password(
    State(auth): State<Auth>,
    origin: Origin,
    call: Call,
) -> Result<Written<Message>, Error> {
    let (caller, input) = call.signed_in();
    let (current, new) = input.read(|input| passwords(input, auth.policy))?;
    let own = auth.known(&caller).await?;
    suits(auth.policy, "new_password", &new, (&own.username, &own.email))?;
    if own.must_change_password && new.expose() == current.expose() {
        return Err(same_password("new_password"));
    }
    auth.confirm(&caller, current, &origin).await?;
    let hash = auth.hasher.hash(new).await?;
    let mut write = auth.control.write_as(caller.origin()).await?;
    still_valid(&write, &caller)?;
    let now = write.now();
    let before = known(write.tx(), &caller).await?;
    users::set_password(write.tx(), caller.id(), &hash, now).await?;
    let patch = UserPatch { password_hash: Some(hash), ..UserPatch::default() };
    auth.mail.tell(write.tx(), (&before, &patch), scene(&caller.origin(), now)).await?;
    let did = origin.did(caller.id(), Action::PasswordChange, true, now);
    auth.control.keep_activity(write.tx(), &did).await?;
    write.touch(Change::User(caller.id()));
    let changed = write.commit(Message::new("Password changed successfully")).await?;
    tracing::info!(target: SECURITY, client = %origin.client, user.id = %caller.id(), "password changed");
    Ok(changed.into())
}

/// Asked under the writers' lock: since the request was let in, the password may have been set anew by somebody else.
fn still_valid(write: &Write, caller: &Caller) -> Result<(), Error> {
    present(write.base(), caller).map(drop)
}

/// The caller as `snapshot` knows him.
fn present(snapshot: &Snapshot, caller: &Caller) -> Result<Caller, Error> {
    let found = snapshot.caller(&caller.claims, Timestamp::now());
    found.map_err(|_| Error::invalid_token("Invalid authentication token"))
}

/// What is known of the caller now.
async fn known(tx: &mut Tx, caller: &Authorized) -> Result<Credentials, Error> {
    let found = users::credentials_of(tx, caller.id()).await?;
    found.ok_or_else(|| Error::invalid_token("Invalid authentication token"))
}

impl Auth {
    async fn known(&self, caller: &Authorized) -> Result<Credentials, Error> {
        known(&mut self.control.read().await?, caller).await
    }

    /// Asks for the caller's password. Failures count as those of signing in: a stolen token must be no way to guess.
    async fn confirm(&self, caller: &Authorized, given: Secret<String>, origin: &Origin) -> Result<(), Error> {
        let mut tx = self.control.read().await?;
        let known = users::credentials_of(&mut tx, caller.id()).await?;
        let account = caller.username().key();
        let forgiven = known.as_ref().and_then(|known| known.unlocked_at);
        let attempt = Attempt { account: &account, address: origin.client, forgiven, now: Timestamp::now() };
        self.failures.check(&attempt).map_err(Error::TooManyRequests)?;
        self.open_here(&mut tx, known.as_ref(), &attempt).await?;
        drop(tx);
        let right = given.expose().len() <= password::MAX_PASSWORD_BYTES
            && self.hasher.verify(given, known.map(|known| known.password_hash)).await? != Verdict::Mismatch;
        // Again: guesses that were verified at the same time may have used up the limit.
        self.failures.check(&attempt).map_err(Error::TooManyRequests)?;
        if right {
            return Ok(());
        }
        self.failed(&attempt, Some(caller.id()), Action::PasswordChange, origin);
        tracing::info!(target: SECURITY, client = %origin.client, user.id = %caller.id(), "own password not confirmed");
        Err(Error::BadRequest("Current password is incorrect".into()))
    }
}

/// What a user is, and may do by grants.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "UserPermissions")]
pub(super) struct Rights {
    user_id: UserId,
    username: Username,
    roles: Vec<RoleInfo>,
    permissions: Vec<PermissionName>,
}

pub(super) async fn permissions(State(auth): State<Auth>, call: Call) -> Result<Json<Rights>, Error> {
    let (caller, _input) = call.signed_in();
    let mut tx = auth.control.read().await?;
    let roles = users::effective(&mut tx, caller.id(), Timestamp::now()).await?;
    let ids: Vec<RoleId> = roles.iter().map(|role| role.id).collect();
    let permissions = users::granted(&mut tx, &ids).await?;
    Ok(Json(Rights { user_id: caller.id(), username: caller.username().clone(), roles, permissions }))
}

/// Whose token it is.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "VerifiedToken")]
pub(super) struct Verified {
    valid: bool,
    user_id: UserId,
    username: Username,
    is_active: bool,
}

pub(super) async fn verify_token(call: Call) -> Json<Verified> {
    let (caller, _input) = call.signed_in();
    let (user_id, username) = (caller.id(), caller.username().clone());
    Json(Verified { valid: true, user_id, username, is_active: caller.is_active() })
}

/// What the engine says about a permission.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "CheckedPermission")]
pub(super) struct Checked {
    allowed: bool,
    permission: PermissionName,
    reason: &'static str,
}

/// About which permission, and whose thing.
pub(super) fn asked(input: &mut Input) -> Valid<(PermissionName, Option<UserId>)> {
    let mut body = input.body();
    let permission = body.required::<PermissionName>("permission");
    let owner = body.optional::<UserId>("owner_id");
    Some((permission?, owner?))
}

pub(super) async fn check_permission(
    State(auth): State<Auth>,
    Extension(ClientAddress(client)): Extension<ClientAddress>,
    uri: Uri,
    call: Call,
) -> Result<Json<Checked>, Error> {
    let (caller, input) = call.signed_in();
    let (permission, owner) = input.read(asked)?;
    let owner = owner.map(|owner| owner.to_string());
    let scene = Scene { client, method: "POST", path: uri.path(), owner: owner.as_deref() };
    let refused = ask(&auth.gate, &caller, permission.as_str(), &scene)?;
    Ok(Json(Checked { allowed: refused.is_none(), permission, reason: refused.unwrap_or(Reason::Allowed).code() }))
}

/// What policies may look at beside the permission.
#[derive(Debug)]
pub(in crate::admin) struct Scene<'a> {
    pub(in crate::admin) client: IpAddr,
    pub(in crate::admin) method: &'a str,
    pub(in crate::admin) path: &'a str,
    /// Whose thing it is about, if that is known.
    pub(in crate::admin) owner: Option<&'a str>,
}

/// Asks the engine about a permission; returns why not, if not.
///
/// # Errors
/// The caller's token has become void since it was verified.
pub(in crate::admin) fn ask(
    gate: &Gate,
    caller: &Caller,
    permission: &str,
    scene: &Scene<'_>,
) -> Result<Option<Reason>, Error> {
    let snapshot = gate.snapshots.load();
    // Roles are prepared for the snapshot they were found in, and mean nothing to another.
    let caller = present(&snapshot, caller)?;
    let now = Timestamp::now();
    let &Scene { client: client_ip, method, path, owner } = scene;
    let facts = Facts { method, path, host: "", params: &[], client_ip, now, client_certificate: None, owner };
    let subject = Subject::Permission(permission);
    Ok(snapshot.decide(&Ask { caller: Some(&caller), subject, facts }).outcome.err())
}
