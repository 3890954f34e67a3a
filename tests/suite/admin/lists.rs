//! What all lists have in common: order, periods, numbers.

use serde_json::{Value, json};

use super::{Caller, id, ids, issues};
use crate::support::app::App;

/// Each list with its keys.
const LISTS: [(&str, &[&str]); 6] = [
    ("users", &["id", "username", "email", "is_active", "created_at", "updated_at"]),
    ("roles", &["id", "name", "is_system_role", "is_active", "created_at"]),
    ("permissions", &["id", "name", "category", "is_active", "created_at"]),
    ("modules", &["id", "name", "label", "route", "priority", "is_active", "created_at"]),
    ("routes", &["id", "route", "label", "priority", "module_id", "is_active", "is_sidebar", "created_at"]),
    ("upstreams", &["id", "name", "is_active", "created_at"]),
];

/// Something to list: three of each, beside what the demo has.
async fn fill(admin: &Caller<'_>) -> i64 {
    let home = id(&admin.made("/modules/", json!({ "name": "home", "label": "Home" })).await);
    for name in ["mmm", "zzz", "aaa"] {
        admin.user(name, &[4]).await;
        admin.made("/roles/", json!({ "name": name, "description": format!("The {name}") })).await;
        admin.made("/permissions/", json!({ "name": format!("{name}:read"), "category": name })).await;
        admin.made("/modules/", json!({ "name": name, "label": name })).await;
        admin.made("/routes/", json!({ "route": format!("/{name}"), "label": name, "module_id": home })).await;
        admin.made("/upstreams/", json!({ "name": name, "targets": [{ "address": "127.0.0.1:9" }] })).await;
    }
    home
}

fn total(answer: &crate::support::app::Answer) -> i64 {
    answer.header("x-total-count").unwrap_or_else(|| panic!("no total: {}", answer.text)).parse().unwrap()
}

on_both!(every_list_is_sorted_and_counted, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    fill(&admin).await;
    for (list, keys) in LISTS {
        let count: i64 = admin.get(&format!("/{list}/count")).await.expect(200).text.parse().unwrap();
        for key in keys {
            let whole = admin.get(&format!("/{list}/?sort={key}")).await.expect(200);
            assert_eq!((total(&whole), whole.header("x-total-count-capped")), (count, None), "{list} {key}");
            let forth = ids(&whole);
            assert_eq!(i64::try_from(forth.len()).unwrap(), count, "{list}");
            let mut back = ids(&admin.get(&format!("/{list}/?sort=-{key}")).await.expect(200));
            back.reverse();
            assert_eq!(forth, back, "{list} {key}");
            // Shown values follow the order; what is not shown, or null, does not tell.
            let rows = whole.json();
            let shown: Vec<&Value> = rows.as_array().unwrap().iter().map(|row| &row[key]).collect();
            if shown.iter().all(|value| value.is_string()) {
                // By bytes, but addresses whatever their case.
                let text = |value: &Value| value.as_str().unwrap().to_owned();
                let folded = |value: &Value| if *key == "email" { text(value).to_lowercase() } else { text(value) };
                assert!(shown.is_sorted_by_key(|value| folded(value)), "{list} {key}: {shown:?}");
            } else if shown.iter().all(|value| value.is_i64()) {
                assert!(shown.is_sorted_by_key(|value| value.as_i64()), "{list} {key}: {shown:?}");
            }
            let part = admin.get(&format!("/{list}/?sort={key}&skip=1&limit=2")).await.expect(200);
            assert_eq!((ids(&part), total(&part)), (forth[1..3].to_vec(), count), "{list} {key}");
        }
        let words: Vec<String> = keys.iter().flat_map(|key| [format!("'{key}'"), format!("'-{key}'")]).collect();
        let (last, others) = words.split_last().unwrap();
        let expected = format!("literal_error query.sort: Input should be {} or {last}", others.join(", "));
        for path in [format!("/{list}/?sort=rank"), format!("/{list}/count?sort=rank")] {
            assert_eq!(issues(admin.get(&path).await), std::slice::from_ref(&expected), "{path}");
        }
    }
});

on_both!(lists_and_counts_take_the_same_filters, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let home = fill(&admin).await;
    let mut asked = 0;
    for (list, _) in LISTS {
        for (filter, expected) in [
            ("search=ZZZ".to_owned(), Some(1)),
            ("search=aa".to_owned(), Some(1)),
            ("search=nothing".to_owned(), Some(0)),
            ("is_active=true".to_owned(), None),
            ("is_active=false".to_owned(), Some(0)),
            ("created_from=2020-01-01T00:00:00Z".to_owned(), None),
            ("created_to=2020-01-01T00:00:00Z".to_owned(), Some(0)),
            ("created_from=2020-01-01T00:00:00Z&created_to=2999-01-01T00:00:00%2B01:00&search=mmm".to_owned(), Some(1)),
            ("include_deleted=true&search=zzz".to_owned(), Some(1)),
            (format!("module_id={home}"), (list == "routes").then_some(3)),
            ("is_sidebar=true&search=zzz".to_owned(), Some(1)),
            ("category=zzz".to_owned(), (list == "permissions").then_some(1)),
            ("role=guest".to_owned(), (list == "users").then_some(3)),
            ("is_system_role=true&search=zzz".to_owned(), (list == "roles").then_some(0)),
        ] {
            let listed = admin.get(&format!("/{list}/?{filter}")).await.expect(200);
            let number = i64::try_from(ids(&listed).len()).unwrap();
            let count = admin.get(&format!("/{list}/count?{filter}")).await.expect(200).text;
            assert_eq!((number, number.to_string()), (total(&listed), count), "{list}: {filter}");
            assert_eq!(number, expected.unwrap_or(number), "{list}: {filter}");
            // The total is that of the filter, whatever is shown of it.
            let part = admin.get(&format!("/{list}/?{filter}&skip=1&limit=1")).await.expect(200);
            assert_eq!(total(&part), number, "{list}: {filter}");
            asked += 1;
        }
    }
    assert_eq!(asked, LISTS.len() * 14);
    let top = admin.get(&format!("/routes/top-level?module_id={home}&sort=-label&limit=1")).await.expect(200);
    assert_eq!((top.json()[0]["label"].as_str(), total(&top)), (Some("zzz"), 3));
});

on_both!(records_are_listed_by_time, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    fill(&admin).await;
    let newest = admin.get("/audit-logs/?limit=1000").await.expect(200);
    let all = ids(&newest);
    assert_eq!(i64::try_from(all.len()).unwrap(), total(&newest));
    assert!(all.len() >= 18 && all.is_sorted_by(|a, b| a > b), "{all:?}");
    let mut oldest = ids(&admin.get("/audit-logs/?limit=1000&sort=created_at").await.expect(200));
    oldest.reverse();
    assert_eq!(all, oldest);
    let time = newest.json()[3]["created_at"].as_str().unwrap().to_owned();
    let (since, before) = (format!("from={time}&limit=1000"), format!("to={time}&limit=1000"));
    let since = admin.get(&format!("/audit-logs/?{since}")).await.expect(200);
    let before = admin.get(&format!("/audit-logs/?{before}")).await.expect(200);
    assert_eq!([ids(&since), ids(&before)].concat(), all);
    assert!(ids(&since).contains(&all[3]) && total(&since) + total(&before) == total(&newest));
    for bad in ["from=x", "to=1", "sort=actor", "skip=10001"] {
        assert_eq!(issues(admin.get(&format!("/audit-logs/?{bad}")).await).len(), 1, "{bad}");
    }
});
