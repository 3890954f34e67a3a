//! How much one client may ask for, and how often it may fail.

mod failures;
mod limiter;
mod routes;
mod standing;

use std::net::IpAddr;

pub use failures::{Attempt, LoginFailures, Patience};
pub use limiter::Allowance;
pub use routes::{Client, GatewayLimits};
pub use standing::{LIMIT, Refusal, Standing, retry_after};

use super::network::network;
use crate::model::UserId;
use limiter::Limiter;

/// The limits of one service.
///
/// ## Why
/// A client that has used up its allowance is let in again one by one, as time passes (GCRA), and not all at once when a
/// window ends. Who is counted is bounded, so that a flood of addresses cannot exhaust memory: those seen least are
/// forgotten first, which gives them back their allowance.
#[derive(Clone, Debug)]
pub struct RateLimits {
    anonymous: Limiter<IpAddr>,
    authenticated: Limiter<UserId>,
    register: Limiter<IpAddr>,
    mail: Limiter<IpAddr>,
}

impl RateLimits {
    /// Limits for requests without and with a valid token, and for accounts and mails asked for.
    pub fn new(anonymous: Allowance, authenticated: Allowance, register: Allowance, mail: Allowance) -> Self {
        Self {
            anonymous: Limiter::new("anonymous", anonymous),
            authenticated: Limiter::new("authenticated", authenticated),
            register: Limiter::new("register", register),
            mail: Limiter::new("mail", mail),
        }
    }

    /// Counts a request from `address`, whose client is `user` if its token is valid.
    ///
    /// # Errors
    /// It is one too many.
    pub fn request(&self, user: Option<UserId>, address: IpAddr) -> Result<Standing, Refusal> {
        match user {
            Some(user) => self.authenticated.count(&user),
            None => self.anonymous.count(&network(address)),
        }
    }

    /// Counts an account that is asked for.
    ///
    /// # Errors
    /// It is one too many.
    pub fn registration(&self, address: IpAddr) -> Result<Standing, Refusal> {
        self.register.count(&network(address))
    }

    /// Counts a mail that a stranger asks for.
    ///
    /// # Errors
    /// It is one too many.
    pub fn mail(&self, address: IpAddr) -> Result<Standing, Refusal> {
        self.mail.count(&network(address))
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::Duration;

    use super::*;

    fn allowance(requests: u32, seconds: u64) -> Allowance {
        Allowance { requests: NonZeroU32::new(requests).unwrap(), window: Duration::from_secs(seconds) }
    }

    fn limits(anonymous: Allowance) -> RateLimits {
        RateLimits::new(anonymous, allowance(1_000, 60), allowance(3, 3_600), allowance(10, 3_600))
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_client_is_told_what_is_left_and_when_there_is_more() {
        let limits = limits(allowance(3, 60));
        let here = address("192.0.2.1");
        for remaining in [2, 1, 0] {
            let standing = limits.request(None, here).unwrap();
            assert_eq!((standing.limit, standing.window.as_secs(), standing.remaining), (3, 60, remaining));
            let used = u64::from(3 - remaining);
            assert!((used * 20 - 1..=used * 20).contains(&standing.reset.as_secs()), "{standing:?}");
        }
        let refusal = limits.request(None, here).unwrap_err();
        assert!((19..=20).contains(&refusal.retry_after.as_secs()), "{refusal:?}");
        assert_eq!(refusal.standing.remaining, 0);
        assert!((59..=60).contains(&refusal.standing.reset.as_secs()), "{refusal:?}");
        assert!(limits.request(None, address("192.0.2.2")).is_ok());
        assert!(limits.request(Some(UserId(1)), here).is_ok());
        assert!(limits.registration(here).is_ok());
    }

    #[test]
    fn a_network_is_one_client() {
        let limits = limits(allowance(1, 60));
        assert!(limits.request(None, address("2001:db8::1")).is_ok());
        assert!(limits.request(None, address("2001:db8::ffff:2")).is_err());
        assert!(limits.request(None, address("2001:db8:0:1::1")).is_ok());
    }

    #[test]
    fn time_gives_back() {
        let limits = limits(Allowance { window: Duration::from_millis(50), ..allowance(1, 1) });
        let here = address("192.0.2.1");
        assert!(limits.request(None, here).is_ok());
        let refusal = limits.request(None, here).unwrap_err();
        std::thread::sleep(refusal.retry_after);
        assert!(limits.request(None, here).is_ok());
    }

    #[test]
    fn clients_are_counted_at_the_same_time() {
        let limits = limits(allowance(100, 3_600));
        let allowed: usize = std::thread::scope(|scope| {
            let count = || (0..100).filter(|_| limits.request(None, address("192.0.2.1")).is_ok()).count();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(count)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(allowed, 100);
    }
}
