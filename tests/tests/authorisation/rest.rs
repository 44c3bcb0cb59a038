//! REST: the calls that the gateway registers, by everybody.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use proto::ProblemCode;
use serde_json::{Value, json};
use tests::{PASSWORD, Stranger, in_time};

use super::callers::{Rule, Who};
use super::judge::{Judge, Verdict};
use super::world::{DIRECT_SECRET, GROUP, GROUP_SECRET, LOOK_AGAIN, World};

/// A request of a caller.
struct Ask {
    path: String,
    body: Option<Value>,
}

/// How a caller makes a request.
type Asks = Box<dyn Fn(&Made, Who) -> Ask>;

/// A call in one of the ways to make it.
struct Row {
    method: &'static str,
    /// As the router has it.
    route: &'static str,
    what: &'static str,
    rule: Rule,
    ask: Asks,
}

/// What rows need beside the world.
struct Made {
    said: [String; 2],
    /// A message of the owner in the group that may be deleted. It says nothing, so that nobody misses it.
    doomed: String,
    /// One that was sent to the group, and one that was sent to nobody.
    assets: [String; 2],
    /// Sessions that may be spent.
    spare: BTreeMap<Who, Stranger>,
    /// Registrations of the owner's user.
    pushes: [String; 2],
}

fn row(
    method: &'static str,
    route: &'static str,
    what: &'static str,
    rule: Rule,
    ask: impl Fn(&Made, Who) -> Ask + 'static,
) -> Row {
    Row { method, route, what, rule, ask: Box::new(ask) }
}

fn get(path: impl Into<String>) -> Ask {
    Ask { path: path.into(), body: None }
}

fn with(path: impl Into<String>, body: Value) -> Ask {
    Ask { path: path.into(), body: Some(body) }
}

/// Everybody's first account is named after them.
fn new_name(who: Who) -> String {
    format!("az-new-{who:?}")
}

fn rows() -> Vec<Row> {
    let mut rows = accounts();
    rows.extend(changes());
    rows.extend(settings());
    // Who was removed is missed from there on.
    rows.extend(assets());
    rows.extend(pushes());
    // The last of these leave the group without one of its members.
    rows.extend(groups());
    rows.extend(history());
    rows.extend(messages());
    rows.extend(search());
    rows.push(row("GET", "/v1/conversations", "mine", Rule::Session, |_, _| {
        get("/v1/conversations")
    }));
    // The other members of the group and the other party are the owner's contacts.
    rows.push(row("GET", "/v1/presence/{user}", "of a contact", Rule::OwnersContacts, |_, _| {
        get("/v1/presence/az-owner")
    }));
    rows.push(row("GET", "/v1/users/{user}", "of another", Rule::Session, |_, _| {
        get("/v1/users/az-owner")
    }));
    for document in ["/openapi.json", "/asyncapi.json", "/docs"] {
        rows.push(row("GET", document, "by anybody", Rule::Public, move |_, _| get(document)));
    }
    rows
}

