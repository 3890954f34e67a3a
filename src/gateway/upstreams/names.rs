//! Where names lead: asked again and again in the background, so that no request waits for it but the first.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use parking_lot::RwLock;
use tokio::time::timeout;

/// How long addresses are used, whatever their records say.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_mins(1);
/// How long a failure is remembered, so that a missing name costs one query a second and not one a request.
const FAILED: Duration = Duration::from_secs(1);
/// For all of one lookup.
const PATIENCE: Duration = Duration::from_secs(5);
/// More addresses of one name are not used.
const MOST_ADDRESSES: usize = 64;

/// What is known of a name that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// Its addresses, sorted.
    Addresses(Arc<[IpAddr]>),
    /// None so far.
    Nothing,
}

/// All names in use.
#[derive(Debug)]
pub(super) struct Names {
    /// Who is asked; the system's servers when empty.
    servers: Vec<SocketAddr>,
    known: RwLock<HashMap<String, Known>>,
}

impl Names {
    pub(super) fn new(servers: Vec<SocketAddr>) -> Self {
        Self { servers, known: RwLock::default() }
    }

    /// What is known of `name`; nothing at all before its first lookup has ended.
    pub(super) fn of(&self, name: &str) -> Option<Known> {
        self.known.read().get(name).cloned()
    }

    pub(super) fn forget(&self, name: &str) {
        self.known.write().remove(name);
    }

    /// Looks `name` up; whether something has changed, and when to ask again.
    pub(super) async fn refresh(&self, name: &str) -> (bool, Duration) {
        let found = timeout(PATIENCE, self.look_up(name)).await;
        let found = found.unwrap_or_else(|_| Err("no answer in time".to_owned()));
        let before = self.of(name);
        match found {
            Ok((addresses, lasts)) => {
                let now = Known::Addresses(addresses);
                let changed = before.as_ref() != Some(&now);
                if changed {
                    self.known.write().insert(name.to_owned(), now);
                }
                (changed, lasts.clamp(SHORTEST, LONGEST))
            }
            Err(error) => {
                // The last addresses stay.
                if before.is_none() {
                    self.known.write().insert(name.to_owned(), Known::Nothing);
                    tracing::warn!(name, error, "an upstream's name was not resolved");
                } else {
                    tracing::debug!(name, error, "an upstream's name was not resolved; what was known of it stays");
                }
                (before.is_none(), FAILED)
            }
        }
    }

    async fn look_up(&self, name: &str) -> Result<(Arc<[IpAddr]>, Duration), String> {
        let resolver = self.resolver().map_err(|error| error.to_string())?;
        let found = resolver.lookup_ip(name).await.map_err(|error| error.to_string())?;
        let records = found.as_lookup().answers();
        let lasts = records.iter().map(|record| record.ttl).min().unwrap_or(0);
        let mut addresses: Vec<IpAddr> = found.iter().collect();
        addresses.sort_unstable();
        addresses.dedup();
        // As the system's own resolver does: an address of a kind that this machine does not have leads nowhere.
        if addresses.iter().any(|address| is_reachable(*address)) {
            addresses.retain(|address| is_reachable(*address));
        }
        addresses.truncate(MOST_ADDRESSES);
        if addresses.is_empty() {
            return Err("no address".to_owned());
        }
        Ok((addresses.into(), Duration::from_secs(lasts.into())))
    }

    /// Made anew for each lookup, which are few: what the system's files say now is what counts.
    fn resolver(&self) -> Result<TokioResolver, hickory_resolver::net::NetError> {
        let mut builder = if self.servers.is_empty() {
            TokioResolver::builder_tokio()?
        } else {
            let servers = self.servers.iter().map(|server| {
                let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
                    connection.port = server.port();
                    connection
                });
                NameServerConfig::new(server.ip(), true, connections.into())
            });
            let config = ResolverConfig::from_name_servers(servers.collect());
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
                .with_options(ResolverOpts::default())
        };
        let options = builder.options_mut();
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        // We remember by ourselves.
        options.cache_size = 0;
        options.timeout = Duration::from_secs(2);
        options.attempts = 1;
        options.use_hosts_file = ResolveHosts::Always;
        builder.build()
    }
}

/// Whether this machine has a way to it; nothing is sent.
fn is_reachable(address: IpAddr) -> bool {
    let any: IpAddr = if address.is_ipv4() { [0, 0, 0, 0].into() } else { [0_u16; 8].into() };
    UdpSocket::bind((any, 0)).and_then(|socket| socket.connect((address, 9))).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_the_system_knows_is_known_and_failures_are_remembered() {
        let names = Names::new(Vec::new());
        assert_eq!(names.of("localhost"), None);
        assert!(names.refresh("localhost").await.0);
        let Some(Known::Addresses(addresses)) = names.of("localhost") else { panic!("{names:?}") };
        assert!(addresses.iter().all(IpAddr::is_loopback));
        assert!(!names.refresh("localhost").await.0);
        // Nobody listens there.
        let names = Names::new(vec![([127, 0, 0, 1], 1).into()]);
        assert_eq!(names.refresh("no-such-name.invalid").await, (true, FAILED));
        assert_eq!(names.of("no-such-name.invalid"), Some(Known::Nothing));
        assert_eq!(names.refresh("no-such-name.invalid").await, (false, FAILED));
    }
}
