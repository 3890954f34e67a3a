//! Where a request comes from: the peer, or what our own gateway says of a request to a mounted path.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderName};
use axum::middleware::Next;
use axum::response::Response;
use subtle::ConstantTimeEq;

use super::error::RequestId;
use crate::model::Secret;

const MOUNT: HeaderName = HeaderName::from_static("x-cedargate-mount");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address of the client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClientAddress(pub(crate) IpAddr);

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
        if let Some(id) = request.headers().get(REQUEST_ID).cloned() {
            request.extensions_mut().insert(RequestId(id));
        }
    }
    request.headers_mut().remove(MOUNT);
    request.extensions_mut().insert(ClientAddress(client.to_canonical()));
    next.run(request).await
}

impl MountSecret {
    fn matches(&self, headers: &HeaderMap) -> bool {
        headers.get(MOUNT).is_some_and(|sent| sent.as_bytes().ct_eq(self.0.expose().as_bytes()).into())
    }
}