fn accounts() -> Vec<Row> {
    const USERS: &str = "/v1/users";
    const SESSIONS: &str = "/v1/sessions";
    const REFRESH: &str = "/v1/sessions/refresh";
    let login = |user: &str, password: &str| {
        with(SESSIONS, json!({ "userId": user, "password": password, "deviceName": "x" }))
    };
    vec![
        row("POST", USERS, "a new one", Rule::Public, |_, who| {
            with(USERS, json!({ "userId": new_name(who), "password": PASSWORD }))
        }),
        row("POST", USERS, "one that is taken", Rule::Never("name_taken"), |_, _| {
            with(USERS, json!({ "userId": "az-owner", "password": PASSWORD }))
        }),
        row("POST", SESSIONS, "with the password", Rule::Public, move |_, who| {
            login(&new_name(who), PASSWORD)
        }),
        row("POST", SESSIONS, "without it", Rule::Never("wrong_credentials"), move |_, _| {
            login("az-owner", "a guess")
        }),
        row("POST", SESSIONS, "of nobody", Rule::Never("wrong_credentials"), move |_, _| {
            login("az-nobody", PASSWORD)
        }),
        row("POST", REFRESH, "one's own", Rule::Public, |made, who| {
            with(REFRESH, json!({ "refreshToken": made.spare[&who].refresh }))
        }),
        row("POST", REFRESH, "a made-up one", Rule::Never("stale_refresh"), |made, _| {
            let real: Vec<&str> = made.spare[&Who::Owner].refresh.split('.').collect();
            let guess = format!("{}.{}.{}", real[0], real[1], "A".repeat(43));
            with(REFRESH, json!({ "refreshToken": guess }))
        }),
        row("GET", SESSIONS, "mine", Rule::Session, |_, _| get(SESSIONS)),
        row(
            "DELETE",
            "/v1/sessions/{device}",
            "nobody's",
            Rule::Nowhere("no_such_device"),
            |_, _| get("/v1/sessions/00000000deadbeef"),
        ),
        row(
            "DELETE",
            "/v1/sessions/{device}",
            "another user's",
            Rule::Nowhere("no_such_device"),
            |made, _| get(format!("/v1/sessions/{}", made.spare[&Who::Nobody].device)),
        ),
        row(
            "PUT",
            "/v1/users/me/password",
            "by a guess",
            Rule::Nowhere("wrong_credentials"),
            |_, _| {
                let body = json!({ "oldPassword": "a guess", "newPassword": "another" });
                with("/v1/users/me/password", body)
            },
        ),
        row("PUT", "/v1/users/me/profile", "mine", Rule::Session, |_, _| {
            with("/v1/users/me/profile", json!({ "displayName": "x" }))
        }),
        row("DELETE", "/v1/sessions/current", "mine", Rule::Session, |_, _| {
            get("/v1/sessions/current")
        }),
    ]
}

fn groups() -> Vec<Row> {
    const GROUPS: &str = "/v1/groups";
    const MEMBERS: &str = "/v1/groups/{group}/members";
    let add = |who: &str| with(format!("/v1/groups/{GROUP}/members"), json!({ "members": [who] }));
    let create = |group: &str| {
        with(GROUPS, json!({ "groupId": group, "name": "G", "members": ["az-temp"] }))
    };
    vec![
        row("POST", GROUPS, "a new one", Rule::Session, move |_, who| {
            create(&format!("az-g-{who:?}"))
        }),
        row("POST", GROUPS, "one that exists", Rule::Nowhere("name_taken"), move |_, _| {
            create(GROUP)
        }),
        row("POST", GROUPS, "under a user's name", Rule::Nowhere("name_taken"), move |_, _| {
            create("az-owner")
        }),
        row("GET", "/v1/groups/{group}", "the group", Rule::Group, |_, _| {
            get(format!("/v1/groups/{GROUP}"))
        }),
        row(
            "GET",
            "/v1/groups/{group}",
            "a user's name",
            Rule::Nowhere("no_such_conversation"),
            |_, _| get("/v1/groups/az-owner"),
        ),
        row("POST", MEMBERS, "one who is there", Rule::Managers, move |_, _| add("az-temp")),
        row(
            "POST",
            MEMBERS,
            "one who does not exist",
            Rule::Nowhere("no_such_user"),
            move |_, _| add("az-nobody"),
        ),
        row("PATCH", "/v1/groups/{group}", "its name", Rule::Managers, |_, who| {
            with(format!("/v1/groups/{GROUP}"), json!({ "name": format!("{who:?}'s") }))
        }),
        row("PUT", "/v1/groups/{group}/members/{user}", "a role", Rule::Managers, |_, _| {
            with(format!("/v1/groups/{GROUP}/members/az-temp"), json!({ "role": "member" }))
        }),
        row("PUT", "/v1/groups/{group}/retention", "for ever", Rule::Managers, |_, _| {
            with(format!("/v1/groups/{GROUP}/retention"), json!({ "days": null }))
        }),
        row("DELETE", "/v1/groups/{group}/members/{user}", "another", Rule::Managers, |_, _| {
            get(format!("/v1/groups/{GROUP}/members/az-temp"))
        }),
    ]
}

