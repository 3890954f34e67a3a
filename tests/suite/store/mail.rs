use cedargate::{
    model::{Email, UserId},
    store::{
        Tx,
        mail_tokens::{self, NewToken, Purpose},
        outbox::{self, Bounds, Ending, NewMail},
        users,
    },
};

use super::{at, new_user, user};
use crate::support::migrated;

const BOUNDS: Bounds = Bounds { per_recipient: 2, since: cedargate::model::Timestamp::FIRST, waiting: 4 };

fn mail(id: &str, kind: &'static str, to: &str) -> NewMail {
    NewMail { message_id: id.to_owned(), kind, recipient: Email::try_from(to).unwrap(), letter: format!("letter {id}") }
}

on_both!(mails_are_bounded_by_recipient_kind_and_number, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    for (id, kind, to, stored) in [
        ("1", "reset", "Ann@example.com", true),
        ("2", "reset", "ann@Example.com", true),
        ("3", "reset", "ANN@example.com", false),
        ("4", "lockout", "ann@example.com", true),
        ("5", "reset", "bob@example.com", true),
        // The outbox is full.
        ("6", "reset", "cid@example.com", false),
    ] {
        assert_eq!(outbox::insert(&mut tx, &mail(id, kind, to), BOUNDS, at(0)).await.unwrap(), stored, "{id}");
    }
    assert_eq!(outbox::waiting(&mut tx).await.unwrap(), 4);
    assert_eq!(outbox::withdraw(&mut tx, "reset", &Email::try_from("Ann@example.com").unwrap()).await.unwrap(), 2);
    // What was before does not count.
    let later = Bounds { since: at(10), ..BOUNDS };
    assert!(outbox::insert(&mut tx, &mail("7", "reset", "bob@example.com"), later, at(20)).await.unwrap());
    assert!(outbox::insert(&mut tx, &mail("8", "reset", "bob@example.com"), later, at(20)).await.unwrap());
});

on_both!(a_mail_is_claimed_tried_and_done_with, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    for id in ["1", "2", "3"] {
        let to = format!("a{id}@example.com");
        assert!(outbox::insert(&mut tx, &mail(id, "reset", &to), BOUNDS, at(id.parse().unwrap())).await.unwrap());
    }
    assert_eq!(outbox::due(&mut tx, at(0)).await.unwrap(), 0);
    assert_eq!(outbox::due(&mut tx, at(9)).await.unwrap(), 1);
    let mut claimed = outbox::claim(&mut tx, at(60), 2, at(9)).await.unwrap();
    claimed.sort_by_key(|mail| mail.id);
    let ids: Vec<&str> = claimed.iter().map(|mail| mail.message_id.as_str()).collect();
    assert_eq!(ids, ["1", "2"]);
    assert_eq!((claimed[0].letter.as_str(), claimed[0].kind.as_str()), ("letter 1", "reset"));
    assert_eq!((claimed[0].attempts, claimed[0].created_at), (1, at(1)));
    // They are the claimer's until then.
    let others = outbox::claim(&mut tx, at(60), 9, at(9)).await.unwrap();
    assert_eq!(others.len(), 1);
    assert!(outbox::claim(&mut tx, at(99), 9, at(59)).await.unwrap().is_empty());

    assert!(outbox::is_held(&mut tx, &claimed[0]).await.unwrap());
    assert!(outbox::finish(&mut tx, &claimed[0], Ending::Sent, None, at(10)).await.unwrap());
    assert!(!outbox::is_held(&mut tx, &claimed[0]).await.unwrap());
    assert!(!outbox::finish(&mut tx, &claimed[0], Ending::Sent, None, at(10)).await.unwrap());
    assert!(outbox::postpone(&mut tx, &claimed[1], "no\0t now", at(20)).await.unwrap());
    let again = outbox::claim(&mut tx, at(99), 9, at(20)).await.unwrap();
    assert_eq!((again.len(), again[0].attempts), (1, 2));
    // What came too late changes nothing.
    assert!(!outbox::finish(&mut tx, &claimed[1], Ending::Failed, None, at(21)).await.unwrap());
    assert!(!outbox::postpone(&mut tx, &claimed[1], "late", at(21)).await.unwrap());
    assert!(outbox::finish(&mut tx, &again[0], Ending::Failed, Some("refused"), at(21)).await.unwrap());

    let ends: Vec<(Option<String>, Option<String>, Option<String>)> =
        tx.query("SELECT letter, result, last_error FROM outbox ORDER BY id").fetch_all().await.unwrap();
    let end = |result: &str, error: Option<&str>| (None, Some(result.to_owned()), error.map(str::to_owned));
    assert_eq!(ends[..2], [end("sent", None), end("failed", Some("refused"))]);
    assert_eq!(outbox::purge(&mut tx, at(9), 9).await.unwrap(), 0);
    assert_eq!(outbox::purge(&mut tx, at(99), 1).await.unwrap(), 1);
    assert_eq!(outbox::purge(&mut tx, at(99), 9).await.unwrap(), 1);
    assert_eq!(outbox::waiting(&mut tx).await.unwrap(), 1);
});

