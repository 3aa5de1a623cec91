//! The pictures: lines of our own, drawn in the colour of the text beside them, and not read aloud.

use std::fmt;

/// One of the pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Icon {
    Agent,
    Shield,
    Activity,
    Lock,
    Key,
    Clock,
    Device,
    Phone,
    Plus,
    Check,
    Cross,
    Stop,
    Leave,
    Warning,
    Info,
    Person,
    Mail,
    Finger,
    Turn,
    Back,
    Link,
    Pause,
}

impl Icon {
    const fn path(self) -> &'static str {
        match self {
            Self::Agent => {
                "M12 3v3M7 9.5A3.5 3.5 0 0 1 10.5 6h3A3.5 3.5 0 0 1 17 9.5v5a3.5 3.5 0 0 1-3.5 3.5h-3A3.5 3.5 0 0 1 7 14.5zM10 11v1.5M14 11v1.5M4 11v4M20 11v4M10 21h4"
            }
            Self::Shield => {
                "M12 3l7.5 2.8v5.7c0 4.6-3.1 7.8-7.5 9.5-4.4-1.7-7.5-4.9-7.5-9.5V5.8zM8.8 12l2.3 2.3 4.2-4.4"
            }
            Self::Activity => "M3 12h4l3-7.5 4.5 15 3-7.5H21",
            Self::Lock => {
                "M7 10.5V8a5 5 0 0 1 10 0v2.5M6.5 10.5h11A1.5 1.5 0 0 1 19 12v7a1.5 1.5 0 0 1-1.5 1.5h-11A1.5 1.5 0 0 1 5 19v-7a1.5 1.5 0 0 1 1.5-1.5zM12 14.5v2"
            }
            Self::Key => {
                "M14.5 9.5m-5 0a5 5 0 1 0 10 0a5 5 0 1 0-10 0M11 13l-7 7M6.5 17.5l2 2M16 8.2v.1"
            }
            Self::Clock => "M12 12m-9 0a9 9 0 1 0 18 0a9 9 0 1 0-18 0M12 7v5l3.2 2",
            Self::Device => {
                "M5 6.5A1.5 1.5 0 0 1 6.5 5h11A1.5 1.5 0 0 1 19 6.5V15H5zM2.5 18.5h19M5 15l-1.5 3.5M19 15l1.5 3.5"
            }
            Self::Phone => {
                "M8.5 3h7A1.5 1.5 0 0 1 17 4.5v15a1.5 1.5 0 0 1-1.5 1.5h-7A1.5 1.5 0 0 1 7 19.5v-15A1.5 1.5 0 0 1 8.5 3zM11 18h2"
            }
            Self::Plus => "M12 5v14M5 12h14",
            Self::Check => "M5 12.5l4.5 4.5L19 7.5",
            Self::Cross => "M6.5 6.5l11 11M17.5 6.5l-11 11",
            Self::Stop => "M12 12m-9 0a9 9 0 1 0 18 0a9 9 0 1 0-18 0M5.8 5.8l12.4 12.4",
            Self::Leave => {
                "M14 4h-7A1.5 1.5 0 0 0 5.5 5.5v13A1.5 1.5 0 0 0 7 20h7M10.5 12H21M17.5 8.5L21 12l-3.5 3.5"
            }
            Self::Warning => "M12 4.2L21 19.5H3zM12 10v4.5M12 17v.1",
            Self::Info => "M12 12m-9 0a9 9 0 1 0 18 0a9 9 0 1 0-18 0M12 11v5.5M12 7.5v.1",
            Self::Person => {
                "M12 8m-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0M4.5 20.5c.5-4 3.5-6 7.5-6s7 2 7.5 6"
            }
            Self::Mail => {
                "M4.5 6h15A1.5 1.5 0 0 1 21 7.5v9a1.5 1.5 0 0 1-1.5 1.5h-15A1.5 1.5 0 0 1 3 16.5v-9A1.5 1.5 0 0 1 4.5 6zM3.5 7.5L12 13l8.5-5.5"
            }
            Self::Finger => {
                "M6.2 8.5A6.5 6.5 0 0 1 18.5 11v2.5M5.5 12v-1M8.5 19.5c-1-1.8-1.2-4-1.2-6M9.8 11a2.2 2.2 0 0 1 4.4 0v2.5c0 2.2.2 4.2 1.2 6M12 11v3c0 2.5.3 4.7 1 6.5M18.3 17.5v-.5"
            }
            Self::Turn => "M9.5 6l6 6-6 6",
            Self::Back => "M14.5 6l-6 6 6 6",
            Self::Link => {
                "M9.5 14.5l5-5M11 7l1.8-1.8a4.2 4.2 0 0 1 6 6L17 13M13 17l-1.8 1.8a4.2 4.2 0 0 1-6-6L7 11"
            }
            Self::Pause => "M12 12m-9 0a9 9 0 1 0 18 0a9 9 0 1 0-18 0M10 9v6M14 9v6",
        }
    }
}

impl fmt::Display for Icon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path();
        write!(
            f,
            "<svg class=\"icon\" viewBox=\"0 0 24 24\" aria-hidden=\"true\" focusable=\"false\"><path d=\"{path}\"/></svg>"
        )
    }
}