/// Whose message it is edits it; in the group the owner has said it, and deletes it. Whoever sees it reacts.
fn changes() -> Vec<Row> {
    const ONE: &str = "/v1/messages/{id}";
    const REACTION: &str = "/v1/messages/{id}/reaction";
    const CHANGES: &str = "/v1/conversations/{conversation}/changes";
    const RETENTION: &str = "/v1/conversations/{conversation}/retention";
    let none = "no_such_conversation";
    let kept = |id: &str| {
        let (conversation, _) = id.rsplit_once('-').expect("a canonical id");
        with(format!("/v1/conversations/{conversation}/retention"), json!({ "days": null }))
    };
    let page = |id: &str| {
        let (conversation, _) = id.rsplit_once('-').expect("a canonical id");
        get(format!("/v1/conversations/{conversation}/changes"))
    };
    let reaction =
        |id: &str| with(format!("/v1/messages/{id}/reaction"), json!({ "reaction": "+1" }));
    vec![
        row("PATCH", ONE, "of the owner in the group", Rule::Managers, |made, _| {
            let same = json!({ "messageText": GROUP_SECRET });
            with(format!("/v1/messages/{}", made.said[0]), same)
        }),
        row("DELETE", ONE, "of the owner in the group", Rule::Managers, |made, _| {
            get(format!("/v1/messages/{}", made.doomed))
        }),
        row("PUT", REACTION, "in the group", Rule::Group, move |made, _| reaction(&made.said[0])),
        row("PUT", REACTION, "of two", Rule::Direct(none), move |made, _| reaction(&made.said[1])),
        row("DELETE", REACTION, "in the group", Rule::Group, |made, _| {
            get(format!("/v1/messages/{}/reaction", made.said[0]))
        }),
        row("PUT", RETENTION, "of the group", Rule::Managers, move |made, _| kept(&made.said[0])),
        row("PUT", RETENTION, "of two", Rule::Direct(none), move |made, _| kept(&made.said[1])),
        row("GET", CHANGES, "of the group", Rule::Group, move |made, _| page(&made.said[0])),
        row("GET", CHANGES, "of two", Rule::Direct(none), move |made, _| page(&made.said[1])),
    ]
}

/// Words of both secrets: whoever may ask is told only what is theirs, as the answer's text is judged.
fn search() -> Vec<Row> {
    const WITHIN: &str = "/v1/conversations/{conversation}/search";
    let within = |id: &str| {
        let (conversation, _) = id.rsplit_once('-').expect("a canonical id");
        get(format!("/v1/conversations/{conversation}/search?q=the"))
    };
    let mut rows = vec![
        row("GET", WITHIN, "the group", Rule::Group, move |made, _| within(&made.said[0])),
        row(
            "GET",
            WITHIN,
            "what two said",
            Rule::Direct("no_such_conversation"),
            move |made, _| within(&made.said[1]),
        ),
    ];
    for question in ["treasure", "only+you", "treasure&consistency=local"] {
        rows.push(row("GET", "/v1/search", question, Rule::Session, move |_, _| {
            get(format!("/v1/search?q={question}"))
        }));
    }
    rows
}

fn settings() -> Vec<Row> {
    const SETTINGS: &str = "/v1/users/me/settings";
    vec![
        row("GET", SETTINGS, "mine", Rule::Session, |_, _| get(SETTINGS)),
        row("PUT", SETTINGS, "mine", Rule::Session, |_, _| {
            with(SETTINGS, json!({ "hideRead": false }))
        }),
    ]
}

