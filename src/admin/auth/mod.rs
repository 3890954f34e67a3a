//! Everybody's own affairs: signing in and out, signing up, one's account and what one may do.

mod account;
mod register;
mod sign_in;

use std::sync::Arc;

use axum::extract::FromRef;
use axum::routing::{get, post};

pub(super) use account::{Scene, ask};

use super::endpoints::Endpoints;
use super::gate::Gate;
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
    pub(super) failures: LoginFailures,
    pub(super) limits: Option<RateLimits>,
    pub(super) metrics: Arc<Metrics>,
}

pub(super) fn endpoints() -> Endpoints<Auth> {
    Endpoints::new()
        .at("/auth/login", post(sign_in::login))
        .at("/auth/refresh", post(sign_in::refresh))
        .at("/auth/logout", post(sign_in::logout))
        .at("/auth/register", post(register::register))
        .at("/auth/public-register", post(register::sign_up))
        .at("/auth/me", get(account::me).put(account::update))
        .at("/users/me", get(account::me).put(account::update))
        .at("/auth/change-password", post(account::change_password))
        .at("/auth/permissions", get(account::permissions))
        .at("/auth/verify-token", post(account::verify_token))
        .at("/auth/check-permission", post(account::check_permission))
}
