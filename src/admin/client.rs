//! Where a request comes from: the peer, or what our own gateway says of a request to a mounted path.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{Extensions, HeaderMap, HeaderName};
use axum::middleware::Next;
use axum::response::Response;
use subtle::ConstantTimeEq;

use super::error::RequestId;
use crate::model::{Secret, UserId};
use crate::telemetry::logs::SECURITY;

const MOUNT: HeaderName = HeaderName::from_static("x-cedargate-mount");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const POLICY_REVISION: HeaderName = HeaderName::from_static("x-policy-revision");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The address of the client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClientAddress(pub(crate) IpAddr);

/// Noted of an answer: nothing was written, whatever the method.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NothingWritten;

/// Whether the client came to the gateway over TLS; the admin service itself speaks none.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct OverTls(pub(crate) bool);

impl ClientAddress {
    /// The client of `request`, as [`identify`] found it.
    pub(crate) fn of(request: &Request) -> IpAddr {
        request.extensions().get::<Self>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |client| client.0)
    }
}

/// What only our own gateway knows; made anew by each process.
#[derive(Clone, Debug)]
pub(crate) struct MountSecret(pub(crate) Secret<String>);

/// Finds the client's address and the request's id. Both are taken from headers only when the gateway of this
/// process sent them (CVE-2026-33495, CVE-2023-36456).
pub(crate) async fn identify(State(secret): State<MountSecret>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
    let mut client = peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    if secret.matches(request.headers()) {
        let stated = request.headers().get(FORWARDED_FOR).and_then(|value| value.to_str().ok()?.parse().ok());
        client = stated.unwrap_or(client);
        let tls = request.headers().get(FORWARDED_PROTO).is_some_and(|scheme| scheme == "https");
        request.extensions_mut().insert(OverTls(tls));
        if let Some(id) = request.headers().get(REQUEST_ID).cloned() {
            request.extensions_mut().insert(RequestId(id));
        }
    }
    let client = ClientAddress(client.to_canonical());
    request.headers_mut().remove(MOUNT);
    request.extensions_mut().insert(client);
    let actor = Actor::default();
    request.extensions_mut().insert(actor.clone());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let response = next.run(request).await;
    if !method.is_safe() && response.extensions().get::<NothingWritten>().is_none() {
        actor.log_write(client, method.as_str(), &path, &response);
    }
    response
}

/// Who makes a request, as soon as that is known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Actor(Arc<OnceLock<UserId>>);

impl Actor {
    /// Notes who makes `request`.
    pub(crate) fn note(request: &Extensions, user: UserId) {
        if let Some(actor) = request.get::<Self>() {
            let _first = actor.0.set(user);
        }
    }

    /// Tells the security log of a write, whatever became of it; sign-in tells of itself.
    fn log_write(&self, client: ClientAddress, method: &str, path: &str, response: &Response) {
        let Some(user) = self.0.get() else { return };
        let header = |name: &HeaderName| response.headers().get(name).and_then(|value| value.to_str().ok());
        tracing::info!(
            target: SECURITY,
            method,
            path,
            status = response.status().as_u16(),
            user.id = %user,
            client = %client.0,
            request.id = header(&REQUEST_ID),
            policy_revision = header(&POLICY_REVISION),
            "admin write"
        );
    }
}

impl MountSecret {
    fn matches(&self, headers: &HeaderMap) -> bool {
        headers.get(MOUNT).is_some_and(|sent| sent.as_bytes().ct_eq(self.0.expose().as_bytes()).into())
    }
}
