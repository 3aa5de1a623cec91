//! Each service is sent what its documented interface asks for, and nothing that it answers gets any further.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use kavachos::core::id::MailId;
use kavachos::mail::{
    ApiKey, HttpApi, Letter, Mail, MailKind, Mailer, Mailing, SendError, Service,
};
use kavachos::{Loopback, Timestamp};
use kavachos_test::Server;
use serde_json::{Value, json};

/// What came.
#[derive(Clone)]
struct Asked {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Value,
}

impl Asked {
    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

struct Stub {
    asked: Arc<Mutex<Vec<Asked>>>,
    server: Server,
}

type Shared = (Arc<Mutex<Vec<Asked>>>, StatusCode);

async fn answer(
    State((asked, status)): State<Shared>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, String) {
    asked.lock().unwrap().push(Asked {
        method,
        path: uri.to_string(),
        headers,
        body: serde_json::from_slice(&body).unwrap(),
    });
    (
        status,
        "{\"message\":\"no mail for ada@example.com\"}".to_owned(),
    )
}

impl Stub {
    async fn answering(status: u16) -> Self {
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let shared = (Arc::clone(&asked), StatusCode::from_u16(status).unwrap());
        let routes = Router::new().fallback(answer).with_state(shared);
        Self {
            asked,
            server: Server::serving(routes).await,
        }
    }

    fn mailing(&self, service: Service, loopback: Loopback) -> Mailing {
        let api = HttpApi::new(service).at(self.server.url());
        let from = "Example <auth@example.com>".parse().unwrap();
        Mailer::new(from, api).mailing(loopback).unwrap()
    }

    async fn send(&self, service: Service) -> Result<(), SendError> {
        let mailing = self.mailing(service, Loopback::Allowed);
        mailing.sender.send(letter(&mailing)).await
    }

