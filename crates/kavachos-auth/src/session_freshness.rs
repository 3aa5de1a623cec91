//! Asking again who somebody is, before something that matters.
//!
//! Promises: a session that was opened or confirmed a short while ago is fresh, and one use case after another asks for a
//! fresh one; confirming is a proof like that of a sign-in, counted like one, and gives the session a new token. It adds to
//! what is signed in and skips nothing: what one proof leads to lives no longer than what was there,
//! and where two factors are asked for it leads to the second one.

use std::sync::Arc;

use kavachos_core::invalid::Invalid;
use kavachos_engine::plugin::{
    Answer, CallerType, Change, Context, Method, Owing, Plugin, Request, Route,
};
use kavachos_engine::{Error, Guess, Result, SignIn, User};
use kavachos_store::BoxFuture;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::own::signed_in;

/// Its id.
const ID: &str = "session_freshness";
/// The record of somebody who showed again who they are.
const CONFIRMED: &str = "session_freshness.confirmed";

/// A way to show again who one is, in one request.
pub trait Confirm: Send + Sync {
    /// What it is called in the request, and in the session.
    fn method(&self) -> &'static str;

    /// Whether the human has what it asks for.
    fn applies<'a>(&'a self, context: &'a Context, human: &'a User) -> BoxFuture<'a, Result<bool>>;

    /// Looks at what the human shows: the members of the request beside `method`.
    ///
    /// # Errors
    /// It is not right, or not right in form; or it was tried too often.
    fn confirm<'a>(
        &'a self,
        context: &'a Context,
        human: &'a User,
        shown: &'a Map<String, Value>,
    ) -> BoxFuture<'a, Result<Confirmed>>;
}

/// What was shown is right. What it relies on is part of the commit.
pub struct Confirmed {
    /// The guess that it took.
    pub guess: Guess,
    /// What else must be written, or still be so.
    pub change: Box<dyn Fn(Change) -> Change + Send + Sync>,
}

/// How fresh a session is.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Freshness {
    fresh: bool,
    fresh_until: kavachos_core::time::Timestamp,
    methods: Vec<&'static str>,
}

/// Fresh sessions.
#[derive(Clone)]
pub struct SessionFreshness {
    ways: Arc<[Arc<dyn Confirm>]>,
}

impl SessionFreshness {
    /// These are the ways to show again who one is.
    pub fn new(ways: impl IntoIterator<Item = Arc<dyn Confirm>>) -> Self {
        Self {
            ways: ways.into_iter().collect(),
        }
    }
}

impl Plugin for SessionFreshness {
    fn id(&self) -> &'static str {
        ID
    }

    fn kinds(&self) -> Vec<&'static str> {
        vec![CONFIRMED]
    }

    fn routes(&self) -> Vec<Route> {
        let (one, other) = (self.clone(), self.clone());
        let tell = move |context, _| tell(context, one.clone());
        let ask = move |context, request| confirm(context, request, other.clone());
        vec![
            Route::new(
                Method::Get,
                "/api/auth/freshness",
                CallerType::Session,
                tell,
            )
            .owing(Owing::Admitted)
            .described(
                json!({ "summary": "Whether your session is fresh, and how to make it so" }),
            ),
            Route::new(
                Method::Post,
                "/api/auth/re-authenticate",
                CallerType::Session,
                ask,
            )
            .owing(Owing::Admitted)
            .described(json!({ "summary": "Show again who you are" })),
        ]
    }
}

async fn tell(context: Context, freshness: SessionFreshness) -> Result<Answer> {
    let (session, human) = context.engine().own_session(context.known()?).await?;
    let mut methods = Vec::new();
    for way in freshness.ways.iter() {
        if way.applies(&context, &human).await? {
            methods.push(way.method());
        }
    }
    Answer::data(&Freshness {
        fresh: session.fresh_until > context.now(),
        fresh_until: session.fresh_until,
        methods,
    })
}

async fn confirm(
    context: Context,
    request: Request,
    freshness: SessionFreshness,
) -> Result<Answer> {
    let mut shown: Map<String, Value> = request.json()?;
    let human = context.own_account().await?;
    let name = shown.remove("method");
    let name = name.as_ref().and_then(Value::as_str).unwrap_or_default();
    let way = freshness.ways.iter().find(|way| way.method() == name);
    let way = way.ok_or_else(|| {
        let names: Vec<_> = freshness.ways.iter().map(|way| way.method()).collect();
        Invalid::at("method", format!("must be one of `{}`", names.join("`, `")))
    })?;
    let Confirmed { guess, change } = match way.confirm(&context, &human, &shown).await {
        Err(wrong @ Error::Forbidden(_)) => {
            return Err(context.failed(CONFIRMED, human.id, wrong).await?);
        }
        confirmed => confirmed?,
    };
    let confirmed = context.change(CONFIRMED, || async {
        let proof = SignIn::confirming(human.id, way.method());
        let done = Change::of(human.id.to_string()).details(json!({ "method": way.method() }));
        Ok(change(done).signs_in(proof.after(guess.clone())))
    });
    signed_in(confirmed.await?)
}
