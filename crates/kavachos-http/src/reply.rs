//! Answers with data: `{"data": ...}`, and lists with a cursor.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use kavachos_engine::page::{CursorKey, Page, encode_cursor};
use kavachos_engine::{Error, Issued};
use serde::Serialize;

use crate::error::Failure;

/// What a handler answers.
pub(crate) type Reply = Result<Response, Failure>;

#[derive(Serialize)]
struct Data<T> {
    data: T,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List<T> {
    data: Vec<T>,
    next_cursor: Option<String>,
}

/// A thing with its credential, which only this answer shows.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct IssuedData<'a, T> {
    #[serde(flatten)]
    thing: &'a T,
    token: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    replayed: bool,
}

/// 200 with one thing.
pub(crate) fn data<T: Serialize>(thing: &T) -> Reply {
    json(StatusCode::OK, &Data { data: thing })
}

/// 201 with a created thing and its credential.
pub(crate) fn issued<T: Serialize>(issued: &Issued<T>) -> Reply {
    let token = issued.token.as_ref().map(|token| token.reveal());
    json(
        StatusCode::CREATED,
        &Data {
            data: IssuedData {
                thing: &issued.thing,
                token,
                replayed: issued.replayed,
            },
        },
    )
}

/// 201 with a created thing that has no credential.
pub(crate) fn created<T: Serialize>(issued: &Issued<T>) -> Reply {
    repeatable(StatusCode::CREATED, issued)
}

/// 200 with what came of an act that may be repeated.
pub(crate) fn done<T: Serialize>(issued: &Issued<T>) -> Reply {
    repeatable(StatusCode::OK, issued)
}

fn repeatable<T: Serialize>(status: StatusCode, issued: &Issued<T>) -> Reply {
    #[derive(Serialize)]
    struct Repeatable<'a, T> {
        #[serde(flatten)]
        thing: &'a T,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        replayed: bool,
    }
    json(
        status,
        &Data {
            data: Repeatable {
                thing: &issued.thing,
                replayed: issued.replayed,
            },
        },
    )
}

/// 200 with a page.
pub(crate) fn page<T: Serialize, K: CursorKey>(page: Page<T, K>, filter: &str) -> Reply {
    let next_cursor = page.next.map(|key| encode_cursor(&key, filter));
    json(
        StatusCode::OK,
        &List {
            data: page.items,
            next_cursor,
        },
    )
}

pub(crate) fn json<T: Serialize>(status: StatusCode, body: &T) -> Reply {
    let text = serde_json::to_string(body).map_err(|error| Error::Internal(error.to_string()))?;
    Ok((status, [(CONTENT_TYPE, "application/json")], text).into_response())
}
