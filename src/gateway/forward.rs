//! What is sent on behalf of a permitted request, and where to.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, OrErr as _, Result};

use crate::http::Target;
use crate::model::{ClientCertificate, Protocol, Reason, Timeouts};
use crate::policy::{Caller, Destination, FieldChanges, GatewayRoute, Permit};

use super::context::Context;
use super::shared::Shared;
use super::upstreams::{Fleet, Secure};
use super::{attempt, credentials, headers};

/// The bound of `X-Auth-Roles`: with the other fields, well within what any back end accepts.
const MAX_ROLES: usize = 4 * 1024;
/// How often an HTTP/2 connection is asked whether it is still there.
const PING: Duration = Duration::from_secs(10);
/// What names are encoded with: unreserved characters stay (RFC 3986 2.3).
const NAME: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// No address is known for the upstream's name.
const UNRESOLVED: ErrorType = ErrorType::Custom("unresolved");

/// Where an attempt goes.
#[derive(Debug)]
pub(super) struct Way {
    /// The upstream; none is the admin service.
    fleet: Option<Arc<Fleet>>,
    address: SocketAddr,
    /// Who is of the same group shares connections.
    pub(super) group: u64,
}

impl Way {
    pub(super) fn timeouts(&self) -> Timeouts {
        self.fleet.as_ref().map(|fleet| fleet.upstream.timeouts).unwrap_or_default()
    }

