//! stub
pub(crate) fn html(_: &serde_json::Value) -> String {
    String::new()
}
pub(crate) fn policy() -> String {
    String::new()
}
