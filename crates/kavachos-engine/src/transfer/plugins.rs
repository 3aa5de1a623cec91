//! Which plugins a file has rows of: one line of each, before all rows. They come in only where the same plugins are built
//! in, at the same version and with the same tables, since nobody else knows what the rows say.

use kavachos_store::transfer::{Column, Factor, Table};
use serde::{Deserialize, Serialize};

use super::line::{self, Wrong};
use crate::plugin::{Belongings, Plugins};

/// The kind of such a line.
pub(super) const KIND: &str = "plugin";

/// A plugin, with the tables of which rows may follow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Named {
    kind: String,
    id: String,
    /// The number of its last migration.
    version: u32,
    tables: Vec<NamedTable>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NamedTable {
    table: String,
    columns: Vec<String>,
}

impl Named {
    fn of(plugin: &Belongings) -> Self {
        let name = |column: &Column| column.member.to_owned();
        let named = |table: Table<'_>| NamedTable {
            table: table.kind.to_owned(),
            columns: table.columns.iter().map(name).collect(),
        };
        Self {
            kind: KIND.to_owned(),
            id: plugin.plugin.to_owned(),
            version: plugin.version,
            tables: plugin.tables().map(named).collect(),
        }
    }
}

/// The lines of all plugins that have tables.
pub(super) fn lines(plugins: &Plugins) -> Vec<String> {
    let all = plugins.belongings().into_iter();
    all.map(|plugin| line::written(&Named::of(plugin)))
        .collect()
}

/// The plugins that a file named so far.
#[derive(Debug, Default)]
pub(super) struct PluginsOfFile(Vec<&'static str>);

impl PluginsOfFile {
    /// Takes the line of one more.
    pub(super) fn take(&mut self, plugins: &Plugins, text: &str) -> Result<(), Wrong> {
        let named: Named = line::exact(text)?;
        let id = named.id.as_str();
        if self.0.last().is_some_and(|last| *last >= id) {
            return Err(
                "it does not stand after the line before it, in the order of its id".to_owned(),
            );
        }
        let found = plugins
            .belongings()
            .into_iter()
            .find(|one| one.plugin == id);
        let Some(here) = found else {
            let id = kavachos_core::time::clip(id);
            return Err(format!(
                "its plugin `{id}` is not built into this server, and what it keeps would be lost: import with a build that \
                 has it"
            ));
        };
        let (theirs, ours) = (named.version, here.version);
        if theirs != ours {
            return Err(format!(
                "the tables of the plugin `{id}` are at version {theirs}, and at {ours} here: bring both servers to the same \
                 version, and export again"
            ));
        }
        if named != Named::of(here) {
            return Err(format!(
                "the plugin `{id}` has other tables or columns here"
            ));
        }
        self.0.push(here.plugin);
        Ok(())
    }

    /// Refuses the rows of a plugin that was not named.
    pub(super) fn check(&self, table: &Table<'_>) -> Result<(), Wrong> {
        match table.plugin {
            Some(plugin) if !self.0.contains(&plugin) => Err(format!(
                "it is a row of the plugin `{plugin}`, which no line before the rows names"
            )),
            _ => Ok(()),
        }
    }
}

/// Refuses a second factor that nobody could be asked for.
pub(super) fn check_method(factors: &[Factor<'_>], method: &str) -> Result<(), Wrong> {
    if factors.iter().any(|factor| factor.method == method) {
        return Ok(());
    }
    let method = kavachos_core::time::clip(method);
    Err(format!(
        "nothing here asks for the second factor `{method}`: import with a build that has this method"
    ))
}
