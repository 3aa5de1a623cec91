//! What the signature of a handler says about its operation: each argument tells what it reads and refuses, the result
//! what is answered.

use std::any::TypeId;

use kavachos_core::client::MAX_CLIENT_ID_BYTES;
use kavachos_core::id::{Id, Named, ToolServerId};
use kavachos_core::token::MAX_TOKEN_BYTES;
use kavachos_engine::LineName;
use schemars::{JsonSchema, json_schema};

use axum::extract::{Request, State as FromState};
use http::HeaderMap;

use crate::body::{Body, MAX_IDEMPOTENCY_KEY_BYTES, Nothing, Question};
use crate::call::{AnyKeyCall, Call, OwingCall};
use crate::error::{Failure, Refusal};
use crate::operation::{Description, Form, Parameter, Place};
use crate::params::Params;
use crate::possession::{NewKey, OwnKey, Possession};
use crate::reply::{Answered, Kind};
use crate::routes::PathId;
use crate::routes::clients::PathClient;
use crate::routes::connections::{PathLine, PathResource};
use crate::routes::oauth::{Arrival, One, Said};
use crate::state::State;

/// A handler whose arguments and result tell what it does.
pub(crate) trait Signature<Arguments> {
    fn describe(description: &mut Description);
}

/// An argument of a handler.
pub(crate) trait Tells {
    fn tell(description: &mut Description);
}

/// The result of a handler.
pub(crate) trait Answers {
    fn tell(description: &mut Description);
}

/// Rust has no functions over lists of types, so each number of arguments has its own implementation.
macro_rules! signatures {
    ($($argument:ident)*) => {
        impl<Function, Run, $($argument),*> Signature<($($argument,)*)> for Function
        where
            Function: Fn($($argument),*) -> Run,
            Run: Future<Output: Answers>,
            $($argument: Tells,)*
        {
            fn describe(description: &mut Description) {
                $($argument::tell(description);)*
                Run::Output::tell(description);
            }
        }
    };
}

signatures!();
signatures!(A);
signatures!(A B);
signatures!(A B C);
signatures!(A B C D);
signatures!(A B C D E);

impl<T: Kind> Answers for Result<Answered<T>, Failure> {
    fn tell(description: &mut Description) {
        T::tell(description);
    }
}

impl<T: Kind> Answers for Answered<T> {
    fn tell(description: &mut Description) {
        T::tell(description);
    }
}

impl Tells for FromState<State> {
    fn tell(_: &mut Description) {}
}

impl Tells for HeaderMap {
    fn tell(_: &mut Description) {}
}

/// Who takes the request as a whole says in the declaration what is read of it.
impl Tells for Request {
    fn tell(_: &mut Description) {}
}

/// What everyone with a credential may be told, whatever they call.
pub(crate) const OF_CALLERS: [Refusal; 8] = [
    Refusal::Unauthenticated,
    Refusal::Forbidden,
    Refusal::SecondFactorRequired,
    Refusal::TooManyRequests,
    Refusal::Busy,
    Refusal::LedgerUnavailable,
    Refusal::ProviderUnavailable,
    Refusal::OutcomeUnknown,
];

impl Tells for Call {
    fn tell(description: &mut Description) {
        description.refusals.extend(OF_CALLERS);
    }
}

impl Tells for OwingCall {
    fn tell(description: &mut Description) {
        let others = OF_CALLERS.into_iter();
        let others = others.filter(|refusal| *refusal != Refusal::SecondFactorRequired);
        description.refusals.extend(others);
    }
}

impl Tells for AnyKeyCall {
    fn tell(description: &mut Description) {
        description.refusals.extend(OF_CALLERS);
    }
}

impl Tells for Params {
    fn tell(description: &mut Description) {
        description.refusals.insert(Refusal::MalformedRequest);
    }
}

impl Tells for Possession {
    fn tell(description: &mut Description) {
        let text = "A proof of the key that the token is to be bound to (RFC 9449), good once.";
        proof(description, "DPoP", text);
    }
}

impl Tells for OwnKey {
    fn tell(description: &mut Description) {
        let text = "A proof of the calling agent's `proofKey` (RFC 9449), good once. An agent that has one must send it.";
        proof(description, "DPoP", text);
    }
}

impl Tells for NewKey {
    fn tell(description: &mut Description) {
        let text = "A proof of the `proofKey` of the body, made as for `DPoP`, good once. A calling agent must send it with one.";
        proof(description, "Kavach-Key-Proof", text);
    }
}

fn proof(description: &mut Description, header: &'static str, text: &'static str) {
    let form = Form::known(json_schema!({ "type": "string", "maxLength": MAX_TOKEN_BYTES }));
    description.header(header, text, form);
    description.refusals.insert(Refusal::MalformedRequest);
}

impl Tells for Arrival {
    fn tell(description: &mut Description) {
        Possession::tell(description);
    }
}

impl Tells for Said {
    fn tell(_: &mut Description) {}
}

impl Tells for One {
    fn tell(description: &mut Description) {
        description.parameters.push(Parameter {
            place: Place::Path,
            name: "client_id",
            text: "Which client.",
            form: Form::of::<String>(),
        });
    }
}

impl<K: Named> Tells for PathId<K> {
    fn tell(description: &mut Description) {
        description.parameters.push(Parameter {
            place: Place::Path,
            name: "id",
            text: "Which one.",
            form: Form::of::<Id<K>>(),
        });
        let refusals = [Refusal::MalformedRequest, Refusal::NotFound];
        description.refusals.extend(refusals);
    }
}

impl Tells for PathLine {
    fn tell(description: &mut Description) {
        description.parameters.push(Parameter {
            place: Place::Path,
            name: "line",
            text: "Which line of it.",
            form: Form::of::<LineName>(),
        });
    }
}

impl Tells for PathResource {
    fn tell(description: &mut Description) {
        description.parameters.push(Parameter {
            place: Place::Path,
            name: "resource",
            text: "Which tool server.",
            form: Form::of::<ToolServerId>(),
        });
    }
}

impl Tells for PathClient {
    fn tell(description: &mut Description) {
        let form = json_schema!({ "type": "string", "maxLength": MAX_CLIENT_ID_BYTES });
        description.parameters.push(Parameter {
            place: Place::Path,
            name: "id",
            text: "Which one: its id, or the address of its document, percent-encoded.",
            form: Form::known(form),
        });
        let refusals = [Refusal::MalformedRequest, Refusal::NotFound];
        description.refusals.extend(refusals);
    }
}

impl<T: JsonSchema> Tells for Question<T> {
    fn tell(description: &mut Description) {
        description.body = Some(Form::of::<T>());
        let refusals = [
            Refusal::MalformedRequest,
            Refusal::RequestTimeout,
            Refusal::TooLarge,
        ];
        description.refusals.extend(refusals);
    }
}

impl<T: JsonSchema + 'static> Tells for Body<T> {
    fn tell(description: &mut Description) {
        Question::<T>::tell(description);
        if description.is_post() {
            // A body that can be no other is never another one.
            if TypeId::of::<T>() != TypeId::of::<Nothing>() {
                description.refusals.insert(Refusal::IdempotencyMismatch);
            }
            let form = Form::known(json_schema!({
                "type": "string", "pattern": "^[!-~]+$", "minLength": 1, "maxLength": MAX_IDEMPOTENCY_KEY_BYTES,
            }));
            let text = "Does it once: for a day the same call is answered with what was done the first time.";
            description.header("Idempotency-Key", text, form);
        }
    }
}
