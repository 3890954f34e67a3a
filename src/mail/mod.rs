//! Mail: a letter is queued in the transaction of what causes it, and a worker sends it.
//!
//! ## Why
//! A request never waits for a mail server, and what was answered is not forgotten by a crash: the letter lies in the
//! `outbox` table once its cause is committed. Each letter is sent once. One exception cannot be ruled out over SMTP: a
//! crash between the server's acceptance and our note of it sends the same mail again; its `Message-ID` is the same, by
//! which mailboxes recognise it.
//!
//! No link that is good for anything lies in the database. A letter that carries one says only to which address it goes.
//! When it is sent, its token is computed from the letter's random id and a key that is derived from the service's own
//! secret; what is stored is the token's hash, and the same letter has the same token in every attempt. Whether the
//! address is anybody's is looked up then too: whoever asked for the letter cannot tell from how long that took.
//!
//! What strangers choose is not repeated to the recipient: a client's name for itself is told in words of our own, and
//! links begin with the address in the settings, never with one of the request.

mod agent;
mod letter;
mod render;
mod smtp;
mod token;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use uuid::Uuid;

pub use letter::{Letter, Person, Scene};
pub use render::Links;
pub use smtp::{Security, Smtp, SmtpSettings};
pub use token::hash;
pub use worker::Postman;

use crate::model::{Email, Secret, Timestamp, UserId};
use crate::store::outbox::{Bounds, NewMail};
use crate::store::{self, Tx, mail_tokens, outbox};
use crate::telemetry::Metrics;

/// Why mail cannot be sent at all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting that no mail can be sent with.
    #[error("{0}")]
    Setting(String),
}

/// How letters are written, and how many.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What the service calls itself.
    pub name: String,
    /// Where links lead.
    pub links: Links,
    /// The service's own secret, from which tokens are derived.
    pub secret: Secret<String>,
    /// How long an address can be verified.
    pub verification_life: Duration,
    /// How long a password can be reset.
    pub reset_life: Duration,
    /// Letters of one kind to one recipient within an hour; more are left out.
    pub per_hour: u32,
    /// Letters that wait; more are left out.
    pub waiting: u32,
}

/// Where letters are queued.
#[derive(Clone, Debug)]
pub struct Outbox(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    settings: Settings,
    key: token::Key,
    metrics: Arc<Metrics>,
    state: Mutex<State>,
}

/// How sending goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Letters that wait.
    pub waiting: i64,
    /// Attempts that failed since the last one that did not.
    pub failures: u32,
    /// Why the last of them did.
    pub last_error: Option<String>,
}

impl Outbox {
    /// One that letters are sent from.
    pub fn new(settings: Settings, metrics: Arc<Metrics>) -> Self {
        let key = token::Key::derive(&settings.secret);
        Self(Some(Arc::new(Inner { settings, key, metrics, state: Mutex::default() })))
    }

    /// One that takes nothing: no mail is sent.
    pub fn closed() -> Self {
        Self(None)
    }

    /// Whether mail is sent at all.
    pub fn is_open(&self) -> bool {
        self.0.is_some()
    }

    /// How sending goes; nothing where no mail is sent.
    pub fn state(&self) -> Option<State> {
        self.0.as_ref().map(|inner| inner.state.lock().clone())
    }

    /// Queues a letter as part of `tx`; a letter too many for its recipient, or altogether, is left out and counted.
    ///
    /// # Errors
    /// What the database refuses.
    pub async fn queue(&self, tx: &mut Tx, letter: &Letter, now: Timestamp) -> Result<(), store::Error> {
        const HOUR: i64 = 3_600;
        let Some(inner) = &self.0 else { return Ok(()) };
        let new = NewMail {
            message_id: Uuid::now_v7().to_string(),
            kind: letter.kind(),
            recipient: letter.recipient().clone(),
            letter: letter.to_text(),
        };
        let bounds = Bounds {
            per_recipient: inner.settings.per_hour.into(),
            since: now.plus_seconds(-HOUR),
            waiting: inner.settings.waiting.into(),
        };
        // Nobody is rung for: work that began at once would be felt by the next request, and tell of an address.
        if !outbox::insert(tx, &new, bounds, now).await? {
            inner.metrics.mail(new.kind, "refused");
            tracing::warn!(mail.kind = new.kind, "a mail was left out: too many of its kind, or too many altogether");
        }
        Ok(())
    }

    /// Makes every link void that was, or is about to be, sent to the user at `email`.
    ///
    /// # Errors
    /// What the database refuses.
    pub async fn void(&self, tx: &mut Tx, user: UserId, email: &Email) -> Result<(), store::Error> {
        mail_tokens::void(tx, user).await?;
        for kind in [letter::VERIFICATION, letter::RESET] {
            outbox::withdraw(tx, kind, email).await?;
        }
        Ok(())
    }
}
