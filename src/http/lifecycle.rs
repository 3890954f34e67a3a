use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// Where the process is between start and end; shared by whoever tells and whoever asks.
#[derive(Clone, Debug)]
pub struct Lifecycle(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    started: Instant,
    draining: AtomicBool,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self(Arc::new(Inner { started: Instant::now(), draining: AtomicBool::new(false) }))
    }
}

impl Lifecycle {
    /// No new work from now on: readiness fails, so that load balancers look elsewhere.
    pub fn drain(&self) {
        self.0.draining.store(true, Ordering::Release);
    }

    /// Whether [`Self::drain`] was called.
    pub fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Acquire)
    }

    /// Time since the process began.
    pub fn uptime(&self) -> Duration {
        self.0.started.elapsed()
    }
}
