//! `json::parse`, which reads every body.
#![no_main]

use kavachos_core::json;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Ok(value) = json::parse(input) {
        let canonical = json::canonical(&value);
        assert_eq!(json::parse(canonical.as_bytes()).as_ref(), Ok(&value));
        assert_eq!(
            json::parse(json::ascii(&value).as_bytes()).as_ref(),
            Ok(&value)
        );
        assert_eq!(json::canonical(&value), canonical);
    }
});
