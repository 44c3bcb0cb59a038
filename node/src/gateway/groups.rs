//! Groups: made, shown, joined and left.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chat::limits::MEMBERS_MAX;
use chat::{Command, ConversationId, GroupId, History, Kind, Outcome, Refusal, Role, UserId};
use futures::future::try_join_all;
use proto::spec_json::{retention_json, rfc3339, role_name, role_of};
use proto::{Problem, ProblemCode};
use serde_json::json;

use super::Parts;
use super::body::{self, Fields, Segment, Segments, invalid};
use super::caller::Caller;
use super::interface::words::{CONVERSATION, NAME, NAMES, RETENTION, ROLE, SHORT};
use super::interface::{Answer, Field, Operation, Schema, field, optional};
use super::problems::{self, Failure};
use super::propose::accepted;
use crate::history::{self, Consistency};

const NAMED: [Field; 2] = [field("groupId", NAME), field("conversationId", CONVERSATION)];
const HISTORY: Schema = Schema::OneOf(&["since_join", "all"]);

/// `POST /v1/groups`.
pub(super) const CREATE: Operation = Operation::new("Makes a group that the caller owns.")
    .takes(&[
        optional("groupId", NAME).says("made up when it is not said"),
        optional("name", SHORT),
        optional("members", NAMES),
        optional("history", HISTORY).says("what newcomers see; since_join when it is not said"),
    ])
    .answers(&[Answer::json(201, "the group", &NAMED)])
    .refuses(&[
        ProblemCode::NameTaken,
        ProblemCode::NoSuchUser,
        ProblemCode::TooManyMembers,
        ProblemCode::TooManyConversations,
    ]);

/// `GET /v1/groups/{group}`.
pub(super) const SHOW: Operation = Operation::new("A group, for its members.")
    .answers(&[Answer::json(
        200,
        "the group",
        &[
            NAMED[0],
            NAMED[1],
            field("name", SHORT),
            field("history", HISTORY),
            field("members", Schema::List(&MEMBER, MEMBERS_MAX)),
            field("createdAt", Schema::Time),
            field("retention", RETENTION),
        ],
    )])
    .refuses(&[ProblemCode::NoSuchConversation, ProblemCode::NotAMember]);

const MEMBER: Schema =
    Schema::Named("Member", &Schema::Object(&[field("userId", NAME), field("role", ROLE)]));

/// `POST /v1/groups/{group}/members`.
pub(super) const ADD: Operation = Operation::new("Adds members.")
    .takes(&[field("members", Schema::Some(&NAME, MEMBERS_MAX))])
    .answers(&[Answer::json(200, "they are members", &NAMED)])
    .refuses(&[
        ProblemCode::NoSuchConversation,
        ProblemCode::NotAMember,
        ProblemCode::NotAllowed,
        ProblemCode::NoSuchUser,
        ProblemCode::TooManyMembers,
    ]);

/// `DELETE /v1/groups/{group}/members/{user}`.
pub(super) const REMOVE: Operation = Operation::new("Removes a member, or leaves.")
    .answers(&[Answer::empty(204, "the user is no member, and may not have been one")])
    .refuses(&[ProblemCode::NoSuchConversation, ProblemCode::NotAMember, ProblemCode::NotAllowed]);

/// `POST /v1/groups`.
pub(super) async fn create(
    State(parts): State<Arc<Parts>>,
    Caller(who): Caller,
    mut body: Fields,
) -> Result<Response, Failure> {
    let group = match body.optional_text("groupId")? {
        Some(id) => body::group("groupId", &id)?,
        None => parts.new_group(),
    };
    let name = body.optional_text("name")?.unwrap_or_default();
    let history = match body.optional_text("history")?.as_deref() {
        None | Some("since_join") => History::SinceJoin,
        Some("all") => History::All,
        Some(_) => return Err(invalid("history", "must be since_join or all").into()),
    };
    let members = parts.members(&mut body).await?;
    let id = ConversationId::group(&group);
    let command = Command::CreateGroup {
        group: group.clone(),
        name: name.clone(),
        owner: who.user.clone(),
        members,
        history,
    };
    let proposed = parts.propose_to_conversation(id, &command).await?;
    let taken = proposed.outcome == Outcome::Refused(Refusal::NameTaken);
    if !(taken && proposed.repeated && parts.owns(&who.user, id, &name).await?) {
        accepted(&proposed.outcome)?;
    }
    Ok((StatusCode::CREATED, Json(named(&group, id))).into_response())
}

