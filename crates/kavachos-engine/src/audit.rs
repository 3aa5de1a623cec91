//! Reading the ledger back: filters, pages, and one record with people under their own ids.

use std::collections::HashMap;
use std::ops::Range;

use kavachos_core::id::{AgentId, AuditId, KeyId, RequestId, UserId};
use kavachos_core::ledger::{MAX_RECORD_BYTES, Outcome, Pseudonym};
use kavachos_core::principal::User;
use kavachos_core::resource::ResourcePattern;
use kavachos_core::time::Timestamp;
use kavachos_store::MAX_PAGE_BYTES;
use kavachos_store::ledger::{LOOK, LedgerFilter, LedgerRow, Looked};
use serde_json::{Map, Value};

use crate::actor::{Actor, Scope};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::page::{MAX_LIMIT, Page, PageOf};
use crate::text;

/// How many looks one page takes for what its filters leave; then it ends early, with a cursor.
const MAX_LOOKS: usize = 3;
/// How many records one look goes through.
const LOOK_RECORDS: u64 = LOOK as u64;
// A page of records is bounded in bytes by their number already.
const _: () = assert!(MAX_LIMIT * MAX_RECORD_BYTES <= MAX_PAGE_BYTES);
/// How many humans one query names.
const PEOPLE_PER_QUERY: usize = 64;

/// Which records. All given filters must hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AuditFilter {
    /// The agent that acted or was acted upon.
    pub agent: Option<AgentId>,
    /// The human for whom.
    pub user: Option<UserId>,
    /// An agent among the ancestors, or the acting agent itself.
    pub member: Option<AgentId>,
    /// The action.
    pub action: Option<String>,
    /// A pattern that the resource matches.
    pub resource: Option<ResourcePattern>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// The code.
    pub code: Option<String>,
    /// The kind of record.
    pub kind: Option<String>,
    /// The request that it was part of.
    pub request: Option<RequestId>,
    /// Not before this time.
    pub since: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
}

impl AuditFilter {
    pub(crate) fn check(&self) -> Result<()> {
        text::word("action", self.action.as_ref())?;
        text::word("code", self.code.as_ref())?;
        text::word("kind", self.kind.as_ref())?;
        Ok(())
    }
}

/// One record, as it is shown: the recorded members, with `subject` under the user's own id where it is still known.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditRecord {
    /// Its number.
    pub seq: u64,
    /// All members, `seq` and `time` among them.
    pub members: Map<String, Value>,
}

impl Engine {
    /// A page of the ledger, newest first. A human reads what happened for them.
    ///
    /// # Errors
    /// Those of the store, and `forbidden`.
    pub async fn audit(
        &self,
        actor: &Actor,
        filter: &AuditFilter,
        page: PageOf<u64>,
    ) -> Result<Page<AuditRecord, u64>> {
        let own = reader(actor, filter.user)?;
        filter.check()?;
        let Some(stored) = self.stored_filter(filter, own).await? else {
            return Ok(Page {
                items: Vec::new(),
                next: None,
            });
        };
        let numbers = self.numbers(filter, page.after).await?;
        let (found, ended_early) = self.look_for(filter, &stored, numbers, page.limit).await?;
        let mut cut = Page::cut(found, page.limit, |row: &LedgerRow| row.seq);
        cut.next = cut.next.or(ended_early);
        let items = self.shown(&cut.items, own).await?;
        Ok(Page {
            items,
            next: cut.next,
        })
    }

    /// The newest records of a span that the filters leave, one more than asked for if there are so many; and where to go
    /// on, if it was looked long enough.
    async fn look_for(
        &self,
        filter: &AuditFilter,
        stored: &LedgerFilter,
        numbers: Range<u64>,
        limit: usize,
    ) -> Result<(Vec<LedgerRow>, Option<u64>)> {
        let wanted = limit.saturating_add(1);
        let Range { start, mut end } = numbers;
        let mut found: Vec<LedgerRow> = Vec::new();
        for _ in 0..MAX_LOOKS {
            if start >= end || found.len() >= wanted {
                return Ok((found, None));
            }
            // A resource pattern is judged here, by the one matcher that decisions use too.
            let step = if filter.resource.is_some() {
                LOOK
            } else {
                wanted.saturating_sub(found.len())
            };
            let (rows, looked) = self.looked(stored, start..end, step).await?;
            let is_last = looked.records < LOOK_RECORDS;
            let cut = (rows.len() == step).then(|| rows.last().map(|row| row.seq));
            end = cut.flatten().unwrap_or(looked.lowest);
            found.extend(
                rows.into_iter()
                    .filter(|row| matches(filter.resource.as_ref(), row)),
            );
            if is_last && cut.is_none() {
                return Ok((found, None));
            }
        }
        let more = found.len() < wanted && start < end;
        Ok((found, more.then_some(end)))
    }

