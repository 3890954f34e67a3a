//! The rows of a first start, and the accounts that nobody could sign in without.

use anyhow::Context;

use crate::config::{Mode, Settings};
use crate::control::{self, Control, DEMO_ACCOUNTS, NewAccount};
use crate::model::{Email, SUPER_ROLE, Secret, Username};
use crate::password::{Hasher, random_password};

/// Mail of the first administrator until it is changed; nobody's (RFC 2606).
const FIRST_MAIL: &str = "superadmin@example.com";

/// Seeds the database; returns the first administrator's password if it was made up here.
pub(super) async fn seed(
    settings: &Settings,
    control: &Control,
    hasher: &Hasher,
) -> anyhow::Result<Option<Secret<String>>> {
    let mut made_up = None;
    let accounts = if !control.lacks_administrator().await? {
        Vec::new()
    } else if settings.mode == Mode::Dev {
        demo_accounts(hasher).await?
    } else {
        let password = settings.auth.bootstrap_password.clone().unwrap_or_else(|| {
            let password = random_password();
            made_up = Some(password.clone());
            password
        });
        vec![account(hasher, SUPER_ROLE, password, FIRST_MAIL, SUPER_ROLE).await?]
    };
    let seeded = control::seed(control, accounts).await.context("seeding the database")?;
    if seeded.first_start {
        tracing::info!("the database was empty; system roles and permissions are made");
    }
    // Another node may have been first: then its password holds, and ours is nobody's.
    Ok(made_up.filter(|_| seeded.accounts > 0))
}

async fn demo_accounts(hasher: &Hasher) -> anyhow::Result<Vec<NewAccount>> {
    let mut tasks = Vec::new();
    for (name, password, email, role) in DEMO_ACCOUNTS {
        let hasher = hasher.clone();
        let password = Secret::new(password.to_owned());
        tasks.push(tokio::spawn(async move { account(&hasher, name, password, email, role).await }));
    }
    let mut accounts = Vec::new();
    for task in tasks {
        accounts.push(task.await??);
    }
    Ok(accounts)
}

async fn account(
    hasher: &Hasher,
    name: &str,
    password: Secret<String>,
    email: &str,
    role: &'static str,
) -> anyhow::Result<NewAccount> {
    Ok(NewAccount {
        username: Username::try_from(name)?,
        email: Email::try_from(email).map_err(anyhow::Error::msg)?,
        password_hash: hasher.hash(password).await?,
        role,
    })
}