/// `GET /v1/groups/{group}`: for its members.
pub(super) async fn show(
    State(parts): State<Arc<Parts>>,
    Caller(who): Caller,
    Segment(group): Segment,
) -> Result<Response, Failure> {
    let group = body::group("group", &group)?;
    let id = ConversationId::group(&group);
    parts.history.freshen(id, Consistency::Linearizable).await?;
    let conversation =
        parts.replica.conversation(id).map_err(|error| problems::of_store(&error))?;
    let conversation = conversation.ok_or_else(|| Problem::of(ProblemCode::NoSuchConversation))?;
    if !conversation.is_member(&who.user) {
        return Err(Problem::of(ProblemCode::NotAMember).into());
    }
    let Kind::Group { name, history, .. } = &conversation.head.kind else {
        return Err(Problem::of(ProblemCode::NoSuchConversation).into());
    };
    let members: Vec<_> = conversation
        .members
        .iter()
        .map(|(user, member)| json!({ "userId": user.as_str(), "role": role_name(member.role) }))
        .collect();
    let mut answer = named(&group, id);
    answer["name"] = json!(name);
    answer["history"] = json!(match history {
        History::SinceJoin => "since_join",
        History::All => "all",
    });
    answer["members"] = json!(members);
    answer["createdAt"] = json!(rfc3339(conversation.head.created_at));
    answer["retention"] = retention_json(conversation.head.retention);
    Ok(Json(answer).into_response())
}

/// `POST /v1/groups/{group}/members`.
pub(super) async fn add(
    State(parts): State<Arc<Parts>>,
    Caller(who): Caller,
    Segment(group): Segment,
    mut body: Fields,
) -> Result<Response, Failure> {
    let group = body::group("group", &group)?;
    let id = ConversationId::group(&group);
    let members = parts.members(&mut body).await?;
    if members.is_empty() {
        return Err(invalid("members", "must name somebody").into());
    }
    let command = Command::AddMembers { by: who.user, members };
    accepted(&parts.propose_to_conversation(id, &command).await?.outcome)?;
    Ok(Json(named(&group, id)).into_response())
}

/// `PATCH /v1/groups/{group}`.
pub(super) const RENAME: Operation = Operation::new("Gives a group another name.")
    .says("Owners and admins may.")
    .takes(&[field("name", SHORT)])
    .answers(&[Answer::json(200, "the group", &[NAMED[0], NAMED[1], field("name", SHORT)])])
    .refuses(&[
        ProblemCode::NoSuchConversation,
        ProblemCode::NotAMember,
        ProblemCode::NotAllowed,
        ProblemCode::TooLarge,
    ]);

/// `PUT /v1/groups/{group}/members/{user}`.
pub(super) const SET_ROLE: Operation = Operation::new("Says what a member may do.")
    .says("Owners may. The last owner stays one until there is another.")
    .takes(&[field("role", ROLE)])
    .answers(&[Answer::json(
        200,
        "the membership",
        &[NAMED[0], NAMED[1], field("userId", NAME), field("role", ROLE)],
    )])
    .refuses(&[
        ProblemCode::NoSuchConversation,
        ProblemCode::NoSuchUser,
        ProblemCode::NotAMember,
        ProblemCode::NotAllowed,
    ]);

/// `PATCH /v1/groups/{group}`: another name.
pub(super) async fn rename(
    State(parts): State<Arc<Parts>>,
    Caller(who): Caller,
    Segment(group): Segment,
    mut body: Fields,
) -> Result<Response, Failure> {
    let group = body::group("group", &group)?;
    let id = ConversationId::group(&group);
    let name = body.text("name")?;
    let command = Command::RenameGroup { by: who.user, name: name.clone() };
    accepted(&parts.propose_to_conversation(id, &command).await?.outcome)?;
    let mut answer = named(&group, id);
    answer["name"] = json!(name);
    Ok(Json(answer).into_response())
}