    /// One look, and how far it went, on one state of the ledger.
    async fn looked(
        &self,
        filter: &LedgerFilter,
        numbers: Range<u64>,
        limit: usize,
    ) -> Result<(Vec<LedgerRow>, Looked)> {
        let (rows, looked) = kavachos_store::ledger::look(filter, numbers, limit);
        let both = vec![rows.into_query(), looked.into_query()];
        let mut answers = self.store().read(both).await?;
        let looked = answers.pop().and_then(|mut rows| rows.pop());
        let rows = answers.pop().unwrap_or_default();
        let wrong =
            |error: kavachos_store::Malformed| Error::from(kavachos_store::ReadError::from(error));
        let rows: std::result::Result<Vec<LedgerRow>, _> =
            rows.into_iter().map(kavachos_store::Row::decode).collect();
        let looked = looked.map(kavachos_store::Row::decode).transpose();
        let looked: Option<Looked> = looked.map_err(wrong)?;
        let nothing = Looked {
            records: 0,
            lowest: 0,
        };
        Ok((rows.map_err(wrong)?, looked.unwrap_or(nothing)))
    }

    /// Between which numbers the filters and the cursor let records lie. No record is older than the one before it, so
    /// times are numbers too.
    pub(crate) async fn numbers(
        &self,
        filter: &AuditFilter,
        before: Option<u64>,
    ) -> Result<Range<u64>> {
        let size = self.head().size;
        let start = match filter.since {
            Some(time) => self.first_from(time, size).await?,
            None => 0,
        };
        let end = match filter.until {
            Some(time) => self.first_from(time, size).await?,
            None => size,
        };
        Ok(start..end.min(before.unwrap_or(size)))
    }

