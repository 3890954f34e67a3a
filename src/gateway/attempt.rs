//! Who has been asked on behalf of one request, and who may be asked next.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::{HeaderMap, header};
use smallvec::SmallVec;

use crate::model::HashOn;

use super::context::Context;
use super::upstreams::{Chosen, Fleet, Stood};

/// What a consistent hash is made of; nearly always short.
type Key = SmallVec<[u8; 64]>;

/// The attempts of one request.
///
/// Dropping it gives back what was to be tried and was not.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    fleet: Option<Arc<Fleet>>,
    chosen: Option<Chosen>,
    tried: SmallVec<[usize; 4]>,
    begun: u32,
    retries: i64,
    /// Whether all of the request has been sent: before that, the client may be who is waited for.
    pub(super) is_sent: bool,
    /// Whether anything of an answer has come.
    pub(super) is_answered: bool,
}

impl Attempts {
    /// The upstream as it was when the request came.
    pub(super) fn fleet(&self) -> Option<&Arc<Fleet>> {
        self.fleet.as_ref()
    }

    /// Counts the request and keeps its upstream.
    pub(super) fn begin(&mut self, fleet: Arc<Fleet>, second: u64) {
        fleet.count(second);
        self.fleet = Some(fleet);
    }

    /// Whether anybody was asked.
    pub(super) fn have_begun(&self) -> bool {
        self.begun > 0
    }

    /// Whether this is not the first attempt.
    pub(super) fn is_another(&self) -> bool {
        self.begun > 1
    }

    /// Where to go next, and who may share connections.
    pub(super) fn next(&mut self, key: &[u8]) -> Option<(SocketAddr, u64)> {
        self.release();
        let fleet = self.fleet.as_ref()?;
        let chosen = fleet.choose(key, &self.tried)?;
        self.begun += 1;
        self.chosen = Some(chosen);
        fleet.place(chosen.index)
    }

    /// Notes that the target has answered.
    pub(super) fn answered(&mut self) {
        self.is_answered = true;
        if let (Some(fleet), Some(chosen)) = (&self.fleet, &mut self.chosen) {
            fleet.answered(*chosen);
            chosen.stood = Stood::Well;
        }
    }

    /// Notes that the target has said nothing for too long: its failure, if there was nothing to wait for but its answer.
    /// Who keeps quiet within an answer may have nothing to say.
    pub(super) fn silent(&mut self, kind: &'static str) {
        if self.is_sent && !self.is_answered { self.failed(kind) } else { self.release() }
    }

    /// Notes that the target has failed; the next attempt goes to another.
    pub(super) fn failed(&mut self, kind: &'static str) {
        if let (Some(fleet), Some(chosen)) = (&self.fleet, self.chosen.take()) {
            fleet.failed(chosen, kind);
            self.tried.push(chosen.index);
        }
    }

    /// Whether the request may be tried again, in the second `second`; counts it if so.
    pub(super) fn again(&mut self, second: u64) -> bool {
        let Some(fleet) = &self.fleet else { return false };
        if self.retries >= fleet.upstream.retries || !fleet.may_retry(second) {
            return false;
        }
        self.retries += 1;
        true
    }

    fn release(&mut self) {
        if let (Some(fleet), Some(chosen)) = (&self.fleet, self.chosen.take()) {
            fleet.undecided(chosen);
        }
    }
}

impl Drop for Attempts {
    fn drop(&mut self) {
        self.release();
    }
}

/// What the request has in common with others that go to the same target.
pub(super) fn key(on: &HashOn, headers: &HeaderMap, ctx: &Context) -> Key {
    let found = match on {
        HashOn::Client => None,
        HashOn::User => ctx.caller.as_ref().map(|caller| Key::from_slice(caller.id().to_string().as_bytes())),
        HashOn::Path => ctx.target.as_ref().map(|target| Key::from_slice(target.raw_path().as_bytes())),
        HashOn::Header(name) => headers.get(name.as_str()).map(|value| Key::from_slice(value.as_bytes())),
        HashOn::Cookie(name) => cookie(headers, name.as_bytes()).map(Key::from_slice),
    };
    found.unwrap_or_else(|| match ctx.client {
        Some(IpAddr::V4(address)) => Key::from_slice(&address.octets()),
        Some(IpAddr::V6(address)) => Key::from_slice(&address.octets()),
        None => Key::new(),
    })
}

fn cookie<'h>(headers: &'h HeaderMap, name: &[u8]) -> Option<&'h [u8]> {
    let pairs = headers.get_all(header::COOKIE).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    let mut values = pairs.filter_map(|pair| pair.trim_ascii().strip_prefix(name)?.strip_prefix(b"="));
    values.next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_found_by_their_whole_name() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, "other-shard=1; shard2=2".parse().unwrap());
        assert_eq!(cookie(&headers, b"shard"), None);
        headers.append(header::COOKIE, "a=b;  shard=7=; shard=8".parse().unwrap());
        assert_eq!(cookie(&headers, b"shard"), Some(&b"7="[..]));
    }
}
