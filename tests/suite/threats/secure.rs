//! A world that serves TLS, and HTTP/2 in frames that no library would send.

use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::World;
use super::world::public;
use crate::support::certificates::Localhost;

/// What a client says first, and settings without content.
pub(super) const BEGINNING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// A world that serves TLS, and what is needed to trust it.
pub(super) struct Secure {
    pub(super) world: World,
    connector: TlsConnector,
    _localhost: Localhost,
}

pub(super) type Fields<'f> = &'f [(&'f str, &'f str)];

impl Secure {
    pub(super) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    pub(super) async fn start_with(settings: &[(&str, &str)]) -> Self {
        let localhost = Localhost::new();
        let world = World::start_with(&[&localhost.settings(), settings].concat()).await;
        world.route(serde_json::json!({ "route": "/{*rest}", "operations": public() })).await;
        Self { world, connector: localhost.connector(), _localhost: localhost }
    }

    pub(super) async fn connect(&self) -> TlsStream<TcpStream> {
        let tcp = TcpStream::connect(self.world.app.gateway).await.unwrap();
        let tls = self.connector.connect(ServerName::try_from("localhost").unwrap(), tcp).await.unwrap();
        assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        tls
    }

    /// Sends a request with the `h2` crate; returns its status.
    pub(super) async fn request(&self, method: &str, authority: &str, target: &str, fields: Fields<'_>) -> u16 {
        self.answer(method, authority, target, fields).await.status().as_u16()
    }

    /// Sends a request with the `h2` crate; returns the head of the answer.
    pub(super) async fn answer(
        &self,
        method: &str,
        authority: &str,
        target: &str,
        fields: Fields<'_>,
    ) -> http::Response<()> {
        let (mut client, connection) = h2::client::handshake(self.connect().await).await.unwrap();
        let connection = tokio::spawn(connection);
        let mut request = http::Request::builder().method(method).uri(format!("https://{authority}{target}"));
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let (answer, _) = client.send_request(request.body(()).unwrap(), true).unwrap();
        let answer = tokio::time::timeout(Duration::from_secs(5), answer).await.expect("an answer").unwrap();
        connection.abort();
        answer.map(drop)
    }

    /// Sends a request field by field, as it is; returns its status, or 0 if the stream or connection was broken off.
    pub(super) async fn raw(&self, fields: Fields<'_>, body: Option<&str>) -> u16 {
        let mut stream = self.connect().await;
        let block = block(fields);
        let mut bytes = BEGINNING.to_vec();
        frame(&mut bytes, 0x1, 0x4 | u8::from(body.is_none()), 1, &block);
        if let Some(body) = body {
            frame(&mut bytes, 0x0, 0x1, 1, body.as_bytes());
        }
        stream.write_all(&bytes).await.unwrap();
        tokio::time::timeout(Duration::from_secs(5), first_status(&mut stream)).await.expect("an answer")
    }

    /// No status but 400, no byte to the back end.
    #[track_caller]
    pub(super) fn refuses(&self, fields: Fields<'_>, body: Option<&str>) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            self.world.back.clear();
            let status = self.raw(fields, body).await;
            assert!(matches!(status, 400 | 0), "{caller}: {status} for {fields:?}");
            assert_eq!(self.world.back.received(), "", "{caller}: {fields:?}");
        }
    }

    pub(super) async fn passes(&self, fields: Fields<'_>) -> String {
        self.world.back.clear();
        assert_eq!(self.raw(fields, None).await, 200, "{fields:?}");
        assert_eq!(self.world.back.requests(), 1);
        self.world.back.received()
    }
}

/// A block of header fields, each as a literal without indexing (RFC 7541 6.2.2).
pub(super) fn block(fields: Fields<'_>) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        literal(&mut block, name.as_bytes());
        literal(&mut block, value.as_bytes());
    }
    block
}

pub(super) fn literal(block: &mut Vec<u8>, text: &[u8]) {
    let length = text.len();
    match u8::try_from(length) {
        Ok(short) if short < 127 => block.push(short),
        _ => {
            // A prefix of seven bits, then groups of seven (RFC 7541 5.1).
            block.push(127);
            let mut rest = length - 127;
            while rest >= 128 {
                block.push(u8::try_from(rest % 128).unwrap() | 128);
                rest /= 128;
            }
            block.push(u8::try_from(rest).unwrap());
        }
    }
    block.extend_from_slice(text);
}

pub(super) fn frame(bytes: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    bytes.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes()[1..]);
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
}

/// The status of the answer on this stream, once that has ended; 0 if it was broken off.
pub(super) async fn ended(stream: &mut TlsStream<TcpStream>, id: u32) -> u16 {
    let mut answered = 0;
    loop {
        let mut head = [0; 9];
        if stream.read_exact(&mut head).await.is_err() {
            return 0;
        }
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        if stream.read_exact(&mut payload).await.is_err() {
            return 0;
        }
        let is_own = head[5..] == id.to_be_bytes();
        match head[3] {
            0x0 | 0x1 if is_own => {
                if head[3] == 0x1 {
                    answered = status(&payload);
                }
                if head[4] & 0x1 != 0 {
                    return answered;
                }
            }
            0x3 if is_own => return 0,
            0x7 => return 0,
            _ => {}
        }
    }
}

async fn first_status(stream: &mut TlsStream<TcpStream>) -> u16 {
    loop {
        let mut head = [0; 9];
        if stream.read_exact(&mut head).await.is_err() {
            return 0;
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        if stream.read_exact(&mut payload).await.is_err() {
            return 0;
        }
        match head[3] {
            0x1 => return status(&payload),
            // RST_STREAM, GOAWAY
            0x3 | 0x7 => return 0,
            _ => {}
        }
    }
}

/// `:status`, the first field of a block: from the static table, or its three digits, plain or in Huffman's code.
fn status(block: &[u8]) -> u16 {
    let block = if block[0] & 0xe0 == 0x20 { &block[1..] } else { block };
    match block[0] {
        known @ 0x88..=0x8e => [200, 204, 206, 304, 400, 404, 500][usize::from(known - 0x88)],
        _ if block[1] & 0x80 == 0 => std::str::from_utf8(&block[2..5]).unwrap().parse().unwrap(),
        _ => {
            let length = usize::from(block[1] & 0x7f);
            let mut bits =
                block[2..2 + length].iter().flat_map(|byte| (0..8).rev().map(move |at| u16::from(byte >> at & 1)));
            (0..3).fold(0, |number, _| {
                let five = (0..5).fold(0, |value, _| value * 2 + bits.next().unwrap());
                // 0, 1 and 2 have five bits, the other digits six (RFC 7541, appendix B).
                let digit = if five < 3 { five } else { five * 2 + bits.next().unwrap() - 0x16 };
                number * 10 + digit
            })
        }
    }
}
