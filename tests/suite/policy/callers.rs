//! Whom a token is of is found once for each token, and once more whenever it could be another.

use std::sync::Arc;

use cedargate::{
    model::{
        Claims, Reason, RoleId, Timestamp, UserId,
        rules::{Assignment, Revisions, Revocation, UserState},
    },
    policy::{Caller, Snapshot, SnapshotHandle},
};

use super::examples::{WRITER, World};

const OTHER_ROLE: i64 = 2;

fn writer(roles: &[(i64, Option<Timestamp>)]) -> UserState {
    UserState {
        id: UserId(WRITER),
        username: "user1".try_into().unwrap(),
        is_active: true,
        token_epoch: 0,
        roles: roles
            .iter()
            .map(|(role, expires_at)| Assignment { role_id: RoleId(*role), expires_at: *expires_at })
            .collect(),
    }
}

fn token() -> Arc<Claims> {
    let session_id = Some("s".to_owned());
    Arc::new(Claims { user_id: Some(UserId(WRITER)), session_id, ..Claims::none(&"user1".try_into().unwrap()) })
}

fn roles(caller: &Caller) -> Vec<&str> {
    caller.roles().names.iter().map(|name| &**name).collect()
}

/// Puts the next revision in force, changed by `change`.
fn advance(handle: &SnapshotHandle, change: impl FnOnce(&mut Snapshot)) {
    let current = handle.load();
    let revisions = Revisions { revision: current.revision() + 1, policy_revision: current.policy_revision() };
    let mut next = current.advanced(revisions, Timestamp::now());
    change(&mut next);
    assert!(handle.advance(next));
}

#[test]
fn found_once_while_nothing_changes() {
    let (handle, token, now) = (SnapshotHandle::new(World::new("office_hours").snapshot), token(), Timestamp::now());
    let first = handle.load().caller(&token, now).unwrap();
    let again = handle.load().caller(&token, now).unwrap();
    // The very same, not one like it.
    assert!(std::ptr::eq(first.account().unwrap(), again.account().unwrap()));
    assert!(Arc::ptr_eq(first.roles(), again.roles()));
    // Another token of the same user is looked at for itself.
    let other = handle.load().caller(&self::token(), now).unwrap();
    assert!(!std::ptr::eq(first.account().unwrap(), other.account().unwrap()));
}

#[test]
fn every_revision_finds_anew() {
    let (handle, token, now) = (SnapshotHandle::new(World::new("office_hours").snapshot), token(), Timestamp::now());
    assert_eq!(roles(&handle.load().caller(&token, now).unwrap()), ["writer"]);
    advance(&handle, |next| next.put_user(writer(&[(OTHER_ROLE, None)])));
    assert_eq!(roles(&handle.load().caller(&token, now).unwrap()), ["break-glass"]);
    let before = handle.load();
    advance(&handle, |next| {
        next.put_revocation(&Revocation { key: "sid:s".to_owned(), expires_at: now.plus_seconds(60) });
    });
    assert_eq!(handle.load().caller(&token, now).unwrap_err(), Reason::Revoked);
    // A request that began before goes on by what was in force then.
    assert!(before.caller(&token, now).is_ok());
    assert_eq!(handle.load().caller(&token, now).unwrap_err(), Reason::Revoked);
    advance(&handle, |next| next.put_user(UserState { is_active: false, ..writer(&[]) }));
    advance(&handle, |next| next.put_everybody([UserState { is_active: false, ..writer(&[]) }], []));
    assert_eq!(handle.load().caller(&token, now).unwrap_err(), Reason::UserInactive);
    advance(&handle, |next| next.remove_user(UserId(WRITER)));
    assert_eq!(handle.load().caller(&token, now).unwrap_err(), Reason::InvalidToken);
}

#[test]
fn a_copy_that_is_changed_finds_anew_though_its_revision_is_the_same() {
    let (handle, token, now) = (SnapshotHandle::new(World::new("office_hours").snapshot), token(), Timestamp::now());
    assert_eq!(roles(&handle.load().caller(&token, now).unwrap()), ["writer"]);
    let mut draft = Snapshot::clone(&handle.load());
    draft.put_user(writer(&[(OTHER_ROLE, None)]));
    assert_eq!(roles(&draft.caller(&token, now).unwrap()), ["break-glass"]);
    assert_eq!(roles(&SnapshotHandle::new(draft).load().caller(&token, now).unwrap()), ["break-glass"]);
    assert_eq!(roles(&handle.load().caller(&token, now).unwrap()), ["writer"]);
}

#[test]
fn a_role_ends_when_it_ends() {
    let (handle, token, now) = (SnapshotHandle::new(World::new("office_hours").snapshot), token(), Timestamp::now());
    let end = now.plus_seconds(10);
    advance(&handle, |next| next.put_user(writer(&[(WRITER, Some(end)), (OTHER_ROLE, None)])));
    let snapshot = handle.load();
    let held = |after| snapshot.caller(&token, now.plus_seconds(after)).unwrap();
    assert_eq!(roles(&held(0)), ["break-glass", "writer"]);
    assert_eq!(roles(&held(9)), ["break-glass", "writer"]);
    assert_eq!(roles(&held(10)), ["break-glass"]);
    assert_eq!(roles(&held(1_000)), ["break-glass"]);
}

#[test]
fn what_was_found_holds_for_no_moment_before() {
    let (handle, token, now) = (SnapshotHandle::new(World::new("office_hours").snapshot), token(), Timestamp::now());
    let end = now.plus_seconds(10);
    advance(&handle, |next| next.put_user(writer(&[(WRITER, Some(end)), (OTHER_ROLE, None)])));
    let snapshot = handle.load();
    assert_eq!(roles(&snapshot.caller(&token, end).unwrap()), ["break-glass"]);
    // A clock that is set back, or a request that took its time before that one.
    assert_eq!(roles(&snapshot.caller(&token, now).unwrap()), ["break-glass", "writer"]);
}

#[test]
fn revocations_that_are_forgotten_leave_the_rest_as_it_was() {
    let (handle, now) = (SnapshotHandle::new(World::new("office_hours").snapshot), Timestamp::now());
    let (token, other) = (token(), Arc::new(Claims { session_id: Some("t".to_owned()), ..Claims::clone(&token()) }));
    advance(&handle, |next| {
        next.put_revocation(&Revocation { key: "sid:s".to_owned(), expires_at: now.plus_seconds(60) });
        next.put_revocation(&Revocation { key: "sid:u".to_owned(), expires_at: now.plus_seconds(1) });
    });
    assert!(handle.load().caller(&other, now).is_ok());
    handle.forget_expired(now.plus_seconds(2));
    assert_eq!(handle.load().revocation_count(), 1);
    assert_eq!(handle.load().caller(&token, now).unwrap_err(), Reason::Revoked);
    assert_eq!(roles(&handle.load().caller(&other, now).unwrap()), ["writer"]);
}