/// `PUT /v1/groups/{group}/members/{user}`: another role.
pub(super) async fn set_role(
    State(parts): State<Arc<Parts>>,
    Caller(who): Caller,
    Segments(group, member): Segments,
    mut body: Fields,
) -> Result<Response, Failure> {
    let group = body::group("group", &group)?;
    let member = body::user("user", &member)?;
    let id = ConversationId::group(&group);
    let role = body.text("role")?;
    let role = role_of(&role).ok_or_else(|| invalid("role", "must be owner, admin or member"))?;
    let command = Command::SetRole { by: who.user, member: member.clone(), role };
    accepted(&parts.propose_to_conversation(id, &command).await?.outcome)?;
    let mut answer = named(&group, id);
    answer["userId"] = json!(member.as_str());
    answer["role"] = json!(role_name(role));
    Ok(Json(answer).into_response())
}

/// `DELETE /v1/groups/{group}/members/{user}`.
pub(super) async fn remove(
    State(parts): State<Arc<Parts>>,
    Caller(who): Caller,
    Segments(group, member): Segments,
) -> Result<StatusCode, Failure> {
    let group = body::group("group", &group)?;
    let member = body::user("user", &member)?;
    let id = ConversationId::group(&group);
    let command = Command::RemoveMember { by: who.user, member: member.clone() };
    let proposed = parts.propose_to_conversation(id, &command).await?;
    if !(proposed.repeated && parts.is_gone(&member, id).await?) {
        accepted(&proposed.outcome)?;
    }
    Ok(StatusCode::NO_CONTENT)
}

fn named(group: &GroupId, id: ConversationId) -> serde_json::Value {
    json!({ "groupId": group.as_str(), "conversationId": id.to_string() })
}

impl Parts {
    /// A name that nobody can have guessed.
    fn new_group(&self) -> GroupId {
        let name = format!("g-{:016x}{:016x}", self.entropy.number(), self.entropy.number());
        GroupId::parse(&name).expect("hexadecimal digits are legal in a name")
    }

    /// The users of the field `members`, all of whom exist: the group's shard could not know.
    async fn members(&self, body: &mut Fields) -> Result<BTreeSet<UserId>, Problem> {
        let names = body.texts("members")?;
        let members: BTreeSet<UserId> =
            names.iter().map(|name| body::user("members", name)).collect::<Result<_, _>>()?;
        if members.len() > MEMBERS_MAX {
            let limit = u64::try_from(MEMBERS_MAX).expect("a small constant");
            let detail = format!("at most {limit}");
            return Err(Problem::new(ProblemCode::TooManyMembers, detail).expecting(limit));
        }
        try_join_all(members.iter().map(|member| self.exists(member))).await?;
        Ok(members)
    }

    async fn exists(&self, user: &UserId) -> Result<(), Problem> {
        let account = history::account(&*self.replica, &self.router, user).await?;
        let detail = || format!("there is no user {user}");
        let missing = || Problem::new(ProblemCode::NoSuchUser, detail()).about("members");
        account.map(|_| ()).ok_or_else(missing)
    }

    /// Whether the group that exists is the one that this very request made.
    async fn owns(&self, user: &UserId, id: ConversationId, name: &str) -> Result<bool, Problem> {
        self.history.freshen(id, Consistency::Linearizable).await?;
        let store = |error| problems::of_store(&error);
        let head = self.replica.head(id).map_err(store)?;
        let member = self.replica.member(id, user).map_err(store)?;
        let is_named = |kind: &Kind| matches!(kind, Kind::Group { name: its, .. } if its == name);
        Ok(head.is_some_and(|head| is_named(&head.kind))
            && member.is_some_and(|member| member.role == Role::Owner))
    }

    async fn is_gone(&self, user: &UserId, id: ConversationId) -> Result<bool, Problem> {
        self.history.freshen(id, Consistency::Linearizable).await?;
        let member = self.replica.member(id, user).map_err(|error| problems::of_store(&error))?;
        Ok(member.is_none())
    }
}
