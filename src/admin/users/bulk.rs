//! The same done to many users at once, in one transaction.
//!
//! What cannot be done to one of them for reasons of its own is told in `failed`; whatever else goes wrong undoes all.

use std::collections::BTreeSet;

use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use super::account::{Account, MOST_IDS, known_roles};
use super::roles::expiry;
use super::{Users, taken};
use crate::admin::error::Error;
use crate::admin::gate::Call;
use crate::admin::input::{Flaw, Input, Object, Valid};
use crate::admin::record;
use crate::admin::reply::Written;
use crate::control::Write;
use crate::model::{Expiry, RoleId, Timestamp, UserId};
use crate::password::Policy;
use crate::store::{self, changes::Change, roles as role_rows, users};

/// Each account costs the hash of a password.
const MOST_ACCOUNTS: usize = 100;
/// Every user gets every role: the product counts.
const MOST_ROLES: usize = 100;

/// What was done, to how many, and to whom not.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub(super) struct Outcome {
    message: String,
    success: bool,
    affected: usize,
    failed: Vec<Failure>,
}

/// Why one of them was left out.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
struct Failure {
    id: UserId,
    detail: &'static str,
}

/// The users that a request names.
struct Named {
    others: Vec<UserId>,
    failed: Vec<Failure>,
}

