use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::model::{
    Email, Label, ModuleId, Operation, PermissionId, RoleId, RouteId, Secret, Target, UserId, Username,
};

/// The entries of the 422, one a line.
fn issues<T: std::fmt::Debug>(outcome: Result<T, Error>) -> String {
    match outcome {
        Err(Error::Validation(issues)) => {
            issues.iter().map(|issue| serde_json::to_string(issue).unwrap()).collect::<Vec<_>>().join("\n")
        }
        other => panic!("{other:?}"),
    }
}

fn input(body: Value) -> Input {
    Input::new(Vec::new(), "", Body::Json(body))
}

/// Reads the whole body as one value.
fn whole<T: Read>(input: &mut Input) -> Valid<T> {
    if input.refuse_missing() { None } else { T::read(input.place()) }
}

/// Reads one field in one way.
fn read<T>(body: Value, read: impl FnOnce(&mut Object<'_>) -> Valid<T>) -> Result<T, Error> {
    let mut input = input(body);
    let value = read(&mut input.body());
    input.finish(|| value)
}

#[derive(Debug)]
struct UserCreate {
    username: Username,
    password: Secret<String>,
    role_ids: Option<Vec<RoleId>>,
    is_active: Option<bool>,
}

impl Read for UserCreate {
    fn read(place: Place<'_>) -> Valid<Self> {
        let mut body = place.object();
        let username = body.required("username");
        let _email: Valid<Email> = body.required("email");
        let password = body.field::<Secret<String>>("password").min_length(6).required();
        let role_ids = body.optional("role_ids");
        let is_active = body.optional("is_active");
        Some(Self { username: username?, password: password?, role_ids: role_ids?, is_active: is_active? })
    }
}

fn create(body: Body) -> Result<UserCreate, Error> {
    let mut input = Input::new(Vec::new(), "", body);
    let user = whole(&mut input);
    input.finish(|| user)
}

#[test]
fn a_valid_body_is_read() {
    let body = json!({
        "username": "Ann1", "email": "ann@example.com", "password": "abcdef",
        "role_ids": ["1", 2.0, true], "is_active": "off", "unknown": 1
    });
    let user = create(Body::Json(body)).unwrap();
    assert_eq!(user.username.as_str(), "ann1");
    assert_eq!(user.password.expose(), "abcdef");
    assert_eq!(user.role_ids, Some(vec![RoleId(1), RoleId(2), RoleId(1)]));
    assert_eq!(user.is_active, Some(false));
}

#[test]
fn each_flaw_has_its_entry() {
    let body = json!({"username": "a b c", "email": "a@b", "password": "abc", "role_ids": [1, "x"], "is_active": "?"});
    insta::assert_snapshot!(issues(create(Body::Json(body))), @r#"
    {"type":"assertion_error","loc":["body","username"],"msg":"Assertion failed, Username must be alphanumeric","input":"a b c","ctx":{"error":{}}}
    {"type":"value_error","loc":["body","email"],"msg":"value is not a valid email address: The part after the @-sign is not valid. It should have a period.","input":"a@b","ctx":{"reason":"The part after the @-sign is not valid. It should have a period."}}
    {"type":"string_too_short","loc":["body","password"],"msg":"String should have at least 6 characters","input":"***","ctx":{"min_length":6}}
    {"type":"int_parsing","loc":["body","role_ids",1],"msg":"Input should be a valid integer, unable to parse string as an integer","input":"x"}
    {"type":"bool_parsing","loc":["body","is_active"],"msg":"Input should be a valid boolean, unable to interpret input","input":"?"}
    "#);
}

#[test]
fn missing_fields_show_the_body_without_secrets() {
    insta::assert_snapshot!(issues(create(Body::Json(json!({"password": "abcdef", "username": "ann"})))), @r#"{"type":"missing","loc":["body","email"],"msg":"Field required","input":{"password":"***","username":"ann"}}"#);
}

#[test]
fn bodies_that_are_no_object() {
    let missing = r#"{"type":"missing","loc":["body"],"msg":"Field required","input":null}"#;
    assert_eq!(issues(create(Body::Empty)), missing);
    assert_eq!(issues(create(Body::Json(Value::Null))), missing);
    insta::assert_snapshot!(issues(create(Body::Json(json!([1])))), @r#"{"type":"model_attributes_type","loc":["body"],"msg":"Input should be a valid dictionary or object to extract fields from","input":[1]}"#);
    let other = r#"{"type":"model_attributes_type","loc":["body"],"msg":"Input should be a valid dictionary or object to extract fields from","input":"***"}"#;
    assert_eq!(issues(create(Body::Other)), other);
    assert_eq!(issues(create(Body::Form(b"password=abcdef".to_vec()))), other);
    assert_eq!(issues(create(Body::Json(json!("abcdef")))), other);
}

#[test]
fn a_list_is_read_as_a_body() {
    let read = |body: Body| {
        let mut input = Input::new(Vec::new(), "", body);
        let list = input.list::<PermissionId>().max_items(3).required();
        input.finish(|| list)
    };
    assert_eq!(read(Body::Json(json!([1, "2", 3.0]))).unwrap(), [PermissionId(1), PermissionId(2), PermissionId(3)]);
    assert_eq!(read(Body::Json(json!([]))).unwrap(), []);
    let missing = r#"{"type":"missing","loc":["body"],"msg":"Field required","input":null}"#;
    assert_eq!(issues(read(Body::Empty)), missing);
    assert_eq!(issues(read(Body::Json(Value::Null))), missing);
    insta::assert_snapshot!(issues(read(Body::Json(json!({"a": 1})))), @r#"{"type":"list_type","loc":["body"],"msg":"Input should be a valid list","input":{"a":1}}"#);
    insta::assert_snapshot!(issues(read(Body::Other)), @r#"{"type":"list_type","loc":["body"],"msg":"Input should be a valid list","input":"***"}"#);
    insta::assert_snapshot!(issues(read(Body::Json(json!([1, "x", null])))), @r#"
    {"type":"int_parsing","loc":["body",1],"msg":"Input should be a valid integer, unable to parse string as an integer","input":"x"}
    {"type":"int_type","loc":["body",2],"msg":"Input should be a valid integer","input":null}
    "#);
    insta::assert_snapshot!(issues(read(Body::Json(json!([1, 2, 3, 4])))), @r#"{"type":"too_long","loc":["body"],"msg":"List should have at most 3 items after validation, not 4","input":[1,2,3,4],"ctx":{"field_type":"List","max_length":3,"actual_length":4}}"#);
}

#[test]
fn a_body_may_be_optional() {
    let read = |body: Body| {
        let mut input = Input::new(Vec::new(), "", body);
        let name = input.optional_body().optional::<String>("name");
        input.finish(|| name)
    };
    assert_eq!(read(Body::Empty).unwrap(), None);
    assert_eq!(read(Body::Json(Value::Null)).unwrap(), None);
    assert_eq!(read(Body::Json(json!({"name": "x"}))).unwrap(), Some("x".to_owned()));
    insta::assert_snapshot!(issues(read(Body::Json(json!([1])))), @r#"{"type":"model_attributes_type","loc":["body"],"msg":"Input should be a valid dictionary or object to extract fields from","input":[1]}"#);
    insta::assert_snapshot!(issues(read(Body::Other)), @r#"{"type":"model_attributes_type","loc":["body"],"msg":"Input should be a valid dictionary or object to extract fields from","input":"***"}"#);
    let mut input = Input::new(Vec::new(), "", Body::Empty);
    let name: Valid<String> = input.optional_body().required("name");
    insta::assert_snapshot!(issues(input.finish(|| name)), @r#"{"type":"missing","loc":["body","name"],"msg":"Field required","input":{}}"#);
}

#[test]
fn path_comes_before_query_before_body() {
    let path = vec![("user_id".to_owned(), "x".to_owned()), ("name".to_owned(), "a\0".to_owned())];
    let mut input = Input::new(path, "skip=-1&skip=+1&flag=maybe", Body::Json(json!({"username": null})));
    let _username: Valid<Username> = input.body().required("username");
    let _flag: Valid<bool> = input.query("flag").or(true);
    let _skip: Valid<i64> = input.query("skip").required();
    let _needed: Valid<String> = input.query("role_name").required();
    let _id: Valid<UserId> = input.path("user_id");
    let _name: Valid<String> = input.path("name");
    insta::assert_snapshot!(issues(input.finish(|| Some(()))), @r#"
    {"type":"int_parsing","loc":["path","user_id"],"msg":"Input should be a valid integer, unable to parse string as an integer","input":"x"}
    {"type":"value_error","loc":["path","name"],"msg":"Value error, Null bytes are not allowed","input":"a\u0000","ctx":{"error":{}}}
    {"type":"bool_parsing","loc":["query","flag"],"msg":"Input should be a valid boolean, unable to interpret input","input":"maybe"}
    {"type":"int_parsing","loc":["query","skip"],"msg":"Input should be a valid integer, unable to parse string as an integer","input":" 1"}
    {"type":"missing","loc":["query","role_name"],"msg":"Field required","input":null}
    {"type":"string_type","loc":["body","username"],"msg":"Input should be a valid string","input":null}
    "#);
}

#[test]
fn absent_null_and_value_are_told_apart() {
    for (body, nullable) in
        [(json!({}), None), (json!({"parent_id": null}), Some(None)), (json!({"parent_id": 4}), Some(Some(RouteId(4))))]
    {
        assert_eq!(read(body, |body| body.nullable("parent_id")).unwrap(), nullable);
    }
    for (body, optional) in [(json!({}), None), (json!({"x": null}), None), (json!({"x": 4}), Some(4))] {
        assert_eq!(read(body, |body| body.optional::<i64>("x")).unwrap(), optional);
    }
    let label = |body| read(body, |body| body.unless_absent::<Label>("label"));
    assert_eq!(label(json!({})).unwrap(), None);
    assert_eq!(label(json!({"label": " a "})).unwrap().unwrap().as_str(), "a");
    insta::assert_snapshot!(issues(label(json!({"label": null}))), @r#"{"type":"string_type","loc":["body","label"],"msg":"Input should be a valid string","input":null}"#);
    assert_eq!(read(json!({}), |body| body.field("priority").or(3)).unwrap(), 3);
    insta::assert_snapshot!(issues(read(json!({"priority": null}), |body| body.field::<i64>("priority").or(3))), @r#"{"type":"int_type","loc":["body","priority"],"msg":"Input should be a valid integer","input":null}"#);
}

#[test]
fn constraints() {
    let body = json!({"module_id": 0, "priority": -1, "limit": 1001, "role_ids": [1, -2], "route": "", "list": 1, "parent_id": 0});
    let mut input = input(body);
    let mut body = input.body();
    let _ = body.field::<ModuleId>("module_id").greater_than(0).required();
    let _ = body.field::<i64>("priority").at_least(0).or(0);
    let _ = body.field::<i64>("limit").at_most(1000).or(0);
    let positive = |ids: &Vec<RoleId>| ids.iter().all(|id| id.0 > 0);
    let _ = body.field("role_ids").must(positive, "All role IDs must be positive integers").optional();
    let _ = body.field::<String>("route").min_length(1).max_length(255).unless_absent();
    let _ = body.field::<Vec<i64>>("list").required();
    let text = "parent_id must be a positive integer or null";
    let _ = body.field("parent_id").must(|id: &RouteId| id.0 > 0, text).nullable();
    insta::assert_snapshot!(issues(input.finish(|| Some(()))), @r#"
    {"type":"greater_than","loc":["body","module_id"],"msg":"Input should be greater than 0","input":0,"ctx":{"gt":0}}
    {"type":"greater_than_equal","loc":["body","priority"],"msg":"Input should be greater than or equal to 0","input":-1,"ctx":{"ge":0}}
    {"type":"less_than_equal","loc":["body","limit"],"msg":"Input should be less than or equal to 1000","input":1001,"ctx":{"le":1000}}
    {"type":"value_error","loc":["body","role_ids"],"msg":"Value error, All role IDs must be positive integers","input":[1,-2],"ctx":{"error":{}}}
    {"type":"string_too_short","loc":["body","route"],"msg":"String should have at least 1 character","input":"","ctx":{"min_length":1}}
    {"type":"list_type","loc":["body","list"],"msg":"Input should be a valid list","input":1}
    {"type":"value_error","loc":["body","parent_id"],"msg":"Value error, parent_id must be a positive integer or null","input":0,"ctx":{"error":{}}}
    "#);
}

#[test]
fn structures_of_the_model() {
    let body = json!({
        "operations": [{"methods": ["GET"], "access": "public"}, {"methods": ["get"], "access": "public"}],
        "targets": [{"address": "a:1"}, {"address": "a:2", "weight": "x"}],
        "more": [{"address": "a\0"}],
        "extra": 1
    });
    let mut input = input(body);
    let mut object = input.body();
    let _ = object.json::<Vec<Operation>>("operations").required();
    let _ = object.json::<Vec<Target>>("targets").required();
    let _ = object.json::<Vec<Target>>("more").required();
    object.refuse_unknown();
    insta::assert_snapshot!(issues(input.finish(|| Some(()))), @r#"
    {"type":"value_error","loc":["body","operations",1,"methods"],"msg":"Value error, 'get' is not an HTTP method in upper case, or *","input":["get"],"ctx":{"error":{}}}
    {"type":"value_error","loc":["body","targets",1,"weight"],"msg":"Value error, invalid type: string \"x\", expected u32","input":"x","ctx":{"error":{}}}
    {"type":"value_error","loc":["body","more"],"msg":"Value error, Null bytes are not allowed","input":[{"address":"a\u0000"}],"ctx":{"error":{}}}
    {"type":"extra_forbidden","loc":["body","extra"],"msg":"Extra inputs are not permitted","input":1}
    "#);
}

#[test]
fn lists_and_nested_bodies() {
    let mut list = input(json!([3, "4"]));
    let ids = whole::<Vec<PermissionId>>(&mut list);
    assert_eq!(list.finish(|| ids).unwrap(), [PermissionId(3), PermissionId(4)]);

    let users = json!({"users": [{"username": "ann", "email": "a@example.com", "password": "abcdef"}, 5, {"password": "abcdef"}]});
    insta::assert_snapshot!(issues(read(users, |body| body.required::<Vec<UserCreate>>("users"))), @r#"
    {"type":"model_attributes_type","loc":["body","users",1],"msg":"Input should be a valid dictionary or object to extract fields from","input":5}
    {"type":"missing","loc":["body","users",2,"username"],"msg":"Field required","input":{"password":"***"}}
    {"type":"missing","loc":["body","users",2,"email"],"msg":"Field required","input":{"password":"***"}}
    "#);
}

#[test]
fn a_form() {
    let mut form = Input::new(Vec::new(), "", Body::Form(b"grant_type=password&username=a%40x&password=p+w".to_vec()));
    let mut body = form.body_or_form();
    let (name, password) = (body.required::<String>("username"), body.required::<Secret<String>>("password"));
    let (name, password) = form.finish(|| Some((name?, password?))).unwrap();
    assert_eq!((name.as_str(), password.expose().as_str()), ("a@x", "p w"));
}

#[tokio::test]
async fn a_request_is_taken_apart() {
    use axum::routing::delete;
    use tower::ServiceExt;

    async fn echo(mut input: Input) -> Result<String, Error> {
        let name = input.path::<String>("name");
        let flag = input.query::<bool>("flag").or(false);
        input.finish(|| Some(format!("{} {}", name?, flag?)))
    }
    let app = axum::Router::new().route("/x/{name}", delete(echo).put(echo));
    let ask = |method: &str, body: &'static str| {
        let request = Request::builder()
            .method(method)
            .uri("/x/a%20b?flag=no&flag=YES")
            .body(axum::body::Body::from(body))
            .unwrap();
        app.clone().oneshot(request)
    };
    let response = ask("DELETE", "{").await.unwrap();
    let bytes = axum::body::to_bytes(response.into_body(), 100).await.unwrap();
    assert_eq!(&bytes[..], b"a b true");
    assert_eq!(ask("PUT", "{").await.unwrap().status(), 422);
    assert_eq!(ask("PUT", "").await.unwrap().status(), 200);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z@.]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("[a-z]{1,8}", inner, 0..4).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

const SECRET: &str = "Zq9-Zq9-Zq9";

proptest! {
    #[test]
    fn no_secret_is_shown(
        key in "(password|current_password|new_password|old_password|refresh_token|Password)",
        wrapped in 0..3,
        nested: bool,
        username in any_json(),
        role_ids in any_json(),
    ) {
        let secret = match wrapped {
            0 => json!(SECRET),
            1 => json!([SECRET]),
            _ => json!({ "value": SECRET }),
        };
        let object = json!({ key: secret, "username": username, "role_ids": role_ids });
        let body = if nested { json!({ "users": [object], "username": {"deep": object} }) } else { object };
        for outcome in [
            create(Body::Json(body.clone())).map(|_| ()),
            create(Body::Json(json!([body.clone()]))).map(|_| ()),
            create(Body::Json(json!(body.to_string()))).map(|_| ()),
            read(body.clone(), |body| body.required::<Vec<UserCreate>>("users")).map(|_| ()),
            read(body, |body| { let _ = body.required::<i64>("username"); body.refuse_unknown(); Some(()) }),
        ] {
            if let Err(Error::Validation(issues)) = outcome {
                prop_assert!(!serde_json::to_string(&issues).unwrap().contains(SECRET));
            }
        }
    }

    #[test]
    fn any_body_is_read_or_refused(body in any_json(), query in "\\PC{0,30}") {
        let mut input = Input::new(Vec::new(), &query, Body::Json(body));
        let user = whole::<UserCreate>(&mut input);
        let skip = input.query::<i64>("skip").or(0);
        prop_assert!(!matches!(input.finish(|| Some((user?, skip?))), Err(Error::Internal(_))));
    }
}
