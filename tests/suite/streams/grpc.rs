//! gRPC: calls of each kind, and how they end.

use std::convert::Infallible;
use std::net::SocketAddr;

use http::uri::PathAndQuery;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::metadata::MetadataValue;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Server};
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;
use tower::service_fn;

use super::{PATIENCE, World};

#[derive(Clone, PartialEq, prost::Message)]
struct Word {
    #[prost(string, tag = "1")]
    text: String,
}

fn word(text: impl Into<String>) -> Word {
    Word { text: text.into() }
}

type Codec = ProstCodec<Word, Word>;
type Words = ReceiverStream<Result<Word, Status>>;

async fn say(request: Request<Word>) -> Result<Response<Word>, Status> {
    match request.into_inner().text.as_str() {
        "nothing" => Err(Status::not_found("there is no such word")),
        text => {
            let mut answer = Response::new(word(text));
            answer.metadata_mut().insert("x-from", MetadataValue::from_static("the service"));
            Ok(answer)
        }
    }
}

/// Never answers.
async fn ponder(_: Request<Word>) -> Result<Response<Word>, Status> {
    std::future::pending().await
}

/// Says one word, then nothing for as long as anybody listens; `flood` is said on and on.
async fn listen(request: Request<Word>) -> Result<Response<Words>, Status> {
    let text = request.into_inner().text;
    let (tell, told) = mpsc::channel(4);
    tokio::spawn(async move {
        let is_flood = text == "flood";
        let said = if is_flood { word("7".repeat(100_000)) } else { word(text) };
        while tell.send(Ok(said.clone())).await.is_ok() {
            if !is_flood {
                return tell.closed().await;
            }
        }
    });
    Ok(Response::new(ReceiverStream::new(told)))
}

/// Says each word again; `enough` ends it with a status.
async fn converse(request: Request<Streaming<Word>>) -> Result<Response<Words>, Status> {
    let mut words = request.into_inner();
    let (tell, told) = mpsc::channel(4);
    tokio::spawn(async move {
        while let Some(Ok(said)) = words.next().await {
            let answer = if said.text == "enough" { Err(Status::aborted("as you wish")) } else { Ok(said) };
            if tell.send(answer).await.is_err() {
                return;
            }
        }
    });
    Ok(Response::new(ReceiverStream::new(told)))
}

async fn service() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = service_fn(|request: http::Request<Body>| async move {
        let mut grpc = tonic::server::Grpc::new(Codec::default());
        // As services refuse calls whose client, for all they know, cannot read trailers.
        if request.headers().get("te").is_none_or(|te| te != "trailers") {
            return Ok(Status::unknown("Missing :te header").into_http());
        }
        let answer = match request.uri().path() {
            "/test.Words/Say" => grpc.unary(service_fn(say), request).await,
            "/test.Words/Ponder" => grpc.unary(service_fn(ponder), request).await,
            "/test.Words/Listen" => grpc.server_streaming(service_fn(listen), request).await,
            _ => grpc.streaming(service_fn(converse), request).await,
        };
        Ok::<_, Infallible>(answer)
    });
    tokio::spawn(Server::builder().serve_with_incoming(service, TcpIncoming::from(listener)));
    address
}

struct Client {
    grpc: tonic::client::Grpc<Channel>,
    token: String,
}

