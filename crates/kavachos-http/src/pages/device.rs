//! `/device`, where a human types the code that a device shows, and `/device/consent`, where they say yes or no to it.
//!
//! Promises: the code is typed, also by who comes with it in the address: a link that somebody sends lets nobody in. Whoever types
//! it proved lately who they are; it is theirs from then on. What is asked is read and judged at every step anew, and a yes comes
//! from a form of ours, in the session of the human who saw it.

use axum::Router;
use axum::routing::get;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::StatusCode;
use kavachos_core::client::UserCode;
use kavachos_core::invalid::Invalid;
use kavachos_core::secret::SecretHash;
use kavachos_engine::{DeviceRequest, Error};

use super::at::{At, Sent, Who};
use super::browser::Browser;
use super::consent::offers;
use super::failure::sentence;
use super::html::{self, Runs};
use super::view::{DeviceConsent, Door, Field, Frame, Icon, Notice};
use super::{Shown, csrf, see_other, words};
use crate::error::Failure;
use crate::params::Params;
use crate::state::State;

/// Where the code is typed.
const TYPE: &str = "/device";
/// Where it is said what comes of it.
const CONSENT: &str = "/device/consent";

pub(super) fn routes() -> Router<State> {
    Router::new()
        .route(TYPE, get(ask).post(typed))
        .route(CONSENT, get(look).post(answer))
}

async fn ask(at: At<Browser>, mut params: Params) -> Shown {
    let done: Option<String> = params.take("done")?;
    match done.as_deref() {
        Some("allowed") => told(
            &at,
            "Done",
            "The device is let in. Go back to it: it goes on by itself.",
        ),
        Some("denied") => told(&at, "Denied", "The device is not let in."),
        _ => match at.prove_first(TYPE) {
            Some(first) => Ok(first),
            None => form(&at, StatusCode::OK, None),
        },
    }
}

fn told(at: &At<Browser>, title: &str, lead: &str) -> Shown {
    let page = Door {
        frame: Frame::titled(title),
        icon: Some(Icon::Check),
        lead: lead.to_owned(),
        links: vec![(
            "Stop it, or see what it does:",
            "/account/connections".to_owned(),
            "your connections",
        )],
        ..Door::default()
    };
    at.door(StatusCode::OK, page)
}

/// The page where the code is typed, with what is wrong with the one that was.
fn form(at: &At<Browser>, status: StatusCode, wrong: Option<String>) -> Shown {
    let code = Field {
        look: "paper",
        max: 16,
        ..Field::text("user_code", "Code")
    };
    let page = Door {
        frame: Frame {
            notice: wrong.map(|wrong| Notice::new("bad", wrong)),
            ..Frame::titled("Connect a device")
        },
        icon: Some(Icon::Link),
        lead: "Type the code that the device in front of you shows. Nobody who helps you needs one from you.".to_owned(),
        action: TYPE.to_owned(),
        fields: vec![code.with_hint("Eight letters, like WDJB-MJHT.").focused()],
        button: "Go on",
        ..Door::default()
    };
    at.door(status, page)
}

async fn typed(Sent { at, form: sent }: Sent<Browser>) -> Shown {
    if let Some(first) = at.prove_first(TYPE) {
        return Ok(first);
    }
    let code = match UserCode::parse(sent.text("user_code")) {
        Ok(code) => code,
        Err(wrong) => {
            let wrong = sentence(&format!("the code {}", wrong.message()));
            return form(&at, StatusCode::BAD_REQUEST, Some(wrong));
        }
    };
    match at.engine().type_code(&at.who.actor, &code).await {
        Ok(name) => {
            let name = BASE64_URL_SAFE_NO_PAD.encode(name.as_bytes());
            Ok(see_other(&path_of(&name)))
        }
        Err(error) => failed(&at, error),
    }
}

fn path_of(request: &str) -> String {
    format!("{CONSENT}?request={request}")
}

/// What is over is told where the next code is typed.
fn failed(at: &At<Browser>, error: Error) -> Shown {
    match error {
        Error::WrongState(why) => form(at, StatusCode::CONFLICT, Some(sentence(&why))),
        error => Err(error.into()),
    }
}

/// The device that waits under this name, for the human who typed its code.
async fn read(at: &At<Browser>, request: &str) -> Result<Result<DeviceRequest, Error>, Failure> {
    let name: Option<[u8; 32]> = BASE64_URL_SAFE_NO_PAD
        .decode(request)
        .ok()
        .and_then(|bytes| bytes.try_into().ok());
    let name = name.ok_or_else(|| Invalid::at("request", "cannot be read; type the code again"))?;
    let name = SecretHash::from_bytes(name);
    Ok(at.engine().device_request(&at.who.actor, name).await)
}

async fn look(at: At<Browser>, mut params: Params) -> Shown {
    let request: String = params.take("request")?.unwrap_or_default();
    let device = match read(&at, &request).await? {
        Ok(device) => device,
        Err(error) => return failed(&at, error),
    };
    match at.prove_first(&path_of(&request)) {
        Some(first) => Ok(first),
        None => show(&at, (&device, &request), None),
    }
}

fn show(
    at: &At<Browser>,
    (device, request): (&DeviceRequest, &str),
    notice: Option<Notice>,
) -> Shown {
    let client = &device.access.client.metadata;
    let agent = device.user_agent.as_deref();
    let page = DeviceConsent {
        frame: Frame {
            brand: at.state.assets().brand(),
            csrf: csrf::mark(at.who.secret()),
            notice,
            ..Frame::titled("Let the device in?")
        },
        client: client.client_name.clone(),
        site: client.client_uri.clone(),
        human: at.who.name(),
        places: offers(&device.access),
        address: device
            .ip
            .clone()
            .unwrap_or_else(|| "an unknown address".to_owned()),
        device: agent.unwrap_or("nothing").to_owned(),
        asked: words::time(device.asked_at, at.engine().now()),
        request: request.to_owned(),
        shown: shown(device),
    };
    html::page(Runs::Nothing, &page)
}

/// Tells what a human saw from anything else: that alone they say yes to.
fn shown(device: &DeviceRequest) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(device.access.digest())
}

async fn answer(Sent { at, form: sent }: Sent<Browser>) -> Shown {
    let request = sent.text("request");
    let device = match read(&at, request).await? {
        Ok(device) => device,
        Err(error) => return failed(&at, error),
    };
    let (engine, human) = (at.engine(), &at.who.actor);
    let (answered, done) = match sent.text("decision") {
        "deny" => (engine.keep_out(human, &device.access).await, "denied"),
        "allow" => {
            if let Some(first) = at.prove_first(&path_of(request)) {
                return Ok(first);
            }
            if sent.text("shown") != shown(&device) {
                let changed = "What is asked changed while you read it. Here is what it is now.";
                let notice = Notice::new("warn", changed);
                return show(&at, (&device, request), Some(notice));
            }
            (engine.let_device_in(human, &device.access).await, "allowed")
        }
        _ => return Err(Invalid::at("decision", "is `allow` or `deny`").into()),
    };
    match answered {
        Ok(()) => Ok(see_other(&format!("{TYPE}?done={done}"))),
        Err(error) => failed(&at, error),
    }
}
