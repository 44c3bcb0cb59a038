//! Which assets a message names. URIs of other places are nobody's business here and pass as they are.

use std::collections::BTreeSet;

use chat::{AssetId, Body};

/// What a URI is to this cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Named {
    /// One of its assets, perhaps.
    Asset(AssetId),
    /// It claims to be one and cannot be.
    Nothing,
    /// Somewhere else.
    Elsewhere,
}

/// The assets that a message names; `None` when it names one that cannot be.
pub(crate) fn mentioned(body: &Body) -> Option<BTreeSet<AssetId>> {
    let mut assets = BTreeSet::new();
    for uri in &body.attachment_uris {
        match named(uri) {
            Named::Asset(id) => {
                assets.insert(id);
            }
            Named::Nothing => return None,
            Named::Elsewhere => {}
        }
    }
    Some(assets)
}

fn named(uri: &str) -> Named {
    let path = uri.split(['?', '#']).next().unwrap_or(uri);
    let Some(id) = path.strip_prefix("/v1.0/asset/").or_else(|| path.strip_prefix("/asset/"))
    else {
        return Named::Elsewhere;
    };
    id.parse().map_or(Named::Nothing, Named::Asset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_name_an_asset_and_other_places_name_none() {
        let id: AssetId = "30313233343536373839616263646566".parse().expect("an id");
        for uri in [
            "/asset/30313233343536373839616263646566",
            "/v1.0/asset/30313233343536373839616263646566",
            "/asset/30313233343536373839616263646566?size=small",
            "/asset/30313233343536373839616263646566#top",
        ] {
            assert_eq!(named(uri), Named::Asset(id), "{uri}");
        }
        for uri in ["https://example.com/asset/1", "asset/1", "data:,x", "/v2/asset/1", ""] {
            assert_eq!(named(uri), Named::Elsewhere, "{uri}");
        }
        for uri in ["/asset/", "/asset/7", "/v1.0/asset/3031323334353637383961626364656G"] {
            assert_eq!(named(uri), Named::Nothing, "{uri}");
        }
    }
}
