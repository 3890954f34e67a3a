//! Whose account somebody with another issuer's token has: found, or made, when such a token is seen for the first time.
//!
//! ## Why
//! The data plane waits for no database, so it sends who is new here and goes on when the snapshot knows. What decides is
//! the issuer's mapping alone. An account is never taken over on the word of a mail address that nobody has verified, on
//! either side, and one that holds a system role only where the mapping says that it may. One that was made for somebody,
//! or that the issuer has another name for already, is nobody else's: names made here are like those of the issuers, and
//! issuers give names and addresses again.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::{Control, Error, Write};
use crate::{
    jwt::Waiting,
    model::{Claims, Email, Issuer, IssuerPrincipal, NewUser, Secret, Timestamp, UserId, Username},
    policy::Snapshot,
    store::{self, Tx, changes::Change, issuers, users},
    telemetry::logs::SECURITY,
};

/// Nobody who was refused is looked up again within this time.
const REMEMBERED: Duration = Duration::from_secs(10);
/// So many are remembered to have been refused.
const MOST_REMEMBERED: usize = 10_000;
/// A hash that no password has: who signs in elsewhere has none here.
const NO_PASSWORD: &str = "!";
const SHORTEST_NAME: usize = 3;
const LONGEST_NAME: usize = 40;
/// Names that are tried before one is made up.
const MOST_NAMESAKES: u32 = 9;

/// Why somebody has no account here; for the log.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("the issuer is not trusted any more")]
    NotTrusted,
    #[error("the account that belongs to this subject was deleted")]
    Deleted,
    #[error("the token has no claim that says which account, or its mail address is not verified")]
    NoClaim,
    #[error("there is no such account, and none is made")]
    NoAccount,
    #[error("the account is disabled")]
    Inactive,
    #[error("the account holds a system role, which the issuer may not give")]
    Guarded,
    #[error(transparent)]
    Failed(#[from] Error),
}

