//! The listener that sends clients from HTTP to HTTPS.

use std::pin::pin;
use std::sync::Arc;

use http::HeaderMap;
use pingora::server::ShutdownWatch;

use crate::http::{Target, host};
use crate::model::Reason;

use super::super::context::Context;
use super::super::respond;
use super::super::stream::Connection;
use super::http1::{Head, Waiting, last_words, read_head, refuse};
use super::{Edge, close, stopping};

const HTTPS: u16 = 443;
/// More are refused before.
const MAX_FIELDS: usize = 256;

/// Answers one request with where it belongs.
pub(super) async fn serve(edge: &Edge, mut connection: Box<Connection>, port: u16, stop: ShutdownWatch) {
    let mut current = edge.follow();
    let waiting = pin!(Waiting::new(current.load().limits.header_timeout, stopping(stop)));
    match read_head(&mut current, &mut connection, waiting).await {
        Head::None => close(&mut connection).await,
        Head::Refused(reason, head) => refuse(edge, &mut connection, reason, &head).await,
        Head::Complete(head, scanner) => match location(&head[..scanner.end()], port) {
            Err(reason) => refuse(edge, &mut connection, reason, &head).await,
            Ok(location) => {
                let mut ctx = Context::new(Arc::clone(current.load()));
                ctx.arrived(connection.peer(), &HeaderMap::new());
                ctx.status = Some(respond::PERMANENT_REDIRECT);
                let answer = respond::raw_redirect(&ctx, &location);
                last_words(&mut connection, ctx, &answer).await;
            }
        },
    }
}

/// Where a request with this head, which is well formed, is sent. It leads nowhere but to the host that was asked for.
fn location(head: &[u8], port: u16) -> Result<String, Reason> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    request.parse(head).map_err(|_| Reason::BadRequest)?;
    let target = Target::parse(request.path.unwrap_or_default().as_bytes()).map_err(|_| Reason::BadTarget)?;
    let host = request.headers.iter().find(|field| field.name.eq_ignore_ascii_case("host"));
    let host = host::canonical(host.ok_or(Reason::BadRequest)?.value).map_err(|_| Reason::BadRequest)?;
    Ok(match port {
        HTTPS => format!("https://{host}{}", target.raw()),
        port => format!("https://{host}:{port}{}", target.raw()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_place_by_https_or_nowhere() {
        let at = |line: &str, host: &str, port| {
            location(format!("{line} HTTP/1.1\r\n{host}\r\nA: b\r\n\r\n").as_bytes(), port)
        };
        let fine = |text: &str| Ok(text.to_owned());
        assert_eq!(at("GET /a?b=c", "Host: A.example:80", 443), fine("https://a.example/a?b=c"));
        assert_eq!(at("POST /", "host: a.example", 8443), fine("https://a.example:8443/"));
        assert_eq!(at("GET /a", "Host: [::1]:8000", 443), fine("https://[::1]/a"));
        // Row 67 of the threat catalogue: a browser takes `//evil` for another host.
        for target in ["//evil", "/\\evil", "/a//b", "http://evil/", "*"] {
            assert_eq!(at(&format!("GET {target}"), "Host: a", 443), Err(Reason::BadTarget), "{target}");
        }
        assert_eq!(at("GET /a", "Accept: x", 443), Err(Reason::BadRequest));
        assert_eq!(at("GET /a", "Host: evil/a", 443), Err(Reason::BadRequest));
    }
}
