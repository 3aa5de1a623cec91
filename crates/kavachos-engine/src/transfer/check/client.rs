//! OAuth clients, and what humans let them be.

use kavachos_core::client::{ClientId, ClientMetadata, RedirectUri, Source};
use kavachos_core::resource::ResourcePattern;
use kavachos_core::revocation::HandleKind;
use kavachos_store::connection::{ConnectionRow, ConsentRow};
use kavachos_store::oauth_client::ClientRow;
use kavachos_store::refresh_line::{CodeRow, LineRow};
use serde_json::{Map, Value};

use super::{kind, of, told};
use crate::clients::{Client, check_agent, check_line, said_by_nobody};
use crate::compile;
use crate::transfer::line::Wrong;

pub(super) fn client(row: &ClientRow) -> Result<(), Wrong> {
    let client = Client::of(row).map_err(told)?;
    let is_document = client.source == Source::Document;
    if client.id.is_document() != is_document {
        return Err(
            "a client whose id is an address, and no other, is what its document says".to_owned(),
        );
    }
    let has_secret = client.metadata.token_endpoint_auth_method.has_secret();
    if row.secret.is_some() && !has_secret {
        return Err("a client that does not show one has a secret".to_owned());
    }
    if row.manager.is_some() && client.source != Source::Itself {
        return Err("a client that did not register itself has a registration token".to_owned());
    }
    // Nothing was read of one that was denied before anybody used it.
    if !is_document || row.metadata != said_by_nobody(&client.id) {
        check_said(row, &client)?;
    }
    check_agent(&client.metadata, client.agent).map_err(told)?;
    kind(row.mark, HandleKind::Client)
}

/// Whoever says what it is could say it here, too.
fn check_said(row: &ClientRow, client: &Client) -> Result<(), Wrong> {
    let said: Map<String, Value> = compile::stored("metadata", &row.metadata).map_err(told)?;
    let read =
        ClientMetadata::read(&said, client.source).map_err(|bad| bad.message().to_owned())?;
    // A document that demands it is not believed.
    let is_demanded =
        client.source == Source::Document && read.require_pushed_authorization_requests;
    match read == client.metadata && !is_demanded {
        true => Ok(()),
        false => Err("it says of itself what none of its kind may say".to_owned()),
    }
}

pub(super) fn connection(row: &ConnectionRow) -> Result<(), Wrong> {
    client_id(&row.client)
}

pub(super) fn consent(row: &ConsentRow) -> Result<(), Wrong> {
    for name in row.scopes.split(' ') {
        name.parse::<ResourcePattern>().map_err(of("scopes"))?;
    }
    Ok(())
}

pub(super) fn refresh_line(row: &LineRow) -> Result<(), Wrong> {
    client_id(&row.client)?;
    check_line(row).map_err(told)
}

pub(super) fn authorization_code(row: &CodeRow) -> Result<(), Wrong> {
    match (&row.redirect_uri, row.challenge) {
        (Some(uri), Some(_)) => uri
            .parse::<RedirectUri>()
            .map(drop)
            .map_err(of("redirectUri")),
        // One that a device polls with.
        (None, None) => Ok(()),
        _ => Err("a code has both `redirectUri` and `challenge`, or none".to_owned()),
    }
}

fn client_id(text: &str) -> Result<(), Wrong> {
    text.parse::<ClientId>().map(drop).map_err(of("client"))
}
