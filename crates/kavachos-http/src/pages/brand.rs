//! Whose pages these are: a name, a colour, and a style sheet on top of ours.

use std::fmt;
use std::str::FromStr;

use kavachos_core::invalid::Invalid;
use kavachos_core::time::clip;

/// The longest name of a product.
const MAX_NAME_BYTES: usize = 60;
/// How much two colours must differ for text (WCAG 2.2, 1.4.3).
const ENOUGH: f64 = 4.6;
/// The grounds that the accent stands on as text: the cards of the two looks.
const LIGHT_GROUND: Rgb = Rgb([0xee, 0xf1, 0xee]);
const DARK_GROUND: Rgb = Rgb([0x22, 0x2a, 0x2c]);
const WHITE: Rgb = Rgb([0xff, 0xff, 0xff]);
const BLACK: Rgb = Rgb([0x08, 0x0c, 0x0c]);
/// In how many steps a colour goes to white or to black.
const STEPS: u8 = 50;

/// Whose pages these are.
#[derive(Debug, Clone, PartialEq)]
pub struct Brand {
    /// The name of the product, as pages show it.
    pub name: String,
    /// The colour of what may be pressed. Pages show it lighter or darker where it could not be read.
    pub accent: Accent,
    /// A style sheet of your own that comes after ours. The policy of the pages lets it load nothing from elsewhere.
    pub css: String,
}

impl Default for Brand {
    fn default() -> Self {
        Self {
            name: "KavachOS".to_owned(),
            accent: Accent(Rgb([0x0f, 0x6b, 0x57])),
            css: String::new(),
        }
    }
}

impl Brand {
    /// A name of a product that pages can show.
    ///
    /// # Errors
    /// It is empty, or longer than 60 bytes.
    pub fn named(mut self, name: &str) -> Result<Self, Invalid> {
        if name.trim().is_empty() || name.len() > MAX_NAME_BYTES {
            let why = format!("a name has 1 to {MAX_NAME_BYTES} bytes");
            return Err(Invalid::new(why));
        }
        name.clone_into(&mut self.name);
        Ok(self)
    }
}

/// A colour, written `#rrggbb`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accent(Rgb);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rgb([u8; 3]);

impl FromStr for Accent {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let wrong = || Invalid::new(format!("`{}` is no colour like `#0f6b57`", clip(text)));
        let digits = text
            .strip_prefix('#')
            .filter(|digits| digits.len() == 6)
            .ok_or_else(wrong)?;
        let number = u32::from_str_radix(digits, 16).map_err(|_| wrong())?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        let [_, r, g, b] = number.to_be_bytes();
        Ok(Self(Rgb([r, g, b])))
    }
}

impl fmt::Display for Accent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Rgb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [r, g, b] = self.0;
        write!(f, "#{r:02x}{g:02x}{b:02x}")
    }
}

impl Accent {
    /// The custom properties of both looks.
    pub(super) fn properties(self) -> String {
        let (light, on_light) = self.on(LIGHT_GROUND, BLACK);
        let (dark, on_dark) = self.on(DARK_GROUND, WHITE);
        format!(
            ":root {{ --accent: {light}; --on-accent: {on_light}; }}\n\
             @media (prefers-color-scheme: dark) {{ :root {{ --accent: {dark}; --on-accent: {on_dark}; }} }}\n"
        )
    }

    /// The colour that is nearest to this one and can be read on a ground, and what can be read on it.
    fn on(self, ground: Rgb, towards: Rgb) -> (Rgb, Rgb) {
        let steps = (0..=STEPS).map(|step| self.0.mixed(towards, step));
        let readable = steps
            .into_iter()
            .find(|color| color.contrast(ground) >= ENOUGH);
        let color = readable.unwrap_or(towards);
        let above = if color.contrast(WHITE) >= color.contrast(BLACK) {
            WHITE
        } else {
            BLACK
        };
        (color, above)
    }
}

impl Rgb {
    fn mixed(self, other: Self, step: u8) -> Self {
        let mut mixed = self.0;
        for (one, two) in mixed.iter_mut().zip(other.0) {
            let (step, whole) = (u16::from(step), u16::from(STEPS));
            let sum = u16::from(*one) * (whole - step) + u16::from(two) * step;
            *one = u8::try_from(sum / whole).unwrap_or(u8::MAX);
        }
        Self(mixed)
    }

    /// How far two colours are apart (WCAG 2.2, contrast ratio).
    fn contrast(self, other: Self) -> f64 {
        let (one, two) = (self.luminance(), other.luminance());
        (one.max(two) + 0.05) / (one.min(two) + 0.05)
    }

    fn luminance(self) -> f64 {
        let [r, g, b] = self.0.map(|byte| {
            let share = f64::from(byte) / 255.0;
            if share <= 0.04045 {
                share / 12.92
            } else {
                ((share + 0.055) / 1.055).powf(2.4)
            }
        });
        0.2126 * r + 0.7152 * g + 0.0722 * b
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_colour_is_chosen_can_be_read() {
        for text in [
            "#0f6b57", "#ffff00", "#000000", "#ffffff", "#ff0000", "#777777", "#00ffff", "#1a1aff",
        ] {
            let accent: Accent = text.parse().unwrap();
            for (ground, towards) in [(LIGHT_GROUND, BLACK), (DARK_GROUND, WHITE)] {
                let (color, above) = accent.on(ground, towards);
                assert!(color.contrast(ground) >= 4.5, "{text} as {color}");
                assert!(color.contrast(above) >= 4.5, "{above} on {color}");
            }
        }
        // Without the steps, yellow on white is what nobody can read.
        let yellow = Rgb([0xff, 0xff, 0]);
        assert!(yellow.contrast(LIGHT_GROUND) < 2.0);
    }

    #[test]
    fn what_is_no_colour_is_refused() {
        for text in [
            "",
            "red",
            "#fff",
            "#gggggg",
            "#0f6b57;}",
            "0f6b57",
            "#+f6b57",
        ] {
            assert!(text.parse::<Accent>().is_err(), "{text}");
        }
        assert_eq!("#0F6b57".parse::<Accent>().unwrap().to_string(), "#0f6b57");
    }
}
