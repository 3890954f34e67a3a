//! Connections with real sockets.

use std::net::Ipv4Addr;

use proptest::prelude::*;
use tokio::net::{TcpListener, TcpStream};

use super::super::head::{Body, Bounds, Progress, Scanner};
use super::*;

/// One that a client has, and ours.
async fn pair() -> (TcpStream, Connection) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (tcp, _) = listener.accept().await.unwrap();
    let peer = Arc::new(Peer::plain(Ipv4Addr::LOCALHOST.into()));
    (client, Connection::new(Transport::Plain(tcp), peer, Duration::from_millis(300)))
}

/// The bodies of all requests, read as the gateway does.
async fn bodies(connection: &mut Connection, count: usize) -> Vec<Vec<u8>> {
    let mut bodies = Vec::new();
    for _ in 0..count {
        let (mut head, mut scanner) = (BytesMut::new(), Scanner::new(Bounds::default()));
        while scanner.advance(&head) == Progress::Partial {
            let mut piece = [0; 100];
            let read = connection.read(&mut piece).await.unwrap();
            assert!(read > 0, "{}", head.escape_ascii());
            head.extend_from_slice(&piece[..read]);
        }
        assert!(head.starts_with(b"POST /"), "{}", head.escape_ascii());
        let begun = head.split_off(scanner.end());
        match scanner.body() {
            Body::Sized(length) => connection.expect_bytes(length, begun),
            Body::Chunked => connection.expect_chunks(begun).unwrap(),
        }
        let mut body = Vec::new();
        // Nothing comes beyond the body, however long one waits.
        while let Ok(read) = timeout(Duration::from_millis(5), connection.read_buf(&mut body)).await {
            assert!(read.unwrap() > 0);
        }
        if matches!(scanner.body(), Body::Chunked) {
            let (mut scanner, mut into) = (chunks::Scanner::default(), BytesMut::new());
            scanner.advance(&body, &mut into).unwrap();
            assert!(scanner.is_done());
            body = content(&body);
        }
        bodies.push(body);
        connection.expect_head();
    }
    bodies
}

fn content(mut chunked: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    while let Ok(httparse::Status::Complete((at, size @ 1..))) = httparse::parse_chunk_size(chunked) {
        let size = usize::try_from(size).unwrap();
        content.extend_from_slice(&chunked[at..at + size]);
        chunked = &chunked[at + size + 2..];
    }
    content
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn requests_follow_each_other_to_the_byte(
        requests in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..9_000)), 1..6),
        pieces in prop::sample::select(vec![1_000_usize, 4_000, 100_000]),
    ) {
        let mut sent = Vec::new();
        for (is_chunked, body) in &requests {
            let framing = match is_chunked {
                true => "Transfer-Encoding: chunked".to_owned(),
                false => format!("Content-Length: {}", body.len()),
            };
            sent.extend_from_slice(format!("POST /x HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n").as_bytes());
            if *is_chunked {
                for chunk in body.chunks(700) {
                    sent.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                    sent.extend_from_slice(chunk);
                    sent.extend_from_slice(b"\r\n");
                }
                sent.extend_from_slice(b"0\r\n\r\n");
            } else {
                sent.extend_from_slice(body);
            }
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let read = runtime.block_on(async {
            let (mut client, mut connection) = pair().await;
            let count = requests.len();
            let writing = tokio::spawn(async move {
                for piece in sent.chunks(pieces) {
                    client.write_all(piece).await.unwrap();
                }
                client
            });
            let read = bodies(&mut connection, count).await;
            drop(writing.await.unwrap());
            read
        });
        let expected: Vec<Vec<u8>> = requests.into_iter().map(|(_, body)| body).collect();
        prop_assert_eq!(read, expected);
    }
}

#[tokio::test]
async fn who_takes_nothing_is_cut_off() {
    let (client, mut connection) = pair().await;
    let endless = async {
        loop {
            connection.write_all(&vec![0; 64 * 1024]).await?;
            connection.flush().await?;
        }
    };
    let ended: io::Result<()> = timeout(Duration::from_secs(5), endless).await.unwrap();
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::TimedOut);
    drop(client);
}

/// Of a request in small pieces many are taken at once, and nothing is lost.
#[tokio::test]
async fn crumbs_are_gathered() {
    let (mut client, mut connection) = pair().await;
    connection.expect_bytes(2_000, BytesMut::new());
    client.set_nodelay(true).unwrap();
    let writing = tokio::spawn(async move {
        for byte in 0..2_000_u32 {
            client.write_all(&[byte.to_be_bytes()[3]]).await.unwrap();
            tokio::task::yield_now().await;
        }
        client
    });
    let (mut reads, mut body) = (0, Vec::new());
    while body.len() < 2_000 {
        assert!(connection.read_buf(&mut body).await.unwrap() > 0);
        reads += 1;
    }
    let expected: Vec<u8> = (0..2_000_u32).map(|byte| byte.to_be_bytes()[3]).collect();
    assert!(body == expected && reads < 200, "{reads}");
    drop(writing.await.unwrap());
}
