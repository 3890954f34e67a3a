//! Where a request comes from: the peer, or what our own gateway says of a request to a mounted path, or a trusted proxy of
//! a request to the admin service itself.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{Extensions, HeaderMap, HeaderName};
use axum::middleware::Next;
use axum::response::Response;
use subtle::ConstantTimeEq;

use super::error::RequestId;
use crate::http::{self, Connection, Remote, Scheme, TrustedProxies};
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

/// Whether the client came to the gateway, or to a trusted proxy, over TLS; the admin service itself speaks none.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct OverTls(pub(crate) bool);

impl ClientAddress {
    /// The client of `request`, as [`identify`] found it.
    pub(crate) fn of(request: &Request) -> IpAddr {
        request.extensions().get::<Self>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |client| client.0)
    }
}

/// Who is believed about clients.
#[derive(Clone, Debug)]
pub(crate) struct Informants {
    /// What only our own gateway knows; made anew by each process.
    pub(crate) mount_secret: Secret<String>,
    /// Proxies in front of the admin service.
    pub(crate) proxies: TrustedProxies,
}

/// Finds the client's address and the request's id. Both are taken from headers only when the gateway of this
/// process sent them, or a trusted proxy (CVE-2026-33495, CVE-2023-36456).
pub(crate) async fn identify(State(informants): State<Informants>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
    let Remote { address, scheme, request_id, .. } = informants.remote(peer, request.headers());
    let client = ClientAddress(address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)));
    request.headers_mut().remove(MOUNT);
    request.extensions_mut().insert(client);
    request.extensions_mut().insert(OverTls(scheme == Scheme::Https));
    if let Some(id) = request_id {
        request.extensions_mut().insert(RequestId::from(id));
    }
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

impl Informants {
    fn remote(&self, peer: Option<IpAddr>, headers: &HeaderMap) -> Remote {
        let secret = self.mount_secret.expose().as_bytes();
        let is_ours = headers.get(MOUNT).is_some_and(|sent| sent.as_bytes().ct_eq(secret).into());
        if is_ours {
            told_by_the_gateway(peer, headers)
        } else {
            self.proxies.remote(Connection { peer, tls: false }, headers)
        }
    }
}

/// What the gateway has found out: it writes each of these headers once, and anew.
fn told_by_the_gateway(peer: Option<IpAddr>, headers: &HeaderMap) -> Remote {
    let stated = headers.get(FORWARDED_FOR).and_then(|value| value.to_str().ok()?.parse::<IpAddr>().ok());
    let tls = headers.get(FORWARDED_PROTO).is_some_and(|scheme| scheme == "https");
    Remote {
        address: stated.or(peer).map(|address| address.to_canonical()),
        scheme: if tls { Scheme::Https } else { Scheme::Http },
        host: None,
        request_id: headers.get(REQUEST_ID).and_then(|id| http::RequestId::given(id.as_bytes())),
    }
}