impl From<store::Error> for Refusal {
    fn from(error: store::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl Refusal {
    /// Whether asking again at once is in vain.
    fn is_lasting(&self) -> bool {
        match self {
            Self::Failed(error) => matches!(error, Error::Store(store::Error::Conflict { .. })),
            _ => true,
        }
    }
}

type Refused = HashMap<(Arc<str>, String), Instant>;

impl Control {
    /// Finds or makes the accounts of newcomers, one after the other, for ever.
    pub async fn welcome(&self, mut arrivals: mpsc::Receiver<Waiting<Arc<Claims>>>) {
        let mut refused = Refused::new();
        while let Some(newcomer) = arrivals.recv().await {
            let Some(issuer) = newcomer.what.issuer.clone() else { continue };
            if newcomer.is_given_up() {
                continue;
            }
            let key = (issuer, newcomer.what.subject.clone());
            if refused.get(&key).is_some_and(|at| at.elapsed() < REMEMBERED) {
                continue;
            }
            match self.settle(&newcomer.what).await {
                Ok(()) => newcomer.done(),
                Err(refusal) => {
                    let (issuer, subject) = (&key.0, &key.1);
                    tracing::info!(target: SECURITY, %issuer, subject, reason = %refusal, "no account for a newcomer");
                    // The database may be back at once.
                    if refusal.is_lasting() {
                        remember(&mut refused, key);
                    }
                }
            }
        }
    }

    async fn settle(&self, claims: &Claims) -> Result<(), Refusal> {
        let (Some(iss), subject) = (claims.issuer.as_deref(), &claims.subject) else { return Err(Refusal::NotTrusted) };
        // Most who are refused are so without keeping other writers waiting. The rest is for a snapshot that is up to date.
        let known = self.0.snapshots.load();
        let looked = look(&mut self.read().await?, &known, claims).await;
        if let Err(refusal @ (Refusal::NoClaim | Refusal::NoAccount)) = looked {
            return Err(refusal);
        }
        let mut write = self.write().await?;
        let base = Arc::clone(write.base());
        let (user, is_new) = match look(write.tx(), &base, claims).await? {
            Found::Settled => return Ok(()),
            Found::Account(user) => (user, false),
            Found::Nobody(issuer) => (create(&mut write, &issuer, claims).await?, true),
        };
        let now = write.now();
        issuers::link(write.tx(), (iss, subject), user, is_new, now).await?;
        write.touch(Change::User(user));
        let identity = json!({ "user_id": user, "issuer": iss, "subject": subject });
        write.becomes("user_identity", user.0, &identity);
        write.commit(()).await?;
        tracing::info!(target: SECURITY, { user.id = %user, is_new, issuer = iss, subject }, "account linked");
        Ok(())
    }
}

/// What is known of a newcomer.
enum Found {
    /// Somebody else was first, or accounts are not asked for any more.
    Settled,
    Account(UserId),
    /// Nobody, and an account is to be made.
    Nobody(Arc<Issuer>),
}

async fn look(tx: &mut Tx, snapshot: &Snapshot, claims: &Claims) -> Result<Found, Refusal> {
    let iss = claims.issuer.as_deref().ok_or(Refusal::NotTrusted)?;
    let issuer = snapshot.issuers().get(iss).ok_or(Refusal::NotTrusted)?;
    if !snapshot.is_newcomer(claims) {
        return Ok(Found::Settled);
    }
    if issuers::linked(tx, iss, &claims.subject).await?.is_some() {
        return Err(Refusal::Deleted);
    }
    let Some(user) = find(tx, issuer, claims).await? else {
        return match issuer.spec().principal {
            IssuerPrincipal::Create => Ok(Found::Nobody(Arc::clone(issuer))),
            IssuerPrincipal::Account | IssuerPrincipal::Claims => Err(Refusal::NoAccount),
        };
    };
    if !snapshot.user(user).is_some_and(|state| state.is_active) {
        return Err(Refusal::Inactive);
    }
    if !issuer.spec().system_roles && snapshot.is_guarded(user, Timestamp::now()) {
        return Err(Refusal::Guarded);
    }
    Ok(Found::Account(user))
}

fn remember(refused: &mut Refused, key: (Arc<str>, String)) {
    if refused.len() >= MOST_REMEMBERED {
        refused.retain(|_, at| at.elapsed() < REMEMBERED);
    }
    if refused.len() < MOST_REMEMBERED {
        refused.insert(key, Instant::now());
    }
}

/// The account that the mapping's claim names.
async fn find(tx: &mut Tx, issuer: &Issuer, claims: &Claims) -> Result<Option<UserId>, Refusal> {
    let wanted = issuer.user_of(&claims.all).ok_or(Refusal::NoClaim)?;
    let (name, mail) = match issuer.by_mail() {
        true => (None, Email::try_from(wanted).ok().map(|mail| mail.as_str().to_lowercase())),
        false => (Username::try_from(wanted).ok(), None),
    };
    let name = name.as_ref().map(Username::as_str);
    Ok(issuers::account(tx, &issuer.spec().issuer, name, mail.as_deref()).await?)
}

/// Makes an account, with what everybody has who signs up.
async fn create(write: &mut Write, issuer: &Issuer, claims: &Claims) -> Result<UserId, Refusal> {
    let username = free_name(write, issuer, claims).await?;
    let stated = claims.all.text("email").filter(|_| claims.all.is_true("email_verified"));
    let stated = stated.and_then(|text| Email::try_from(&*text).ok());
    let mail = match stated {
        Some(mail) if issuers::is_mail_free(write.tx(), &mail.as_str().to_lowercase()).await? => Some(mail),
        _ => None,
    };
    let is_verified = mail.is_some();
    // Nobody's (RFC 2606): an account has an address, and this one is not known.
    let made_up = || Email::try_from(format!("{}@accounts.example.com", Uuid::now_v7().simple()));
    let mail = mail.map_or_else(made_up, Ok).map_err(|_| Refusal::NoClaim)?;
    let now = write.now();
    let role = write.base().compiled().default_role();
    let new = NewUser {
        username,
        email: mail,
        password_hash: Secret::new(NO_PASSWORD.to_owned()),
        is_active: true,
        role_ids: role.into_iter().collect(),
        granted_by: None,
    };
    let id = users::insert(write.tx(), &new, now).await?;
    if is_verified {
        issuers::verify_mail(write.tx(), id).await?;
    }
    if let Some(user) = users::get(write.tx(), id, now).await? {
        write.becomes("user", id.0, &user);
    }
    Ok(id)
}

/// A name like the one that the token says, which nobody has.
async fn free_name(write: &mut Write, issuer: &Issuer, claims: &Claims) -> Result<Username, Refusal> {
    let stated = claims.all.text("preferred_username").map(Cow::into_owned);
    let wanted = issuer.user_of(&claims.all).into_iter().chain(stated);
    let plain = |text: String| -> String {
        let local = text.split('@').next().unwrap_or_default();
        local.chars().filter(|c| c.is_alphanumeric()).take(LONGEST_NAME).collect()
    };
    let base = wanted.map(plain).find(|name| name.chars().count() >= SHORTEST_NAME);
    let numbered = |base: &String| {
        let base = base.clone();
        std::iter::once(base.clone()).chain((2..2 + MOST_NAMESAKES).map(move |number| format!("{base}{number}")))
    };
    let made_up = format!("user{}", Uuid::now_v7().simple());
    for name in base.iter().flat_map(numbered).chain([made_up]) {
        let Ok(name) = Username::try_from(name) else { continue };
        if issuers::is_name_free(write.tx(), &name).await? {
            return Ok(name);
        }
    }
    Err(Refusal::NoAccount)
}
