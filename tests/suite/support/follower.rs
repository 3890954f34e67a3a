//! A second node that follows the feed, held against one that reads everything anew.

use std::sync::Arc;

use cedargate::{control::Control, policy::Fixed, store::Db, telemetry::Metrics};

use super::POOL;

pub(crate) struct Follower {
    node: Control,
    database: String,
}

impl Follower {
    pub(crate) async fn of(database: &str) -> Self {
        Self { node: start(database).await, database: database.to_owned() }
    }

    /// Follows to where the database is, and finds that it got there part by part as one gets there at once.
    pub(crate) async fn agrees(&self) {
        self.node.apply_feed().await.unwrap();
        let (followed, fresh) = (self.node.snapshots().load(), start(&self.database).await.snapshots().load());
        assert_eq!(followed.revisions(), fresh.revisions());
        let dump = |snapshot: &cedargate::policy::Snapshot| cedargate::policy::dump(snapshot.compiled());
        same_lines(&dump(&followed), &dump(&fresh));
    }
}

/// Only the lines that differ: there are hundreds.
fn same_lines(followed: &str, fresh: &str) {
    let missing = |one: &str, other: &str| -> Vec<String> {
        one.lines().filter(|line| !other.lines().any(|found| found == *line)).map(str::to_owned).collect()
    };
    assert!(
        followed == fresh,
        "only followed: {:#?}\nonly fresh: {:#?}",
        missing(followed, fresh),
        missing(fresh, followed)
    );
}

pub(crate) async fn start(database: &str) -> Control {
    let db = Db::open(database, &POOL).await.unwrap();
    Control::start(db, Fixed::default(), Arc::new(Metrics::new("test").unwrap())).await.unwrap()
}
