//! A browser as far as pages need one: it keeps a session in a cookie, reads the marks of forms, and says where a request
//! comes from.

use kavachos_test::{Call, Client, Reply, TestApp};

/// A browser, signed in or not.
pub(crate) struct Browser {
    call: Call,
}

impl Browser {
    /// Of a human with this session.
    pub(crate) fn of(app: &TestApp, token: &str) -> Self {
        let call = client(app).header("cookie", &format!("__Host-kavach_session={token}"));
        Self { call }
    }

    /// Of somebody who is not signed in.
    pub(crate) fn stranger(app: &TestApp) -> Self {
        Self { call: client(app) }
    }

    /// Opens a page.
    pub(crate) async fn open(&self, path: &str) -> Reply {
        self.call
            .clone()
            .header("sec-fetch-site", "none")
            .get(path)
            .await
    }

    /// Sends a form from a page of the server, with the mark that stands on that page.
    pub(crate) async fn send(&self, page: &str, path: &str, fields: &[(&str, &str)]) -> Reply {
        let mark = mark(&self.open(page).await.expect(200));
        self.send_with(&mark, path, fields).await
    }

    /// Sends a form from a page of the server, with this mark.
    pub(crate) async fn send_with(&self, mark: &str, path: &str, fields: &[(&str, &str)]) -> Reply {
        self.send_from(("sec-fetch-site", "same-origin"), mark, (path, fields))
            .await
    }

    /// Sends a form from somewhere.
    pub(crate) async fn send_from(
        &self,
        (name, value): (&str, &str),
        mark: &str,
        (path, fields): (&str, &[(&str, &str)]),
    ) -> Reply {
        let fields = [&[("csrf", mark)], fields].concat();
        self.call
            .clone()
            .header(name, value)
            .post_form(path, &fields)
            .await
    }
}

fn client(app: &TestApp) -> Call {
    let client = Client::new(app.client().address());
    client
        .anonymous()
        .header("accept", "text/html,application/xhtml+xml")
}

/// The mark of the first form on a page.
pub(crate) fn mark(page: &Reply) -> String {
    hidden(page, "csrf")
}

/// What the first form on a page sends along unseen under a name.
pub(crate) fn hidden(page: &Reply, name: &str) -> String {
    let (_, behind) = page
        .text
        .split_once(&format!("name=\"{name}\" value=\""))
        .unwrap_or_else(|| panic!("a form has `{name}`: {page}"));
    behind.split('"').next().unwrap_or_default().to_owned()
}