on_both!(two_nodes_do_not_claim_the_same_mail, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let bounds = Bounds { waiting: 1_000, ..BOUNDS };
    for number in 0..100 {
        let new = mail(&number.to_string(), "reset", &format!("a{number}@example.com"));
        assert!(outbox::insert(&mut tx, &new, bounds, at(0)).await.unwrap());
    }
    tx.commit().await.unwrap();
    let mut nodes = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let db = db.clone();
        nodes.spawn(async move {
            let mut mine = Vec::new();
            for _ in 0..30 {
                let mut tx = db.write().await.unwrap();
                mine.extend(outbox::claim(&mut tx, at(60), 7, at(1)).await.unwrap().into_iter().map(|mail| mail.id));
                tx.commit().await.unwrap();
            }
            mine
        });
    }
    let mut all: Vec<i64> = nodes.join_all().await.concat();
    all.sort_unstable();
    assert_eq!(all.len(), 100);
    all.dedup();
    assert_eq!(all.len(), 100);
});

async fn token(tx: &mut Tx, hash: &str, user_id: UserId, outbox_id: i64) -> bool {
    let email = Email::try_from("Ann@example.com").unwrap();
    let new =
        NewToken { hash: hash.to_owned(), purpose: Purpose::Reset, user_id, email, outbox_id, expires_at: at(60) };
    mail_tokens::replace(tx, &new).await.unwrap()
}

on_both!(a_token_is_good_once_for_one_thing_and_the_latest, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let ann = user(&mut tx, "ann", &[]).await;
    assert!(token(&mut tx, "one", ann, 1).await);
    // The same mail in another attempt, a later one, and one that was overtaken.
    assert!(token(&mut tx, "one", ann, 1).await);
    assert!(token(&mut tx, "three", ann, 3).await);
    assert!(!token(&mut tx, "two", ann, 2).await);
    for (hash, purpose, now, owner) in [
        ("one", Purpose::Reset, 0, None),
        ("two", Purpose::Reset, 0, None),
        ("three", Purpose::Verification, 0, None),
        ("three\0", Purpose::Reset, 0, None),
        ("three", Purpose::Reset, 60, None),
        ("three", Purpose::Reset, 59, Some(ann)),
    ] {
        assert_eq!(mail_tokens::owner(&mut tx, hash, purpose, at(now)).await.unwrap(), owner, "{hash} {now}");
    }
    assert!(!mail_tokens::take(&mut tx, "three", Purpose::Verification).await.unwrap());
    assert!(mail_tokens::take(&mut tx, "three", Purpose::Reset).await.unwrap());
    assert!(!mail_tokens::take(&mut tx, "three", Purpose::Reset).await.unwrap());

    assert!(token(&mut tx, "four", ann, 4).await);
    users::set_active(&mut tx, &[ann], false, at(1)).await.unwrap();
    assert_eq!(mail_tokens::owner(&mut tx, "four", Purpose::Reset, at(1)).await.unwrap(), None);
    users::set_active(&mut tx, &[ann], true, at(1)).await.unwrap();
    let patch = cedargate::model::UserPatch {
        email: Some(Email::try_from("other@example.com").unwrap()),
        ..cedargate::model::UserPatch::default()
    };
    users::update(&mut tx, ann, &patch, at(1)).await.unwrap();
    assert_eq!(mail_tokens::owner(&mut tx, "four", Purpose::Reset, at(1)).await.unwrap(), None);
    assert_eq!(mail_tokens::void(&mut tx, ann).await.unwrap(), 1);
    assert!(token(&mut tx, "five", ann, 5).await);
    assert_eq!(mail_tokens::purge(&mut tx, at(59), 9).await.unwrap(), 0);
    assert_eq!(mail_tokens::purge(&mut tx, at(60), 9).await.unwrap(), 1);
});

on_both!(addresses_are_verified_and_passwords_demanded, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let ann = users::insert(&mut tx, &new_user("ann", &[]), at(0)).await.unwrap();
    assert!(users::verify_email(&mut tx, ann).await.unwrap());
    assert!(!users::verify_email(&mut tx, ann).await.unwrap());
    assert!(users::demand_new_password(&mut tx, ann, true).await.unwrap());
    assert!(!users::demand_new_password(&mut tx, UserId(99), true).await.unwrap());
    let known = users::credentials_of(&mut tx, ann).await.unwrap().unwrap();
    assert!(known.email_verified && known.must_change_password);
    assert_eq!(known.email.as_str(), "ann@example.com");
    assert!(users::get(&mut tx, ann, at(0)).await.unwrap().unwrap().must_change_password);
    users::set_password(&mut tx, ann, &known.password_hash, at(1)).await.unwrap();
    assert!(!users::credentials(&mut tx, "ann").await.unwrap().unwrap().must_change_password);
    let patch = |email: Option<&str>, must_change_password| cedargate::model::UserPatch {
        email: email.map(|email| Email::try_from(email).unwrap()),
        must_change_password,
        ..cedargate::model::UserPatch::default()
    };
    for (patch, expected) in [
        (patch(Some("ANN@example.com"), Some(true)), (true, true)),
        (patch(None, None), (true, true)),
        (patch(Some("bob@example.com"), Some(false)), (false, false)),
    ] {
        users::update(&mut tx, ann, &patch, at(2)).await.unwrap();
        let known = users::credentials_of(&mut tx, ann).await.unwrap().unwrap();
        assert_eq!((known.email_verified, known.must_change_password), expected);
    }
});
