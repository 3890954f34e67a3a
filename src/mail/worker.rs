//! Who sends what is queued.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::letter::Letter;
use super::render::{Link, words};
use super::smtp::{Failure, Smtp};
use super::{Inner, Outbox, token};
use crate::model::{Email, Timestamp};
use crate::store::mail_tokens::{NewToken, Purpose};
use crate::store::outbox::{Claimed, Ending};
use crate::store::{self, Db, mail_tokens, outbox, users};

/// How often is looked for letters.
const POLL: Duration = Duration::from_secs(1);
/// Letters sent at the same time.
const AT_ONCE: u32 = 8;
/// Beyond the longest time for sending a mail; a node whose clock is ahead by more would send it too.
const SLACK: Duration = Duration::from_secs(30);
/// Before the second attempt; each further wait is three times as long.
const FIRST_WAIT: i64 = 2;
/// The longest wait between two attempts.
const LONGEST_WAIT: i64 = 3_600;
/// From then on a letter is given up.
const GIVEN_UP_AFTER: i64 = 24 * 3_600;
/// The same for links to reset a password, which nobody waits for by the next day.
const RESET_GIVEN_UP_AFTER: i64 = 3_600;
/// How long is kept which mails were sent: what counts for the bound of an hour, and a while to look at.
const KEPT: i64 = 24 * 3_600;
/// How often what is old is removed, and letters are counted.
const CLEANING: Duration = Duration::from_mins(1);
const COUNTING: Duration = Duration::from_secs(5);
/// Rows removed in one statement, so that no lock is held for long.
const BATCH: u32 = 1_000;
/// How often noting that a mail was sent is tried: what is not noted is sent again.
const NOTES: u32 = 5;

/// Sends what is queued.
#[derive(Clone, Debug)]
pub struct Postman {
    db: Db,
    outbox: Arc<Inner>,
    /// None logs letters in place of sending them: for development.
    smtp: Option<Smtp>,
}

/// What is to be done with a letter.
enum Task {
    /// Send it to this address.
    Send { to: Email, username: String, link: Option<Link> },
    /// Nothing: there is nobody to send it to, or a later one says the same.
    Nothing,
}

impl Postman {
    /// One who empties `outbox`; none where that takes nothing.
    pub fn new(db: Db, outbox: &Outbox, smtp: Option<Smtp>) -> Option<Self> {
        let outbox = Arc::clone(outbox.0.as_ref()?);
        Some(Self { db, outbox, smtp })
    }

    /// Sends for as long as `stopping` does not say otherwise; mails that are being sent then are finished.
    pub async fn run(self, mut stopping: watch::Receiver<bool>) {
        let mut failing = false;
        let (mut cleaned, mut counted) = (None::<Instant>, None::<Instant>);
        while !*stopping.borrow() {
            let round = async {
                let sent = self.round().await?;
                if counted.is_none_or(|at| at.elapsed() >= COUNTING) {
                    counted = Some(Instant::now());
                    self.count().await?;
                }
                if cleaned.is_none_or(|at| at.elapsed() >= CLEANING) {
                    cleaned = Some(Instant::now());
                    self.clean().await?;
                }
                Ok::<usize, store::Error>(sent)
            };
            match round.await {
                Ok(sent) => {
                    failing = false;
                    // There may be more.
                    if sent > 0 {
                        continue;
                    }
                }
                Err(error) => {
                    if !failing {
                        tracing::error!(%error, "the outbox cannot be read; mails wait");
                    }
                    failing = true;
                }
            }
            tokio::select! {
                () = sleep(POLL) => {}
                _ = stopping.wait_for(|stop| *stop) => {}
            }
        }
    }