fn pushes() -> Vec<Row> {
    const PUSH: &str = "/v1/push";
    const ONE: &str = "/v1/push/{push}";
    const REPLAY: &str = "/v1/push/{push}/replay";
    const GONE: &str = "no_such_registration";
    // Of the owner's user, one for each of its devices to take away.
    let owners = |made: &Made, who: Who| {
        let which = usize::from(who == Who::OwnersOtherDevice);
        format!("/v1/push/{}", made.pushes[which])
    };
    vec![
        row("POST", PUSH, "a webhook", Rule::Session, |_, who| {
            with(PUSH, json!({ "kind": "webhook", "url": format!("https://127.0.0.1:9/{who:?}") }))
        }),
        row(
            "POST",
            PUSH,
            "a device that is not served",
            Rule::Nowhere("target_not_allowed"),
            |_, _| with(PUSH, json!({ "kind": "fcm", "token": "x" })),
        ),
        row("GET", PUSH, "mine", Rule::Session, |_, _| get(PUSH)),
        row("POST", REPLAY, "the owner's", Rule::OwnersUser(GONE), move |made, who| {
            with(format!("{}/replay", owners(made, who)), json!({ "from": 1 }))
        }),
        row("POST", REPLAY, "of nobody", Rule::Nowhere(GONE), |_, _| {
            with("/v1/push/0123456789abcdef/replay", json!({ "from": 1 }))
        }),
        row("DELETE", ONE, "of nobody", Rule::Nowhere(GONE), |_, _| {
            get("/v1/push/0000000000000000")
        }),
        row("DELETE", ONE, "the owner's", Rule::OwnersUser(GONE), move |made, who| {
            get(owners(made, who))
        }),
    ]
}

fn history() -> Vec<Row> {
    const PAGE: &str = "/messages/{name}";
    let mut rows = Vec::new();
    for query in
        ["", "?consistency=linearizable", "?consistency=local", "?consistency=at_least&at_least=1"]
    {
        let path = format!("/messages/{GROUP}{query}");
        rows.push(row("GET", PAGE, "of the group", Rule::Group, move |_, _| get(path.clone())));
        let path = format!("/messages/az-owner{query}");
        let rule = match query.contains("at_least") {
            // Who never wrote to the owner has nothing to wait for.
            true => continue,
            false => Rule::Session,
        };
        rows.push(row("GET", PAGE, "with another user", rule, move |_, _| get(path.clone())));
    }
    for cut in ["after_id", "before_id"] {
        rows.push(row("GET", PAGE, "of the group, cut", Rule::Group, move |made, _| {
            get(format!("/messages/{GROUP}?{cut}={}", made.said[0]))
        }));
        rows.push(row(
            "GET",
            PAGE,
            "with another, cut where others talk",
            Rule::Session,
            move |made, _| get(format!("/messages/az-party?{cut}={}", made.said[1])),
        ));
    }
    rows.push(row("GET", PAGE, "of nothing", Rule::Nowhere("no_such_user"), |_, _| {
        get("/messages/az-nothing")
    }));
    rows
}

fn messages() -> Vec<Row> {
    const ONE: &str = "/v1/messages/{id}";
    let mut rows = Vec::new();
    for query in ["", "?consistency=local", "?consistency=at_least&at_least=1"] {
        rows.push(row("GET", ONE, "of the group", Rule::Group, move |made, _| {
            get(format!("/v1/messages/{}{query}", made.said[0]))
        }));
        // A conversation of two is nobody else's business: its id can be computed from their names.
        rows.push(row("GET", ONE, "of two", Rule::Direct("not_found"), move |made, _| {
            get(format!("/v1/messages/{}{query}", made.said[1]))
        }));
    }
    rows.push(row("GET", ONE, "of two, guessed", Rule::Nowhere("not_found"), |made, _| {
        get(format!("/v1/messages/{}77", made.said[1]))
    }));
    rows.push(row("GET", ONE, "of nothing", Rule::Nowhere("not_found"), |_, _| {
        get(format!("/v1/messages/{}-1", "0123456789abcdef".repeat(2)))
    }));
    rows
}