    fn only(&self) -> Asked {
        let asked = self.asked.lock().unwrap();
        assert_eq!(asked.len(), 1);
        asked[0].clone()
    }
}

fn letter(mailing: &Mailing) -> Letter {
    let mail =
        Mail::new("ada@example.com".parse().unwrap(), MailKind::EmailOtp).with("code", "739142");
    // 2015-08-30T12:36:00Z
    let now = Timestamp::from_micros(1_440_938_160_000_000);
    let site = ("https://auth.example.com", now);
    mailing
        .letter_of(MailId::from_bits(7), &mail, site)
        .unwrap()
}

fn key() -> ApiKey {
    ApiKey::new("secret-key")
}

fn ses() -> Service {
    Service::Ses {
        region: "eu-central-1".to_owned(),
        access_key_id: "AKIDEXAMPLE".to_owned(),
        secret: key(),
    }
}

fn says(text: &Value) {
    let text = text.as_str().unwrap();
    assert!(text.contains("739142"), "{text}");
}

#[tokio::test]
async fn resend_is_asked_as_it_documents() {
    let stub = Stub::answering(200).await;
    stub.send(Service::Resend(key())).await.unwrap();
    let asked = stub.only();
    assert_eq!(
        (asked.method.as_str(), asked.path.as_str()),
        ("POST", "/emails")
    );
    assert_eq!(asked.header("authorization"), "Bearer secret-key");
    assert_eq!(asked.header("content-type"), "application/json");
    assert_eq!(
        asked.header("idempotency-key"),
        MailId::from_bits(7).to_string()
    );
    let body = &asked.body;
    assert_eq!(body["from"], "\"Example\" <auth@example.com>");
    assert_eq!(body["to"], json!(["ada@example.com"]));
    assert_eq!(body["subject"], "Your code for Example");
    assert_eq!(
        body["headers"],
        json!({ "Auto-Submitted": "auto-generated" })
    );
    says(&body["text"]);
    says(&body["html"]);
}

#[tokio::test]
async fn sendgrid_is_asked_as_it_documents_and_rewrites_no_link() {
    let stub = Stub::answering(202).await;
    stub.send(Service::SendGrid(key())).await.unwrap();
    let asked = stub.only();
    assert_eq!(
        (asked.method.as_str(), asked.path.as_str()),
        ("POST", "/v3/mail/send")
    );
    assert_eq!(asked.header("authorization"), "Bearer secret-key");
    let body = &asked.body;
    assert_eq!(
        body["personalizations"],
        json!([{ "to": [{ "email": "ada@example.com" }] }])
    );
    assert_eq!(
        body["from"],
        json!({ "email": "auth@example.com", "name": "Example" })
    );
    assert_eq!(body["subject"], "Your code for Example");
    // Plain text has to come first.
    assert_eq!(body["content"][0]["type"], "text/plain");
    assert_eq!(body["content"][1]["type"], "text/html");
    says(&body["content"][0]["value"]);
    says(&body["content"][1]["value"]);
    let tracking = &body["tracking_settings"];
    assert_eq!(
        tracking["click_tracking"],
        json!({ "enable": false, "enable_text": false })
    );
    assert_eq!(tracking["open_tracking"], json!({ "enable": false }));
}

#[tokio::test]
async fn postmark_is_asked_as_it_documents_and_rewrites_no_link() {
    let stub = Stub::answering(200).await;
    stub.send(Service::Postmark(key())).await.unwrap();
    let asked = stub.only();
    assert_eq!(
        (asked.method.as_str(), asked.path.as_str()),
        ("POST", "/email")
    );
    assert_eq!(asked.header("x-postmark-server-token"), "secret-key");
    assert_eq!(asked.header("accept"), "application/json");
    let body = &asked.body;
    assert_eq!(body["From"], "\"Example\" <auth@example.com>");
    assert_eq!(body["To"], "ada@example.com");
    assert_eq!(body["Subject"], "Your code for Example");
    assert_eq!(body["MessageStream"], "outbound");
    assert_eq!(
        (&body["TrackOpens"], &body["TrackLinks"]),
        (&json!(false), &json!("None"))
    );
    says(&body["TextBody"]);
    says(&body["HtmlBody"]);
}

#[tokio::test]
async fn ses_is_asked_as_it_documents_with_a_signature_over_host_time_type_and_body() {
    let stub = Stub::answering(200).await;
    stub.send(ses()).await.unwrap();
    let asked = stub.only();
    assert_eq!(
        (asked.method.as_str(), asked.path.as_str()),
        ("POST", "/v2/email/outbound-emails")
    );
    assert_eq!(asked.header("x-amz-date"), "20150830T123600Z");
    let authorization = asked.header("authorization");
    let scope = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/eu-central-1/ses/aws4_request, \
                 SignedHeaders=content-type;host;x-amz-date, Signature=";
    assert!(authorization.starts_with(scope), "{authorization}");
    let body = &asked.body;
    assert_eq!(body["FromEmailAddress"], "\"Example\" <auth@example.com>");
    assert_eq!(
        body["Destination"],
        json!({ "ToAddresses": ["ada@example.com"] })
    );
    let simple = &body["Content"]["Simple"];
    assert_eq!(
        simple["Subject"],
        json!({ "Data": "Your code for Example", "Charset": "UTF-8" })
    );
    assert_eq!(
        simple["Headers"],
        json!([{ "Name": "Auto-Submitted", "Value": "auto-generated" }])
    );
    says(&simple["Body"]["Text"]["Data"]);
    says(&simple["Body"]["Html"]["Data"]);
}

#[tokio::test]
async fn what_a_service_answers_decides_and_is_not_repeated() {
    for (status, is_permanent) in [
        (422, true),
        (400, true),
        (401, false),
        (429, false),
        (503, false),
    ] {
        let stub = Stub::answering(status).await;
        for service in [
            Service::Resend(key()),
            Service::SendGrid(key()),
            Service::Postmark(key()),
            ses(),
        ] {
            let error = stub.send(service).await.unwrap_err();
            assert_eq!(
                (error.is_permanent(), error.status()),
                (is_permanent, Some(status))
            );
            assert!(!error.to_string().contains("ada"), "{error}");
        }
    }
}

#[tokio::test]
async fn a_service_is_called_through_the_guard() {
    let stub = Stub::answering(200).await;
    let mailing = stub.mailing(Service::Resend(key()), Loopback::Refused);
    let refused = mailing.sender.send(letter(&mailing)).await.unwrap_err();
    assert_eq!(
        refused.reason(),
        "the address of the mail service may not be fetched"
    );
    assert!(stub.asked.lock().unwrap().is_empty());
    // The twin.
    stub.send(Service::Resend(key())).await.unwrap();
    assert_eq!(stub.only().path, "/emails");
}
