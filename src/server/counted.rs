//! What is counted of clients, which a reload goes on with.

use std::sync::Arc;

use crate::config::{self, Settings};
use crate::http::{self, GatewayLimits, LoginFailures, Patience, RateLimits};

/// Counts of both services; where a limit is changed, they begin anew.
#[derive(Clone, Debug)]
pub(super) struct Counted {
    pub(super) gateway: Option<Arc<GatewayLimits>>,
    pub(super) admin: Option<RateLimits>,
    pub(super) failures: LoginFailures,
}

impl Counted {
    pub(super) fn new(settings: &Settings) -> Self {
        Self { gateway: gateway(settings), admin: admin(settings), failures: failures(settings) }
    }

    /// The same by `new` settings instead of `old` ones.
    pub(super) fn under(&self, old: &Settings, new: &Settings) -> Self {
        let is_same_rate = old.rate_limit == new.rate_limit;
        let (auth, before) = (&new.auth, &old.auth);
        let is_same_patience = old.lockout == new.lockout
            && (auth.login_failures, auth.login_window) == (before.login_failures, before.login_window);
        Self {
            gateway: if is_same_rate { self.gateway.clone() } else { gateway(new) },
            admin: if is_same_rate { self.admin.clone() } else { admin(new) },
            failures: if is_same_patience { self.failures.clone() } else { failures(new) },
        }
    }
}

fn gateway(settings: &Settings) -> Option<Arc<GatewayLimits>> {
    let limit = settings.rate_limit;
    limit.enabled.then(|| {
        let (anonymous, authenticated) = (limit.gateway_anonymous, limit.gateway_authenticated);
        Arc::new(GatewayLimits::new(anonymous.map(allowance), authenticated.map(allowance)))
    })
}

fn admin(settings: &Settings) -> Option<RateLimits> {
    let limit = settings.rate_limit;
    limit.enabled.then(|| {
        let (anonymous, authenticated) = (allowance(limit.anonymous), allowance(limit.authenticated));
        RateLimits::new(anonymous, authenticated, allowance(limit.register), allowance(limit.mail))
    })
}

fn failures(settings: &Settings) -> LoginFailures {
    let (auth, lockout) = (&settings.auth, settings.lockout);
    let patience = |failures, window| Patience { failures, window, wait: auth.login_window, longest: lockout.longest };
    LoginFailures::new(
        patience(auth.login_failures, auth.login_window),
        patience(lockout.account_failures, lockout.longest),
        patience(lockout.address_failures, auth.login_window),
    )
}

fn allowance(of: config::Allowance) -> http::Allowance {
    http::Allowance { requests: of.requests, window: of.window }
}
