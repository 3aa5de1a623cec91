//! `GET /api/v1/audit/export`: every record that the filters leave, oldest first, as a stream.
//!
//! An export that fails midway breaks its connection off: it never ends as if it were whole, and an array of JSON is
//! left open.

use axum::body::{Body, Bytes};
use axum::extract::State as FromState;
use axum::response::IntoResponse;
use futures_util::stream::{Stream, unfold};
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use kavachos_core::invalid::Invalid;
use kavachos_engine::actor::Scope;
use kavachos_engine::{AuditExport, AuditFormat, AuditRecord, Error};
use schemars::json_schema;

use crate::call::Call;
use crate::operation::{self, About, Description, Form, JSON, Operation};
use crate::params::Params;
use crate::reply::{Answered, Kind, Reply};
use crate::routes::audit::{csv, filter, filtered};
use crate::routes::tenant::LINES;
use crate::state::State;

/// Forms for other programs that a later version brings.
const LATER: [&str; 5] = ["ocsf", "ecs", "cef", "syslog", "otlp"];

const CSV: &str = "text/csv; charset=utf-8; header=present";

/// 200 with the records in one of three forms.
pub(crate) struct Records;

impl Kind for Records {
    fn tell(description: &mut Description) {
        let forms = [
            (JSON, Form::of::<Vec<AuditRecord>>()),
            (LINES, Form::of::<String>()),
            (CSV, Form::of::<String>()),
        ];
        let answers = forms.map(|(media_type, form)| operation::Answer {
            status: 200,
            media_type,
            form,
            headers: &[],
        });
        description.answers.extend(answers);
    }
}

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "exportRecords",
        tag: "Audit",
        summary: "Hand out records, oldest first, without a limit",
        text: "A file of every record that the filters leave. One that breaks off is no whole file: its connection ends \
               in the middle, and an array of JSON is left open.",
        callers: &[operation::Caller::Operator(Scope::AuditExport)],
    };
    let names = AuditFormat::ALL.map(AuditFormat::as_str);
    let format = Form::known(json_schema!({ "type": "string", "enum": names, "default": "json" }));
    filtered(Operation::get("/api/v1/audit/export", ABOUT, handle)).query_of(
        "format",
        "The form of the file.",
        format,
    )
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    mut params: Params,
) -> Reply<Records> {
    let format = format(params.take("format")?)?;
    let filter = filter(&mut params)?;
    params.end()?;
    let export = state.engine.export_audit(&actor, &filter, format).await?;
    let (kind, disposition) = match format {
        AuditFormat::Json => (JSON, "attachment; filename=\"audit.json\""),
        AuditFormat::JsonLines => (LINES, "attachment; filename=\"audit.jsonl\""),
        AuditFormat::Csv => (CSV, "attachment; filename=\"audit.csv\""),
    };
    let headers = [(CONTENT_TYPE, kind), (CONTENT_DISPOSITION, disposition)];
    let body = Body::from_stream(written(export, format));
    Ok(Answered::of((headers, body).into_response()))
}

fn format(given: Option<String>) -> Result<AuditFormat, Invalid> {
    let Some(name) = given else {
        return Ok(AuditFormat::Json);
    };
    let known = AuditFormat::ALL
        .iter()
        .find(|format| format.as_str() == name);
    known.copied().ok_or_else(|| {
        let later = LATER.contains(&name.as_str());
        let why = if later {
            "this version does not write it yet; choose `json`, `jsonl` or `csv`"
        } else {
            "must be `json`, `jsonl` or `csv`"
        };
        Invalid::at("format", why)
    })
}

/// What is still to be sent.
enum Next {
    Head(AuditExport),
    Records { export: AuditExport, first: bool },
    Nothing,
}

fn written(export: AuditExport, format: AuditFormat) -> impl Stream<Item = Result<Bytes, Error>> {
    unfold(Next::Head(export), move |next| async move {
        let (text, next) = match next {
            Next::Head(export) => {
                let records = Next::Records {
                    export,
                    first: true,
                };
                (Ok(head(format)), records)
            }
            Next::Records { export, first } => records(export, first, format).await,
            Next::Nothing => return None,
        };
        Some((text.map(Bytes::from), next))
    })
}

async fn records(
    mut export: AuditExport,
    first: bool,
    format: AuditFormat,
) -> (Result<String, Error>, Next) {
    match export.step().await {
        Ok(Some(records)) => {
            let text = lines(&records, first, format);
            let first = first && records.is_empty();
            (Ok(text), Next::Records { export, first })
        }
        Ok(None) => (Ok(tail(first, format)), Next::Nothing),
        Err(error) => {
            tracing::warn!(%error, "an export of the audit trail broke off");
            (Err(error), Next::Nothing)
        }
    }
}

fn head(format: AuditFormat) -> String {
    match format {
        AuditFormat::Json => "[".to_owned(),
        AuditFormat::JsonLines => String::new(),
        AuditFormat::Csv => csv::head(),
    }
}

fn lines(records: &[AuditRecord], first: bool, format: AuditFormat) -> String {
    let mut out = String::new();
    for (index, record) in records.iter().enumerate() {
        // A map of JSON values can always be written, as one line.
        let json = || serde_json::to_string(record).unwrap_or_default();
        match format {
            AuditFormat::Json => {
                let begins = first && index == 0;
                out.push_str(if begins { "\n" } else { ",\n" });
                out.push_str(&json());
            }
            AuditFormat::JsonLines => {
                out.push_str(&json());
                out.push('\n');
            }
            AuditFormat::Csv => csv::line(record, &mut out),
        }
    }
    out
}

fn tail(first: bool, format: AuditFormat) -> String {
    match format {
        AuditFormat::Json if first => "]\n".to_owned(),
        AuditFormat::Json => "\n]\n".to_owned(),
        AuditFormat::JsonLines | AuditFormat::Csv => String::new(),
    }
}
