use cedargate::{
    model::{Expiry, MAX_INHERITANCE, PermissionPatch, RoleId, RolePatch},
    store::{Tx, hierarchy, permissions, roles, users},
};

use super::{at, permission, role, user};
use crate::support::migrated;

async fn inherit(tx: &mut Tx, role: RoleId, parent: RoleId) {
    assert!(roles::inherit(tx, role, parent).await.unwrap());
}

async fn set_active(tx: &mut Tx, role: RoleId, is_active: bool) {
    assert_eq!(roles::activate(tx, &[role], is_active, at(1)).await.unwrap(), 1);
}

on_both!(the_longest_way_counts, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let [a, b, c, d] = [
        role(&mut tx, "a", &[]).await,
        role(&mut tx, "b", &[]).await,
        role(&mut tx, "c", &[]).await,
        role(&mut tx, "d", &[]).await,
    ];
    for (child, parent) in [(a, b), (a, c), (b, c), (c, d)] {
        inherit(&mut tx, child, parent).await;
    }
    assert_eq!(hierarchy::links(&mut tx).await.unwrap(), [(a, b), (a, c), (b, c), (c, d)]);
    assert_eq!(hierarchy::above(&mut tx, a).await.unwrap(), [(a, 0), (b, 1), (c, 2), (d, 3)]);
    assert_eq!(hierarchy::below(&mut tx, d).await.unwrap(), [(a, 3), (b, 2), (c, 1), (d, 0)]);
    assert_eq!(hierarchy::above(&mut tx, d).await.unwrap(), [(d, 0)]);
    assert_eq!(hierarchy::above(&mut tx, RoleId(999)).await.unwrap(), []);
    let parents = hierarchy::parents(&mut tx, a).await.unwrap();
    assert_eq!(parents.iter().map(|parent| parent.id).collect::<Vec<_>>(), [b, c]);
    // A role that is deleted leads nowhere, but whoever lies beyond it is still there.
    roles::delete(&mut tx, c, at(1)).await.unwrap();
    assert_eq!(hierarchy::above(&mut tx, a).await.unwrap(), [(a, 0), (b, 1)]);
    assert_eq!(hierarchy::links(&mut tx).await.unwrap(), [(a, b)]);
    assert_eq!(hierarchy::parents(&mut tx, b).await.unwrap(), []);
    assert_eq!(hierarchy::above(&mut tx, c).await.unwrap(), []);
    assert_eq!(hierarchy::roles(&mut tx).await.unwrap().iter().map(|role| role.id).collect::<Vec<_>>(), [a, b, d]);
});

on_both!(a_cycle_ends_every_walk, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let read = permission(&mut tx, "x:read").await;
    let (a, b) = (role(&mut tx, "a", &[]).await, role(&mut tx, "b", &[read]).await);
    inherit(&mut tx, a, b).await;
    inherit(&mut tx, b, a).await;
    let ann = user(&mut tx, "ann", &[a]).await;
    let farthest = MAX_INHERITANCE + 1;
    let above = hierarchy::above(&mut tx, a).await.unwrap();
    assert_eq!(above, hierarchy::below(&mut tx, a).await.unwrap());
    assert!(
        above.iter().all(|(_, steps)| *steps > 0) && above.iter().any(|(_, steps)| *steps == farthest),
        "{above:?}"
    );
    assert_eq!(hierarchy::permissions(&mut tx, a).await.unwrap().len(), 1);
    assert_eq!(hierarchy::permissions_of(&mut tx, ann, at(1)).await.unwrap().len(), 1);
});

on_both!(what_is_inactive_grants_nothing, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let read = permission(&mut tx, "x:read").await;
    let edit = permission(&mut tx, "x:edit").await;
    let gone = permission(&mut tx, "x:gone").await;
    let off = permission(&mut tx, "x:off").await;
    let top = role(&mut tx, "top", &[read, edit, gone, off]).await;
    let middle = role(&mut tx, "middle", &[edit]).await;
    let low = role(&mut tx, "low", &[]).await;
    inherit(&mut tx, middle, top).await;
    inherit(&mut tx, low, middle).await;
    let patch = PermissionPatch { is_active: Some(false), ..PermissionPatch::default() };
    permissions::update(&mut tx, off, &patch, at(1)).await.unwrap();
    permissions::delete(&mut tx, gone, at(1)).await.unwrap();
    let ann = user(&mut tx, "ann", &[low]).await;
    let has = async |tx: &mut Tx, role: RoleId| {
        let found = hierarchy::permissions(tx, role).await.unwrap();
        found.iter().map(|entry| format!("{} of {}", entry.permission.name, entry.source_role)).collect::<Vec<_>>()
    };
    let names = async |tx: &mut Tx, second: i64| {
        let found = hierarchy::permissions_of(tx, ann, at(second)).await.unwrap();
        found.iter().map(|name| name.as_str().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(has(&mut tx, low).await, ["x:read of top", "x:edit of middle"]);
    assert_eq!(names(&mut tx, 1).await, ["x:edit", "x:read"]);
    set_active(&mut tx, middle, false).await;
    assert_eq!(has(&mut tx, low).await, [""; 0]);
    assert_eq!(has(&mut tx, middle).await, [""; 0]);
    assert_eq!(names(&mut tx, 1).await, [""; 0]);
    inherit(&mut tx, low, top).await;
    assert_eq!(has(&mut tx, low).await, ["x:read of top", "x:edit of top"]);
    users::assign(&mut tx, ann, low, None, Expiry::At(at(5)), at(1)).await.unwrap();
    assert_eq!(names(&mut tx, 4).await, ["x:edit", "x:read"]);
    assert_eq!(names(&mut tx, 5).await, [""; 0], "the assignment has expired");
    let rename = RolePatch { name: Some("summit".try_into().unwrap()), ..RolePatch::default() };
    roles::update(&mut tx, top, &rename, at(2)).await.unwrap();
    assert_eq!(has(&mut tx, low).await, ["x:read of summit", "x:edit of summit"]);
});