    /// Sends what is due, some letters at the same time; returns how many it took.
    ///
    /// # Errors
    /// The database is away.
    async fn round(&self) -> Result<usize, store::Error> {
        let now = Timestamp::now();
        let lease = self.smtp.as_ref().map_or(Duration::ZERO, Smtp::timeout) + SLACK;
        let lease = i64::try_from(lease.as_secs()).unwrap_or(i64::MAX);
        // Most looks find nothing, and need not wait for writers.
        if outbox::due(&mut self.db.read().await?, now).await? == 0 {
            return Ok(0);
        }
        let mut tx = self.db.write().await?;
        let claimed = outbox::claim(&mut tx, now.plus_seconds(lease), AT_ONCE, now).await?;
        tx.commit().await?;
        let taken = claimed.len();
        let mut sending = JoinSet::new();
        for mail in claimed {
            let postman = self.clone();
            sending.spawn(async move { postman.handle(mail).await });
        }
        sending.join_all().await;
        Ok(taken)
    }

    async fn handle(&self, mail: Claimed) {
        match self.attempt(&mail).await {
            Ok((ending, error)) => self.finish(&mail, ending, error.as_deref()).await,
            Err(error) if is_overdue(&mail) => self.finish(&mail, Ending::Failed, Some(&error)).await,
            Err(error) => self.postpone(&mail, &error).await,
        }
    }

    /// How a letter ended, and why if it was given up.
    ///
    /// # Errors
    /// Why it must be tried again.
    async fn attempt(&self, mail: &Claimed) -> Result<(Ending, Option<String>), String> {
        let letter = match Letter::from_text(&mail.letter) {
            Ok(letter) => letter,
            // Of a later version of this program, perhaps.
            Err(error) => return Err(format!("the letter cannot be read: {error}")),
        };
        let Task::Send { to, username, link } = self.prepare(&letter, mail).await.map_err(|error| error.to_string())?
        else {
            return Ok((Ending::Dropped, None));
        };
        let words = words(&self.outbox.settings.name, &letter, &username, link.as_ref())
            .map_err(|error| format!("the letter cannot be written: {error}"))?;
        let Some(smtp) = &self.smtp else {
            let link = link.as_ref().map(|link| link.address.expose().as_str());
            tracing::info!(mail.kind = letter.kind(), mail.to = %to, mail.link = link, "no mail server is set; this mail is not sent");
            return Ok((Ending::Sent, None));
        };
        match smtp.send((&to, &mail.message_id, mail.created_at), words).await {
            Ok(()) => {
                let mut state = self.outbox.state.lock();
                (state.failures, state.last_error) = (0, None);
                drop(state);
                Ok((Ending::Sent, None))
            }
            Err(Failure::Permanent(error)) => Ok((Ending::Failed, Some(error))),
            Err(Failure::Temporary(error)) => {
                let mut state = self.outbox.state.lock();
                state.failures = state.failures.saturating_add(1);
                state.last_error = Some(error.clone());
                Err(error)
            }
        }
    }

    /// Finds out to whom a letter goes; where it has a link, makes its token good, and those of earlier letters void.
    async fn prepare(&self, letter: &Letter, mail: &Claimed) -> Result<Task, store::Error> {
        let settings = &self.outbox.settings;
        let (email, purpose, page, life) = match letter {
            Letter::Verification { email } => {
                (email, Purpose::Verification, &settings.links.verify, settings.verification_life)
            }
            Letter::Reset { email } => (email, Purpose::Reset, &settings.links.reset, settings.reset_life),
            Letter::NewSignIn { to, .. }
            | Letter::Lockout { to, .. }
            | Letter::SessionsEnded { to, .. }
            | Letter::PasswordChanged { to, .. }
            | Letter::AddressChanged { to, .. } => {
                return Ok(Task::Send { to: to.email.clone(), username: to.username.to_string(), link: None });
            }
        };
        let mut tx = self.db.write().await?;
        let user = users::credentials(&mut tx, email.as_str()).await?.filter(|user| user.is_active);
        let is_wanted = |user: &users::Credentials| match purpose {
            Purpose::Reset => user.has_password(),
            Purpose::Verification => !user.email_verified,
        };
        let Some(user) = user.filter(is_wanted) else {
            return Ok(Task::Nothing);
        };
        let token = self.outbox.key.token(purpose, &mail.message_id);
        let seconds = i64::try_from(life.as_secs()).unwrap_or(i64::MAX);
        let new = NewToken {
            hash: token::hash(&token),
            purpose,
            user_id: user.id,
            email: user.email.clone(),
            outbox_id: mail.id,
            expires_at: Timestamp::now().plus_seconds(seconds),
        };
        // Withdrawn meanwhile: what would be stored now, nobody would make void.
        if !outbox::is_held(&mut tx, mail).await? || !mail_tokens::replace(&mut tx, &new).await? {
            return Ok(Task::Nothing);
        }
        tx.commit().await?;
        let link = Link { address: settings.links.with(page, &token), life };
        Ok(Task::Send { to: user.email, username: user.username.to_string(), link: Some(link) })
    }

