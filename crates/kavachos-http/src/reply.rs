//! Answers with data: `{"data": ...}`, and lists with a cursor. The type of a reply says what stands in it, to the
//! compiler and to the document alike.

use std::marker::PhantomData;

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, SET_COOKIE};
use http::{HeaderValue, StatusCode};
use kavachos_engine::page::{CursorKey, DEFAULT_LIMIT, MAX_LIMIT, Page, encode_cursor};
use kavachos_engine::{Error, Issued};
use schemars::{JsonSchema, json_schema};
use serde::Serialize;

use crate::error::Failure;
use crate::operation::{Answer, Description, Form, JSON, Parameter, Place};

/// What a handler answers.
pub(crate) type Reply<T> = Result<Answered<T>, Failure>;

/// A response of this kind.
pub(crate) struct Answered<T> {
    response: Response,
    kind: PhantomData<fn() -> T>,
}

impl<T> Answered<T> {
    /// With a cookie.
    pub(crate) fn setting(mut self, cookie: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(cookie) {
            self.response.headers_mut().append(SET_COOKIE, value);
        }
        self
    }
}

/// A kind of answer: its status and its form.
pub(crate) trait Kind {
    fn tell(description: &mut Description);
}

/// 200 with one thing.
#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
pub(crate) struct Data<T> {
    data: T,
}

impl<T> Data<T> {
    pub(crate) const fn of(data: T) -> Self {
        Self { data }
    }
}

/// 200 with a page of things.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub(crate) struct List<T> {
    data: Vec<T>,
    /// Where the next page begins, as `cursor`; `null` when this is the last.
    next_cursor: Option<String>,
}

/// 201 with a created thing and its credential, which only this answer shows.
pub(crate) struct WithToken<T>(PhantomData<fn() -> T>);

/// 201 with a created thing that has no credential.
pub(crate) struct Created<T>(PhantomData<fn() -> T>);

/// 200 with what came of an act that may be repeated.
pub(crate) struct Done<T>(PhantomData<fn() -> T>);

/// 201 with a JSON document in the form of a standard, without an envelope.
pub(crate) struct Made<T>(PhantomData<fn() -> T>);

/// 200 with nothing.
pub(crate) enum Empty {}

/// 204 with nothing.
pub(crate) enum NoContent {}

/// 200 with a JSON document in the form of a standard, without an envelope.
pub(crate) struct Bare<T>(PhantomData<fn() -> T>);

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "{T}WithToken")]
struct TokenForm<'a, T> {
    #[serde(flatten)]
    thing: &'a T,
    /// The credential, which only this answer shows; `null` on a replay.
    token: Option<&'a str>,
    /// It was done before under the same `Idempotency-Key`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    replayed: bool,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "{T}OnceDone")]
struct Repeatable<'a, T> {
    #[serde(flatten)]
    thing: &'a T,
    /// It was done before under the same `Idempotency-Key`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    replayed: bool,
}

/// 200 with one thing.
pub(crate) fn data<T: Serialize>(thing: &T) -> Reply<Data<T>> {
    json(StatusCode::OK, &Data { data: thing })
}

/// 201 with a created thing and its credential.
pub(crate) fn issued<T: Serialize>(issued: &Issued<T>) -> Reply<WithToken<T>> {
    let data = TokenForm {
        thing: &issued.thing,
        token: issued.token.as_ref().map(|token| token.reveal()),
        replayed: issued.replayed,
    };
    json(StatusCode::CREATED, &Data { data })
}

/// 201 with a created thing that has no credential.
pub(crate) fn created<T: Serialize>(issued: &Issued<T>) -> Reply<Created<T>> {
    repeatable(StatusCode::CREATED, issued)
}

/// 200 with what came of an act that may be repeated.
pub(crate) fn done<T: Serialize>(issued: &Issued<T>) -> Reply<Done<T>> {
    repeatable(StatusCode::OK, issued)
}

fn repeatable<T: Serialize, K>(status: StatusCode, issued: &Issued<T>) -> Reply<K> {
    let data = Repeatable {
        thing: &issued.thing,
        replayed: issued.replayed,
    };
    json(status, &Data { data })
}

/// 200 with a page.
pub(crate) fn page<T: Serialize, K: CursorKey>(page: Page<T, K>, filter: &str) -> Reply<List<T>> {
    let next_cursor = page.next.map(|key| encode_cursor(&key, filter));
    json(
        StatusCode::OK,
        &List {
            data: page.items,
            next_cursor,
        },
    )
}

/// This JSON, as an answer of the kind that the caller names.
pub(crate) fn json<T: Serialize, K>(status: StatusCode, body: &T) -> Reply<K> {
    let text = serde_json::to_string(body).map_err(|error| Error::Internal(error.to_string()))?;
    Ok(Answered::of(
        (status, [(CONTENT_TYPE, JSON)], text).into_response(),
    ))
}

impl<T> Answered<T> {
    /// A response that its handler wrote itself.
    pub(crate) fn of(response: Response) -> Self {
        Self {
            response,
            kind: PhantomData,
        }
    }

    pub(crate) fn headers_mut(&mut self) -> &mut http::HeaderMap {
        self.response.headers_mut()
    }
}

impl<T> IntoResponse for Answered<T> {
    fn into_response(self) -> Response {
        self.response
    }
}

impl<T: JsonSchema> Kind for Data<T> {
    fn tell(description: &mut Description) {
        description.answer::<Self>(200);
    }
}

impl<T: JsonSchema + 'static> Kind for WithToken<T> {
    fn tell(description: &mut Description) {
        description.answer::<Data<TokenForm<'static, T>>>(201);
    }
}

impl<T: JsonSchema + 'static> Kind for Created<T> {
    fn tell(description: &mut Description) {
        description.answer::<Data<Repeatable<'static, T>>>(201);
    }
}

impl<T: JsonSchema + 'static> Kind for Done<T> {
    fn tell(description: &mut Description) {
        description.answer::<Data<Repeatable<'static, T>>>(200);
    }
}

impl<T: JsonSchema> Kind for Bare<T> {
    fn tell(description: &mut Description) {
        description.answer::<T>(200);
    }
}

impl<T: JsonSchema> Kind for Made<T> {
    fn tell(description: &mut Description) {
        description.answer::<T>(201);
    }
}

/// An answer without content.
fn nothing(status: u16) -> Answer {
    Answer {
        status,
        media_type: "",
        form: Form::of::<()>(),
        headers: &[],
    }
}

impl Kind for NoContent {
    fn tell(description: &mut Description) {
        description.answers.push(nothing(204));
    }
}

impl Kind for Empty {
    fn tell(description: &mut Description) {
        description.answers.push(nothing(200));
    }
}

impl<T: JsonSchema> Kind for List<T> {
    fn tell(description: &mut Description) {
        description.answer::<Self>(200);
        let limit = json_schema!({
            "type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT,
        });
        let query = |name, text, schema| Parameter {
            place: Place::Query,
            name,
            text,
            form: Form::known(schema),
        };
        let cursor = "The `nextCursor` of the page before, with the same filters.";
        let text = json_schema!({ "type": "string" });
        description.parameters.extend([
            query("limit", "How many things a page has at the most.", limit),
            query("cursor", cursor, text),
        ]);
    }
}
