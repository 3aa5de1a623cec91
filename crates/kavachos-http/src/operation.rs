//! One declaration for each operation: it puts the handler on the router and describes it in the document.
//!
//! Promises: nothing is on the router that is not described, since a handler reaches it only inside an [`Operation`];
//! and what the handler's signature says (its body, its `{id}`, what it answers) is never said a second time.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use axum::handler::Handler;
use axum::routing::{MethodFilter, MethodRouter, on};
use kavachos_engine::actor::Scope;
use kavachos_oauth::Code;
use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::error::Refusal;
use crate::signature::Signature;
use crate::state::State;

/// A handler at its place, and what is told about it.
pub(crate) struct Operation {
    pub(crate) route: MethodRouter<State>,
    pub(crate) description: Description,
}

/// What no signature can say: every operation says all of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct About {
    /// The stable name under which clients are generated.
    pub(crate) id: &'static str,
    /// The chapter.
    pub(crate) tag: &'static str,
    /// One line, without a full stop.
    pub(crate) summary: &'static str,
    /// What else a caller must know.
    pub(crate) text: &'static str,
    /// Who may call; nobody listed means that it is open.
    pub(crate) callers: &'static [Caller],
}

/// A kind of caller, and what it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    /// An operator's key with this scope.
    Operator(Scope),
    /// An agent's key, for the agent itself and what is its own.
    Agent,
    /// An operator's key, whatever its scopes.
    AnyOperator,
    /// An operator's key with every scope and no ceiling.
    EveryScope,
    /// A human's session, for what is the human's.
    Session,
    /// A tool server's key, within its scopes.
    ToolServer,
    /// A proxy with a key of its own, which hands on the credential of an agent.
    Proxy,
}

/// An operation as the document tells it.
#[derive(Clone)]
pub(crate) struct Description {
    /// In small letters.
    pub(crate) method: &'static str,
    pub(crate) path: Cow<'static, str>,
    pub(crate) about: About,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) body: Option<Form>,
    /// The media type of the body.
    pub(crate) body_type: &'static str,
    pub(crate) answers: Vec<Answer>,
    pub(crate) refusals: BTreeSet<Refusal>,
    pub(crate) error_form: ErrorForm,
    /// What an endpoint of OAuth refuses.
    pub(crate) oauth: BTreeSet<Code>,
}

/// A parameter of the path, the query or a header.
#[derive(Clone)]
pub(crate) struct Parameter {
    pub(crate) place: Place,
    pub(crate) name: &'static str,
    pub(crate) text: &'static str,
    pub(crate) form: Form,
}

/// Where a parameter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Path,
    Query,
    Header,
}

/// What is answered when the request is not refused.
#[derive(Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) media_type: &'static str,
    pub(crate) form: Form,
    /// Headers that it always has.
    pub(crate) headers: &'static [&'static str],
}

/// How a refusal is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorForm {
    /// `{"error": ...}`.
    Envelope,
    /// A message, as AuthZEN wants it.
    Plain,
    /// `{"error": "...", "error_description": "..."}`, as RFC 6749 wants it.
    OAuth,
}

/// How the schema of a value is made: of what is read, or of what is written.
#[derive(Clone)]
pub(crate) struct Form(Arc<dyn Fn(&mut SchemaGenerator) -> Schema + Send + Sync>);

pub(crate) const JSON: &str = "application/json";
pub(crate) const FORM: &str = "application/x-www-form-urlencoded";

impl Form {
    /// The schema of a type.
    pub(crate) fn of<T: JsonSchema + ?Sized>() -> Self {
        Self(Arc::new(|generator| generator.subschema_for::<T>()))
    }

    /// A schema that is known already.
    pub(crate) fn known(schema: Schema) -> Self {
        Self(Arc::new(move |_| schema.clone()))
    }

    pub(crate) fn schema(&self, generator: &mut SchemaGenerator) -> Schema {
        (self.0)(generator)
    }
}

