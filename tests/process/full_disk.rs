//! Logs on a disk that is full.

use std::fs::{OpenOptions, remove_file};
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{PASSWORD, Server, http, http_text};

#[test]
fn a_full_disk_costs_log_lines_and_they_are_counted() {
    let data = TempDir::new().unwrap();
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let environment = [("CEDARGATE_BOOTSTRAP_PASSWORD", PASSWORD), ("LOG_FILE", "security.log")];
    let server = Server::start_into(full.into(), data.path(), &environment);
    // A file that was fine at the start; opened anew, it is on the full disk.
    let log = data.path().join("security.log");
    remove_file(&log).unwrap();
    symlink("/dev/full", &log).unwrap();
    server.signal("-HUP");
    for _ in 0..10 {
        assert_eq!(http(server.gateway, "GET", "/health", "", None).0, 200);
        assert_eq!(server.login("wrong").0 / 100, 4);
    }
    let asked = Instant::now();
    loop {
        let (status, text) = http_text(server.admin, "GET", "/metrics", "", None);
        assert_eq!(status, 200);
        let lost = |log: &str| {
            let name = format!("cedargate_log_lines_lost_total{{log=\"{log}\"}} ");
            text.lines().find_map(|line| line.strip_prefix(name.as_str())?.parse::<u64>().ok())
        };
        assert_eq!(lost("process"), Some(0));
        if lost("access").is_some_and(|lines| lines >= 10) && lost("security").is_some_and(|lines| lines >= 1) {
            return;
        }
        assert!(asked.elapsed() < Duration::from_secs(5), "{text}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