    /// In the form in which Pingora wants it.
    pub(super) fn peer(&self, ctx: &Context) -> Result<HttpPeer> {
        let Some(fleet) = &self.fleet else {
            return Ok(limited(connection(self.address, None), &Timeouts::default(), ctx));
        };
        let mut peer = limited(target(fleet, (self.address, self.group))?, &fleet.upstream.timeouts, ctx);
        if fleet.upstream.protocol == Protocol::Http2 {
            // A connection that a firewall has forgotten is noticed, and not used for one request after the other.
            peer.options.h2_ping_interval = Some(PING);
            if !ctx.attempts.is_sent {
                // Pingora waits for the head while the body is sent, and does not begin anew with each part of that.
                let all = left(&fleet.upstream.timeouts, ctx);
                peer.options.read_timeout = peer.options.read_timeout.map(|read| read.max(all));
            }
        }
        Ok(peer)
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

/// The way to the destination of `ctx`'s permit; `headers` are those of the client's request.
pub(super) async fn way(shared: &Shared, headers: &HeaderMap, ctx: &mut Context) -> Result<Way> {
    let not_permitted = || Error::explain(ErrorType::InternalError, "not permitted");
    match ctx.permit.as_ref().ok_or_else(not_permitted)?.destination() {
        Destination::Admin => {
            let mount = shared.mount.as_ref();
            let mount = mount.ok_or_else(|| Error::explain(ErrorType::InternalError, "nothing is mounted"))?;
            Ok(Way { fleet: None, address: mount.address, group: 0 })
        }
        Destination::Upstream(_) => to_upstream(shared, headers, ctx).await,
        Destination::Nowhere => Err(Error::explain(ErrorType::InternalError, "a permit for no destination")),
    }
}

async fn to_upstream(shared: &Shared, headers: &HeaderMap, ctx: &mut Context) -> Result<Way> {
    let missing = || Error::explain(ErrorType::InternalError, "a permit without its upstream");
    let unresolved = || Error::new_up(UNRESOLVED);
    let fleet = if let Some(fleet) = ctx.attempts.fleet() {
        Arc::clone(fleet)
    } else {
        let upstream = ctx.upstream.as_ref().ok_or_else(missing)?;
        let fleet = shared.upstreams.ready(upstream, ctx.policy_revision().unwrap_or(0)).await;
        let fleet = fleet.map_err(|_| unresolved())?;
        ctx.attempts.begin(Arc::clone(&fleet), ctx.second());
        fleet
    };
    // What an earlier attempt has read of the body is read again.
    ctx.bytes_in = 0;
    let place = if fleet.is_hashed() {
        let key = attempt::key(&fleet.upstream.hash_on, headers, ctx);
        ctx.attempts.next(&key)
    } else {
        ctx.attempts.next(&[])
    };
    let (address, group) = place.ok_or_else(unresolved)?;
    Ok(Way { fleet: Some(fleet), address, group })
}

/// The target of `fleet` at `address`, spoken to as all of them are; who is of the same group shares its connections.
fn target(fleet: &Fleet, (address, group): (SocketAddr, u64)) -> Result<HttpPeer> {
    let secure = fleet.secure.as_ref();
    let secure = secure.map_err(|insecure| Error::explain(ErrorType::InvalidCert, insecure.to_string()).into_up())?;
    let mut peer = connection(address, secure.as_ref());
    peer.group_key = group;
    if fleet.upstream.protocol == Protocol::Http2 {
        peer.options.set_http_version(2, 2);
    }
    Ok(peer)
}

fn connection(address: SocketAddr, secure: Option<&Secure>) -> HttpPeer {
    let name = secure.map(|secure| secure.server_name.clone()).unwrap_or_default();
    let mut peer = HttpPeer::new(address, secure.is_some(), name);
    if let Some(secure) = secure {
        peer.options.ca.clone_from(&secure.ca);
        peer.client_cert_key.clone_from(&secure.certificate);
    }
    peer
}

fn limited(mut peer: HttpPeer, timeouts: &Timeouts, ctx: &Context) -> HttpPeer {
    let connect = timeouts.connect();
    let left = left(timeouts, ctx);
    let options = &mut peer.options;
    options.connection_timeout = Some(connect.min(left));
    // Pingora's "total" covers the TLS handshake too.
    options.total_connection_timeout = Some((connect * 2).min(left));
    // Beyond `left`, whoever drives the request ends it: what goes on after the head may be silent for longer.
    options.read_timeout = Some(timeouts.read());
    options.write_timeout = Some(timeouts.write());
    options.idle_timeout = Some(timeouts.idle());
    peer
}

/// What is left of an upstream's time to answer. The first attempt begins as soon as the decision is made.
fn left(timeouts: &Timeouts, ctx: &Context) -> Duration {
    let total = timeouts.total();
    if ctx.attempts.is_another() { ctx.remaining(total).max(Duration::from_millis(1)) } else { total }
}

/// The peer that a health check asks: one of requests, with time limits of its own.
pub(super) fn peer_of_check(fleet: &Fleet, index: usize, limit: Duration) -> Option<HttpPeer> {
    let mut peer = target(fleet, fleet.place(index)?).ok()?;
    let options = &mut peer.options;
    for each in [
        &mut options.connection_timeout,
        &mut options.total_connection_timeout,
        &mut options.read_timeout,
        &mut options.write_timeout,
    ] {
        *each = Some(limit);
    }
    Some(peer)
}

/// The head of a request that is being made for an upstream.
pub(super) trait Fields {
    /// Takes a field off.
    fn remove(&mut self, name: &HeaderName);
    /// Says something in place of whatever is said under this name.
    ///
    /// # Errors
    /// The value has control characters.
    fn set(&mut self, name: FieldName<'_>, value: &[u8]) -> Result<()>;
}

/// The name of a field that is set.
#[derive(Clone, Copy, Debug)]
pub(super) enum FieldName<'n> {
    /// One of ours, which clients cannot send: it is stripped.
    Ours(&'static str),
    /// Any other.
    Other(&'n HeaderName),
}

impl Fields for RequestHeader {
    fn remove(&mut self, name: &HeaderName) {
        self.remove_header(name);
    }

    fn set(&mut self, name: FieldName<'_>, value: &[u8]) -> Result<()> {
        let value = HeaderValue::from_bytes(value).or_err(ErrorType::InvalidHTTPHeader, "a field of the gateway")?;
        match name {
            FieldName::Ours(name) => self.insert_header(name, value),
            FieldName::Other(name) => self.insert_header(name, value),
        }
    }
}

/// Makes `request` what the upstream shall see.
///
/// Runs after Pingora has dropped what `Connection` nominates, so that a client cannot take the identity off
/// again (CVE-2024-45410).
pub(super) fn rewrite(shared: &Shared, request: &mut RequestHeader, ctx: &Context) -> Result<()> {
    let sent = Sent::of(&request.headers);
    headers::strip(request);
    fields(shared, &sent, request, ctx)?;
    request.set_raw_path(target_for_upstream(ctx)?.as_bytes())
}

/// What the client has sent and what is made of it depends on.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) host: Option<HeaderValue>,
    /// What is left of its cookies, where one of them is no back end's business.
    cookies: Option<Vec<u8>>,
}

impl Sent {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let has_session = credentials::has_session_cookie(headers);
        Self {
            host: headers.get(header::HOST).cloned(),
            cookies: has_session.then(|| credentials::without_session_cookie(headers)),
        }
    }
}

/// The target that the upstream is asked for.
pub(super) fn target_for_upstream(ctx: &Context) -> Result<Cow<'_, str>> {
    let (permit, target) = permitted(ctx)?;
    let stripped = match permit.destination() {
        Destination::Upstream(route) => route.strip_prefix.as_deref().map(|prefix| target.stripped(prefix)),
        _ => None,
    };
    Ok(stripped.unwrap_or(Cow::Borrowed(target.raw())))
}

fn permitted(ctx: &Context) -> Result<(&Permit, &Target)> {
    let permitted = ctx.permit.as_ref().zip(ctx.target.as_ref());
    permitted.ok_or_else(|| Error::explain(ErrorType::InternalError, "not permitted"))
}

/// Makes `fields`, which begin as what the client has `sent` without what it may not say, what the upstream shall see.
pub(super) fn fields(shared: &Shared, sent: &Sent, fields: &mut impl Fields, ctx: &Context) -> Result<()> {
    let (permit, _) = permitted(ctx)?;
    let destination = permit.destination();
    if matches!(destination, Destination::Nowhere) {
        return Err(Error::explain(ErrorType::InternalError, "a permit for no destination"));
    }
    if let Destination::Upstream(route) = destination {
        withhold(sent, fields, route)?;
        // Before anything that we say ourselves.
        for name in &route.headers.request.remove {
            fields.remove(name);
        }
        for (name, value) in &route.headers.request.set {
            fields.set(FieldName::Other(name), value.as_bytes())?;
        }
    }
    fields.set(FieldName::Ours("X-Request-Id"), ctx.request_id.as_str().as_bytes())?;
    if let Some(client) = ctx.client {
        fields.set(FieldName::Ours("X-Forwarded-For"), client.to_string().as_bytes())?;
    }
    fields.set(FieldName::Ours("X-Forwarded-Proto"), ctx.scheme.as_str().as_bytes())?;
    if let Some(host) = ctx.forwarded_host.as_ref().or(sent.host.as_ref()) {
        fields.set(FieldName::Ours("X-Forwarded-Host"), host.as_bytes())?;
    }
    match destination {
        Destination::Admin => match &shared.mount {
            Some(mount) => fields.set(FieldName::Ours(headers::MOUNT), mount.secret.expose().as_bytes()),
            None => Ok(()),
        },
        _ => for_upstream(fields, ctx, sent.host.is_some()),
    }
}

/// Takes off what the client has sent and is no business of the upstream's.
fn withhold(sent: &Sent, fields: &mut impl Fields, route: &GatewayRoute) -> Result<()> {
    if !route.forward_authorization {
        fields.remove(&header::AUTHORIZATION);
    }
    match &sent.cookies {
        // Cookies know no ports: a browser sends the console's session here too, and it is no back end's business.
        Some(kept) if kept.is_empty() => fields.remove(&header::COOKIE),
        Some(kept) => fields.set(FieldName::Other(&header::COOKIE), kept)?,
        None => {}
    }
    Ok(())
}

/// Makes of an answer's head what the route says.
pub(super) fn change_answer(answer: &mut ResponseHeader, changes: &FieldChanges) -> Result<()> {
    for name in &changes.remove {
        answer.remove_header(name);
    }
    for (name, value) in &changes.set {
        answer.insert_header(name, value)?;
    }
    Ok(())
}

fn for_upstream(fields: &mut impl Fields, ctx: &Context, has_host: bool) -> Result<()> {
    if let Some(upstream) = &ctx.upstream {
        // HTTP/1.0 may come without, and goes on as HTTP/1.1.
        let missing = (!has_host).then(|| upstream.targets.first()).flatten();
        let host = upstream.host_header.as_deref().or(missing.map(|target| target.address.as_str()));
        if let Some(host) = host {
            fields.set(FieldName::Other(&header::HOST), host.as_bytes())?;
        }
    }
    if let Some(caller) = &ctx.caller {
        identify(fields, caller)?;
    }
    if let Some(certificate) = &ctx.certificate {
        present(fields, certificate)?;
    }
    Ok(())
}

/// Whether a body means nothing with this method, so that back ends may not even look for one (RFC 9110 9.3.1).
pub(super) fn may_be_overlooked(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::DELETE | Method::OPTIONS)
}

