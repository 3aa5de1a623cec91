//! The same as [`super::canary_flows`], on pages.

use super::canary_flows::{FIRST, Flows, NAME, SECOND, THIRD, WRONG};
use super::scene::{code_in, link_in};
use super::tab::Tab;

impl Flows<'_> {
    pub(super) async fn on_pages(&self) {
        let mut dora = self.sign_up_on_a_page().await;
        self.links_on_pages().await;
        self.account_on_pages(&mut dora).await;
        self.second_factor_on_pages(&mut dora).await;
        self.guest_on_pages().await;
    }

    async fn sign_up_on_a_page(&self) -> Tab<'_> {
        let email = "dora@example.com";
        let mut dora = self.watched.tab();
        let fields = [("name", NAME), ("email", email), ("password", "Kanarie")];
        dora.form("/sign-up", "/sign-up", &fields).await.expect(400);
        let before = self.mails();
        let fields = [("name", NAME), ("email", email), ("password", FIRST)];
        dora.form("/sign-up", "/sign-up", &fields).await.expect(200);
        let link = self.mailed((email, before), link_in).await;
        let page = format!("/verify-email?token={link}");
        let mut other = self.watched.tab();
        let fields = [("token", link.as_str())];
        other.form(&page, "/verify-email", &fields).await;
        let fields = [("token", link.as_str()), ("password", WRONG)];
        other.form(&page, "/verify-email", &fields).await;
        dora.form(&page, "/verify-email", &[("token", &link)])
            .await
            .expect(303);
        for (email, password, status) in [
            (email, WRONG, 401),
            (FIRST, FIRST, 400),
            (email, FIRST, 303),
        ] {
            let fields = [("email", email), ("password", password)];
            let mut tab = self.watched.tab();
            tab.form("/sign-in", "/sign-in", &fields)
                .await
                .expect(status);
        }
        // A form of somewhere else, and one that is not of this browser.
        let page = self.watched.tab().open("/sign-in").await;
        let fields = [("email", email), ("password", FIRST)];
        self.watched
            .tab()
            .form_on(&page, "/sign-in", &fields)
            .await
            .expect(403);
        dora
    }

    async fn links_on_pages(&self) {
        let email = "dora@example.com";
        let mut tab = self.watched.tab();
        let before = self.mails();
        tab.form("/forgot-password", "/forgot-password", &[("email", email)])
            .await
            .expect(200);
        let link = self.mailed((email, before), link_in).await;
        let page = format!("/reset-password?token={link}");
        for (new, status) in [("Kanarie", 400), (SECOND, 303), (THIRD, 401)] {
            let fields = [("token", link.as_str()), ("newPassword", new)];
            tab.form(&page, "/reset-password", &fields)
                .await
                .expect(status);
        }
        let before = self.mails();
        tab.form("/sign-in/link", "/sign-in/link", &[("email", email)])
            .await
            .expect(200);
        let link = self.mailed((email, before), link_in).await;
        let page = format!("/magic-link?token={link}");
        let fields = [("token", link.as_str())];
        self.watched
            .tab()
            .form(&page, "/magic-link", &fields)
            .await
            .expect(200);
        tab.form(&page, "/magic-link", &fields).await.expect(303);
        tab.form(&page, "/magic-link", &fields).await.expect(401);
        let before = self.mails();
        let mut tab = self.watched.tab();
        let fields = [("email", email)];
        tab.form("/sign-in/email-code", "/sign-in/email-code", &fields)
            .await
            .expect(303);
        let code = self.mailed((email, before), code_in).await;
        for (code, status) in [("000000", 401), (&code, 303)] {
            let fields = [("code", code)];
            tab.form("/sign-in/code", "/sign-in/code", &fields)
                .await
                .expect(status);
        }
    }

    async fn account_on_pages(&self, dora: &mut Tab<'_>) {
        // The reset ended what was open.
        dora.open("/account").await.expect(303);
        let fields = [("email", "dora@example.com"), ("password", SECOND)];
        dora.form("/sign-in", "/sign-in", &fields).await.expect(303);
        for page in [
            "",
            "/security",
            "/sessions",
            "/activity",
            "/agents",
            "/approvals",
            "/keep",
        ] {
            dora.open(&format!("/account{page}")).await;
        }
        let security = "/account/security";
        for (current, new, status) in [
            (WRONG, THIRD, 403),
            (SECOND, "Kanarie", 400),
            (SECOND, THIRD, 303),
        ] {
            let fields = [("currentPassword", current), ("newPassword", new)];
            let path = "/account/security/password";
            dora.form(security, path, &fields).await.expect(status);
        }
        let page = "/re-authenticate";
        for (password, status) in [(WRONG, 403), (THIRD, 303)] {
            let fields = [("with", "password"), ("password", password)];
            dora.form(page, page, &fields).await.expect(status);
        }
    }

    async fn second_factor_on_pages(&self, dora: &mut Tab<'_>) {
        let (security, path) = ("/account/security", "/account/security/totp");
        let page = dora.open(security).await.expect(200);
        let shown = dora.once(&page, path, &[], secret_on).await;
        let secret = secret_on(&shown.text).remove(0);
        let uri = format!("otpauth://totp/x?secret={secret}");
        let enable = "/account/security/totp/enable";
        let fields = [
            ("code", "000000"),
            ("secret", secret.as_str()),
            ("uri", &uri),
        ];
        let again = dora.form_on(&shown, enable, &fields).await.expect(403);
        let code = self.code(&secret, 0);
        let fields = [("code", code.as_str()), ("secret", &secret), ("uri", &uri)];
        let on = dora
            .once(&again, enable, &fields, backup_codes_on)
            .await
            .expect(200);
        let codes = backup_codes_on(&on.text);
        let mut tab = self.watched.tab();
        let fields = [("email", "dora@example.com"), ("password", THIRD)];
        tab.form("/sign-in", "/sign-in", &fields).await.expect(303);
        let page = "/sign-in/second-factor";
        for (code, status) in [("000000", 401), (&codes[0], 303)] {
            tab.form(page, page, &[("code", code)]).await.expect(status);
        }
        let page = tab.open(security).await.expect(200);
        assert!(page.text.contains("9 backup codes are left."), "{page}");
        let page = "/account/security/backup-codes";
        let asked = tab.open(page).await.expect(200);
        let wrong = [("code", "000000")];
        let again = tab.form_on(&asked, page, &wrong).await.expect(403);
        let right = [("code", codes[1].as_str())];
        let new = tab.once(&again, page, &right, backup_codes_on).await;
        let codes = backup_codes_on(&new.expect(200).text);
        let page = "/account/security/totp/disable";
        for (code, status) in [("000000", 403), (&codes[1], 200)] {
            tab.form(page, page, &[("code", code)]).await.expect(status);
        }
        tab.form("/account", "/account/sign-out", &[])
            .await
            .expect(303);
    }

    async fn guest_on_pages(&self) {
        let mut tab = self.watched.tab();
        tab.form("/sign-in", "/sign-in/guest", &[])
            .await
            .expect(303);
        let before = self.mails();
        let fields = [
            ("name", NAME),
            ("email", "hal@example.com"),
            ("password", FIRST),
        ];
        tab.form("/account/keep", "/account/keep", &fields)
            .await
            .expect(303);
        let link = self.mailed(("hal@example.com", before), link_in).await;
        let page = format!("/verify-email?token={link}&guest=1");
        let fields = [("token", link.as_str()), ("guest", "1")];
        tab.form(&page, "/verify-email", &fields).await.expect(303);
    }
}

/// The secret of an app on the page that sets it up.
fn secret_on(page: &str) -> Vec<String> {
    let (_, rest) = page
        .split_once("<textarea class=\"once\" id=\"secret\"")
        .unwrap();
    let (_, rest) = rest.split_once('>').unwrap();
    let shown = rest.split('<').next().unwrap();
    vec![shown.chars().filter(char::is_ascii_alphanumeric).collect()]
}

fn backup_codes_on(page: &str) -> Vec<String> {
    let (_, rest) = page.split_once("<ul class=\"codes\">").unwrap();
    let (list, _) = rest.split_once("</ul>").unwrap();
    let codes = list.split("<li>").skip(1);
    codes
        .map(|code| code.trim_end_matches("</li>").to_owned())
        .collect()
}