    async fn finish(&self, mail: &Claimed, ending: Ending, error: Option<&str>) {
        match ending {
            Ending::Sent => tracing::debug!(mail.id = mail.id, mail.kind, mail.attempts, "mail sent"),
            Ending::Failed => tracing::error!(mail.id = mail.id, mail.kind, mail.attempts, error, "mail given up"),
            Ending::Dropped => tracing::debug!(mail.id = mail.id, mail.kind, "mail needless"),
        }
        for attempt in 1..=NOTES {
            match self.note(mail, ending, error).await {
                Ok(()) => break,
                Err(fault) if attempt == NOTES => tracing::error!(
                    error = %fault,
                    mail.id = mail.id,
                    "it could not be noted that a mail is done with; it may be sent again"
                ),
                Err(_) => sleep(POLL).await,
            }
        }
        self.outbox.metrics.mail(&mail.kind, ending.as_str());
    }

    async fn note(&self, mail: &Claimed, ending: Ending, error: Option<&str>) -> Result<(), store::Error> {
        let mut tx = self.db.write().await?;
        outbox::finish(&mut tx, mail, ending, error, Timestamp::now()).await?;
        tx.commit().await
    }

    async fn postpone(&self, mail: &Claimed, error: &str) {
        let seconds = wait(mail.attempts);
        tracing::warn!(mail.id = mail.id, mail.kind, mail.attempts, error, "mail not sent; tried again in {seconds} s");
        let outcome = async {
            let mut tx = self.db.write().await?;
            outbox::postpone(&mut tx, mail, error, Timestamp::now().plus_seconds(seconds)).await?;
            tx.commit().await
        };
        // Otherwise it is due when the lease is over.
        if let Err(fault) = outcome.await {
            tracing::warn!(error = %fault, mail.id = mail.id, "it could not be noted why a mail was not sent");
        }
        self.outbox.metrics.mail(&mail.kind, "retried");
    }

    async fn count(&self) -> Result<(), store::Error> {
        let waiting = outbox::waiting(&mut self.db.read().await?).await?;
        self.outbox.state.lock().waiting = waiting;
        self.outbox.metrics.mails_waiting(waiting);
        Ok(())
    }

    async fn clean(&self) -> Result<(), store::Error> {
        let now = Timestamp::now();
        loop {
            let mut tx = self.db.write().await?;
            let mails = outbox::purge(&mut tx, now.plus_seconds(-KEPT), BATCH).await?;
            let tokens = mail_tokens::purge(&mut tx, now, BATCH).await?;
            tx.commit().await?;
            if mails.max(tokens) < u64::from(BATCH) {
                return Ok(());
            }
        }
    }
}

fn is_overdue(mail: &Claimed) -> bool {
    let longest = if mail.kind == super::letter::RESET { RESET_GIVEN_UP_AFTER } else { GIVEN_UP_AFTER };
    Timestamp::now() >= mail.created_at.plus_seconds(longest)
}

/// Seconds until the next attempt, with some chance in them: many letters that failed together shall not all come again
/// together.
fn wait(attempts: i64) -> i64 {
    let exponent = u32::try_from(attempts.clamp(1, 10) - 1).unwrap_or_default();
    let seconds = FIRST_WAIT.saturating_mul(3_i64.pow(exponent)).min(LONGEST_WAIT);
    seconds + rand::rng().random_range(0..=seconds / 5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_an_hour() {
        for (attempts, seconds) in [(0, 2), (1, 2), (2, 6), (3, 18), (7, 1_458), (8, 3_600), (500, 3_600)] {
            let waited = wait(attempts);
            assert!((seconds..=seconds + seconds / 5).contains(&waited), "{attempts}: {waited}");
        }
    }
}
