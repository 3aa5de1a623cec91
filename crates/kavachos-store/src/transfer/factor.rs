//! Second factors stand in two places: that one is asked for, in a table of the server; what proves it, in one of its
//! plugin. A tenant in which the two differ locks somebody out, or lets them in with one factor.

use super::SECOND_FACTORS;
use super::table::Table;
use crate::row::Query;

/// In which rows of a plugin it stands that its method is a second factor of a human.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Factor<'a> {
    /// The method, as it stands in [`SECOND_FACTORS`]: the plugin's id.
    pub method: &'static str,
    /// The table of the plugin.
    pub table: Table<'a>,
    /// Its column that names the human.
    pub human: &'static str,
    /// Its column that holds something once the factor is asked for.
    pub since: &'static str,
}

impl<'a> Factor<'a> {
    /// Each difference there may be: in which table, the question, whose answer is the key of a row, and what it means if it
    /// has one.
    pub fn contradictions(&self) -> [(Table<'a>, Query, &'static str); 2] {
        [
            (
                SECOND_FACTORS,
                self.lost(),
                "what proves this second factor is not in the file",
            ),
            (
                self.table,
                self.unasked(),
                "it is a second factor that nothing would ask for",
            ),
        ]
    }

    /// One that is asked for, and which nobody could prove.
    fn lost(&self) -> Query {
        let Self {
            table,
            human,
            since,
            ..
        } = self;
        let sql = format!(
            "SELECT s.user_id, s.method FROM second_factors s WHERE s.method = ?1 AND NOT EXISTS \
             (SELECT 1 FROM {} t WHERE t.{human} = s.user_id AND t.{since} IS NOT NULL) LIMIT 1",
            table.name
        );
        Query::new(1, sql).bind(self.method)
    }

    /// One that could be proved, and that nobody is asked for.
    fn unasked(&self) -> Query {
        let Self {
            table,
            human,
            since,
            ..
        } = self;
        let key = table.columns.iter().take(table.key);
        let key: Vec<String> = key.map(|column| format!("t.{}", column.name)).collect();
        let sql = format!(
            "SELECT {} FROM {} t WHERE t.{since} IS NOT NULL AND NOT EXISTS \
             (SELECT 1 FROM second_factors s WHERE s.user_id = t.{human} AND s.method = ?1) LIMIT 1",
            key.join(", "),
            table.name
        );
        Query::new(1, sql).bind(self.method)
    }
}
