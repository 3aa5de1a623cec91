//! Settings as values, one after the other; what is wrong with them is told all at once.

use std::time::Duration;

use kavachos_engine::Providers;

use super::layer::Layers;
use super::problem::Problem;
use super::providers;
use super::setting::{DAY_SECONDS, Form, find};
use super::value;

/// Reads settings and gathers what is wrong with them.
pub(super) struct Reading<'a> {
    layers: &'a Layers,
    pub(super) problems: Vec<Problem>,
}

impl<'a> Reading<'a> {
    /// Reads these.
    pub(super) fn of(layers: &'a Layers) -> Self {
        Self {
            layers,
            problems: Vec::new(),
        }
    }

    /// A setting, if it is given and can be read.
    pub(super) fn value<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let read = self.layers.read(key, read);
        self.noted(read)
    }

    /// A secret, if it is given and can be read, with where it came from.
    pub(super) fn secret<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<(T, String)> {
        let read = self.layers.read_secret(key, read);
        self.noted(read)
    }

    /// One of these, by its name.
    pub(super) fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        choices: &[(&'static str, T)],
    ) -> Option<T> {
        self.value(key, |text| value::choice(choices, text))
    }

    /// Replaces a number if the setting is given; its bound is the one of the table.
    pub(super) fn count<T: TryFrom<u64>>(&mut self, key: &'static str, place: &mut T) {
        let max = match find(key).map(|setting| setting.form) {
            Some(Form::Count { max }) => max,
            _ => u64::MAX,
        };
        let read = |text: &str| {
            let number = value::count_to(max, text)?;
            T::try_from(number).map_err(|_| format!("`{number}` is too large for this machine"))
        };
        if let Some(number) = self.value(key, read) {
            *place = number;
        }
    }

    /// The same for a length of time in seconds.
    pub(super) fn seconds(&mut self, key: &'static str, place: &mut Duration) {
        let mut seconds = place.as_secs();
        self.count(key, &mut seconds);
        *place = Duration::from_secs(seconds);
    }

    /// The same for a length of time in days.
    pub(super) fn days(&mut self, key: &'static str, place: &mut Duration) {
        let mut days = place.as_secs() / DAY_SECONDS;
        self.count(key, &mut days);
        *place = Duration::from_secs(days.saturating_mul(DAY_SECONDS));
    }

    /// The outside providers.
    pub(super) fn providers(&mut self) -> Providers {
        providers::read(&self.layers.providers, &mut self.problems)
    }

    fn noted<T>(&mut self, read: Result<Option<T>, Problem>) -> Option<T> {
        read.unwrap_or_else(|problem| {
            self.problems.push(problem);
            None
        })
    }
}
