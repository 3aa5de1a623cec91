//! An answer of the API, and how it is taken apart.

use axum::body::Bytes;
use http::{Response, StatusCode};
use kavachos_core::json;
use serde_json::Value;

use crate::failure::{Failure, Refusal};

/// An answer with data.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The body as it came.
    pub(crate) body: Bytes,
    value: Value,
}

impl Answer {
    /// Tells answers with data from refusals, and refuses what no KavachOS server says.
    pub(crate) fn read(response: Response<Bytes>) -> Result<Self, Failure> {
        let (parts, body) = response.into_parts();
        let value = json::parse(&body).ok();
        if !parts.status.is_success() {
            return Err(refusal(parts.status, body, value.as_ref()));
        }
        match value {
            Some(value) if value.is_object() => Ok(Self { body, value }),
            _ => Err(Failure::Stranger {
                status: parts.status.as_u16(),
            }),
        }
    }

    /// The thing that was asked for.
    pub(crate) fn data(&self) -> &Value {
        self.value.get("data").unwrap_or(&Value::Null)
    }

    /// The things that were asked for.
    pub(crate) fn items(&self) -> &[Value] {
        self.data().as_array().map_or(&[], Vec::as_slice)
    }

    /// Where the next page begins.
    pub(crate) fn next_cursor(&self) -> Option<&str> {
        self.value.get("nextCursor").and_then(Value::as_str)
    }
}

fn refusal(status: StatusCode, body: Bytes, value: Option<&Value>) -> Failure {
    let member = |name: &str| value?.get("error")?.get(name)?.as_str().map(str::to_owned);
    match (member("code"), member("message")) {
        (Some(code), Some(message)) => Failure::Refused(Box::new(Refusal {
            code,
            message,
            request_id: member("requestId"),
            field: member("field"),
            body,
        })),
        _ => Failure::Stranger {
            status: status.as_u16(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: u16, body: &'static str) -> Result<Answer, Failure> {
        Answer::read(
            Response::builder()
                .status(status)
                .body(Bytes::from_static(body.as_bytes()))
                .unwrap(),
        )
    }

    #[test]
    fn data_lists_and_refusals_are_told_apart() {
        let list = read(200, r#"{"data":[{"id":"a"}],"nextCursor":"c"}"#).unwrap();
        assert_eq!((list.items().len(), list.next_cursor()), (1, Some("c")));
        let refused = read(
            403,
            r#"{"error":{"code":"forbidden","message":"no","requestId":"req_1","field":"x"}}"#,
        );
        assert_eq!(
            refused.unwrap_err().to_string(),
            "no (forbidden, request req_1, field `x`)"
        );
    }

    #[test]
    fn what_no_server_of_ours_says_is_not_taken_for_an_answer() {
        for (status, body) in [
            (200, "<html>"),
            (502, "bad gateway"),
            (404, "{}"),
            (200, "[]"),
            (302, ""),
        ] {
            assert!(
                matches!(read(status, body), Err(Failure::Stranger { .. })),
                "{body}"
            );
        }
    }
}