impl Named {
    /// Takes the caller's own id out where `own` says that this cannot be done to oneself.
    fn new(ids: Vec<UserId>, own: Option<(UserId, &'static str)>) -> Result<Self, Error> {
        if ids.is_empty() {
            return Err(Error::BadRequest("No user IDs provided".into()));
        }
        let mut ids: BTreeSet<UserId> = ids.into_iter().collect();
        let own = own.filter(|(id, _)| ids.remove(id));
        if let Some((_, detail)) = own.filter(|_| ids.is_empty()) {
            return Err(Error::BadRequest(detail.into()));
        }
        let failed = own.map(|(id, detail)| Failure { id, detail }).into_iter().collect();
        Ok(Self { others: ids.into_iter().collect(), failed })
    }

    /// Leaves those that were `found`; there must be one.
    fn keep(&mut self, found: &[UserId], nobody: &'static str) -> Result<(), Error> {
        if found.is_empty() {
            let none = Error::NotFound("No users found with the provided IDs".into());
            return Err(if self.failed.is_empty() { none } else { Error::BadRequest(nobody.into()) });
        }
        let found: BTreeSet<UserId> = found.iter().copied().collect();
        let unknown = self.others.extract_if(.., |id| !found.contains(id));
        self.failed.extend(unknown.map(|id| Failure { id, detail: "User not found" }));
        self.failed.sort_by_key(|failure| failure.id);
        Ok(())
    }
}

/// Commits what was done to `users`, and says so.
const CREATED: &str = "created";

async fn done(
    mut write: Write,
    users: Vec<UserId>,
    (what, set): (&str, Option<(&str, Value)>),
    failed: Vec<Failure>,
) -> Result<Written<Outcome>, Error> {
    let affected = users.len();
    let ids = users.iter().map(|id| id.0);
    if what == CREATED {
        for id in &users {
            record::after_user(&mut write, *id).await?;
        }
    } else {
        record::many(&mut write, record::USER, ids, set.as_ref())?;
    }
    for user in users {
        write.touch(Change::User(user));
    }
    let message = format!("{affected} user(s) {what} successfully");
    Ok(write.commit(Outcome { message, success: true, affected, failed }).await?.into())
}

fn ids(body: &mut Object<'_>, name: &'static str) -> Valid<Vec<UserId>> {
    body.field::<Vec<UserId>>(name).max_items(MOST_IDS).required()
}

pub(super) fn accounts(input: &mut Input, policy: Policy) -> Valid<Vec<Account>> {
    input.body().each("users", MOST_ACCOUNTS, |body| Account::read(body, policy))
}

pub(super) async fn create(State(state): State<Users>, call: Call) -> Result<Written<Outcome>, Error> {
    let (caller, input) = call.permit("user:create")?;
    let accounts = input.read(|input| accounts(input, state.policy))?;
    if accounts.is_empty() {
        return Err(Error::BadRequest("No users provided".into()));
    }
    // One after the other, so that others who sign in meanwhile need not queue behind all of them.
    let mut hashes = Vec::with_capacity(accounts.len());
    for account in &accounts {
        hashes.push(state.hasher.hash(account.password.clone()).await?);
    }
    let mut write = state.control.write_as(caller.origin()).await?;
    let now = write.now();
    let known = known_roles(write.tx(), &accounts).await?;
    let mut made = Vec::with_capacity(accounts.len());
    for (account, hash) in accounts.into_iter().zip(hashes) {
        let name = account.username.clone();
        let stored = account.store(write.tx(), &state.mail, (hash, &known, Some(caller.id())), now).await;
        let id = stored.map_err(|error| match error {
            store::Error::Conflict { .. } => {
                Error::BadRequest(format!("Username or email already exists: {name}").into())
            }
            other => taken(other),
        })?;
        made.push(id);
    }
    done(write, made, (CREATED, None), Vec::new()).await
}

pub(super) fn named(input: &mut Input) -> Valid<Vec<UserId>> {
    ids(&mut input.body(), "user_ids")
}

pub(super) async fn delete(State(state): State<Users>, call: Call) -> Result<Written<Outcome>, Error> {
    let (caller, input) = call.permit("user:delete")?;
    let ids = input.read(named)?;
    let mut named = Named::new(ids, Some((caller.id(), "Cannot delete your own account")))?;
    let mut write = state.control.write_as(caller.origin()).await?;
    let now = write.now();
    let deleted = users::delete_each(write.tx(), &named.others, now).await?;
    named.keep(&deleted, "No valid users to delete")?;
    done(write, deleted, ("deleted", None), named.failed).await
}

pub(super) fn switched(input: &mut Input) -> Valid<(Vec<UserId>, bool)> {
    let mut body = input.body();
    let ids = ids(&mut body, "ids");
    let is_active = body.required::<bool>("is_active");
    Some((ids?, is_active?))
}

pub(super) async fn status(State(state): State<Users>, call: Call) -> Result<Written<Outcome>, Error> {
    let (caller, input) = call.permit("user:update")?;
    let (ids, is_active) = input.read(switched)?;
    let own = "You cannot deactivate your own account";
    let mut named = Named::new(ids, (!is_active).then_some((caller.id(), own)))?;
    let mut write = state.control.write_as(caller.origin()).await?;
    let now = write.now();
    let found = users::existing(write.tx(), &named.others).await?;
    named.keep(&found, own)?;
    let changed = users::set_active(write.tx(), &found, is_active, now).await?;
    done(write, changed, ("updated", Some(("is_active", is_active.into()))), named.failed).await
}

/// What to do with roles.
#[derive(Clone, Copy)]
pub(super) enum Action {
    Add,
    Remove,
}

pub(super) fn assigned(input: &mut Input) -> Valid<(Vec<UserId>, Vec<RoleId>, Action, Expiry)> {
    let mut body = input.body();
    let users = ids(&mut body, "user_ids");
    let roles = body.field::<Vec<RoleId>>("role_ids").max_items(MOST_ROLES).required();
    let literal = |word: &String| action(word).map(drop).ok_or_else(|| Flaw::literal("'add' or 'remove'"));
    let action_word = body.field::<String>("action").one_of(&["add", "remove"]).check(literal).required();
    let expiry = expiry(&mut body, Timestamp::now());
    Some((users?, roles?, action(&action_word?)?, expiry?))
}

pub(super) async fn roles(State(state): State<Users>, call: Call) -> Result<Written<Outcome>, Error> {
    let (caller, input) = call.permit("user:update")?;
    let (user_ids, role_ids, action, expiry) = input.read(assigned)?;
    let mut named = Named::new(user_ids, None)?;
    if role_ids.is_empty() {
        return Err(Error::BadRequest("No role IDs provided".into()));
    }
    let mut write = state.control.write_as(caller.origin()).await?;
    let found = users::existing(write.tx(), &named.others).await?;
    named.keep(&found, "No users found with the provided IDs")?;
    let wanted: BTreeSet<RoleId> = role_ids.iter().copied().collect();
    if role_rows::existing(write.tx(), &role_ids).await?.len() < wanted.len() {
        return Err(Error::NotFound("User or role not found".into()));
    }
    let changed = change(&mut write, (&found, &role_ids), action, (caller.id(), expiry)).await?;
    let name = if matches!(action, Action::Add) { "roles_added" } else { "roles_removed" };
    done(write, changed, ("updated", Some((name, json!(role_ids)))), named.failed).await
}

fn action(word: &str) -> Option<Action> {
    match word {
        "add" => Some(Action::Add),
        "remove" => Some(Action::Remove),
        _ => None,
    }
}

async fn change(
    write: &mut Write,
    (users, roles): (&[UserId], &[RoleId]),
    action: Action,
    (granted_by, expiry): (UserId, Expiry),
) -> Result<Vec<UserId>, store::Error> {
    let now = write.now();
    match action {
        Action::Add => users::assign_each(write.tx(), users, roles, Some(granted_by), expiry, now).await,
        Action::Remove => users::unassign_each(write.tx(), users, roles).await,
    }
}
