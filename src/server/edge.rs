//! The edge towards clients: what the settings allow them, and certificates whose files are watched.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::stamp::Stamp;
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

/// What upstreams may be shown.
pub(super) fn upstream_certificates(own: &config::Gateway) -> Vec<(String, TlsFiles)> {
    let one = |of: &config::UpstreamCertificate| {
        (of.name.clone(), TlsFiles { certificates: of.certificate.clone(), key: of.key.clone() })
    };
    own.upstream_certificates.iter().map(one).collect()
}

/// Bounds of what clients can ask for.
pub(super) fn limits(own: &config::Gateway) -> Limits {
    Limits {
        max_body_bytes: own.max_body_bytes,
        max_connections: connections(own),
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

/// Asks for as many file descriptors as this process may have, and returns how many connections of clients may be open with
/// them: a quarter is left for upstreams, since without one no request is answered.
pub(super) fn connections(own: &config::Gateway) -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
    {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
    let wanted = own.max_connections;
    let Some(files) = getrlimit(Resource::Nofile).current else { return wanted };
    let suffices = usize::try_from(files.saturating_sub(OWN_FILES) / 4 * 3).unwrap_or(usize::MAX).max(1);
    if (1..=suffices).contains(&wanted) {
        return wanted;
    }
    if wanted > 0 {
        tracing::warn!(
            files,
            connections = suffices,
            "too few files may be open for gateway.max_connections (ulimit -n)"
        );
    }
    suffices
}

/// Certificate files as they are; `None` for one that is not there.
pub(super) fn look(files: &[PathBuf]) -> Vec<Option<Stamp>> {
    files.iter().map(|file| Stamp::of(file).ok()).collect()
}

/// Has certificates loaded again whenever one of their files is not as it was `seen`, for ever.
///
/// ## Why
/// They are compared by what the file system says of them: renewal tools replace files, or links to them, without
/// telling anybody.
pub(super) async fn watch_certificates(tls: Arc<Tls>, mut seen: Vec<Option<Stamp>>) {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let files = tls.files();
        let Ok(now) = tokio::task::spawn_blocking(move || look(&files)).await else { continue };
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
