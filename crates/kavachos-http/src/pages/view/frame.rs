//! What stands around every page.

use askama::Template;

use super::icon::Icon;
use super::parts::Notice;

/// Whose pages these are.
#[derive(Debug, Clone, Default)]
pub(crate) struct Brand {
    /// The name of the product.
    pub(crate) name: String,
    /// Where the style sheet is.
    pub(crate) styles: String,
    /// Where the picture for the browser's tab is.
    pub(crate) picture: String,
    /// Where the script for passkeys is.
    pub(crate) passkeys: String,
}

/// Around every page.
#[derive(Debug, Clone, Default)]
pub(crate) struct Frame {
    /// The brand.
    pub(crate) brand: Brand,
    /// What the page is about.
    pub(crate) title: String,
    /// Whether the page talks to the browser about passkeys, with a script.
    pub(crate) passkeys: bool,
    /// What the forms send to show that they are ours.
    pub(crate) csrf: String,
    /// What is said first.
    pub(crate) notice: Option<Notice>,
}

impl Frame {
    /// Around a page about this.
    pub(crate) fn titled(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            ..Self::default()
        }
    }
}

/// The rooms of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Room {
    #[default]
    Overview,
    Agents,
    Connections,
    Approvals,
    Activity,
    Security,
}

/// One entry of the way around.
pub(crate) struct Tab {
    pub(crate) href: &'static str,
    pub(crate) name: &'static str,
    pub(crate) icon: Icon,
    pub(crate) here: bool,
    pub(crate) count: usize,
}

/// Around the pages of an account.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shell {
    pub(crate) frame: Frame,
    pub(crate) room: Room,
    /// How the human is called.
    pub(crate) name: String,
    /// Their address, or what else they are known by.
    pub(crate) known_by: String,
    /// How many requests wait for them; more than [`Shell::MOST_SHOWN`] are shown as more.
    pub(crate) waiting: usize,
    /// Whether somebody else acts in their name.
    pub(crate) impersonated: bool,
    /// Whether they are yet to show a second factor, and can go nowhere before.
    pub(crate) owes: bool,
}

impl Shell {
    /// The largest number that is shown beside an entry.
    pub(crate) const MOST_SHOWN: usize = 99;

    /// The way around.
    pub(crate) fn tabs(&self) -> [Tab; 5] {
        let tab = |room, href, name, icon| Tab {
            href,
            name,
            icon,
            here: self.room == room,
            count: if room == Room::Approvals {
                self.waiting
            } else {
                0
            },
        };
        [
            tab(Room::Agents, "/account/agents", "Agents", Icon::Agent),
            tab(
                Room::Connections,
                "/account/connections",
                "Connections",
                Icon::Link,
            ),
            tab(
                Room::Approvals,
                "/account/approvals",
                "Approvals",
                Icon::Shield,
            ),
            tab(
                Room::Activity,
                "/account/activity",
                "Activity",
                Icon::Activity,
            ),
            tab(Room::Security, "/account/security", "Security", Icon::Lock),
        ]
    }

    /// The first letter of the name.
    pub(crate) fn initial(&self) -> String {
        let letter = self.name.chars().find(|c| c.is_alphanumeric());
        letter.map_or_else(|| "?".to_owned(), |c| c.to_uppercase().to_string())
    }
}

/// A page that says one thing: an error, or that something is done.
#[derive(Template)]
#[template(path = "message.html")]
pub(crate) struct Message {
    pub(crate) frame: Frame,
    pub(crate) icon: Icon,
    /// `ok`, `warn` or `bad`.
    pub(crate) tone: &'static str,
    pub(crate) text: String,
    pub(crate) next: (String, String),
    /// The id of the request, for whoever looks into it.
    pub(crate) request: Option<String>,
}
