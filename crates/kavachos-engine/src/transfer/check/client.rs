//! OAuth clients, and what humans let them be.

use kavachos_core::client::{ClientId, MAX_CLIENT_NAME_BYTES, MAX_REDIRECTS, RedirectUri, Source};
use kavachos_core::resource::ResourcePattern;
use kavachos_core::revocation::HandleKind;
use kavachos_core::unseen::is_unseen;
use kavachos_store::connection::{ConnectionRow, ConsentRow};
use kavachos_store::oauth_client::ClientRow;
use kavachos_store::refresh_line::{CodeRow, LineRow};

use super::party::name;
use super::{kind, of, told};
use crate::clients::{Client, check_line};
use crate::transfer::line::Wrong;

pub(super) fn client(row: &ClientRow) -> Result<(), Wrong> {
    let client = Client::of(row).map_err(told)?;
    let is_document = client.source == Source::Document;
    if client.id.is_document() != is_document {
        return Err(
            "a client whose id is an address, and no other, is what its document says".to_owned(),
        );
    }
    if is_document && (row.secret.is_some() || row.manager.is_some()) {
        return Err("a client that is known by a document has no secret here".to_owned());
    }
    let said = &client.metadata;
    name("client_name", &said.client_name)?;
    if said.client_name.len() > MAX_CLIENT_NAME_BYTES || said.client_name.contains(is_unseen) {
        return Err(
            "`client_name`: is longer than what people read, or holds what they do not see"
                .to_owned(),
        );
    }
    if said.redirect_uris.len() > MAX_REDIRECTS {
        return Err(format!("`redirect_uris`: are more than {MAX_REDIRECTS}"));
    }
    kind(row.mark, HandleKind::Client)
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
