//! What systemd is told, where it has started this process.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval};

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "systemd cannot be told");
    }
}

/// This process serves, and is the one to watch.
pub(super) fn ready(status: &str) {
    tell(&[NotifyState::MainPid(std::process::id()), NotifyState::Ready, NotifyState::Status(status)]);
}

/// Settings are being read again, until [`ready`].
pub(super) fn reloading() {
    let states = NotifyState::monotonic_usec_now().map(|now| [NotifyState::Reloading, now]);
    states.map_or_else(|_| tell(&[NotifyState::Reloading]), |states| tell(&states));
}

/// Something went wrong, and this process goes on.
pub(super) fn status(status: &str) {
    tell(&[NotifyState::Status(status)]);
}

/// Another process serves from now on.
pub(super) fn succeeded_by(pid: u32) {
    tell(&[NotifyState::MainPid(pid)]);
}

/// This process ends, and no other takes its place.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("requests in flight are finished")]);
}

/// Tells twice as often as it is asked to that this process is alive, for ever; at once nothing where it is not.
pub(super) async fn watchdog() {
    let Some(period) = sd_notify::watchdog_enabled().filter(|period| *period > Duration::ZERO) else { return };
    let mut ticks = interval(period / 2);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        tell(&[NotifyState::Watchdog]);
    }
}
