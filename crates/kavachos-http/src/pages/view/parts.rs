//! The parts that pages are made of.

use askama::Template;

use super::icon::Icon;

/// The longest name of a human or an agent.
const MAX_NAME: usize = 200;

/// Something that is said before all else.
#[derive(Debug, Clone)]
pub(crate) struct Notice {
    /// `ok`, `info`, `warn` or `bad`.
    pub(crate) tone: &'static str,
    pub(crate) text: String,
}

impl Notice {
    pub(crate) fn new(tone: &'static str, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { tone, text }
    }

    /// What interrupts a reader of the screen, and what waits.
    pub(crate) fn role(&self) -> &'static str {
        if matches!(self.tone, "bad" | "warn") {
            "alert"
        } else {
            "status"
        }
    }

    pub(crate) fn icon(&self) -> Icon {
        match self.tone {
            "ok" => Icon::Check,
            "info" => Icon::Info,
            _ => Icon::Warning,
        }
    }
}

/// One line of a form: a label, what is to be filled in, a hint, and what is wrong with it.
#[derive(Debug, Clone, Template)]
#[template(path = "parts/field.html")]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) label: String,
    /// The type of the input.
    pub(crate) kind: &'static str,
    pub(crate) value: String,
    pub(crate) hint: String,
    pub(crate) error: Option<String>,
    pub(crate) autocomplete: &'static str,
    pub(crate) required: bool,
    pub(crate) focus: bool,
    /// A class for its look.
    pub(crate) look: &'static str,
    pub(crate) max: usize,
    /// A link beside the label: where, and its words.
    pub(crate) aside: Option<(&'static str, &'static str)>,
    /// Whether it is told here what is wrong with the form where no field is named.
    pub(crate) blamed: bool,
}

impl Field {
    /// A line of text that must be filled in.
    pub(crate) fn text(name: impl Into<String>, label: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            label: label.into(),
            kind: "text",
            value: String::new(),
            hint: String::new(),
            error: None,
            autocomplete: "off",
            required: true,
            focus: false,
            look: "",
            max: 0,
            aside: None,
            blamed: false,
        }
    }

    /// How somebody is called, if they want to say.
    pub(crate) fn own_name() -> Self {
        Self {
            required: false,
            autocomplete: "name",
            max: MAX_NAME,
            ..Self::text("name", "Name")
        }
    }

    /// A name that one signs in with.
    pub(crate) fn username() -> Self {
        Self {
            look: "mono",
            autocomplete: "username",
            max: 64,
            ..Self::text("username", "Username")
        }
    }

    /// An address.
    pub(crate) fn email() -> Self {
        Self {
            kind: "email",
            autocomplete: "username",
            max: 254,
            ..Self::text("email", "Email")
        }
    }

    /// The password that one has.
    pub(crate) fn password(name: &str, label: &str) -> Self {
        Self {
            kind: "password",
            autocomplete: "current-password",
            ..Self::text(name, label)
        }
    }

    /// A password that one chooses.
    pub(crate) fn new_password(name: &str, label: &str) -> Self {
        Self {
            autocomplete: "new-password",
            ..Self::password(name, label)
        }
        .with_hint("A few words that only you would put together are best.")
    }

    /// A code of six digits.
    pub(crate) fn code() -> Self {
        Self {
            autocomplete: "one-time-code",
            look: "code",
            max: 12,
            blamed: true,
            ..Self::text("code", "Code")
        }
    }

    /// A backup code: three groups of letters and digits, thirteen in all.
    pub(crate) fn backup_code() -> Self {
        Self {
            look: "paper",
            max: 24,
            blamed: true,
            ..Self::text("code", "Backup code")
        }
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    pub(crate) fn with_value(mut self, value: impl Into<String>) -> Self {
        self.value = value.into();
        self
    }

    pub(crate) fn with_error(mut self, error: Option<String>) -> Self {
        self.error = error;
        self
    }

    /// Tells here what is wrong with the form where no field is named.
    pub(crate) fn blamed(mut self) -> Self {
        self.blamed = true;
        self
    }

    /// Whether a form that is shown again may have what was typed here.
    pub(crate) fn may_be_kept(&self) -> bool {
        self.kind != "password" && self.name != "code"
    }

    pub(crate) fn with_autocomplete(mut self, tokens: &'static str) -> Self {
        self.autocomplete = tokens;
        self
    }

    pub(crate) fn with_aside(mut self, href: &'static str, words: &'static str) -> Self {
        self.aside = Some((href, words));
        self
    }

    pub(crate) fn optional(mut self) -> Self {
        self.required = false;
        self
    }

    pub(crate) fn focused(mut self) -> Self {
        self.focus = true;
        self
    }

    /// Whether it is said that it may be left empty: where all may, or a look says so, it is not.
    pub(crate) fn optional_said(&self) -> bool {
        !self.required && self.look != "mono" && self.look != "filter"
    }

    /// The ids of what describes it.
    pub(crate) fn described_by(&self) -> String {
        let mut ids = Vec::new();
        if self.error.is_some() {
            ids.push(format!("{}-error", self.name));
        }
        if !self.hint.is_empty() {
            ids.push(format!("{}-hint", self.name));
        }
        ids.join(" ")
    }
}

/// The state of something, in a word.
#[derive(Debug, Clone, Default)]
pub(crate) struct Chip {
    pub(crate) text: String,
    /// `ok`, `warn`, `bad`, `accent`, or nothing.
    pub(crate) tone: &'static str,
}

impl Chip {
    pub(crate) fn new(text: impl Into<String>, tone: &'static str) -> Self {
        let text = text.into();
        Self { text, tone }
    }
}

/// A time: as machines read it, and as people do.
#[derive(Debug, Clone, Default)]
pub(crate) struct Time {
    pub(crate) machine: String,
    pub(crate) words: String,
}

/// One permission in words.
#[derive(Debug, Clone, Default)]
pub(crate) struct Can {
    pub(crate) actions: String,
    pub(crate) resource: String,
    /// Under which terms, each in a few words.
    pub(crate) terms: Vec<String>,
}

/// Asks before something that cannot be taken back.
#[derive(Template)]
#[template(path = "confirm_act.html")]
pub(crate) struct ConfirmAct {
    pub(crate) shell: super::Shell,
    pub(crate) text: String,
    /// What will happen.
    pub(crate) consequences: Vec<String>,
    pub(crate) action: String,
    /// What is asked for, if anything is.
    pub(crate) fields: Vec<Field>,
    pub(crate) button: &'static str,
    pub(crate) back: String,
}