/// Whether a request asks for another protocol: `Upgrade` alone, which `Connection` does not name, may be somebody
/// else's to a server before us (RFC 9110 7.8).
pub(super) fn asks_to_switch(headers: &HeaderMap) -> bool {
    let named = |value: &HeaderValue| {
        let mut names = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        names.any(|name| name.eq_ignore_ascii_case(b"upgrade"))
    };
    headers.contains_key(header::UPGRADE) && headers.get_all(header::CONNECTION).iter().any(named)
}

fn identify(fields: &mut impl Fields, caller: &Caller) -> Result<()> {
    match caller.user_id() {
        Some(id) => {
            fields.set(FieldName::Ours("X-Auth-User-Id"), itoa::Buffer::new().format(id.0).as_bytes())?;
        }
        None => fields.set(FieldName::Ours("X-Auth-User-Id"), encoded(&caller.id().to_string()).as_bytes())?,
    }
    if let Some(issuer) = &caller.claims.issuer {
        fields.set(FieldName::Ours("X-Auth-Issuer"), encoded(issuer).as_bytes())?;
    }
    let username = Cow::from(utf8_percent_encode(caller.display_name(), NAME));
    fields.set(FieldName::Ours("X-Auth-Username"), username.as_bytes())?;
    let roles = caller.roles();
    let (field, truncated) = match roles.field.get() {
        Some(field) => field,
        None => {
            let (text, truncated) = joined(roles.names.iter().map(|role| &**role));
            let text = HeaderValue::from_str(&text).or_err(ErrorType::InvalidHTTPHeader, "roles")?;
            roles.field.get_or_init(|| (text, truncated))
        }
    };
    fields.set(FieldName::Ours("X-Auth-Roles"), field.as_bytes())?;
    if *truncated {
        fields.set(FieldName::Ours("X-Auth-Roles-Truncated"), b"true")?;
    }
    Ok(())
}

