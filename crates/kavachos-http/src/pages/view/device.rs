//! A device asks to be let in.

use askama::Template;

use super::consent::Offer;
use super::frame::Frame;
use super::parts::Time;

/// The question whether a device is let in.
#[derive(Template)]
#[template(path = "device.html")]
pub(crate) struct DeviceConsent {
    pub(crate) frame: Frame,
    /// What the program calls itself.
    pub(crate) client: String,
    /// Its page, where it has one.
    pub(crate) site: Option<String>,
    /// How the human is called.
    pub(crate) human: String,
    pub(crate) places: Vec<Offer>,
    /// The address that it asked from.
    pub(crate) address: String,
    /// What it says it is.
    pub(crate) device: String,
    pub(crate) asked: Time,
    /// Which device it is, to be sent along.
    pub(crate) request: String,
    /// Tells what the page shows from anything else.
    pub(crate) shown: String,
}
