//! Pingora's proxy as it comes, with none of Cedargate's code: what `compare.py` measures Cedargate against.
//!
//! `bare_pingora --listen 127.0.0.1:8000 --upstream 127.0.0.1:9000 [--threads 1]`

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use pingora::proxy::{ProxyHttp, Session, http_proxy_service};
use pingora::server::configuration::ServerConf;
use pingora::server::{RunArgs, Server};
use pingora::upstreams::peer::HttpPeer;

const USAGE: &str = "usage: bare_pingora --listen ADDRESS --upstream ADDRESS [--threads N]";

struct Bare(SocketAddr);

#[async_trait]
impl ProxyHttp for Bare {
    type CTX = ();

    fn new_ctx(&self) -> Self::CTX {}

    async fn upstream_peer(&self, _: &mut Session, (): &mut Self::CTX) -> pingora::Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.0, false, String::new())))
    }
}

fn main() {
    let Some((listen, upstream, threads)) = arguments() else {
        eprintln!("{USAGE}");
        std::process::exit(2);
    };
    // With two providers in the tree rustls wants one to be chosen, although nothing here speaks TLS.
    let _already = rustls::crypto::ring::default_provider().install_default();
    let conf = ServerConf { threads, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let conf = Arc::clone(&server.configuration);
    let mut service = http_proxy_service(&conf, Bare(upstream));
    service.add_tcp(&listen.to_string());
    server.add_service(service);
    server.run(RunArgs::default());
}

fn arguments() -> Option<(SocketAddr, SocketAddr, usize)> {
    let (mut listen, mut upstream, mut threads) = (None, None, 1);
    let mut given = std::env::args().skip(1);
    while let Some(name) = given.next() {
        let value = given.next()?;
        match name.as_str() {
            "--listen" => listen = Some(value.parse().ok()?),
            "--upstream" => upstream = Some(value.parse().ok()?),
            "--threads" => threads = value.parse().ok().filter(|threads| *threads > 0)?,
            _ => return None,
        }
    }
    Some((listen?, upstream?, threads))
}
