//! What users are told by mail about their accounts, in the transaction of what happened.

use crate::control::Origin;
use crate::mail::{Letter, Outbox, Person, Scene};
use crate::model::{Email, Timestamp, UserPatch};
use crate::store::{self, Tx, users::Credentials};

/// Where mails are queued, and whether addresses are to be verified.
#[derive(Clone, Debug)]
pub struct Mail {
    /// Where they are queued.
    pub outbox: Outbox,
    /// Whether new addresses are asked to be verified.
    pub asks: bool,
    /// Whether nobody signs in whose address is not.
    pub requires: bool,
}

impl Mail {
    /// One for what nobody shall hear of.
    pub(crate) fn rehearsing(&self) -> Self {
        Self { outbox: Outbox::closed(), ..self.clone() }
    }

    /// Asks for a new address to be verified, where that is wanted.
    pub(crate) async fn ask(&self, tx: &mut Tx, email: &Email, now: Timestamp) -> Result<(), store::Error> {
        if !self.asks {
            return Ok(());
        }
        self.outbox.queue(tx, &Letter::Verification { email: email.clone() }, now).await
    }

    /// Tells the user, who was `before`, what `patch` has changed, and makes links void that were sent for less.
    pub(crate) async fn tell(
        &self,
        tx: &mut Tx,
        (before, patch): (&Credentials, &UserPatch),
        scene: Scene,
    ) -> Result<(), store::Error> {
        let moved = patch.email.as_ref().filter(|email| !email.is_same(&before.email));
        if moved.is_none() && patch.password_hash.is_none() {
            return Ok(());
        }
        self.outbox.void(tx, before.id, &before.email).await?;
        let now = scene.at;
        // To the address before: whoever took the account over shall not be the only one who is told.
        let to = || Person { username: before.username.clone(), email: before.email.clone() };
        if patch.password_hash.is_some() {
            self.outbox.queue(tx, &Letter::PasswordChanged { to: to(), scene: scene.clone() }, now).await?;
        }
        if let Some(email) = moved {
            self.outbox.queue(tx, &Letter::AddressChanged { to: to(), scene }, now).await?;
            self.ask(tx, email, now).await?;
        } else if !before.email_verified {
            // The link that it was sent with is void now.
            self.ask(tx, &before.email, now).await?;
        }
        Ok(())
    }
}

/// Where a write comes from.
pub(crate) fn scene(origin: &Origin, at: Timestamp) -> Scene {
    Scene { at, client: origin.client, user_agent: origin.user_agent.clone() }
}
