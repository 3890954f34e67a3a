//! Trees as JSON, however deep.
//!
//! ## Why
//! Serde writes a value within a value by calling itself, and Rust drops it in the same way. How deep routes lie below
//! each other is up to whoever may create routes, so both could exhaust the stack (as in CVE-2023-43645). Here the nodes
//! lie side by side, and the walk keeps its own stack.

use axum::http::header;
use axum::response::{IntoResponse, Response};
use schemars::json_schema;
use serde::Serialize;

use super::error::Error;
use super::reply::{Answer, JSON, Reply};

/// Objects, some of which hold others in a list that is their last field.
#[derive(Debug, Default)]
pub(super) struct Forest {
    nodes: Vec<Node>,
    roots: Vec<usize>,
}

/// A node's place in its [`Forest`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Place(usize);

#[derive(Debug)]
struct Node {
    /// Up to where the list of the nodes below begins.
    text: String,
    below: Vec<usize>,
}

impl Forest {
    /// Adds an object with at least one field, whose list has this name. It is not shown before it has its place.
    pub(super) fn add(&mut self, object: &impl Serialize, list: &'static str) -> Result<Place, Error> {
        let mut text = serde_json::to_string(object).map_err(Error::internal)?;
        // The brace that ends the object, which goes on.
        text.pop();
        text.push_str(",\"");
        text.push_str(list);
        text.push_str("\":[");
        self.nodes.push(Node { text, below: Vec::new() });
        Ok(Place(self.nodes.len() - 1))
    }

    /// Puts a node, once, after those that are at the top or below `parent` already.
    pub(super) fn put(&mut self, node: Place, parent: Option<Place>) {
        match parent {
            Some(Place(parent)) => self.nodes[parent].below.push(node.0),
            None => self.roots.push(node.0),
        }
    }

    fn text(&self) -> String {
        let mut text = String::from("[");
        let mut levels = vec![self.roots.iter()];
        while let Some(level) = levels.last_mut() {
            if let Some(index) = level.next() {
                let node = &self.nodes[*index];
                if !text.ends_with('[') {
                    text.push(',');
                }
                text.push_str(&node.text);
                levels.push(node.below.iter());
            } else {
                levels.pop();
                text.push_str(if levels.is_empty() { "]" } else { "]}" });
            }
        }
        text
    }
}

impl Reply for Forest {
    const ANSWER: Answer = Answer {
        media: JSON,
        body: |_| {
            let node = "What lies below it stands in its last field, a list.";
            json_schema!({ "type": "array", "items": { "type": "object", "description": node } })
        },
        headers: &[],
    };
}

impl IntoResponse for Forest {
    fn into_response(self) -> Response {
        ([(header::CONTENT_TYPE, "application/json")], self.text()).into_response()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nodes_stand_below_their_parents() {
        let mut forest = Forest::default();
        assert_eq!(forest.text(), "[]");
        let add = |forest: &mut Forest, name: &str| forest.add(&json!({ "name": name, "x": {} }), "below").unwrap();
        let [a, b, c, d, _lost] = ["a", "b[", "c", "d", "lost"].map(|name| add(&mut forest, name));
        forest.put(a, None);
        forest.put(c, Some(a));
        forest.put(b, Some(a));
        forest.put(d, None);
        let node = |name: &str, below: serde_json::Value| json!({ "name": name, "x": {}, "below": below });
        let expected = json!([node("a", json!([node("c", json!([])), node("b[", json!([]))])), node("d", json!([]))]);
        assert_eq!(forest.text(), expected.to_string());
    }

    #[test]
    fn depth_is_no_matter() {
        let mut forest = Forest::default();
        let mut above = None;
        for number in 0..200_000 {
            let node = forest.add(&json!({ "id": number }), "below").unwrap();
            forest.put(node, above);
            above = Some(node);
        }
        let text = forest.text();
        assert!(text.starts_with(r#"[{"id":0,"below":[{"id":1,"below":["#) && text.ends_with("]}]}]"));
    }
}
