//! What one client may ask of the gateway.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};

use super::limiter::{Allowance, Limiter, States};
use super::standing::{Refusal, Standing};
use crate::http::network::network;
use crate::model::{RouteId, UserId};

/// Routes with a limit of their own whose limiters are kept; one that is forgotten is made anew.
const ROUTES: usize = 10_000;

/// Who is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Client {
    /// Whoever has signed in, from wherever.
    User(UserId),
    /// Whoever is known by another issuer's claims: a digest of the name, however long that is.
    Named([u8; 16]),
    /// Whoever has not.
    Address(IpAddr),
}

impl Client {
    /// Somebody without an account, by the one name of theirs.
    pub fn named(name: &str) -> Self {
        let digest: [u8; 32] = Sha256::digest(name).into();
        Self::Named(std::array::from_fn(|index| digest[index]))
    }

    /// An address that stands for all of its client's.
    pub fn at(address: IpAddr) -> Self {
        Self::Address(network(address))
    }
}

/// The limit of one route.
type OfRoute = (u64, Limiter<Counted>);

/// Who is counted, and by which limiter: the library tells time from when a limiter was made, so that what another one
/// has noted, of another limit or before it was forgotten, means nothing to this one.
type Counted = (u64, Client);

/// The gateway's limits: for everything that a client asks for, and for single routes.
#[derive(Debug)]
pub struct GatewayLimits {
    anonymous: Option<Limiter<Client>>,
    authenticated: Option<Limiter<Client>>,
    routes: Cache<(RouteId, Allowance), Arc<OfRoute>>,
    /// Of all routes together, so that many routes take no more memory than one.
    states: States<Counted>,
    made: AtomicU64,
}

impl GatewayLimits {
    /// Limits for clients without and with a valid token, where there are any.
    pub fn new(anonymous: Option<Allowance>, authenticated: Option<Allowance>) -> Self {
        Self {
            anonymous: anonymous.map(|allowance| Limiter::new("anonymous", allowance)),
            authenticated: authenticated.map(|allowance| Limiter::new("authenticated", allowance)),
            routes: Cache::new(ROUTES),
            states: States::default(),
            made: AtomicU64::new(0),
        }
    }

    /// Counts a request to a route, which may have a limit of its own; `None` if it has not, nor the client another.
    ///
    /// # Errors
    /// It is one too many.
    pub fn request(&self, client: Client, route: RouteId, own: Option<Allowance>) -> Result<Option<Standing>, Refusal> {
        let all = match client {
            Client::User(_) | Client::Named(_) => &self.authenticated,
            Client::Address(_) => &self.anonymous,
        };
        let standing = all.as_ref().map(|limiter| limiter.count(&client)).transpose()?;
        let Some(allowance) = own else { return Ok(standing) };
        let limiter = self.of(route, allowance);
        let own = limiter.1.count(&(limiter.0, client))?;
        // The one that ends first is what a client has to heed.
        Ok(Some(standing.filter(|standing| standing.remaining < own.remaining).unwrap_or(own)))
    }

    fn of(&self, route: RouteId, allowance: Allowance) -> Arc<OfRoute> {
        let make = || {
            let number = self.made.fetch_add(1, Ordering::Relaxed);
            Ok::<_, Infallible>(Arc::new((number, Limiter::with("route", allowance, self.states.clone()))))
        };
        let Ok(limiter) = self.routes.get_or_insert_with(&(route, allowance), make);
        limiter
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::Duration;

    use super::*;

    fn allowance(requests: u32) -> Allowance {
        Allowance { requests: NonZeroU32::new(requests).unwrap(), window: Duration::from_mins(1) }
    }

    fn address(last: u8) -> Client {
        Client::at(IpAddr::from([192, 0, 2, last]))
    }

    #[test]
    fn each_client_has_its_own_of_each_route() {
        let limits = GatewayLimits::new(None, None);
        let (one, two) = (RouteId(1), RouteId(2));
        assert_eq!(limits.request(address(1), one, None), Ok(None));
        let own = Some(allowance(2));
        for left in [1, 0] {
            assert_eq!(limits.request(address(1), one, own).unwrap().unwrap().remaining, left);
        }
        assert_eq!(limits.request(address(1), one, own).unwrap_err().standing.policy, "route");
        let others = [Client::User(UserId(1)), Client::named("https://a|1"), Client::named("https://a|2")];
        for (client, route) in
            others.map(|other| (other, one)).into_iter().chain([(address(2), one), (address(1), two)])
        {
            assert!(limits.request(client, route, own).is_ok());
        }
        assert!(limits.request(address(1), one, None).is_ok());
    }

    #[test]
    fn a_client_has_one_limit_for_all_routes() {
        let limits = GatewayLimits::new(Some(allowance(2)), None);
        let standing = |outcome: Result<Option<Standing>, Refusal>| outcome.unwrap().unwrap();
        assert_eq!(standing(limits.request(address(1), RouteId(1), None)).remaining, 1);
        let own = standing(limits.request(address(1), RouteId(2), Some(allowance(9))));
        assert_eq!((own.policy, own.remaining), ("anonymous", 0), "what ends first is told");
        assert_eq!(limits.request(address(1), RouteId(3), None).unwrap_err().standing.policy, "anonymous");
        assert_eq!(limits.request(Client::User(UserId(1)), RouteId(3), None), Ok(None));
    }
}
