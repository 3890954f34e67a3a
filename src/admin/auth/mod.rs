//! Everybody's own affairs: signing in and out, signing up, one's account and what one may do.

mod account;
mod address;
mod origin;
mod policy;
mod register;
mod reset;
mod session;
mod sign_in;
mod sign_out;

use std::sync::Arc;

use axum::extract::FromRef;

pub(super) use account::{Scene, ask};
pub use session::Sessions;

use super::endpoints::Access::{Public, PublicOr, SignedIn};
use super::endpoints::Endpoints;
use super::gate::Gate;
use super::users::{Account, Mail};
use crate::control::Control;
use crate::http::{LoginFailures, RateLimits};
use crate::jwt::Minter;
use crate::password::{Hasher, Policy};
use crate::telemetry::Metrics;

/// What the endpoints of this folder use.
#[derive(Clone, Debug, FromRef)]
pub(super) struct Auth {
    pub(super) gate: Gate,
    pub(super) control: Control,
    pub(super) minter: Minter,
    pub(super) hasher: Hasher,
    pub(super) policy: Policy,
    /// Whether anybody may make an account of their own.
    pub(super) registration: bool,
    pub(super) sessions: Sessions,
    pub(super) mail: Mail,
    pub(super) failures: LoginFailures,
    pub(super) limits: Option<RateLimits>,
    pub(super) metrics: Arc<Metrics>,
}

pub(super) fn endpoints() -> Endpoints<Auth> {
    Endpoints::new("Account")
        .post("/auth/login", Public, "Sign in", sign_in::login)
        .reads(|input| sign_in::credentials(input, Policy::default()))
        .fails(&[401, 403, 423])
        .post("/auth/refresh", Public, "Get a new pair of tokens", session::refresh)
        .reads(session::refresh_token)
        .fails(&[401])
        .post("/auth/logout", SignedIn, "Sign out", sign_out::logout)
        .reads(sign_out::other_token)
        .post("/auth/logout-all", SignedIn, "Sign out everywhere", sign_out::logout_all)
        .get("/auth/sessions", SignedIn, "List where one is signed in", sign_out::sessions)
        .reads(sign_out::wanted)
        .delete("/auth/sessions/{session_id}", SignedIn, "Sign out elsewhere", sign_out::end_session)
        .reads(sign_out::named)
        .post("/auth/register", PublicOr("user:create"), "Make an account", register::register)
        .reads(|input| Account::read(&mut input.body(), Policy::default()))
        .post("/auth/public-register", Public, "Make an account of one's own", register::sign_up)
        .reads(|input| Account::read_public(&mut input.body(), Policy::default()))
        .get("/auth/me", SignedIn, "Get one's own account", account::me)
        .put("/auth/me", SignedIn, "Change one's own account", account::update)
        .reads(|input| account::changes(input, Policy::default()))
        .get("/users/me", SignedIn, "Get one's own account (as a user)", account::me)
        .put("/users/me", SignedIn, "Change one's own account (as a user)", account::update)
        .reads(|input| account::changes(input, Policy::default()))
        .post("/auth/change-password", SignedIn, "Change one's own password", account::change_password)
        .reads(|input| account::passwords(input, Policy::default()))
        .get("/auth/password-policy", Public, "Get what a new password must satisfy", policy::show)
        .post("/auth/forgot-password", Public, "Ask for a link to reset a password", reset::forgot)
        .reads(address::email)
        .post("/auth/reset-password", Public, "Reset a password by a link's token", reset::reset)
        .reads(|input| reset::asked(input, Policy::default()))
        .post("/auth/verify-email", Public, "Verify a mail address by a link's token", address::verify)
        .reads(address::token)
        .post("/auth/resend-verification", Public, "Ask for another link to verify a mail address", address::resend)
        .reads(address::email)
        .get("/auth/permissions", SignedIn, "Get one's own roles and permissions", account::permissions)
        .post("/auth/verify-token", SignedIn, "Ask whose token it is", account::verify_token)
        .post("/auth/check-permission", SignedIn, "Ask whether one has a permission", account::check_permission)
        .reads(account::asked)
}
