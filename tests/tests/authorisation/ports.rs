//! Who answers what on which port: operators' calls are not for clients, and clients' calls are not for operators.

use tests::http;

use super::callers::{Rule, Who};
use super::judge::{Judge, Verdict};
use super::world::World;

/// A path of the router without its names.
fn filled(route: &str) -> String {
    route
        .replace("{group}", "az-crew")
        .replace("{user}", "az-temp")
        .replace("{push}", "0123456789abcdef")
        .replace("{letter}", "0123456789abcdef-1")
        .replace("{name}", "az-crew")
        .replace("{node}", "1")
        .replace("{group_id}", "1")
        .replace("{id}", "0123456789abcdef0123456789abcdef-1")
}

pub(crate) async fn judge(world: &World, judge: &Judge) {
    let [clients, desk, operators] = node::calls();
    judge_desk(world, judge, &desk).await;
    // The operations port asks nobody who they are: it is on loopback, and the file says so.
    for (method, path) in &operators {
        let body = if *path == "/fault" { "{\"cut\":[]}" } else { "" };
        let address = world.cluster.operations_address(1);
        let (status, _) =
            http::plain(address, method, &filled(path), None, body).await.expect("an answer");
        // A letter that is not there is not there for operators either.
        let none = status == 404 && path.contains("{letter}");
        // These nodes were not started with a file, and say so.
        let none = none || status == 409 && *path == "/reload";
        let found = if none { Verdict::Allowed } else { found(status) };
        judge.cell(
            &format!("{method} {path} (operations)"),
            "anybody there",
            &Verdict::Allowed,
            &found,
        );
    }
    for (method, route) in &clients {
        for who in [Who::Owner, Who::Nobody] {
            let token = world.tokens.get(&who).map(String::as_str);
            let address = world.cluster.operations_address(1);
            let (status, _) =
                http::plain(address, method, &filled(route), token, "{}").await.expect("an answer");
            let call = format!("{method} {route} at the operations port");
            judge.cell(&call, who, &Verdict::refused("404"), &found(status));
        }
    }
    for (method, path) in operators {
        for who in Who::ALL {
            let (status, answer) = world.ask(who, 1, method, &filled(path), None).await;
            let found = match status / 100 {
                2 => Verdict::Allowed,
                _ => Verdict::refused(answer["code"].as_str().unwrap_or("no code")),
            };
            let call = format!("{method} {path} at the clients' port");
            judge.cell(&call, who, &Rule::Never("not_found").verdict(who), &found);
        }
    }
}

/// The operators' interface at the clients' port: no token of a user opens it, whoever that user is.
async fn judge_desk(world: &World, judge: &Judge, calls: &[(&'static str, &'static str)]) {
    for (method, path) in calls {
        // These two ask for a secret in the body, and an empty body shows none.
        let open = ["/v1/cluster/join", "/v1/cluster/claim"].contains(path);
        let refusal = if open { "invalid_request" } else { "unauthenticated" };
        for who in Who::ALL {
            let body = serde_json::json!({});
            let (status, answer) = world.ask(who, 1, method, &filled(path), Some(&body)).await;
            let found = match status / 100 {
                2 => Verdict::Allowed,
                _ => Verdict::refused(answer["code"].as_str().unwrap_or("no code")),
            };
            judge.cell(
                &format!("{method} {path}"),
                who,
                &Rule::Never(refusal).verdict(who),
                &found,
            );
        }
    }
}

fn found(status: u16) -> Verdict {
    match status {
        // Not ready is an answer, too.
        200..=299 | 503 => Verdict::Allowed,
        other => Verdict::refused(other.to_string()),
    }
}