    /// The number of the first record that is not from before this time.
    async fn first_from(&self, time: Timestamp, size: u64) -> Result<u64> {
        let (mut low, mut high) = (0, size);
        while low < high {
            let middle = low.midpoint(high);
            let at = self.store().find(kavachos_store::ledger::time_of(middle));
            if at.await?.is_some_and(|(at,)| at < time) {
                low = middle.saturating_add(1);
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    /// One record.
    ///
    /// # Errors
    /// There is none with this id.
    pub async fn audit_record(&self, actor: &Actor, id: AuditId) -> Result<AuditRecord> {
        let mut own = reader(actor, None)?;
        let row = self.store().find(kavachos_store::ledger::by_id(id)).await?;
        let row = row.ok_or(Error::NotFound("audit record"))?;
        if let Some(person) = actor.person()
            && subject(&record(&row)?) != Some(person.user.pseudonym)
        {
            let reaches = person.require(Scope::AuditRead);
            reaches.map_err(|_| Error::NotFound("audit record"))?;
            own = None;
        }
        let rows = [row];
        let shown = self.shown(&rows, own).await?.pop();
        shown.ok_or(Error::NotFound("audit record"))
    }

    /// The filter in the ledger's own terms; `None` when it names a human whom the ledger does not know.
    pub(crate) async fn stored_filter(
        &self,
        filter: &AuditFilter,
        own: Option<&User>,
    ) -> Result<Option<LedgerFilter>> {
        let subject = match (filter.user, own) {
            (None, None) => None,
            (Some(other), Some(own)) if other != own.id => return Err(Error::NotFound("user")),
            (_, Some(own)) => Some(own.pseudonym),
            (Some(user), None) => match self.store().find(kavachos_store::user::by_id(user)).await?
            {
                Some(row) => Some(row.pseudonym),
                None => return Ok(None),
            },
        };
        Ok(Some(LedgerFilter {
            agent: filter.agent,
            subject,
            member: filter.member,
            action: filter.action.clone(),
            outcome: filter.outcome,
            code: filter.code.clone(),
            kind: filter.kind.clone(),
            request: filter.request,
            since: filter.since,
            until: filter.until,
        }))
    }

    /// The records as they are shown, with humans under their own ids; to a human without where operators called from.
    pub(crate) async fn shown(
        &self,
        rows: &[LedgerRow],
        own: Option<&User>,
    ) -> Result<Vec<AuditRecord>> {
        let mut records = rows.iter().map(record).collect::<Result<Vec<_>>>()?;
        if let Some(own) = own {
            let others = |record: &&mut AuditRecord| is_by_another(record, own.pseudonym);
            records.iter_mut().filter(others).for_each(hide_place);
        }
        let people = self.people(records.iter().filter_map(subject)).await?;
        for record in &mut records {
            if let Some(user) = subject(record).and_then(|known| people.get(&known)) {
                let name = user.to_string();
                record.members.insert("subject".to_owned(), name.into());
            }
        }
        Ok(records)
    }

    /// Who is behind these pseudonyms, as far as that is still known.
    async fn people(
        &self,
        pseudonyms: impl Iterator<Item = Pseudonym>,
    ) -> Result<HashMap<Pseudonym, UserId>> {
        let mut wanted: Vec<Pseudonym> = pseudonyms.collect();
        wanted.sort_unstable();
        wanted.dedup();
        let mut people = HashMap::new();
        for chunk in wanted.chunks(PEOPLE_PER_QUERY) {
            let rows = self
                .store()
                .list(kavachos_store::user::by_pseudonyms(chunk))
                .await?;
            people.extend(rows.into_iter().map(|row| (row.pseudonym, row.id)));
        }
        Ok(people)
    }
}

/// Who reads: an operator everything, a human what happened for them, or for another whom they name and whom their role
/// reaches.
fn reader(actor: &Actor, of: Option<UserId>) -> Result<Option<&User>> {
    match actor.person() {
        Some(person) => {
            let of = person.listing(Scope::AuditRead, of)?;
            Ok((of == person.user.id).then_some(&*person.user))
        }
        None => actor.require(Scope::AuditRead).map(|()| None),
    }
}

/// A stored record with its personal fields beside the others; no field stands in both.
fn record(row: &LedgerRow) -> Result<AuditRecord> {
    let damaged = |error: serde_json::Error| {
        Error::Internal(format!("record {} cannot be read: {error}", row.seq))
    };
    let mut members: Map<String, Value> = serde_json::from_str(&row.body).map_err(damaged)?;
    for hidden in ["blind", "priv", "private"] {
        members.remove(hidden);
    }
    let personal = row.personal.as_deref().unwrap_or("{}");
    let personal: Map<String, Value> = serde_json::from_str(personal).map_err(damaged)?;
    members.extend(personal);
    members.insert("seq".to_owned(), row.seq.into());
    members.insert("time".to_owned(), row.time.to_string().into());
    Ok(AuditRecord {
        seq: row.seq,
        members,
    })
}

/// Whether an operator or another human made the call, in whose name soever.
fn is_by_another(record: &AuditRecord, own: Pseudonym) -> bool {
    let member = |name: &str| record.members.get(name).and_then(Value::as_str);
    let actor = member("actor").unwrap_or_default();
    let other_human = actor.parse::<Pseudonym>().is_ok_and(|actor| actor != own);
    member("impersonator").is_some() || actor.parse::<KeyId>().is_ok() || other_human
}

/// Takes out where a call came from: it is about whoever made it, not about the human.
fn hide_place(record: &mut AuditRecord) {
    record.members.remove("ip");
    record.members.remove("userAgent");
}

fn subject(record: &AuditRecord) -> Option<Pseudonym> {
    record.members.get("subject")?.as_str()?.parse().ok()
}

/// Whether the record is about what the pattern names.
pub(crate) fn matches(pattern: Option<&ResourcePattern>, row: &LedgerRow) -> bool {
    pattern.is_none_or(|pattern| {
        row.resource
            .as_deref()
            .and_then(|text| text.parse().ok())
            .is_some_and(|resource| pattern.matches(&resource))
    })
}

impl serde::Serialize for AuditRecord {
    fn serialize<S: serde::Serializer>(
        &self,
        serializer: S,
    ) -> std::result::Result<S::Ok, S::Error> {
        self.members.serialize(serializer)
    }
}
