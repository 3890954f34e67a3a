//! An account to be made: read alike by whoever administers users and by whoever signs up.

use std::collections::BTreeMap;

use super::{Mail, changed};
use crate::admin::error::Error;
use crate::admin::input::{Flaw, Issue, Object, Valid};
use crate::admin::reply::Written;
use crate::control::{Control, Origin};
use crate::model::{
    DEFAULT_ROLE, Email, NewUser, ProfilePatch, RoleId, Secret, Timestamp, User, UserId, Username, stored_role_name,
};
use crate::password::{About, Hasher, Policy};
use crate::store::{self, Tx, roles, users};

/// The longest list of ids or names in a body.
pub(crate) const MOST_IDS: usize = 1_000;

/// An account to be made.
#[derive(Debug)]
pub(crate) struct Account {
    pub(super) username: Username,
    email: Email,
    pub(super) password: Secret<String>,
    is_active: bool,
    role_ids: Vec<RoleId>,
    role_names: Vec<String>,
    must_change_password: bool,
}

/// Ids of roles by name.
pub(super) type Known = BTreeMap<String, RoleId>;

impl Account {
    /// Reads the body of whoever may make users.
    pub(crate) fn read(body: &mut Object<'_>, policy: Policy) -> Valid<Self> {
        let public = Self::read_public(body, policy);
        let role_ids = body.field::<Vec<RoleId>>("role_ids").max_items(MOST_IDS).optional();
        let role_names = body.field::<Vec<String>>("role_names").max_items(MOST_IDS).optional();
        let is_active = body.field::<bool>("is_active").optional();
        let must_change = body.optional::<bool>("must_change_password");
        Some(Self {
            must_change_password: must_change?.unwrap_or_default(),
            role_ids: role_ids?.unwrap_or_default(),
            role_names: role_names?.unwrap_or_default(),
            is_active: is_active?.unwrap_or(true),
            ..public?
        })
    }

    /// Reads the body of whoever signs up: an active account with the default role, whatever else it asks for.
    pub(crate) fn read_public(body: &mut Object<'_>, policy: Policy) -> Valid<Self> {
        let username = body.required::<Username>("username");
        let email = body.required::<Email>("email");
        let password = body.field::<Secret<String>>("password").check(|secret| {
            flaw(policy, secret)?;
            match (&username, &email) {
                (Some(username), Some(email)) => {
                    policy.suits(secret.expose(), about(username, email)).map_err(Flaw::value)
                }
                // Which of them is wrong is told anyway.
                _ => Ok(()),
            }
        });
        let password = password.required();
        Some(Self {
            username: username?,
            email: email?,
            password: password?,
            is_active: true,
            role_ids: Vec::new(),
            role_names: Vec::new(),
            must_change_password: false,
        })
    }

    /// Makes the user; `taken` says what it means that name or address are.
    pub(crate) async fn make(
        self,
        (control, hasher, mail): (&Control, &Hasher, &Mail),
        origin: Option<Origin>,
        taken: fn(store::Error) -> Error,
    ) -> Result<Written<User>, Error> {
        let hash = hasher.hash(self.password.clone()).await?;
        let granted_by = origin.as_ref().map(|origin| origin.actor);
        let mut write = match origin {
            Some(origin) => control.write_as(origin).await?,
            // Nobody asks but whoever registers, who is given the default role.
            None => control.write().await?,
        };
        let known = known_roles(write.tx(), [&self]).await?;
        // Where both are taken, databases name either: the contract, the name.
        if users::credentials(write.tx(), self.username.as_str()).await?.is_some() {
            return Err(taken(store::Error::Conflict { column: Some("username".to_owned()) }));
        }
        let now = write.now();
        let id = self.store(write.tx(), mail, (hash, &known, granted_by), now).await.map_err(taken)?;
        changed(write, id).await
    }

    /// Stores the user, and asks for the address to be verified where that is wanted.
    pub(super) async fn store(
        self,
        tx: &mut Tx,
        mail: &Mail,
        (hash, known, granted_by): (Secret<String>, &Known, Option<UserId>),
        now: Timestamp,
    ) -> Result<UserId, store::Error> {
        let must_change = self.must_change_password;
        let new = self.into_new(hash, known, granted_by);
        let id = users::insert(tx, &new, now).await?;
        if must_change {
            users::demand_new_password(tx, id, true).await?;
        }
        mail.ask(tx, &new.email, now).await?;
        Ok(id)
    }

    /// Ids win over names; without either it is the default role. Names of no role are ignored.
    fn into_new(self, hash: Secret<String>, known: &Known, granted_by: Option<UserId>) -> NewUser {
        let named = || self.names().filter_map(|name| known.get(name).copied()).collect();
        let role_ids = if self.role_ids.is_empty() { named() } else { self.role_ids.clone() };
        let Self { username, email, is_active, .. } = self;
        NewUser { username, email, password_hash: hash, is_active, role_ids, granted_by }
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        let default = self.role_names.is_empty().then_some(DEFAULT_ROLE);
        self.role_names.iter().map(|name| stored_role_name(name)).chain(default)
    }
}

/// The roles that `accounts` name, in one statement.
pub(super) async fn known_roles(
    tx: &mut Tx,
    accounts: impl IntoIterator<Item = &Account>,
) -> Result<Known, store::Error> {
    let names: Vec<&str> = accounts.into_iter().flat_map(Account::names).collect();
    let found = roles::named(tx, &names).await?;
    Ok(found.into_iter().map(|(name, id)| (name.as_str().to_owned(), id)).collect())
}

/// Reads what a user is called, and looks like.
pub(crate) fn profile(body: &mut Object<'_>) -> Valid<ProfilePatch> {
    let first_name = body.optional("first_name");
    let last_name = body.optional("last_name");
    let avatar = body.optional("avatar");
    Some(ProfilePatch { first_name: first_name?, last_name: last_name?, avatar: avatar? })
}

/// Reads a new password and holds it to the policy.
pub(crate) fn new_password(body: &mut Object<'_>, name: &'static str, policy: Policy) -> Valid<Option<Secret<String>>> {
    body.field::<Secret<String>>(name).check(|secret| flaw(policy, secret)).optional()
}

/// What `policy` finds wrong with a new password.
pub(crate) fn flaw(policy: Policy, secret: &Secret<String>) -> Result<(), Flaw> {
    if secret.expose().chars().count() < policy.min_length {
        return Err(Flaw::too_short(policy.min_length));
    }
    policy.check(secret.expose()).map_err(Flaw::value)
}

fn about<'a>(username: &'a Username, email: &'a Email) -> About<'a> {
    About { username: username.as_str(), email: email.as_str() }
}

/// One must set another password, and has set the same.
pub(crate) fn same_password(field: &'static str) -> Error {
    let flaw = Flaw::value("Password must be another than before".to_owned());
    Error::Validation(vec![Issue::new(vec!["body".into(), field.into()], flaw, &true.into())])
}

/// Refuses a new password, read from `field`, that `policy` does not want as that of this user.
pub(crate) fn suits(
    policy: Policy,
    field: &'static str,
    password: &Secret<String>,
    (username, email): (&Username, &Email),
) -> Result<(), Error> {
    let refused = |text: String| {
        let issue = Issue::new(vec!["body".into(), field.into()], Flaw::value(text), &true.into());
        Error::Validation(vec![issue])
    };
    policy.suits(password.expose(), about(username, email)).map_err(refused)
}
