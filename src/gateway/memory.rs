//! Memory: how much there may be, and what is refused when it runs short.
//!
//! ## Why
//! A process that takes more than it is given is killed, with everything in flight. One that refuses new work at four
//! fifths of that finishes what it has begun. The allocator keeps memory that was given back, for its next use: so what
//! is resident tells when to begin with it, but not when to end. Once half of the load is gone, there is room again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::telemetry::Metrics;

use super::load::Load;

const LOOK: Duration = Duration::from_millis(100);
/// Work is accepted again below this share of the bound, in percent.
const RELIEF: u64 = 95;
/// Whatever the load, none is accepted above this share.
const EXCESS: u64 = 110;
/// The share of what there is that may be used, in percent.
const SHARE: u64 = 80;

/// What may be used where the settings do not say: four fifths of what the control group or the machine has.
pub fn bound() -> Option<u64> {
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let group = groups(&own).into_iter();
    let group = group.filter_map(|file| std::fs::read_to_string(file).ok()?.trim().parse::<u64>().ok());
    let machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| total(&text));
    group.chain(machine).min().map(|bytes| bytes / 100 * SHARE)
}

/// The files that bound the memory of a process whose `/proc/self/cgroup` this is: its group's, and those around it.
fn groups(own: &str) -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    // One hierarchy (version 2), as `0::/system.slice/cedargate.service`.
    let path = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let around = Path::new(path).ancestors().map(|path| root.join(path).join("memory.max"));
    around.chain([root.join("memory/memory.limit_in_bytes")]).collect()
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

/// Whether memory runs short.
#[derive(Debug)]
struct Gauge {
    bound: u64,
    is_short: bool,
    /// What was being done when it last began to run short.
    onset: usize,
}

impl Gauge {
    fn new(bound: u64) -> Self {
        Self { bound, is_short: false, onset: 0 }
    }

    /// Judges anew, by the bytes that are resident and the connections and requests that there are.
    fn look(&mut self, resident: u64, load: usize) -> bool {
        let is_loaded = load.saturating_mul(2) > self.onset;
        let is_excessive = resident >= self.bound / 100 * EXCESS;
        let least = if self.is_short { self.bound / 100 * RELIEF } else { self.bound };
        let is_short = is_excessive || (resident >= least && is_loaded);
        if is_short && !self.is_short {
            self.onset = load;
        }
        self.is_short = is_short;
        is_short
    }
}

/// Looks at it for ever, and has new work refused while it runs short; without a bound it never does.
pub(super) async fn watch(load: Arc<Load>, metrics: Arc<Metrics>, bound: impl Fn() -> Option<u64>) {
    let mut gauge: Option<Gauge> = None;
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let connections = load.connections();
        metrics.connections().open(connections);
        let bound = bound();
        if gauge.as_ref().map(|gauge| gauge.bound) != bound {
            gauge = bound.map(Gauge::new);
        }
        let Some(resident) = resident() else { continue };
        let was = load.is_shedding();
        let is = gauge.as_mut().is_some_and(|gauge| gauge.look(resident, connections + load.requests()));
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
        let files = groups("1:name=x:/y\n0::/a.slice/b.service\n");
        let files: Vec<_> = files.iter().map(|file| file.to_str().unwrap()).collect();
        let around =
            ["a.slice/b.service/memory.max", "a.slice/memory.max", "memory.max", "memory/memory.limit_in_bytes"];
        assert_eq!(files, around.map(|file| format!("/sys/fs/cgroup/{file}")));
    }

    #[test]
    fn shortage_ends_with_the_load_that_brought_it() {
        let mut gauge = Gauge::new(1_000);
        let mut looks =
            |resident, load, expected| assert_eq!(gauge.look(resident, load), expected, "{resident} {load}");
        looks(999, 10_000, false);
        looks(1_000, 10_000, true);
        looks(960, 10_000, true);
        looks(940, 10_000, false);
        looks(1_000, 10_000, true);
        // The allocator keeps what it has, but half of the work is done.
        looks(1_000, 5_001, true);
        looks(1_000, 5_000, false);
        looks(1_050, 5_000, false);
        looks(1_050, 5_001, true);
        looks(1_050, 2_000, false);
        looks(1_100, 0, true);
        looks(1_099, 0, false);
        // At a start nothing is known of the load.
        assert!(Gauge::new(1_000).look(1_000, 1));
    }
}