fn assets() -> Vec<Row> {
    let mut rows = vec![row("POST", "/asset", "a file", Rule::Session, |_, who| {
        with("/asset", json!({ "by": format!("{who:?}") }))
    })];
    // Without its version no step is taken; who may take one is told before.
    const VERSION: Rule = Rule::Nowhere("unsupported_version");
    const UPLOAD: &str = "/v1/uploads/{upload}";
    let upload = || get("/v1/uploads/1-00000000000000000000000000000000");
    rows.push(row("OPTIONS", "/v1/uploads", "versions", Rule::Public, |_, _| get("/v1/uploads")));
    rows.push(row("POST", "/v1/uploads", "in steps", VERSION, |_, _| get("/v1/uploads")));
    for method in ["HEAD", "PATCH", "DELETE"] {
        rows.push(row(method, UPLOAD, "a step", VERSION, move |_, _| upload()));
    }
    for (route, prefix) in [("/asset/{id}", "/asset"), ("/v1.0/asset/{id}", "/v1.0/asset")] {
        for query in ["", "?consistency=local"] {
            let no = "asset_not_accessible";
            rows.push(row("GET", route, "sent to the group", Rule::Sent(no), move |made, _| {
                get(format!("{prefix}/{}{query}", made.assets[0]))
            }));
            rows.push(row("GET", route, "sent to nobody", Rule::OwnersUser(no), move |made, _| {
                get(format!("{prefix}/{}{query}", made.assets[1]))
            }));
        }
        rows.push(row("GET", route, "guessed", Rule::Nowhere("not_found"), move |made, _| {
            let mut digits: Vec<char> = made.assets[0].chars().collect();
            digits.reverse();
            get(format!("{prefix}/{}", digits.iter().collect::<String>()))
        }));
    }
    rows
}

