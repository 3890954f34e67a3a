//! Search finds what a look at every row finds, whatever is searched for.

use std::collections::BTreeSet;

use cedargate::{
    model::{NewPermission, NewRole, RoleId, RolePatch, UserPatch},
    store::{Db, Kind, Page, Tx, modules, permissions, roles, routes, users},
};

use super::{at, new_module, new_route, new_user, route, user};
use crate::support::migrated;

/// What may stand in a text.
const TEXTS: [&str; 20] = [
    "plain words",
    "100% of it",
    "snake_case_name",
    r"back\slash\\twice",
    "it's quoted",
    r#"a "b" ""c"" d"#,
    "NEAR(a b, 3)",
    "a AND b OR NOT c",
    "col:umn ^first -minus *",
    "(brackets) {curly} [square]",
    "ÄÖÜ äöü ß ẞ",
    "İstanbul ıI",
    "ΣΊΣΥΦΟΣ σίσυφος",
    "日本語のテキスト",
    "👩‍👩‍👧 family",
    "e\u{301}\u{327} combined",
    "\u{202e}reversed\u{200b}",
    "tab\tand\nline",
    "'; DROP TABLE users; --",
    "aaaaaaaaaaaaaaaa",
];

/// Pieces of every text, in both cases, and what is in none.
fn needles() -> BTreeSet<String> {
    let mut needles: BTreeSet<String> = TEXTS.iter().map(|text| (*text).to_owned()).collect();
    for text in TEXTS {
        let chars: Vec<char> = text.chars().collect();
        for length in [1, 2, 3, 5] {
            for piece in chars.windows(length).step_by(3) {
                needles.insert(piece.iter().collect());
            }
        }
    }
    let folded: Vec<String> = needles.iter().flat_map(|text| [text.to_uppercase(), text.to_lowercase()]).collect();
    needles.extend(folded);
    let others =
        ["%%%", "___", r"\\\", "\"\"\"", "***", "a\" OR \"b", "'''", "zzz", "NEAR", "\u{fffd}\u{fffd}\u{fffd}"];
    needles.extend(others.map(str::to_owned));
    needles.insert("x".repeat(200));
    needles
}

fn named(index: usize) -> RoleId {
    RoleId(i64::try_from(index + 1).unwrap())
}

async fn found(tx: &mut Tx, needle: &str) -> Vec<RoleId> {
    let filter = roles::Filter { search: Some(needle.to_owned()), ..roles::Filter::default() };
    let found: Vec<RoleId> =
        roles::list(tx, &filter, Page::ALL).await.unwrap().into_iter().map(|role| role.id).collect();
    let count = i64::try_from(found.len()).unwrap();
    assert_eq!(roles::count(tx, &filter).await.unwrap(), count, "{needle:?}");
    assert_eq!(roles::total(tx, &filter).await.unwrap().count, count, "{needle:?}");
    found
}

on_both!(search_equals_a_look_at_every_row, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    for (index, text) in TEXTS.into_iter().enumerate() {
        // Half of them have their text in the name, half in the description, which others lack.
        let (name, description) = if index % 2 == 0 { (text, None) } else { ("", Some(text.to_owned())) };
        let name = format!("{name}|{index}").try_into().unwrap();
        roles::insert(&mut tx, &NewRole { name, description, permission_ids: Vec::new() }, at(0)).await.unwrap();
    }
    let lower = |text: &str| text.to_ascii_lowercase();
    for needle in needles() {
        let holds = |text: &&str| lower(text).contains(&lower(&needle));
        let expected: Vec<RoleId> =
            TEXTS.iter().enumerate().filter(|(_, text)| holds(text)).map(|(index, _)| named(index)).collect();
        // Digits and the bar are in the names.
        if needle.chars().all(|c| c.is_ascii_digit() || c == '|') {
            continue;
        }
        assert_eq!(found(&mut tx, &needle).await, expected, "{needle:?}");
    }
});

on_both!(users_are_searched_in_any_alphabet, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let names = ["ÄnneÖß", "ΣίσυφοΣ1", "日本語です", "plainname", "İstanbul", "ẞharp2", "ǅungla"];
    let mut stored = Vec::new();
    for name in names {
        let mut new = new_user(name, &[]);
        new.email = format!("o'{}+%_tag@Example.com", stored.len()).try_into().unwrap();
        let (username, email) = (new.username.to_string(), new.email.to_string().to_lowercase());
        stored.push((users::insert(&mut tx, &new, at(0)).await.unwrap(), username, email));
    }
    let mut needles =
        vec!["EXAMPLE", "o'3", "+%_", "%_TAG@", "_t", "%", "\\", "ss", "ß", "ẞ", "@e", "3+%_tag@example.com"];
    needles.extend(names);
    let pieces: Vec<String> = names
        .iter()
        .flat_map(|name| {
            let chars: Vec<char> = name.chars().collect();
            [2, 3, 4].map(|length| chars[..length.min(chars.len())].iter().collect::<String>())
        })
        .collect();
    let upper: Vec<String> = pieces.iter().map(|piece| piece.to_uppercase()).collect();
    for needle in needles.into_iter().chain(pieces.iter().map(String::as_str)).chain(upper.iter().map(String::as_str)) {
        let folded = needle.to_lowercase();
        let holds = |(_, name, email): &&(_, String, String)| name.contains(&folded) || email.contains(&folded);
        let expected: Vec<_> = stored.iter().filter(holds).map(|(id, ..)| *id).collect();
        let filter = users::Filter { search: Some(needle.to_owned()), ..users::Filter::default() };
        let found = users::list(&mut tx, &filter, Page::ALL, at(9)).await.unwrap();
        assert_eq!(found.iter().map(|user| user.id).collect::<Vec<_>>(), expected, "{needle:?}");
        assert_eq!(users::count(&mut tx, &filter, at(9)).await.unwrap(), i64::try_from(expected.len()).unwrap());
    }
});

