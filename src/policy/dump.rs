//! Everything that rules were compiled to, as text: equal for equal rules, whatever way they came about.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use super::{
    compile::Compiled,
    index::Symbol,
    operation::{CompiledOperation, GatewayRoute, Opening},
};
use crate::model::PermissionName;

/// Writes out `compiled`, sorted; numbers that are given in the order of arrival are put into words.
pub fn dump(compiled: &Compiled) -> String {
    let mut lines: Vec<String> = Vec::new();
    roles(compiled, &mut lines);
    compiled.permissions.all().for_each(|(id, known)| lines.push(format!("permission {id} {known}")));
    compiled.routing.dump(&mut lines, |route, in_table| describe(compiled, route, in_table));
    compiled.upstreams.all().for_each(|upstream| lines.push(format!("upstream {upstream:?}")));
    compiled.upstreams.all_active().for_each(|upstream| lines.push(format!("active upstream {}", upstream.name)));
    let checked = &compiled.checked;
    lines.extend(checked.policies().map(|policy| format!("policy {} {}", policy.id(), policy.text.source)));
    lines.extend(checked.verbs.iter().map(|verb| format!("verb {verb}")));
    lines.sort();
    lines.join("\n")
}

fn roles(compiled: &Compiled, lines: &mut Vec<String>) {
    for (id, role) in compiled.roles.all() {
        let mut closure = role.closure.to_vec();
        closure.sort();
        let names = (&role.name, role.uid.to_string(), compiled.roles.id_of(&role.name));
        lines.push(format!("role {id} {names:?} {} {:?} {closure:?}", role.is_active, role.parents));
        lines.push(format!("granted {id} {:?}", role.grants.all));
        for grant in role.grants.live().all() {
            let known = compiled.permissions.get(grant.permission);
            let parts = known.and_then(|known| known.name.parts());
            let found = parts.and_then(|parts| compiled.permissions.target(parts)) == Some(grant.target);
            lines.push(format!("grant {id} {:?} {} {found}", grant.permission, grant.own));
        }
    }
    compiled.roles.inheritance().for_each(|(parent, children)| lines.push(format!("heirs {parent} {children:?}")));
}

fn describe(compiled: &Compiled, route: &Arc<GatewayRoute>, in_table: bool) -> String {
    let mut text = format!("in table {in_table}, {:?} to {} {:?}", route.host, route.upstream, route.strip_prefix);
    let GatewayRoute { forward_authorization, rate_limit, max_body_bytes, headers, .. } = &**route;
    let _infallible = write!(text, ", {forward_authorization} {rate_limit:?} {max_body_bytes:?} {headers:?}");
    let operations: BTreeMap<_, _> = route.operations().map(|operation| (&operation.method, operation)).collect();
    for operation in operations.into_values() {
        let symbols = operation.action_symbol.iter().chain(&operation.resource_symbols);
        let _infallible = write!(
            text,
            "; {} {} {:?} {}",
            operation.label,
            operation.endpoint.uid(),
            in_words(compiled, symbols),
            opening(compiled, operation)
        );
    }
    text
}

fn in_words<'s>(compiled: &Compiled, symbols: impl Iterator<Item = &'s Symbol>) -> Vec<Option<String>> {
    let name =
        |symbol| compiled.checked.index.named().find(|(_, known)| *known == symbol).map(|(uid, _)| uid.to_string());
    symbols.map(|symbol| name(*symbol)).collect()
}

fn opening(compiled: &Compiled, operation: &CompiledOperation) -> String {
    let asked = || operation.permission().and_then(PermissionName::parts);
    match &operation.opening {
        Opening::Granted(target) => {
            format!("granted {}", asked().and_then(|parts| compiled.permissions.target(parts)) == Some(*target))
        }
        other => format!("{other:?}"),
    }
}
