//! What pages load: a style sheet, a script for passkeys, a picture. Under the hash of what they hold, so that a browser
//! may keep them for good.

use axum::Router;
use axum::extract::{Path, State as FromState};
use axum::response::IntoResponse;
use axum::routing::get;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use sha2::{Digest, Sha256};

use super::{Brand, Shown, view};
use crate::error::Failure;
use crate::state::State;

const STYLES: &str = include_str!("../../assets/kavach.css");
const PASSKEYS: &str = include_str!("../../assets/passkey.js");
const PICTURE: &str = include_str!("../../assets/kavach.svg");
/// How many digits of a hash an address has.
const DIGITS: usize = 16;
/// Kept for a year, which is for good.
const FOR_GOOD: &str = "public, max-age=31536000, immutable";

/// What pages load, with the brand's own.
#[derive(Debug, Clone)]
pub(crate) struct Assets {
    files: [Asset; 3],
    name: String,
}

#[derive(Debug, Clone)]
struct Asset {
    path: String,
    kind: &'static str,
    text: String,
}

impl Asset {
    fn new(name: &str, kind: &'static str, text: String) -> Self {
        let hash = kavachos_core::hex::encode(&Sha256::digest(&text));
        let digits: String = hash.chars().take(DIGITS).collect();
        Self {
            path: format!("/assets/{digits}/{name}"),
            kind,
            text,
        }
    }
}

impl Assets {
    pub(crate) fn of(brand: &Brand) -> Self {
        let styles = format!("{STYLES}\n{}{}", brand.accent.properties(), brand.css);
        let picture = PICTURE.replace("#0f6b57", &brand.accent.to_string());
        Self {
            files: [
                Asset::new("kavach.css", "text/css; charset=utf-8", styles),
                Asset::new(
                    "passkey.js",
                    "text/javascript; charset=utf-8",
                    PASSKEYS.to_owned(),
                ),
                Asset::new("kavach.svg", "image/svg+xml", picture),
            ],
            name: brand.name.clone(),
        }
    }

    /// Where they are, for templates.
    pub(super) fn brand(&self) -> view::Brand {
        let [styles, passkeys, picture] = &self.files;
        view::Brand {
            name: self.name.clone(),
            styles: styles.path.clone(),
            picture: picture.path.clone(),
            passkeys: passkeys.path.clone(),
        }
    }
}

/// Whether an answer may be kept: an asset under its hash, and nothing else.
pub(crate) fn is_asset(headers: &http::HeaderMap) -> bool {
    headers
        .get(CACHE_CONTROL)
        .is_some_and(|value| value == FOR_GOOD)
}

pub(super) fn routes() -> Router<State> {
    Router::new().route("/assets/{hash}/{name}", get(handle))
}

async fn handle(
    FromState(state): FromState<State>,
    Path((hash, name)): Path<(String, String)>,
) -> Shown {
    let path = format!("/assets/{hash}/{name}");
    let found = state.assets().files.iter().find(|asset| asset.path == path);
    let asset = found.ok_or(Failure::NoSuchRoute)?;
    let headers = [
        (CONTENT_TYPE, asset.kind),
        (CACHE_CONTROL, FOR_GOOD),
        (
            http::header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; sandbox",
        ),
    ];
    Ok((headers, asset.text.clone()).into_response())
}
