//! What is upgraded to a `WebSocket`.

use std::net::{SocketAddr, TcpListener, TcpStream};

use serde_json::json;
use tokio::task::block_in_place;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, frame::coding::CloseCode};
use tokio_tungstenite::tungstenite::{Message, WebSocket, accept, client};

use super::{PATIENCE, World, token_for};

/// Of a large message.
const LARGE: usize = 3 * 1024 * 1024;

/// A back end that says what it is told; to `flood` with one large message after the other, and to `bye` it closes.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                // Later than the end of the request has been dealt with everywhere.
                std::thread::sleep(std::time::Duration::from_millis(50));
                let Ok(mut socket) = accept(stream) else { return };
                while let Ok(message) = socket.read() {
                    match &message {
                        Message::Text(text) if text.as_str() == "flood" => {
                            let large = Message::binary(vec![7; LARGE / 30]);
                            while socket.send(large.clone()).is_ok() {}
                        }
                        Message::Text(text) if text.as_str() == "bye" => {
                            let frame = CloseFrame { code: CloseCode::Library(4321), reason: "enough".into() };
                            let _gone = socket.close(Some(frame));
                        }
                        Message::Text(_) | Message::Binary(_) if socket.send(message.clone()).is_err() => return,
                        _ => {}
                    }
                }
            });
        }
    });
    address
}

type Socket = WebSocket<TcpStream>;

/// Opens a WebSocket through the gateway.
fn open(world: &World, token: &str) -> Socket {
    let stream = TcpStream::connect(world.app.gateway).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut request = format!("ws://{}/live/socket", world.app.gateway).into_client_request().unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    let (socket, _) = block_in_place(move || client(request, stream).ok()).unwrap();
    socket
}

/// Whether what is said comes back.
fn echoes(socket: &mut Socket, message: &Message) {
    block_in_place(|| socket.send(message.clone())).unwrap();
    assert!(read(socket) == *message);
}

fn read(socket: &mut Socket) -> Message {
    block_in_place(|| socket.read()).unwrap()
}

/// The code and the reason that the WebSocket is closed with; what comes before is whole.
fn closed(socket: &mut Socket) -> (u16, String) {
    loop {
        match read(socket) {
            Message::Close(Some(frame)) => {
                // It is answered, and the connection ends.
                assert!(block_in_place(|| socket.read()).is_err());
                return (frame.code.into(), frame.reason.to_string());
            }
            Message::Binary(data) => assert!(data.len() == LARGE / 30 && data.iter().all(|byte| *byte == 7)),
            other => panic!("{other:?}"),
        }
    }
}

async fn world() -> World {
    World::plain(echo(), "/live/{*rest}").await
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_pass_both_ways() {
    let world = world().await;
    let mut socket = open(&world, &world.user);
    world.opens(1).await;
    echoes(&mut socket, &Message::text("one"));
    echoes(&mut socket, &Message::binary(vec![1; LARGE]));
    block_in_place(|| socket.send(Message::Ping(b"still".to_vec().into()))).unwrap();
    assert_eq!(read(&mut socket), Message::Pong(b"still".to_vec().into()));
    block_in_place(|| socket.send(Message::text("bye"))).unwrap();
    assert_eq!(closed(&mut socket), (4321, "enough".to_owned()));
    world.opens(0).await;
    let scrape = world.scrape().await;
    assert!(scrape.sum("cedargate_streams_closed_total", &[]).abs() < 0.1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_closes_when_the_grant_is_gone_and_not_before() {
    let world = world().await;
    let mut socket = open(&world, &world.user);
    let mut other = open(&world, &world.admin);
    world.opens(2).await;
    world.change_what_is_unrelated().await;
    // Time for a wrong close to happen.
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    echoes(&mut socket, &Message::text("still here"));
    world.withdraw().await;
    assert_eq!(closed(&mut socket), (1008, "no longer permitted".to_owned()));
    echoes(&mut other, &Message::text("an administrator still may"));
    drop(other);
    world.counts("denied").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_closes_with_whatever_let_it_in() {
    for (what, cause) in
        [("user", "revoked"), ("session", "revoked"), ("token", "expired"), ("route", "gone"), ("upstream", "gone")]
    {
        let world = world().await;
        let token = if what == "token" { token_for(4) } else { world.user.clone() };
        let mut socket = open(&world, &token);
        world.opens(1).await;
        match what {
            "user" => world.admin("PUT", "/users/4", json!({ "is_active": false })).await,
            "session" => drop(world.app.admin("POST", "/auth/logout").bearer(&token).await.expect(200)),
            "route" => world.admin("PATCH", &format!("/routes/{}/toggle-status", world.route), json!({})).await,
            "upstream" => {
                let all = world.app.admin("GET", "/upstreams/").bearer(&world.admin).await.expect(200).json();
                let found = all.as_array().unwrap().iter().find(|upstream| upstream["name"] == "back").unwrap();
                world.admin("PUT", &format!("/upstreams/{}", found["id"]), json!({ "is_active": false })).await;
            }
            _ => {}
        }
        assert_eq!(closed(&mut socket).0, 1008, "{what}");
        world.counts(cause).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_comes_between_two_frames() {
    let world = world().await;
    for _ in 0..5 {
        let mut socket = open(&world, &world.user);
        block_in_place(|| socket.send(Message::text("flood"))).unwrap();
        assert!(matches!(read(&mut socket), Message::Binary(_)));
        world.withdraw().await;
        assert_eq!(closed(&mut socket).0, 1008);
        let permission = world.app.permission(&world.admin, "article:read").await;
        world.admin("POST", &format!("/roles/3/permissions/{permission}"), json!({})).await;
    }
    world.opens(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_do_not_hold_a_shutdown() {
    let world = world().await;
    let (mut one, mut two) = (open(&world, &world.user), open(&world, &world.user));
    world.opens(2).await;
    let World { app, .. } = world;
    let stopping = tokio::spawn(app.running.shut_down());
    for socket in [&mut one, &mut two] {
        assert_eq!(closed(socket), (1001, "going away".to_owned()));
    }
    assert!(stopping.await.unwrap());
}
