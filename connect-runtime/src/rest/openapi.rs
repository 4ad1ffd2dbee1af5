//! `/openapi.json`: what this interface is, for people's tools and for programs that make clients.
//!
//! It is kept by hand, beside the routes; tests hold it against them both ways, and some answers
//! against its schemas.

use axum::http::header;
use axum::response::{IntoResponse, Response};

const DESCRIPTION: &str = include_str!("openapi.json");

/// `GET /openapi.json`
pub(super) async fn show() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], DESCRIPTION).into_response()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::DESCRIPTION;
    use crate::rest::routes;

    fn described() -> Value {
        serde_json::from_str(DESCRIPTION).unwrap()
    }

    #[test]
    fn every_route_is_described_and_nothing_else_is() {
        let description = described();
        let described: BTreeSet<String> = description["paths"]
            .as_object()
            .unwrap()
            .iter()
            .flat_map(|(path, item)| {
                let methods = item.as_object().unwrap().keys();
                let methods = methods.filter(|method| *method != "parameters");
                methods.map(move |method| format!("{} {path}", method.to_uppercase()))
            })
            .collect();
        let routes: BTreeSet<String> = routes::table()
            .iter()
            .map(|route| format!("{} {}", route.method, route.path))
            .collect();
        assert_eq!(described, routes);
    }

    #[test]
    fn every_part_of_a_path_is_a_described_parameter() {
        let description = described();
        for (path, item) in description["paths"].as_object().unwrap() {
            let parameters = item["parameters"].as_array().cloned().unwrap_or_default();
            let declared: BTreeSet<&str> = parameters
                .iter()
                .map(|parameter| parameter["$ref"].as_str().unwrap())
                .map(|reference| reference.rsplit('/').next().unwrap())
                .collect();
            let parts = path.split('/').filter_map(|part| {
                let part = part.strip_prefix('{')?;
                part.strip_suffix('}')
            });
            assert_eq!(declared, parts.collect(), "{path}");
        }
    }

    #[test]
    fn every_reference_leads_somewhere_and_every_operation_has_a_name() {
        let description = described();
        let mut names = BTreeSet::new();
        let mut left = vec![&description];
        while let Some(value) = left.pop() {
            match value {
                Value::Object(fields) => {
                    if let Some(reference) = fields.get("$ref") {
                        let pointer = reference.as_str().unwrap().strip_prefix('#').unwrap();
                        assert!(description.pointer(pointer).is_some(), "{reference}");
                    }
                    if let Some(name) = fields.get("operationId") {
                        assert!(names.insert(name.to_string()), "{name} twice");
                        assert!(fields["responses"].is_object(), "{name}");
                    }
                    left.extend(fields.values());
                }
                Value::Array(items) => left.extend(items),
                _ => {}
            }
        }
        assert_eq!(names.len(), routes::table().len());
    }
}