/// Two assets of the owner, of which the group has one, and every node knows.
async fn files(world: &World) -> [String; 2] {
    let content = json!({ "secret": GROUP_SECRET });
    let mut ids = Vec::new();
    for _ in 0..2 {
        let made = world.owner.granted("POST", "/asset", Some(&content)).await;
        ids.push(made["assetId"].as_str().expect("an id").to_owned());
    }
    let mut chat = world.owner.chat().await;
    let mut item = chat.to_group(GROUP, "file", "a file");
    item["attachmentURI"] = json!(format!("/v1.0/asset/{}", ids[0]));
    chat.accepted(item).await;
    let path = |id: &str| format!("/asset/{id}?consistency=local");
    let known = async {
        for node in 1..=3 {
            for (who, id) in [(Who::Member, &ids[0]), (Who::Owner, &ids[1])] {
                while world.ask(who, node, "GET", &path(id), None).await.0 != 200 {
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
            }
        }
    };
    in_time(known).await;
    ids.try_into().expect("two")
}

/// Judges every call; one that has no row, or a row without a call, is wrong.
pub(crate) async fn judge(world: &World, judge: &Judge) {
    let rows = rows();
    let [calls, _, _] = node::calls();
    let calls: BTreeSet<_> = calls.into_iter().collect();
    let judged: BTreeSet<_> = rows.iter().map(|row| (row.method, row.route)).collect();
    assert_eq!(calls, judged, "every call of the gateway has a row, and every row a call");
    let pushes = [hook(world, "one").await, hook(world, "other").await];
    let (assets, spare) = (files(world).await, spare(world).await);
    let doomed = doomed(world).await;
    let made = Made { said: world.said.clone(), doomed, assets, spare, pushes };
    let before = world.fingerprint().await;
    for row in &rows {
        if row.method == "GET" || row.rule == Rule::Public {
            join_all(Who::ALL.map(|who| one(world, judge, &made, row, who))).await;
            continue;
        }
        // First those who may not, and nothing has changed; then those who may.
        let (allowed, refused): (Vec<Who>, Vec<Who>) =
            Who::ALL.iter().partition(|who| row.rule.verdict(**who) == Verdict::Allowed);
        join_all(refused.into_iter().map(|who| one(world, judge, &made, row, who))).await;
        let after = world.fingerprint().await;
        judge.law(after == before, || {
            format!("{} {} was refused and changed something: {after}", row.method, row.route)
        });
        join_all(allowed.into_iter().map(|who| one(world, judge, &made, row, who))).await;
    }
    patience(world, judge, &made).await;
    // The one who was removed by those who may.
    let back = json!({ "members": ["az-temp"] });
    world.owner.granted("POST", &format!("/v1/groups/{GROUP}/members"), Some(&back)).await;
    assert_eq!(world.fingerprint().await, before);
}

async fn doomed(world: &World) -> String {
    let mut hers = world.owner.chat().await;
    let item = hers.to_group(GROUP, "doomed", "");
    hers.accepted(item).await["canonicalId"].as_str().expect("a name").to_owned()
}

/// Whoever has no part in a conversation does not learn how far it has got by waiting for a sequence.
async fn patience(world: &World, judge: &Judge, made: &Made) {
    let group = format!("/messages/{GROUP}");
    let [one, two] = made.said.each_ref().map(|id| format!("/v1/messages/{id}"));
    for (path, rule) in [(group, Rule::Group), (one, Rule::Group), (two, Rule::Direct("not_found"))]
    {
        let outsiders = [Who::ExMember, Who::Stranger].map(async |who| {
            for at_least in [1, 1000] {
                let path = format!("{path}?consistency=at_least&at_least={at_least}");
                let node = world.node_of(who);
                let (_, answer) = world.ask(who, node, "GET", &path, None).await;
                let found = Verdict::refused(answer["code"].as_str().unwrap_or("no code"));
                judge.cell(&format!("GET {path}"), who, &rule.verdict(who), &found);
            }
        });
        join_all(outsiders).await;
    }
}

/// A registration of the owner's user.
async fn hook(world: &World, path: &str) -> String {
    let body = json!({ "kind": "webhook", "url": format!("https://127.0.0.1:9/{path}") });
    let made = world.owner.granted("POST", "/v1/push", Some(&body)).await;
    made["id"].as_str().expect("an id").to_owned()
}

/// Sessions that the matrix spends: of the caller's user, or of a stranger who knows no better.
async fn spare(world: &World) -> BTreeMap<Who, Stranger> {
    let sessions = Who::ALL.map(async |who| {
        let node = world.cluster.plain_address(world.node_of(who));
        let session = match who.user() {
            Some(user) => Stranger::log_in(node, user, "spare").await,
            None => Stranger::arrive(node, &format!("az-spare-{who:?}")).await,
        };
        (who, session)
    });
    join_all(sessions).await.into_iter().collect()
}

async fn one(world: &World, judge: &Judge, made: &Made, row: &Row, who: Who) {
    let Ask { path, body } = (row.ask)(made, who);
    let call = format!("{} {path} ({})", row.method, row.what);
    let ends = row.method == "DELETE" && row.route.starts_with("/v1/sessions");
    let (status, answer) = if ends && who.user().is_some() {
        made.spare[&who].ask(row.method, &path, None).await
    } else {
        world.ask(who, world.node_of(who), row.method, &path, body.as_ref()).await
    };
    let code = answer["code"].as_str().unwrap_or("no code");
    let expected = row.rule.verdict(who);
    let found = match status / 100 {
        2 => Verdict::Allowed,
        // An answer without a body says what it says with its status alone.
        _ if row.method == "HEAD" && expected.status() == Some(status) => expected.clone(),
        _ => Verdict::refused(code),
    };
    judge.cell(&call, who, &expected, &found);
    if found != Verdict::Allowed && row.method != "HEAD" {
        let listed = ProblemCode::from_code(code).map(ProblemCode::status);
        judge.law(listed == Some(status), || format!("{call} by {who:?}: {status} with {code}"));
    }
    let text = answer.to_string();
    judge.law(keeps_secrets(who, text.as_bytes()), || {
        format!("{call} told {who:?} too much: {text}")
    });
}

/// Whether nothing in `told` is a secret to `who`.
pub(crate) fn keeps_secrets(who: Who, told: &[u8]) -> bool {
    let owner = matches!(who, Who::Owner | Who::OwnersOtherDevice);
    let member = owner || matches!(who, Who::Member | Who::MembersOtherDevice);
    let holds = |secret: &str| told.windows(secret.len()).any(|part| part == secret.as_bytes());
    (member || !holds(GROUP_SECRET)) && (owner || who == Who::OtherParty || !holds(DIRECT_SECRET))
}
