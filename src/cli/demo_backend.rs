use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use super::operate::Signals;
use super::output::print;
use crate::server::{DEMO_ADDRESS, DemoBackend};

/// Its answers take no time; a client that holds a connection open shall not hold up the end.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// Where it listens
    #[arg(long, value_name = "ADDR", default_value = DEMO_ADDRESS)]
    listen: SocketAddr,
}

pub(super) async fn run(Args { listen }: Args) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::new()?;
    let backend = DemoBackend::start(listen)?;
    print(&format!("demo back end  http://{}", backend.address))?;
    signals.end().await;
    backend.shut_down(PATIENCE).await;
    Ok(ExitCode::SUCCESS)
}
