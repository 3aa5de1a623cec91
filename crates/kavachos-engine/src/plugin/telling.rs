//! What plugins keep of a human, as the human may read it: everything but credentials.

use kavachos_core::id::UserId;
use kavachos_core::time::Timestamp;
use kavachos_store::{Cell, Query};
use serde_json::{Map, Value, json};

use super::{Keeper, Plugins, statement};
use crate::error::{Error, Result};

/// The most things of one kind that are told.
const MAX_TOLD: usize = 100;

/// How a column is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TellAs {
    /// A text, as it is.
    Text,
    /// A time.
    Time,
}

/// Things of one kind that a plugin keeps of a human.
#[derive(Debug, Clone)]
pub struct Told {
    /// What one of them is: `passkey`, `link`.
    pub kind: &'static str,
    /// What its members are called, in the order of the columns.
    pub members: &'static [(&'static str, TellAs)],
    /// What reads them from the plugin's own tables, at most 100.
    pub query: Query,
}

/// What is to be read, with the plugin whose it is.
pub(crate) type ToBeTold = (&'static str, Told);

impl Plugins {
    /// What plugins keep of a human.
    ///
    /// # Errors
    /// A plugin names a table that is not its own, or reads too much: a defect of it.
    pub(crate) fn tell(&self, human: UserId) -> Result<Vec<ToBeTold>> {
        let mut all = Vec::new();
        for Keeper { id, plugin, .. } in &self.keepers {
            for told in plugin.tells(human) {
                let defect = |why: String| {
                    let what = format!("the plugin `{id}` tells with `{}`: {why}", told.query.sql);
                    Error::Internal(what)
                };
                statement::check_read(id, &told.query.sql).map_err(defect)?;
                if told.query.max_rows > MAX_TOLD {
                    return Err(defect(format!("it reads more than {MAX_TOLD} rows")));
                }
                all.push((*id, told));
            }
        }
        Ok(all)
    }
}

impl Told {
    /// One of them.
    pub(crate) fn thing(&self, method: &str, cells: Vec<Cell>) -> Value {
        let mut thing = Map::new();
        thing.insert("method".to_owned(), method.into());
        thing.insert("kind".to_owned(), self.kind.into());
        for ((member, how), cell) in self.members.iter().zip(cells) {
            thing.insert((*member).to_owned(), how.value(cell));
        }
        Value::Object(thing)
    }
}

impl TellAs {
    fn value(self, cell: Cell) -> Value {
        match (self, cell) {
            (Self::Text, Cell::Text(text)) => text.into(),
            (Self::Time, Cell::Integer(micros)) => json!(Timestamp::from_micros(micros)),
            _ => Value::Null,
        }
    }
}
