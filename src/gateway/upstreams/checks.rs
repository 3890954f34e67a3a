//! Active health checks: each target is asked, again and again, whether it is well.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, Version, header};
use pingora::connectors::http::Connector;
use pingora::http::RequestHeader;
use pingora::protocols::http::client::HttpSession;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, OrErr as _, Result};
use rand::RngExt as _;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::super::forward;
use super::super::shared::Shared;
use crate::model::{HealthCheck, UpstreamId};

/// Answers before the answer (RFC 9110 15.2) that are waited for.
const INFORMATIONAL: usize = 4;

/// Opens connections as requests do, and keeps none.
pub(super) struct Checker(Connector);

impl std::fmt::Debug for Checker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Checker")
    }
}

impl Checker {
    pub(super) fn new() -> Self {
        Self(Connector::new(None))
    }

    /// Asks one target; an error is the kind of failure.
    async fn ask(&self, host: &str, peer: &HttpPeer, check: &HealthCheck) -> Result<(), &'static str> {
        let limit = Duration::from_millis(check.timeout_ms);
        match timeout(limit, self.exchange(host, peer, check)).await {
            Ok(Ok(status)) if is_expected(status, &check.status) => Ok(()),
            Ok(Ok(_)) => Err("status"),
            Ok(Err(error)) => Err(forward::kind(&error)),
            Err(_) => Err("read_timeout"),
        }
    }

    /// The status of the answer; none where an opened connection will do.
    async fn exchange(&self, host: &str, peer: &HttpPeer, check: &HealthCheck) -> Result<Option<u16>> {
        let (mut session, _) = self.0.get_http_session(peer).await?;
        let Some(path) = &check.path else { return Ok(None) };
        let is_http2 = matches!(session, HttpSession::H2(_));
        session.write_request_header(Box::new(question(path, host, peer.is_tls(), is_http2)?)).await?;
        session.finish_request_body().await?;
        for _ in 0..INFORMATIONAL {
            session.read_response_header().await?;
            let status = session.response_header().map(|answer| answer.status);
            match status {
                Some(status) if status.is_informational() => {}
                Some(status) => return Ok(Some(status.as_u16())),
                None => break,
            }
        }
        // The rest of the answer goes with the connection.
        Err(Error::explain(ErrorType::InvalidHTTPHeader, "no answer"))
    }
}

fn question(path: &str, host: &str, is_tls: bool, is_http2: bool) -> Result<RequestHeader> {
    let mut request = if is_http2 {
        let scheme = if is_tls { "https" } else { "http" };
        let request = http::Request::builder().uri(format!("{scheme}://{host}{path}")).version(Version::HTTP_2);
        let (parts, ()) = request.body(()).or_err(ErrorType::InternalError, "a health check")?.into_parts();
        RequestHeader::from(parts)
    } else {
        let mut request = RequestHeader::build(Method::GET, path.as_bytes(), None)?;
        request.insert_header(header::HOST, host)?;
        request.insert_header(header::CONNECTION, "close")?;
        request
    };
    request.insert_header(header::USER_AGENT, "Cedargate health check")?;
    Ok(request)
}

fn is_expected(status: Option<u16>, expected: &[u16]) -> bool {
    match status {
        None => true,
        Some(status) if expected.is_empty() => (200..300).contains(&status),
        Some(status) => expected.contains(&status),
    }
}

/// Checks the targets of an upstream for as long as it is polled.
pub(super) async fn run(shared: Arc<Shared>, checker: Arc<Checker>, id: UpstreamId, check: HealthCheck) {
    while let Some(fleet) = shared.upstreams.current(id) {
        let mut asked = JoinSet::new();
        for index in 0..fleet.len() {
            let (fleet, checker, check) = (Arc::clone(&fleet), Arc::clone(&checker), check.clone());
            asked.spawn(async move {
                let peer = forward::peer_of_check(&fleet, index, Duration::from_millis(check.timeout_ms));
                let host = fleet.upstream.host_header.as_deref().or(fleet.target(index)).unwrap_or_default();
                let outcome = match peer {
                    Some(peer) => checker.ask(host, &peer, &check).await,
                    None => Err("tls"),
                };
                fleet.checked(index, outcome);
            });
        }
        // One after the other is waited for, so that no two rounds overlap.
        while asked.join_next().await.is_some() {}
        // Not all gateways at once.
        let jitter = rand::rng().random_range(0.9..1.1);
        sleep(Duration::from_millis(check.interval_ms).mul_f64(jitter)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_status_says() {
        assert!(is_expected(None, &[204]) && is_expected(Some(204), &[]) && is_expected(Some(404), &[200, 404]));
        assert!(!is_expected(Some(301), &[]) && !is_expected(Some(500), &[]) && !is_expected(Some(200), &[204]));
    }

    #[test]
    fn it_is_asked_as_the_protocol_wants() {
        let request = question("/health?deep=1", "a.example:8443", true, true).unwrap();
        assert_eq!(
            (request.uri.to_string().as_str(), request.version),
            ("https://a.example:8443/health?deep=1", Version::HTTP_2)
        );
        let request = question("/health", "a.example", false, false).unwrap();
        assert_eq!(
            (request.raw_path(), &request.headers[header::HOST]),
            (&b"/health"[..], &"a.example".parse().unwrap())
        );
    }
}
