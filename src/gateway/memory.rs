//! Memory: how much there may be, and what is refused when it runs short.
//!
//! ## Why
//! A process that takes more than it is given is killed, with everything in flight. One that refuses new work at four
//! fifths of that finishes what it has begun.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::telemetry::Metrics;

use super::load::Load;

const LOOK: Duration = Duration::from_millis(100);
/// Work is accepted again below this share of the bound, in percent.
const RELIEF: u64 = 95;
/// The share of what there is that may be used, in percent.
const SHARE: u64 = 80;

/// What may be used where the settings do not say: four fifths of what the control group or the machine has.
pub fn bound() -> Option<u64> {
    let group = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let group = group.iter().filter_map(|file| std::fs::read_to_string(file).ok()?.trim().parse::<u64>().ok());
    let machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| total(&text));
    group.chain(machine).min().map(|bytes| bytes / 100 * SHARE)
}

/// `MemTotal` in bytes.
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// What this process holds, in bytes.
fn resident() -> Option<u64> {
    let text = std::fs::read_to_string(Path::new("/proc/self/statm")).ok()?;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// Looks at it for ever, and has new work refused while it is above `bound`; `None` is no bound.
pub(super) async fn watch(load: Arc<Load>, metrics: Arc<Metrics>, bound: Option<u64>) {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        metrics.connections().open(load.connections());
        let (Some(bound), Some(resident)) = (bound, resident()) else { continue };
        let was = load.is_shedding();
        let is = resident >= if was { bound / 100 * RELIEF } else { bound };
        if is != was {
            load.shed(is);
            metrics.connections().shedding(is);
            match is {
                true => tracing::error!(resident, bound, "memory runs short; new work is refused"),
                false => tracing::warn!(resident, bound, "memory suffices again; new work is accepted"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_tells() {
        let (bound, resident) = (bound().unwrap(), resident().unwrap());
        assert!(resident > 1024 * 1024 && bound > 64 * 1024 * 1024, "{resident} {bound}");
        assert_eq!(total("MemFree: 1 kB\nMemTotal:       2048 kB\n"), Some(2048 * 1024));
        assert_eq!(total("MemTotal: many"), None);
    }
}
