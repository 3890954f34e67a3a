//! Two processes at once: one that has handed over and still drains, one that has taken over.

use serde_json::json;

use super::operate::{Site, signal_to};
use super::shutdown::hang;
use super::{PASSWORD, http};

#[test]
fn while_the_old_process_drains_the_new_one_is_asked_and_looked_after() {
    let mut site = Site::start("[gateway]\nshutdown_timeout_ms = 60000\n", |_| ());
    let body = json!({ "username": "superadmin", "password": PASSWORD });
    let (_, token) = http(site.admin, "POST", "/api/v1/auth/login", "", Some(&body));
    let _in_flight = hang(site.admin, site.gateway, token["access_token"].as_str().unwrap());
    let told = site.ask("upgrade");
    assert!(told.status.success(), "{told:?}");
    site.logged("upgraded; requests in flight are finished");
    // Whichever of the two is asked, the service is ready; soon it is the new one each time.
    let is_new = || {
        assert_eq!(http(site.admin, "GET", "/readyz", "", None).0, 200);
        site.counts("cedargate_upgrades_total{outcome=\"succeeded\"} 1")
    };
    site.eventually("closed listener", || (0..30).all(|_| is_new()));
    let (first, second) = (site.child.id(), site.pid().unwrap());
    assert_ne!(first, second);

    signal_to(first, "-TERM");
    site.logged("told to end; requests in flight are finished first");
    assert!(site.child.try_wait().unwrap().is_none());
    signal_to(second, "-KILL");
    assert!(site.logged("the process that took over has ended").contains("\"level\":\"ERROR\""));
    signal_to(first, "-TERM");
    assert_eq!(site.child.wait().unwrap().code(), Some(1));
}
