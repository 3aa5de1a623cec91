//! `/account/security` of somebody who is yet to show the second factor that is demanded of them: they set one up or show
//! it, and go on; or they leave.

use super::security::{Said, has_codes, passkeys};
use crate::pages::Shown;
use crate::pages::at::At;
use crate::pages::browser::Browser;
use crate::pages::html::{self, Runs};
use crate::pages::view::{self, Notice, Room};

pub(super) async fn show(at: &At<Browser>, said: Said) -> Shown {
    let title = "One more step";
    let mut shell = at.shell(Room::Security, title).await?;
    let (passkeys, codes) = (passkeys(at).await?, has_codes(at).await?);
    let has_passkey = passkeys.as_ref().is_some_and(|all| !all.is_empty());
    let has_app = codes == Some(true);
    let first = !has_app && !has_passkey && !shell.impersonated;
    let page = view::Owing {
        has_app,
        has_passkey,
        can_app: first && codes.is_some(),
        can_passkey: first && passkeys.is_some(),
        shell: {
            shell.frame.passkeys = passkeys.is_some();
            shell.frame.notice = said.notice.or_else(|| Some(notice(first)));
            shell
        },
    };
    html::page(Runs::of(page.shell.frame.passkeys), &page)
}

fn notice(first: bool) -> Notice {
    let words = match first {
        true => "Here your account needs a second factor. Set one up, and go on.",
        false => "Here your account needs a second factor. Show yours, and go on.",
    };
    Notice::new("warn", words)
}