impl Client {
    async fn of(world: &World) -> Self {
        let tls =
            ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&world.localhost.pem)).domain_name("localhost");
        let endpoint = Endpoint::from_shared(format!("https://127.0.0.1:{}", world.app.gateway.port())).unwrap();
        let channel = endpoint.tls_config(tls).unwrap().connect().await.unwrap();
        Self { grpc: tonic::client::Grpc::new(channel), token: world.user.clone() }
    }

    fn request<T>(&self, content: T) -> Request<T> {
        let mut request = Request::new(content);
        request.metadata_mut().insert("authorization", format!("Bearer {}", self.token).parse().unwrap());
        request
    }

    async fn say(&mut self, text: &str) -> Result<Response<Word>, Status> {
        self.call("/test.Words/Say", text).await
    }

    async fn call(&mut self, path: &'static str, text: &str) -> Result<Response<Word>, Status> {
        self.grpc.ready().await.unwrap();
        let request = self.request(word(text));
        let call = self.grpc.unary(request, PathAndQuery::from_static(path), Codec::default());
        timeout(PATIENCE, call).await.expect("an answer")
    }

    async fn listen(&mut self, text: &str) -> Streaming<Word> {
        self.grpc.ready().await.unwrap();
        let request = self.request(word(text));
        let path = PathAndQuery::from_static("/test.Words/Listen");
        self.grpc.server_streaming(request, path, Codec::default()).await.unwrap().into_inner()
    }

    /// A conversation: what is said goes into the one, what is answered comes out of the other.
    async fn converse(&mut self) -> (mpsc::Sender<Word>, Streaming<Word>) {
        self.grpc.ready().await.unwrap();
        let (tell, told) = mpsc::channel(4);
        let request = self.request(ReceiverStream::new(told));
        let path = PathAndQuery::from_static("/test.Words/Converse");
        let answer = self.grpc.streaming(request, path, Codec::default()).await.unwrap();
        (tell, answer.into_inner())
    }
}

async fn next(words: &mut Streaming<Word>) -> Result<Option<Word>, Status> {
    timeout(PATIENCE, words.message()).await.expect("something happens")
}

async fn world() -> World {
    World::secure(service().await, "/test.Words/{method}", "http2").await
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_each_kind_pass_with_their_trailers() {
    let world = world().await;
    let mut client = Client::of(&world).await;
    let answer = client.say("hello").await.unwrap();
    assert_eq!(answer.metadata().get("x-from").unwrap(), "the service");
    assert_eq!(answer.get_ref().text, "hello");
    let status = client.say("nothing").await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::NotFound, "there is no such word"));
    let large = "l".repeat(1_000_000);
    assert_eq!(client.say(&large).await.unwrap().into_inner().text, large);

    let (tell, mut told) = client.converse().await;
    for text in ["one", "two", &large] {
        tell.send(word(text)).await.unwrap();
        assert_eq!(next(&mut told).await.unwrap(), Some(word(text)));
    }
    tell.send(word("enough")).await.unwrap();
    let status = next(&mut told).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Aborted, "as you wish"));
    drop((client, tell));
    world.opens(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_without_a_grant_are_refused() {
    let world = world().await;
    let mut client = Client::of(&world).await;
    world.withdraw().await;
    let status = client.say("hello").await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied, "{status:?}");
    client.token = "nonsense".to_owned();
    assert_eq!(client.say("hello").await.unwrap_err().code(), Code::Unauthenticated);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_end_with_permission_denied() {
    let world = world().await;
    let mut client = Client::of(&world).await;
    let mut idle = client.listen("idle").await;
    assert_eq!(next(&mut idle).await.unwrap(), Some(word("idle")));
    let (tell, mut told) = client.converse().await;
    tell.send(word("one")).await.unwrap();
    assert_eq!(next(&mut told).await.unwrap(), Some(word("one")));
    world.opens(2).await;
    world.change_what_is_unrelated().await;
    tell.send(word("two")).await.unwrap();
    assert_eq!(next(&mut told).await.unwrap(), Some(word("two")));
    world.withdraw().await;
    for words in [&mut idle, &mut told] {
        let status = next(words).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::PermissionDenied, "No policy permits this request."));
    }
    world.opens(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_between_two_messages() {
    let world = world().await;
    let mut client = Client::of(&world).await;
    let mut flood = client.listen("flood").await;
    assert_eq!(next(&mut flood).await.unwrap().unwrap().text.len(), 100_000);
    world.withdraw().await;
    let status = loop {
        match next(&mut flood).await {
            Ok(Some(word)) => assert_eq!(word.text.len(), 100_000),
            Ok(None) => panic!("it ended as if nothing were wrong"),
            Err(status) => break status,
        }
    };
    assert_eq!(status.code(), Code::PermissionDenied, "{status}");
    world.counts("denied").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_ends_before_it_is_answered() {
    let world = world().await;
    let mut client = Client::of(&world).await;
    let waiting = tokio::spawn(async move { client.call("/test.Words/Ponder", "why").await });
    world.opens(1).await;
    world.withdraw().await;
    let status = waiting.await.unwrap().unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::PermissionDenied, "No policy permits this request."));
    world.opens(0).await;
}