on_both!(search_follows_what_is_changed, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let ann = user(&mut tx, "ann", &[]).await;
    let search = |text: &str| users::Filter { search: Some(text.to_owned()), ..users::Filter::default() };
    let rename = UserPatch { username: Some("berta".try_into().unwrap()), ..UserPatch::default() };
    users::update(&mut tx, ann, &rename, at(1)).await.unwrap();
    for (needle, number) in [("bert", 1), ("ann@", 1), ("annx", 0), ("example", 1)] {
        assert_eq!(users::count(&mut tx, &search(needle), at(9)).await.unwrap(), number, "{needle}");
    }
    users::delete(&mut tx, ann, at(2)).await.unwrap();
    assert_eq!(users::count(&mut tx, &search("bert"), at(9)).await.unwrap(), 0);
    let deleted = users::Filter { include_deleted: true, ..search("bert") };
    assert_eq!(users::count(&mut tx, &deleted, at(9)).await.unwrap(), 1);
    users::restore(&mut tx, ann, at(3)).await.unwrap();
    assert_eq!(users::count(&mut tx, &search("bert"), at(9)).await.unwrap(), 1);

    let new = NewRole { name: "before".try_into().unwrap(), description: None, permission_ids: Vec::new() };
    let role = roles::insert(&mut tx, &new, at(0)).await.unwrap();
    let described = RolePatch { description: Some("Now told at length".to_owned()), ..RolePatch::default() };
    roles::update(&mut tx, role, &described, at(1)).await.unwrap();
    assert_eq!((found(&mut tx, "TOLD AT").await, found(&mut tx, "EFOR").await), (vec![role], vec![role]));

    let new =
        NewPermission { name: "article:read".try_into().unwrap(), description: Some("Look".into()), category: None };
    permissions::insert(&mut tx, &new, at(0)).await.unwrap();
    let mut home = new_module("home", &[]);
    "/start-page".clone_into(&mut home.route);
    let home = modules::insert(&mut tx, &home, at(0)).await.unwrap();
    route(&mut tx, home, "/first/{id}").await;
    let mut second = new_route(home, "/second");
    second.label = "Zweite Seite".to_owned().try_into().unwrap();
    routes::insert(&mut tx, &second, at(0)).await.unwrap();
    for (needle, numbers) in [
        ("LOOK", (1, 0, 0)),
        ("icle:", (1, 0, 0)),
        ("t-pag", (0, 1, 0)),
        ("{ID}", (0, 0, 1)),
        ("ite se", (0, 0, 1)),
        ("the home", (0, 1, 0)),
    ] {
        let search = Some(needle.to_owned());
        let of_permissions = permissions::Filter { search: search.clone(), ..permissions::Filter::default() };
        let of_modules = modules::Filter { search: search.clone(), ..modules::Filter::default() };
        let of_routes = routes::Filter { search, ..routes::Filter::default() };
        let found = (
            permissions::list(&mut tx, &of_permissions, Page::ALL).await.unwrap().len(),
            modules::list(&mut tx, &of_modules, Page::ALL, true).await.unwrap().len(),
            routes::list(&mut tx, &of_routes, Page::ALL).await.unwrap().len(),
        );
        assert_eq!(found, numbers, "{needle}");
    }
    tx.query("DELETE FROM users").execute().await.unwrap();
    tx.commit().await.unwrap();
    assert_intact(&db).await;
});

/// SQLite compares its index of trigrams with what it is about.
async fn assert_intact(db: &Db) {
    if db.kind() == Kind::Postgres {
        return;
    }
    let mut tx = db.write().await.unwrap();
    for check in [
        "INSERT INTO _users_search (_users_search, rank) VALUES ('integrity-check', 1)",
        "INSERT INTO _roles_search (_roles_search, rank) VALUES ('integrity-check', 1)",
        "INSERT INTO _permissions_search (_permissions_search, rank) VALUES ('integrity-check', 1)",
        "INSERT INTO _modules_search (_modules_search, rank) VALUES ('integrity-check', 1)",
        "INSERT INTO _routes_search (_routes_search, rank) VALUES ('integrity-check', 1)",
    ] {
        tx.query(check).execute().await.unwrap_or_else(|error| panic!("{check}: {error:?}"));
    }
}
