//! Pingora's proxy as it comes, with none of Cedargate's code: what `compare.py` measures Cedargate against.
//!
//! `bare_pingora --listen 127.0.0.1:8000 --upstream 127.0.0.1:9000 [--threads 1] [--tuned]`
//!
//! With `--tuned` it has Cedargate's settings as far as a setting can give them: no work stealing between threads, as
//! many idle connections to the upstream. The allocator is chosen when a program is built, and stays the system's.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use pingora::proxy::{ProxyHttp, Session, http_proxy_service};
use pingora::server::configuration::ServerConf;
use pingora::server::{RunArgs, Server};
use pingora::upstreams::peer::HttpPeer;

const USAGE: &str = "usage: bare_pingora --listen ADDRESS --upstream ADDRESS [--threads N] [--tuned]";
/// What `gateway.upstream_pool_size` is by default.
const POOL: usize = 256;

struct Arguments {
    listen: SocketAddr,
    upstream: SocketAddr,
    threads: usize,
    is_tuned: bool,
}

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
    let Some(Arguments { listen, upstream, threads, is_tuned }) = arguments() else {
        eprintln!("{USAGE}");
        std::process::exit(2);
    };
    // With two providers in the tree rustls wants one to be chosen, although nothing here speaks TLS.
    let _already = rustls::crypto::ring::default_provider().install_default();
    let mut conf = ServerConf { threads, ..ServerConf::default() };
    if is_tuned {
        conf.work_stealing = false;
        conf.upstream_keepalive_pool_size = POOL;
    }
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let conf = Arc::clone(&server.configuration);
    let mut service = http_proxy_service(&conf, Bare(upstream));
    service.add_tcp(&listen.to_string());
    server.add_service(service);
    server.run(RunArgs::default());
}

fn arguments() -> Option<Arguments> {
    let (mut listen, mut upstream, mut threads, mut is_tuned) = (None, None, 1, false);
    let mut given = std::env::args().skip(1);
    while let Some(name) = given.next() {
        if name == "--tuned" {
            is_tuned = true;
            continue;
        }
        let value = given.next()?;
        match name.as_str() {
            "--listen" => listen = Some(value.parse().ok()?),
            "--upstream" => upstream = Some(value.parse().ok()?),
            "--threads" => threads = value.parse().ok().filter(|threads| *threads > 0)?,
            _ => return None,
        }
    }
    Some(Arguments { listen: listen?, upstream: upstream?, threads, is_tuned })
}
