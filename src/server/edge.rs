//! The edge towards clients: what the settings allow them, and certificates whose files are watched.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{MissedTickBehavior, interval};

use crate::config;
use crate::gateway::{Allowances, Bounds, ClientAuth, Http2Limits, Limits, Pace, Tls, TlsFiles, TlsSettings};

/// How often certificate files are looked at.
const LOOK: Duration = Duration::from_secs(5);
/// File descriptors besides those of clients and upstreams.
const OWN_FILES: u64 = 256;

/// How TLS is served.
pub(super) fn tls(settings: &config::Tls) -> TlsSettings {
    let files = |files: &config::TlsFiles| TlsFiles { certificates: files.certificate.clone(), key: files.key.clone() };
    TlsSettings {
        certificates: settings.certificates.iter().map(files).collect(),
        client_auth: match &settings.client_auth {
            config::ClientAuth::Off => ClientAuth::Off,
            config::ClientAuth::Optional(file) => ClientAuth::Optional(file.clone()),
            config::ClientAuth::Required(file) => ClientAuth::Required(file.clone()),
        },
        allows_tls12: settings.allows_tls12,
    }
}

/// Bounds of what clients can ask for.
pub(super) fn limits(own: &config::Gateway) -> Limits {
    Limits {
        max_body_bytes: own.max_body_bytes,
        max_connections: own.max_connections,
        max_connections_per_address: own.max_connections_per_address,
        max_requests: own.max_requests,
        max_memory_bytes: own.max_memory_bytes.or_else(crate::gateway::memory_bound),
        head: Bounds { bytes: own.head.bytes, fields: own.head.fields, target: own.head.target },
        handshake_timeout: own.handshake_timeout,
        header_timeout: own.header_timeout,
        keepalive_timeout: own.keepalive_timeout,
        pace: Pace {
            read: own.body_read_timeout,
            total: own.body_timeout,
            bytes_per_second: own.body_min_bytes_per_second,
        },
        write_timeout: own.write_timeout,
        http2: Http2Limits {
            streams: own.http2.max_streams,
            allowances: Allowances { resets: own.http2.max_resets, empty: own.http2.max_empty_frames },
        },
        upstream_pool: own.upstream_pool_size,
    }
}

/// Asks for as many file descriptors as this process may have, and warns if clients may need more: each connection
/// takes one, and one more while its request is with an upstream.
pub(super) fn raise_open_files(own: &config::Gateway) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
    {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
    let needed = own.max_connections as u64 * 2 + OWN_FILES;
    if let Some(may) = getrlimit(Resource::Nofile).current
        && may < needed
    {
        tracing::warn!(may, needed, "fewer files may be open than gateway.max_connections needs (ulimit -n)");
    }
}

/// Has certificates loaded again whenever one of their files changes, for ever.
///
/// ## Why
/// They are compared by what the file system says of them: renewal tools replace files, or links to them, without
/// telling anybody.
pub(super) async fn watch_certificates(tls: Arc<Tls>) {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seen = look(tls.files()).await;
    loop {
        ticks.tick().await;
        let now = look(tls.files()).await;
        if now != seen {
            seen = now;
            reload(&tls);
        }
    }
}

/// Loads them again, and says how that went.
pub(super) fn reload(tls: &Tls) {
    match tls.reload() {
        Ok(()) => tracing::info!("certificates are loaded anew"),
        Err(error) => tracing::error!(%error, "certificates are unusable; those before stay in use"),
    }
}

/// What tells that a file has changed: its size and the time of its last change.
type Look = Vec<Option<(u64, SystemTime)>>;

async fn look(files: Vec<PathBuf>) -> Look {
    let looked = tokio::task::spawn_blocking(move || {
        let told = files.iter().map(|file| {
            let metadata = file.metadata().ok()?;
            Some((metadata.len(), metadata.modified().ok()?))
        });
        told.collect()
    });
    looked.await.unwrap_or_default()
}
