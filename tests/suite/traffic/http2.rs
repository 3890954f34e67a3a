//! The same over HTTP/2, and what only HTTP/2 can carry.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use rustls::pki_types::ServerName;
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{PATIENCE, Wire, all_kinds, lead, listening};
use crate::support::Backend;
use crate::support::app::App;
use crate::support::certificates::Localhost;

/// A gateway that serves TLS, and what is needed to trust it.
struct Secure {
    app: App,
    connector: TlsConnector,
    _localhost: Localhost,
}

impl Secure {
    async fn start(back: SocketAddr, protocol: &str) -> Self {
        let localhost = Localhost::new();
        let app = App::start_with(Backend::Sqlite, &localhost.settings()).await;
        lead(&app, back, protocol).await;
        Self { app, connector: localhost.connector(), _localhost: localhost }
    }

    async fn client(&self) -> SendRequest<Bytes> {
        let tcp = TcpStream::connect(self.app.gateway).await.unwrap();
        let tls = self.connector.connect(ServerName::try_from("localhost").unwrap(), tcp).await.unwrap();
        let (client, connection) = h2::client::handshake(tls).await.unwrap();
        tokio::spawn(connection);
        client
    }
}

/// Sends the head of a request; its body goes by what is returned beside the answer.
async fn ask(
    client: &SendRequest<Bytes>,
    method: &str,
    path: &str,
    fields: &[(&str, &str)],
    ends: bool,
) -> (ResponseFuture, SendStream<Bytes>) {
    let mut request = Request::builder().method(method).uri(format!("https://gw.example{path}"));
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    client.clone().ready().await.unwrap().send_request(request.body(()).unwrap(), ends).unwrap()
}

async fn answered(answer: ResponseFuture) -> Response<RecvStream> {
    timeout(PATIENCE, answer).await.expect("an answer").unwrap()
}

/// At least so many bytes of a body, or all of it.
async fn come(body: &mut RecvStream, least: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < least {
        let Some(data) = timeout(PATIENCE, body.data()).await.expect("bytes come") else { break };
        let data = data.unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        bytes.extend_from_slice(&data);
    }
    bytes
}

/// A back end that speaks HTTP/2 from the first byte on.
async fn back_end<F, S>(serve: F) -> SocketAddr
where
    F: Fn(Request<RecvStream>, SendResponse<Bytes>) -> S + Clone + Send + 'static,
    S: Future<Output = ()> + Send + 'static,
{
    let connection = move |stream: TcpStream| {
        let serve = serve.clone();
        async move {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((request, respond))) = connection.accept().await {
                tokio::spawn(serve(request, respond));
            }
        }
    };
    listening(connection).await
}

fn sum(value: &str) -> HeaderMap {
    [("x-sum".parse().unwrap(), value.parse().unwrap())].into_iter().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_every_kind_pass() {
    let back = listening(|stream| all_kinds(Wire(BufReader::new(stream)))).await;
    let secure = Secure::start(back, "http1").await;
    let client = secure.client().await;
    let parts = [("range", "bytes=2-4"), ("if-range", "\"a\"")];
    for (method, path, status, field, body) in [
        ("HEAD", "/back/head", 200, ("content-length", "12345"), ""),
        ("GET", "/back/204", 204, ("", ""), ""),
        ("GET", "/back/304", 304, ("etag", "\"a\""), ""),
        ("GET", "/back/206", 206, ("content-range", "bytes 2-4/10"), "234"),
        ("GET", "/back/trailers", 200, ("", ""), "abc"),
        ("GET", "/back/next", 200, ("content-length", "4"), "next"),
    ] {
        let (answer, _) = ask(&client, method, path, &parts, true).await;
        let mut answer = answered(answer).await;
        assert_eq!(answer.status(), status, "{path}");
        assert!(field.0.is_empty() || answer.headers()[field.0] == field.1, "{path}: {:?}", answer.headers());
        assert!(!answer.headers().contains_key("transfer-encoding"), "{path}");
        assert_eq!(come(answer.body_mut(), usize::MAX).await, body.as_bytes(), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_of_answers_arrive() {
    let back = back_end(|request, mut respond| async move {
        let mut answer = respond.send_response(Response::new(()), false).unwrap();
        if request.uri().path() == "/back/body" {
            answer.send_data(Bytes::from_static(b"abc"), false).unwrap();
        }
        answer.send_trailers(sum("42")).unwrap();
    })
    .await;
    let secure = Secure::start(back, "http2").await;
    let client = secure.client().await;
    for (path, body) in [("/back/body", "abc"), ("/back/none", ""), ("/back/body", "abc")] {
        let (answer, _) = ask(&client, "GET", path, &[("te", "trailers")], true).await;
        let mut answer = answered(answer).await;
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(come(answer.body_mut(), usize::MAX).await, body.as_bytes(), "{path}");
        let trailers = timeout(PATIENCE, answer.body_mut().trailers()).await.expect("the end").unwrap();
        assert_eq!(trailers, Some(sum("42")), "{path}");
    }
}

/// Each piece comes back before the next is sent, and the answer goes on when the request has ended.
#[tokio::test(flavor = "multi_thread")]
async fn both_directions_flow_at_once() {
    let back = back_end(|mut request, mut respond| async move {
        let mut answer = respond.send_response(Response::new(()), false).unwrap();
        let mut total = 0;
        loop {
            let piece = come(request.body_mut(), 1).await;
            if piece.is_empty() {
                break;
            }
            total += piece.len();
            answer.send_data(Bytes::from(piece), false).unwrap();
        }
        answer.send_data(Bytes::from_static(b"end"), false).unwrap();
        answer.send_trailers(sum(&total.to_string())).unwrap();
    })
    .await;
    let secure = Secure::start(back, "http2").await;
    let client = secure.client().await;
    let (answer, mut request) = ask(&client, "POST", "/back/echo", &[("te", "trailers")], false).await;
    let mut answer = answered(answer).await;
    assert_eq!(answer.status(), 200);
    let body = answer.body_mut();
    for number in 0..100_usize {
        let piece = format!("piece {number};").repeat(number + 1);
        request.send_data(Bytes::from(piece.clone()), false).unwrap();
        assert_eq!(come(body, piece.len()).await, piece.as_bytes());
    }
    request.send_data(Bytes::new(), true).unwrap();
    assert_eq!(come(body, usize::MAX).await, b"end");
    let total: usize = (0..100).map(|number| format!("piece {number};").len() * (number + 1)).sum();
    let trailers = timeout(PATIENCE, body.trailers()).await.expect("the end").unwrap();
    assert_eq!(trailers, Some(sum(&total.to_string())));
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_any_method_reach_upstreams_of_http2() {
    let back = back_end(|request: Request<RecvStream>, mut respond: SendResponse<Bytes>| async move {
        let method = request.method().clone();
        let body = come(&mut request.into_body(), usize::MAX).await;
        let answer = Response::builder().header("x-seen", format!("{method} {}", body.len())).body(()).unwrap();
        respond.send_response(answer, true).unwrap();
    });
    let secure = Secure::start(back.await, "http2").await;
    let client = secure.client().await;
    for method in ["GET", "POST"] {
        let (answer, mut body) = ask(&client, method, "/back/any", &[], false).await;
        body.send_data(Bytes::from_static(b"seven b"), true).unwrap();
        let answer = answered(answer).await;
        assert_eq!(answer.status(), 200, "{method}");
        assert_eq!(answer.headers()["x-seen"], format!("{method} 7"));
    }
}
