//! What the matrix is judged in: three nodes, a group, a direct conversation, and a token or none for each caller.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use chat::{ConversationId, UserId};
use serde_json::{Value, json};
use tests::{Chat, Cluster, Shape, Stranger, http, in_time, tls};

use super::callers::Who;
use super::forged;

/// The group.
pub(crate) const GROUP: &str = "az-crew";
/// What was said in the group; nobody else may ever see it.
pub(crate) const GROUP_SECRET: &str = "the treasure lies under the old oak";
/// What was said between two.
pub(crate) const DIRECT_SECRET: &str = "and only you know";
/// Nodes.
const NODES: u64 = 3;
/// A pause between two looks.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The world.
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    /// Another cluster, whose nodes nobody here knows.
    pub(crate) elsewhere: Cluster,
    pub(crate) tokens: BTreeMap<Who, String>,
    pub(crate) owner: Stranger,
    pub(crate) stranger: Stranger,
    /// A link of the one who was removed, from before the removal.
    pub(crate) old_link: Option<Chat>,
    /// The conversation of the group, and of the two.
    pub(crate) conversations: [ConversationId; 2],
    /// A message of each, by its canonical id.
    pub(crate) said: [String; 2],
}

impl World {
    /// Lets everything happen that the callers come from.
    pub(crate) async fn begin() -> Self {
        let mut cluster = Cluster::start(Shape { shards: 4, ..Shape::default() }).await;
        let elsewhere = Cluster::start(Shape { nodes: 1, shards: 1, engine: "fjall" }).await;
        // A key that was read from a disk makes tokens that only their time or their device forbids.
        cluster.stop_node(NODES).await;
        let key = forged::key_of(&cluster.home(NODES));
        cluster.start_node(NODES);
        cluster.wait_ready(NODES).await;

        let node = cluster.plain_address(1);
        let owner = Stranger::arrive(node, "az-owner").await;
        let member = Stranger::arrive(node, "az-member").await;
        let ex = Stranger::arrive(node, "az-ex").await;
        let party = Stranger::arrive(node, "az-party").await;
        let stranger = Stranger::arrive(node, "az-stranger").await;
        Stranger::arrive(node, "az-temp").await;
        let foreign = Stranger::arrive(elsewhere.plain_address(1), "az-owner").await;
        let (said, old_link) = history(&owner, &member, &ex, &party).await;

        let revoked = owner.another("revoked").await;
        let other_device = owner.another("second").await;
        let members_other = member.another("second").await;
        revoked.granted("DELETE", "/v1/sessions/current", None).await;

        let kid = forged::header(&owner.token)["kid"].clone();
        let good = forged::header_of("EdDSA", Some(&kid));
        let claims = forged::claims(&owner.token);
        let expired =
            forged::claiming(&owner.token, "exp", claims["iat"].as_u64().expect("a time") - 7200);
        let expired = forged::token(&good, &expired, forged::by(&key.seed));
        let never = forged::claiming(&owner.token, "device", "00000000deadbeef");
        let other_key = forged::by(&[7; 32]);
        let hmac = forged::by_public(&key.seed);
        let tokens = BTreeMap::from([
            (Who::Owner, owner.token.clone()),
            (Who::OwnersOtherDevice, other_device.token),
            (Who::Member, member.token.clone()),
            (Who::MembersOtherDevice, members_other.token),
            (Who::ExMember, ex.token.clone()),
            (Who::OtherParty, party.token.clone()),
            (Who::Stranger, stranger.token.clone()),
            (Who::Revoked, revoked.token),
            (Who::DeviceThatNeverWas, forged::token(&good, &never, forged::by(&key.seed))),
            (
                Who::AlgorithmNone,
                forged::token(&forged::header_of("none", Some(&kid)), &claims, |_| Vec::new()),
            ),
            (
                Who::AlgorithmHmac,
                forged::token(&forged::header_of("HS256", Some(&kid)), &claims, hmac),
            ),
            (Who::OtherKey, forged::token(&good, &claims, &other_key)),
            (
                Who::NoKeyNamed,
                forged::token(&forged::header_of("EdDSA", None), &claims, &other_key),
            ),
            (Who::AlteredUser, forged::altered(&stranger.token, "sub", &json!("az-owner"))),
            (Who::AlteredExpiry, forged::altered(&expired, "exp", &claims["exp"])),
            (Who::Expired, expired),
            (Who::OtherCluster, foreign.token),
            (Who::RefreshToken, owner.refresh.clone()),
            (Who::Doubled, format!("{0},{0}", owner.token)),
        ]);
        let id = |name: &str| UserId::parse(name).expect("legal");
        let group = ConversationId::group(&chat::GroupId::parse(GROUP).expect("legal"));
        let direct = ConversationId::direct(&id("az-owner"), &id("az-party"));
        let world = Self {
            cluster,
            elsewhere,
            tokens,
            owner,
            stranger,
            old_link: Some(old_link),
            conversations: [group, direct],
            said,
        };
        world.settled().await;
        world
    }

