//! `GET /openapi.json` and `GET /docs`: what this API is, for programs and for people. Both are open, and made once, when
//! they are first asked for.

use std::sync::{Arc, OnceLock};

use axum::response::IntoResponse;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};

use crate::openapi::Told;
use crate::operation::{About, Answer, Description, Form, JSON, Operation};
use crate::params::Params;
use crate::reply::{Answered, Kind, Reply};
use crate::{openapi, reference_page};

const HTML: &str = "text/html; charset=utf-8";

/// What is told of all operations, these two among them.
#[derive(Clone, Default)]
pub(crate) struct Published(Arc<Shared>);

#[derive(Default)]
struct Shared {
    operations: OnceLock<(Vec<Description>, Vec<Told>)>,
    document: OnceLock<String>,
    page: OnceLock<(String, String)>,
}

impl Published {
    /// Says what the operations are; once.
    pub(crate) fn describe(&self, descriptions: Vec<Description>, of_plugins: Vec<Told>) {
        self.0.operations.get_or_init(|| (descriptions, of_plugins));
    }

    fn operations(&self) -> (&[Description], &[Told]) {
        let known = self.0.operations.get();
        known.map_or((&[], &[]), |(own, of_plugins)| (own, of_plugins))
    }

    fn document(&self) -> &str {
        let make = || {
            let (own, of_plugins) = self.operations();
            openapi::text(own, of_plugins)
        };
        self.0.document.get_or_init(make)
    }

    /// The page, and its content security policy.
    fn page(&self) -> &(String, String) {
        self.0.page.get_or_init(|| {
            let (own, of_plugins) = self.operations();
            let document = openapi::document(own, of_plugins);
            (reference_page::html(&document), reference_page::policy())
        })
    }
}

/// 200 with the document.
pub(crate) struct Document;

impl Kind for Document {
    fn tell(description: &mut Description) {
        description.answers.push(Answer {
            status: 200,
            media_type: JSON,
            form: Form::known(schemars::json_schema!({ "type": "object" })),
            headers: &[],
        });
    }
}

/// 200 with the page.
pub(crate) struct Page;

impl Kind for Page {
    fn tell(description: &mut Description) {
        description.answers.push(Answer {
            status: 200,
            media_type: HTML,
            form: Form::of::<String>(),
            headers: &[],
        });
    }
}

/// The operations that tell of all.
pub(crate) fn operations(published: &Published) -> [Operation; 2] {
    let about = |id, summary| About {
        id,
        tag: "Operation",
        summary,
        text: "",
        callers: &[],
    };
    let (document, page) = (published.clone(), published.clone());
    let for_programs = move |params: Params| {
        let published = document.clone();
        async move { show_document(&published, params) }
    };
    let for_people = move |params: Params| {
        let published = page.clone();
        async move { show_page(&published, params) }
    };
    let openapi = about("openapi", "Read this document");
    let docs = about("docs", "Read this document as a page");
    [
        Operation::get("/openapi.json", openapi, for_programs),
        Operation::get("/docs", docs, for_people),
    ]
}

fn show_document(published: &Published, params: Params) -> Reply<Document> {
    params.end()?;
    let response = ([(CONTENT_TYPE, JSON)], published.document().to_owned());
    Ok(Answered::of(response.into_response()))
}

fn show_page(published: &Published, params: Params) -> Reply<Page> {
    params.end()?;
    let (page, policy) = published.page();
    let headers = [
        (CONTENT_TYPE, HTML),
        (CONTENT_SECURITY_POLICY, policy.as_str()),
        (REFERRER_POLICY, "no-referrer"),
    ];
    let response = (headers, page.clone()).into_response();
    Ok(Answered::of(response))
}