impl Operation {
    /// `GET`.
    pub(crate) fn get<H, T, A>(path: &'static str, about: About, handler: H) -> Self
    where
        H: Handler<T, State> + Signature<A>,
        T: 'static,
    {
        Self::new((MethodFilter::GET, "get"), path, about, handler)
    }

    /// `GET` at a path that is known only when the server starts.
    pub(crate) fn get_at<H, T, A>(path: String, about: About, handler: H) -> Self
    where
        H: Handler<T, State> + Signature<A>,
        T: 'static,
    {
        Self::new((MethodFilter::GET, "get"), path, about, handler)
    }

    /// `POST`.
    pub(crate) fn post<H, T, A>(path: &'static str, about: About, handler: H) -> Self
    where
        H: Handler<T, State> + Signature<A>,
        T: 'static,
    {
        Self::new((MethodFilter::POST, "post"), path, about, handler)
    }

    /// `PUT`.
    pub(crate) fn put<H, T, A>(path: &'static str, about: About, handler: H) -> Self
    where
        H: Handler<T, State> + Signature<A>,
        T: 'static,
    {
        Self::new((MethodFilter::PUT, "put"), path, about, handler)
    }

    /// `PATCH`.
    pub(crate) fn patch<H, T, A>(path: &'static str, about: About, handler: H) -> Self
    where
        H: Handler<T, State> + Signature<A>,
        T: 'static,
    {
        Self::new((MethodFilter::PATCH, "patch"), path, about, handler)
    }

    /// `DELETE`.
    pub(crate) fn delete<H, T, A>(path: &'static str, about: About, handler: H) -> Self
    where
        H: Handler<T, State> + Signature<A>,
        T: 'static,
    {
        Self::new((MethodFilter::DELETE, "delete"), path, about, handler)
    }

    fn new<H, T, A>(
        (filter, method): (MethodFilter, &'static str),
        path: impl Into<Cow<'static, str>>,
        about: About,
        handler: H,
    ) -> Self
    where
        H: Handler<T, State> + Signature<A>,
        T: 'static,
    {
        let mut description = Description {
            method,
            path: path.into(),
            about,
            parameters: Vec::new(),
            body: None,
            body_type: JSON,
            answers: Vec::new(),
            refusals: BTreeSet::from([Refusal::Internal]),
            error_form: ErrorForm::Envelope,
            oauth: BTreeSet::new(),
        };
        H::describe(&mut description);
        Self {
            route: on(filter, handler),
            description,
        }
    }

    /// With a parameter in the query.
    pub(crate) fn query<T: JsonSchema>(self, name: &'static str, text: &'static str) -> Self {
        self.query_of(name, text, Form::of::<T>())
    }

    /// With a parameter in the query that has this form.
    pub(crate) fn query_of(mut self, name: &'static str, text: &'static str, form: Form) -> Self {
        self.description.parameters.push(Parameter {
            place: Place::Query,
            name,
            text,
            form,
        });
        self
    }

    /// Reading a body of this media type, which is no JSON.
    pub(crate) fn reading(mut self, media_type: &'static str) -> Self {
        self.description.body = Some(Form::of::<String>());
        self.description.body_type = media_type;
        self
    }

    /// Reading JSON of this form.
    pub(crate) fn reading_json(mut self, form: Form) -> Self {
        self.description.body = Some(form);
        self
    }

    /// Reading parameters of a form, as HTML has them.
    pub(crate) fn reading_form(mut self, form: Form) -> Self {
        self.description.body = Some(form);
        self.description.body_type = FORM;
        self
    }

    /// With what the use case refuses besides what the signature says.
    pub(crate) fn refusing(mut self, refusals: &[Refusal]) -> Self {
        self.description.refusals.extend(refusals);
        self
    }

    /// Refusing in the words of OAuth: these besides what every endpoint refuses.
    pub(crate) fn in_oauth(mut self, codes: &[Code]) -> Self {
        self.description.error_form = ErrorForm::OAuth;
        self.description
            .oauth
            .extend(Code::EVERYWHERE.iter().chain(codes));
        self
    }

    /// Refusing with a plain message.
    pub(crate) fn in_plain_words(mut self) -> Self {
        self.description.error_form = ErrorForm::Plain;
        self
    }
}

impl Description {
    pub(crate) fn header(&mut self, name: &'static str, text: &'static str, form: Form) {
        self.parameters.push(Parameter {
            place: Place::Header,
            name,
            text,
            form,
        });
    }

    pub(crate) fn answer<T: JsonSchema>(&mut self, status: u16) {
        self.answers.push(Answer {
            status,
            media_type: JSON,
            form: Form::of::<T>(),
            headers: &[],
        });
    }

    /// Whether it changes or makes something, so that a call can be repeated under one key.
    pub(crate) fn is_post(&self) -> bool {
        self.method == "post"
    }
}
