use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use ::http::Uri;
use anyhow::{Context, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::config::Settings;

const DEADLINE: Duration = Duration::from_secs(2);
/// Enough for any status line.
const STATUS_LINE_BYTES: u64 = 256;

#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// What to ask, over http [default: /readyz of the admin listener]
    #[arg(long)]
    url: Option<String>,
}

/// Where to ask; settings are loaded only if the arguments do not say it.
pub(super) fn url(args: &Args, settings: impl FnOnce() -> anyhow::Result<Settings>) -> anyhow::Result<Uri> {
    let text = match &args.url {
        Some(url) => url.clone(),
        None => format!("http://{}/readyz", reachable(settings()?.admin.listen)),
    };
    let url: Uri = text.parse().with_context(|| format!("--url: {text:?} is not an address"))?;
    ensure!(url.scheme_str() == Some("http") && url.host().is_some(), "--url: {text:?} is not an http:// address");
    Ok(url)
}

/// Asks for readiness; anything but 200 within two seconds is a failure.
pub(super) async fn run(url: Uri) -> anyhow::Result<ExitCode> {
    match timeout(DEADLINE, status(&url)).await {
        Ok(Ok(200)) => Ok(ExitCode::SUCCESS),
        Ok(Ok(status)) => bail!("{url} answered {status}"),
        Ok(Err(error)) => Err(error.context(format!("{url} cannot be asked"))),
        Err(_) => bail!("{url} did not answer within {} s", DEADLINE.as_secs()),
    }
}

async fn status(url: &Uri) -> anyhow::Result<u16> {
    let authority = url.authority().context("no host")?;
    let host = authority.host().trim_matches(['[', ']']);
    let mut stream = TcpStream::connect((host, authority.port_u16().unwrap_or(80))).await?;
    let path = url.path_and_query().map_or("/", ::http::uri::PathAndQuery::as_str);
    let request = format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(STATUS_LINE_BYTES).read_to_end(&mut answer).await?;
    let line = String::from_utf8_lossy(&answer);
    let mut words = line.split(' ');
    ensure!(words.next().is_some_and(|version| version.starts_with("HTTP/1.")), "the answer is not HTTP");
    words.next().and_then(|code| code.parse().ok()).context("the answer has no status")
}

/// A listener on every address is asked on loopback.
fn reachable(mut listen: SocketAddr) -> SocketAddr {
    if listen.ip().is_unspecified() {
        listen.set_ip(match listen.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    listen
}
