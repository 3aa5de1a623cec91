//! A root that is kept offline, from outside: made, asked, signing and installed by the command line alone.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::support::{Place, Ran};

/// Makes a root, whose public half is configured.
fn rooted(place: &mut Place) {
    let made = place.done("keys root new --output root.json --json").json();
    place.set("KAVACH_FEED_ROOT", &made["data"]["root"]);
}

fn write(place: &Place, name: &str, ran: &Ran) {
    fs::write(place.path(name), &ran.out).unwrap();
}

/// Asks and has it signed: `request.json`, `document.jwt`.
fn ask_and_sign(place: &Place) {
    write(place, "request.json", &place.done("keys root request"));
    let sign = "keys root sign --key root.json request.json";
    write(place, "document.jwt", &place.done(sign));
}

fn current(place: &Place) -> String {
    let listed = place.done("keys list --json").json();
    let keys = listed["data"].as_array().unwrap().clone();
    let is = |key: &&Value| key["purpose"] == "feed" && key["state"] == "current";
    let key = keys.iter().find(is).unwrap();
    key["kid"].as_str().unwrap().to_owned()
}

#[test]
fn a_root_key_is_made_once_for_its_owner_alone_and_is_not_printed() {
    let place = Place::new();
    let made = place.done("keys root new --output root.json");
    let path = place.path("root.json");
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = fs::read_to_string(&path).unwrap();
    let key: Value = serde_json::from_str(&text).unwrap();
    let secret = key["d"].as_str().unwrap();
    assert!(made.out.contains(key["x"].as_str().unwrap()), "{made:?}");
    assert!(!made.out.contains(secret) && !made.err.contains(secret));
    // Over what is there it writes nothing.
    let again = place.run("keys root new --output root.json");
    assert_eq!(again.code, 1, "{again:?}");
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
    let other = place.done("keys root new --output other.json --only thumbprint");
    assert!(!made.out.contains(other.out.trim()));
}

#[test]
fn keys_of_the_feed_are_replaced_by_what_the_root_signed() {
    let mut place = Place::new();
    let key = place.init();
    place.set("KAVACH_KEY", key);
    rooted(&mut place);
    for way in ["database", "server"] {
        let server = (way == "server").then(|| place.start("serve"));
        match &server {
            Some(server) => {
                place.flags.clear();
                place.set("KAVACH_URL", &server.url);
            }
            None => place.flags = ["--database", "kavach.db"].map(str::to_owned).into(),
        }
        place.done("keys rotate --purpose token");
        let old = current(&place);
        assert_eq!(place.run("keys rotate --purpose feed").code, 1, "{way}");
        ask_and_sign(&place);
        assert_eq!(current(&place), old, "{way}");
        let installed = place.done("keys root install document.jwt --json").json();
        let request: Value =
            serde_json::from_slice(&fs::read(place.path("request.json")).unwrap()).unwrap();
        assert_eq!(installed["data"]["epoch"], request["epoch"], "{way}");
        assert_ne!(current(&place), old, "{way}");
    }
}

#[test]
fn what_is_signed_is_shown_and_what_is_no_request_or_no_root_is_refused() {
    let mut place = Place::new();
    let key = place.init();
    place.set("KAVACH_KEY", key);
    rooted(&mut place);
    place.flags = ["--database", "kavach.db"].map(str::to_owned).into();
    ask_and_sign(&place);
    place.flags.clear();
    let shown = place
        .done("keys root sign --key root.json request.json")
        .err;
    let request = fs::read_to_string(place.path("request.json")).unwrap();
    let read: Value = serde_json::from_str(&request).unwrap();
    for part in [&read["iss"], &read["epoch"]] {
        let part = part.as_str().map_or(part.to_string(), str::to_owned);
        assert!(shown.contains(&part), "{part}: {shown}");
    }
    let inspected = place.done(format!(
        "token inspect --json {}",
        fs::read_to_string(place.path("document.jwt"))
            .unwrap()
            .trim()
    ));
    assert_eq!(inspected.member("kind"), "feed_keys");
    fs::write(
        place.path("more.json"),
        request.replace("{\"epoch\"", "{\"exp\":1,\"epoch\""),
    )
    .unwrap();
    for (line, code) in [
        ("keys root sign --key root.json more.json", 1),
        ("keys root sign --key root.json none.json", 1),
        ("keys root sign --key request.json request.json", 1),
        ("keys root sign request.json", 2),
        ("keys root new", 2),
        // Another root than the one that is configured.
        ("keys root new --output other.json", 0),
    ] {
        assert_eq!(place.run(line).code, code, "{line}");
    }
    let foreign = place.done("keys root sign --key other.json request.json");
    write(&place, "foreign.jwt", &foreign);
    place.flags = ["--database", "kavach.db"].map(str::to_owned).into();
    let refused = place.run("keys root install foreign.jwt");
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("forbidden"), "{refused:?}");
    place.done("keys root install document.jwt");
}

#[test]
fn the_root_is_a_setting_that_is_checked() {
    let mut place = Place::new();
    place.set("KAVACH_FEED_ROOT", "{}");
    let wrong = place.run("config check");
    assert_eq!(wrong.code, 1);
    assert!(wrong.out.contains("feed.root"), "{wrong:?}");
    place.set("KAVACH_FEED_ROOT", "off");
    place.done("config check");
    rooted(&mut place);
    place.done("config check");
    // A file may hold it, too.
    let root = place.done("keys root new --output other.json --only root");
    write(&place, "root.jwk", &root);
    place.unset("KAVACH_FEED_ROOT");
    place.set("KAVACH_FEED_ROOT_FILE", "root.jwk");
    place.done("config check");
}
