//! Bodies that are arrays, and bounds of arrays.

use serde_json::json;

use super::field::{Field, NULL};
use super::issue::Flaw;
use super::{Input, Read};

impl Input {
    /// The body, which must be an array.
    pub(crate) fn list<T: Read>(&mut self) -> Field<'_, Vec<T>> {
        let found = Some(&self.value).filter(|value| !value.is_null());
        Field::new(&mut self.issues, vec!["body".into()], &NULL, found, Vec::read)
    }
}

impl<T> Field<'_, Vec<T>> {
    /// Refuses more than `max` items.
    pub(crate) fn max_items(self, max: usize) -> Self {
        self.check(|items| match items.len() {
            count if count > max => {
                let msg = format!("List should have at most {max} items after validation, not {count}");
                let ctx = json!({ "field_type": "List", "max_length": max, "actual_length": count });
                Err(Flaw::with("too_long", msg, ctx))
            }
            _ => Ok(()),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::admin::error::Error;
    use crate::admin::input::Body;

    fn read(body: Body) -> Result<Vec<i64>, String> {
        let mut input = Input::new(Vec::new(), "", body);
        let list = input.list::<i64>().max_items(2).required();
        match input.finish(|| list) {
            Ok(list) => Ok(list),
            Err(Error::Validation(issues)) => Err(serde_json::to_string(&issues).unwrap()),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_array_is_read_item_by_item() {
        assert_eq!(read(Body::Json(json!([1, "2"]))), Ok(vec![1, 2]));
        assert_eq!(read(Body::Json(json!([]))), Ok(vec![]));
        for (body, refused) in [
            (Body::Empty, r#""missing","loc":["body"]"#),
            (Body::Json(Value::Null), r#""missing","loc":["body"]"#),
            (Body::Json(json!({})), r#""list_type","loc":["body"]"#),
            (Body::Other, r#""list_type","loc":["body"]"#),
            (Body::Json(json!([1, "x"])), r#""int_parsing","loc":["body",1]"#),
            (Body::Json(json!([1, 2, 3])), r#""too_long","loc":["body"]"#),
        ] {
            let answer = read(body.clone()).unwrap_err();
            assert!(answer.contains(refused), "{body:?}: {answer}");
        }
    }
}