fn present(fields: &mut impl Fields, certificate: &ClientCertificate) -> Result<()> {
    fields.set(FieldName::Ours("X-Auth-Client-Certificate-Subject"), encoded(&certificate.subject).as_bytes())?;
    fields.set(FieldName::Ours("X-Auth-Client-Certificate-Fingerprint"), certificate.fingerprint.as_bytes())
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NAME).to_string()
}

fn joined<'r>(roles: impl Iterator<Item = &'r str>) -> (String, bool) {
    let mut text = String::new();
    for role in roles {
        let before = text.len();
        if before > 0 {
            text.push(',');
        }
        text.extend(utf8_percent_encode(role, NAME));
        if text.len() > MAX_ROLES {
            text.truncate(before);
            return (text, true);
        }
    }
    (text, false)
}

/// Why an exchange with an upstream failed, for the metrics.
pub(super) fn kind(error: &Error) -> &'static str {
    match error.etype() {
        etype if *etype == UNRESOLVED => "dns",
        ErrorType::ConnectRefused => "connect_refused",
        ErrorType::ConnectTimedout => "connect_timeout",
        ErrorType::TLSHandshakeFailure | ErrorType::TLSHandshakeTimedout | ErrorType::InvalidCert => "tls",
        ErrorType::ConnectNoRoute | ErrorType::ConnectError | ErrorType::SocketError => "connect_failed",
        ErrorType::ReadTimedout => "read_timeout",
        ErrorType::WriteTimedout => "write_timeout",
        ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::WriteError => "closed",
        _ => "invalid_answer",
    }
}

/// Whether a failure says something about the target: not if it is this machine that has run out of something.
pub(super) fn is_of_target(error: &Error) -> bool {
    *error.esource() == ErrorSource::Upstream
        && !matches!(
            error.etype(),
            ErrorType::InternalError | ErrorType::SocketError | ErrorType::BindError | ErrorType::Custom(_)
        )
}

/// What a failed exchange is answered with.
pub(super) fn reason(error: &Error) -> Reason {
    match error.etype() {
        ErrorType::ConnectTimedout
        | ErrorType::TLSHandshakeTimedout
        | ErrorType::ReadTimedout
        | ErrorType::WriteTimedout => Reason::UpstreamTimeout,
        _ => Reason::UpstreamUnreachable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::CertificateFields;

    #[test]
    fn roles_are_joined_encoded_and_bounded() {
        assert_eq!(joined(["a", "b c", "d,e", "\u{e9}"].into_iter()), ("a,b%20c,d%2Ce,%C3%A9".to_owned(), false));
        assert_eq!(joined(std::iter::empty()), (String::new(), false));
        let long = "r".repeat(50);
        let (text, truncated) = joined(std::iter::repeat_n(long.as_str(), 200));
        assert!(truncated && text.len() <= MAX_ROLES && !text.ends_with(','));
    }

    #[test]
    fn a_certificate_is_told_in_place_of_what_the_client_says_of_it() {
        let mut request = RequestHeader::build("GET", b"/", None).unwrap();
        for name in ["X-Auth-Client-Certificate-Subject", "x-auth-client-certificate-uris", "Client-Cert"] {
            request.append_header(name, "CN=root").unwrap();
        }
        headers::strip(&mut request);
        assert!(request.headers.is_empty());
        let fields = CertificateFields {
            subject: "CN=Zo\u{eb},O=a b".to_owned(),
            fingerprint: "0f".repeat(32),
            ..CertificateFields::default()
        };
        present(&mut request, &fields.try_into().unwrap()).unwrap();
        let field = |name| request.headers.get(name).unwrap().to_str().unwrap();
        assert_eq!(field("x-auth-client-certificate-subject"), "CN%3DZo%C3%AB%2CO%3Da%20b");
        assert_eq!(field("x-auth-client-certificate-fingerprint"), "0f".repeat(32));
        assert_eq!(request.headers.len(), 2);
    }
}
