//! Answers that come bit by bit: server-sent events, and long ones.

use std::net::SocketAddr;

use reqwest::{Certificate, Client, Response, Version};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio::time::timeout;

use super::{PATIENCE, World};

/// A back end that sends what it is given to everybody who asks.
struct Feed {
    address: SocketAddr,
    say: broadcast::Sender<&'static str>,
}

/// Server-sent events, in chunks.
const EVENTS: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
/// The head of an answer that never comes to its end.
const LONG: &str = "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n";

async fn feed(head: &'static str) -> Feed {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (say, _) = broadcast::channel::<&'static str>(16);
    let sender = say.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut said = sender.subscribe();
            tokio::spawn(async move {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") && stream.read_buf(&mut request).await.unwrap_or(0) > 0 {}
                stream.write_all(head.as_bytes()).await.unwrap();
                if head == LONG {
                    stream.write_all(&vec![7; 200_000]).await.unwrap();
                }
                while let Ok(text) = said.recv().await {
                    let chunk =
                        if head == EVENTS { format!("{:x}\r\n{text}\r\n", text.len()) } else { text.to_owned() };
                    if stream.write_all(chunk.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    Feed { address, say }
}

/// Asks for what the feed says.
async fn ask(world: &World, version: Version) -> Response {
    let trusted = Certificate::from_pem(world.localhost.pem.as_bytes()).unwrap();
    let builder = Client::builder().tls_certs_only([trusted]).resolve("localhost", world.app.gateway).no_proxy();
    let builder = if version == Version::HTTP_11 { builder.http1_only() } else { builder };
    let url = format!("https://localhost:{}/feed/all", world.app.gateway.port());
    let answer = builder.build().unwrap().get(url).bearer_auth(&world.user).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.version()), (200, version));
    answer
}

/// What comes next: text, the end, or that it broke off.
async fn next(answer: &mut Response) -> Result<Option<String>, ()> {
    let chunk = timeout(PATIENCE, answer.chunk()).await.expect("something happens").map_err(drop)?;
    Ok(chunk.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap()))
}

#[tokio::test(flavor = "multi_thread")]
async fn events_pass_as_they_are_sent_until_they_are_denied() {
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let feed = feed(EVENTS).await;
        let world = World::secure(feed.address, "/feed/{*rest}", "http1").await;
        let mut answer = ask(&world, version).await;
        world.opens(1).await;
        for event in ["data: one\n\n", "data: two\n\n"] {
            feed.say.send(event).unwrap();
            assert_eq!(next(&mut answer).await, Ok(Some(event.to_owned())));
        }
        world.change_what_is_unrelated().await;
        feed.say.send("data: three\n\n").unwrap();
        assert_eq!(next(&mut answer).await, Ok(Some("data: three\n\n".to_owned())));
        world.withdraw().await;
        assert_eq!(next(&mut answer).await, Err(()), "{version:?}");
        world.counts("denied").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_answer_breaks_off() {
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let feed = feed(LONG).await;
        let world = World::secure(feed.address, "/feed/{*rest}", "http1").await;
        let mut answer = ask(&world, version).await;
        world.opens(1).await;
        let mut got = 0;
        while got < 150_000 {
            got += next(&mut answer).await.unwrap().expect("more").len();
        }
        world.withdraw().await;
        let ended = loop {
            match next(&mut answer).await {
                Ok(Some(more)) => got += more.len(),
                ended => break ended,
            }
        };
        assert!(ended.is_err() && got <= 200_000, "{version:?}: {ended:?} after {got}");
        world.counts("denied").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_be_told_of_an_end_is_reset() {
    let feed = feed(EVENTS).await;
    let world = World::plain(feed.address, "/feed/{*rest}").await;
    let mut stream = TcpStream::connect(world.app.gateway).await.unwrap();
    let request = format!("GET /feed/all HTTP/1.0\r\nHost: a\r\nAuthorization: Bearer {}\r\n\r\n", world.user);
    stream.write_all(request.as_bytes()).await.unwrap();
    world.opens(1).await;
    feed.say.send("data: one\n\n").unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"data: one\n\n") {
        let read = timeout(PATIENCE, stream.read_buf(&mut seen)).await;
        assert!(matches!(read, Ok(Ok(1..))), "{read:?} {}", String::from_utf8_lossy(&seen));
    }
    assert!(!seen.windows(7).any(|part| part.eq_ignore_ascii_case(b"chunked")));
    world.admin("PUT", "/users/4", json!({ "is_active": false })).await;
    assert!(timeout(PATIENCE, stream.read_buf(&mut seen)).await.unwrap().is_err());
    world.counts("revoked").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn short_answers_are_not_listed() {
    let feed = feed("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n").await;
    let world = World::secure(feed.address, "/feed/{*rest}", "http1").await;
    let mut answer = ask(&world, Version::HTTP_2).await;
    world.opens(0).await;
    world.withdraw().await;
    feed.say.send("whole").unwrap();
    assert_eq!(next(&mut answer).await, Ok(Some("whole".to_owned())));
    assert_eq!(next(&mut answer).await, Ok(None));
}