    /// Waits until every node has heard of the removal and of the ended session, so that local reads are judged too.
    async fn settled(&self) {
        let path = format!("/messages/{GROUP}?consistency=local");
        let heard = async {
            for node in 1..=NODES {
                for who in [Who::ExMember, Who::Revoked] {
                    while self.ask(who, node, "GET", &path, None).await.0 == 200 {
                        tokio::time::sleep(LOOK_AGAIN).await;
                    }
                }
                // A session's other devices are known there.
                for who in [Who::Owner, Who::MembersOtherDevice] {
                    while self.ask(who, node, "GET", &path, None).await.0 != 200 {
                        tokio::time::sleep(LOOK_AGAIN).await;
                    }
                }
                let path = "/messages/az-party?consistency=local";
                while !self
                    .ask(Who::Owner, node, "GET", path, None)
                    .await
                    .1
                    .to_string()
                    .contains(DIRECT_SECRET)
                {
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
            }
        };
        in_time(heard).await;
    }

    /// One request of `who` at a node, repeated while the answer is to ask again.
    pub(crate) async fn ask(
        &self,
        who: Who,
        node: u64,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> (u16, Value) {
        let answered = async {
            loop {
                let (status, answer) = self.ask_once(who, node, method, path, body).await;
                // Not ready is an answer of the operations port.
                if answer["retryable"] != json!(true) {
                    return (status, answer);
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        in_time(answered).await
    }

    async fn ask_once(
        &self,
        who: Who,
        node: u64,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> (u16, Value) {
        if who == Who::NodeCertificate {
            return self.ask_as_node(node, (method, path), body).await;
        }
        let address = self.cluster.plain_address(node);
        let token = self.tokens.get(&who).map(String::as_str);
        http::json(address, method, path, token, body).await
    }

    /// One request over TLS with the certificate of a node and no token.
    async fn ask_as_node(
        &self,
        node: u64,
        call: (&str, &str),
        body: Option<&Value>,
    ) -> (u16, Value) {
        let read = |name: &str| std::fs::read(self.cluster.home(node).join(name)).expect("a file");
        let (certificate, key) = (read("peer.pem"), read("peer.key"));
        let shown = Some((certificate.as_slice(), key.as_slice()));
        let address = self.cluster.client_address(node);
        let stream = tls::connect(address, &self.cluster.ca_pem(), "http/1.1", shown).await;
        let body = body.map_or_else(String::new, Value::to_string);
        let answer = http::request_over(stream.expect("TLS"), call, None, &body).await;
        let answer = answer.expect("the node answers");
        (answer.status, answer.json())
    }

    /// The node that a caller talks to: all of them get their share.
    pub(crate) fn node_of(&self, who: Who) -> u64 {
        1 + (who as u64) % NODES
    }

    /// Where links of `who` go.
    pub(crate) fn link_address(&self, who: Who) -> SocketAddr {
        self.cluster.client_address(self.node_of(who))
    }

    /// What must be as it was after everything that was refused: the group, and what was said.
    pub(crate) async fn fingerprint(&self) -> String {
        let group = self.owner.granted("GET", &format!("/v1/groups/{GROUP}"), None).await;
        let history = self.owner.history(GROUP).await;
        let texts: Vec<&Value> = history.iter().map(|message| &message["messageText"]).collect();
        format!("{} {texts:?}", group["members"])
    }

    /// Ends it.
    pub(crate) async fn end(self) {
        drop(self.old_link);
        self.cluster.stop().await;
        self.elsewhere.stop().await;
    }
}

/// A group that loses a member, a direct conversation, and a link that was open meanwhile.
async fn history(
    owner: &Stranger,
    member: &Stranger,
    ex: &Stranger,
    party: &Stranger,
) -> ([String; 2], Chat) {
    let group = json!({
        "groupId": GROUP, "name": "Crew", "members": [member.user, ex.user, "az-temp"], "history": "all",
    });
    assert_eq!(owner.answer("POST", "/v1/groups", Some(&group)).await.status, 201);
    let mut hers = owner.chat().await;
    let mut old_link = ex.chat().await;
    let item = hers.to_group(GROUP, "secret", GROUP_SECRET);
    let one = hers.accepted(item).await;
    let item = old_link.to_group(GROUP, "mine", "I was here");
    old_link.accepted(item).await;
    let other = hers.stored(&party.user, "direct", DIRECT_SECRET).await;
    let removed =
        owner.ask("DELETE", &format!("/v1/groups/{GROUP}/members/{}", ex.user), None).await;
    assert_eq!(removed.0, 204, "{}", removed.1);
    let name = |message: &Value| message["canonicalId"].as_str().expect("a name").to_owned();
    ([name(&one), name(&other)], old_link)
}
