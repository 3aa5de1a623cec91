//! What an app reads to make the same codes as we: a link, and the same as a picture.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use qrcode::{Color, EcLevel, QrCode};

use super::code::{DIGITS, STEP_SECONDS, Seed};

/// What stands in a link as it is (RFC 3986, section 2.3).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
/// The longest name of a site or a human in a link, in characters: more makes a picture that phones do not read.
const MAX_NAME: usize = 100;
/// How many modules of white a reader needs around the code (ISO/IEC 18004).
const QUIET: usize = 4;

/// The link that an app reads, which names the site and the human.
pub(super) fn link(seed: &Seed, site: &str, human: &str) -> String {
    let (site, human) = (name(site), name(human));
    let secret = seed.base32();
    format!(
        "otpauth://totp/{site}:{human}?secret={}&issuer={site}&algorithm=SHA1&digits={DIGITS}&period={STEP_SECONDS}",
        *secret
    )
}

/// A name without the mark that parts the site from the human.
fn name(text: &str) -> String {
    let text: String = text.chars().filter(|c| *c != ':').take(MAX_NAME).collect();
    utf8_percent_encode(&text, ENCODED).to_string()
}

/// The link as a picture: black on white with a white margin, so that it is read on dark pages too. `None` where the link
/// is too long for one.
pub(super) fn picture(link: &str) -> Option<String> {
    let code = QrCode::with_error_correction_level(link, EcLevel::M).ok()?;
    let width = code.width() + 2 * QUIET;
    let mut path = String::new();
    let colors = code.to_colors();
    for (row, y) in colors.chunks(code.width()).zip(QUIET..) {
        let mut x = QUIET;
        for run in row.chunk_by(|one, other| one == other) {
            let long = run.len();
            if run.first() == Some(&Color::Dark) {
                path.push_str(&format!("M{x} {y}h{long}v1h-{long}z"));
            }
            x += long;
        }
    }
    Some(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {width}\" role=\"img\" \
         shape-rendering=\"crispEdges\"><title>QR code for an authenticator app</title>\
         <path fill=\"#fff\" d=\"M0 0h{width}v{width}H0z\"/><path fill=\"#000\" d=\"{path}\"/></svg>"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seed() -> Seed {
        Seed::new(*b"12345678901234567890")
    }

    #[test]
    fn the_link_names_the_site_and_the_human_and_nothing_escapes() {
        assert_eq!(
            link(&seed(), "auth.example.com", "ada@example.com"),
            "otpauth://totp/auth.example.com:ada%40example.com?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\
             &issuer=auth.example.com&algorithm=SHA1&digits=6&period=30"
        );
        let odd = link(&seed(), "a:b&secret=x", "ü ?#/%\r\n\"<svg>");
        assert!(odd.starts_with(
            "otpauth://totp/ab%26secret%3Dx:%C3%BC%20%3F%23%2F%25%0D%0A%22%3Csvg%3E?secret=GEZD"
        ));
    }

    #[test]
    fn the_picture_has_a_white_margin_and_the_marks_in_its_corners() {
        let picture = picture(&link(&seed(), "auth.example.com", "ada@example.com")).unwrap();
        assert!(picture.starts_with("<svg "), "{picture}");
        assert!(picture.contains("<path fill=\"#fff\" d=\"M0 0h"));
        // The upper left mark begins with a row of seven, behind the margin.
        assert!(picture.contains("d=\"M4 4h7v1h-7z"), "{picture}");
        assert!(!picture.contains("style") && !picture.contains("script"));
    }

    #[test]
    fn the_longest_names_still_make_a_picture() {
        let long = "ü".repeat(10_000);
        assert!(picture(&link(&seed(), &long, &long)).is_some());
    }
}
