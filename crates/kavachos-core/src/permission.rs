//! Permissions: what may be done to which resources under which constraints, and sets of them.
//!
//! Promises: a set is a union without order; how it was written, in which order or how often, changes no answer. A set
//! is compiled when it is made, and finding what matches a request looks at those that can match, not at all. It knows
//! nothing of grants: who holds a set, and since when, is [`crate::grant`]'s.

mod index;

use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::action::{Action, Actions};
use crate::constraint::Constraints;
use crate::hex;
use crate::invalid::Invalid;
use crate::json;
use crate::resource::{Keys, Resource, ResourcePattern, Shape};
use crate::time::clip;
use index::{Aside, Blocks, PlainShapes, Under};

/// The most permissions in one set.
pub const MAX_PERMISSIONS: usize = 1000;

/// The most patterns (`matches`, `allowedArgPatterns`) in one set. A few bytes of text compile to a quarter of a MiB, so
/// a bound on the text of a set bounds no memory.
pub const MAX_PATTERNS: usize = 256;

/// Names a permission by its content: the first 8 bytes of SHA-256 of its canonical form.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PermissionId(pub [u8; 8]);

impl fmt::Display for PermissionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for PermissionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Some actions on the resources of a pattern, under constraints.
#[derive(Debug, Clone, PartialEq)]
pub struct Permission {
    resource: ResourcePattern,
    actions: Actions,
    /// `None` when nothing is constrained, which is the common case and then costs 8 bytes.
    constraints: Option<Box<Constraints>>,
    id: PermissionId,
    kind: Kind,
}

/// How much there is to check and to count, found out once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kind {
    /// How many counters a call takes from: a rate's, a budget's.
    pub(crate) counters: u8,
    /// Whether there is a budget in another unit than calls.
    pub(crate) priced: bool,
}

impl Kind {
    pub(crate) fn of(constraints: &Constraints) -> Self {
        let budget = constraints.budget();
        Self {
            counters: u8::from(constraints.rate().is_some()) + u8::from(budget.is_some()),
            priced: budget.is_some_and(|budget| !budget.unit().is_calls()),
        }
    }
}

impl Permission {
    /// Allows these actions on these resources under these constraints.
    pub fn new(resource: ResourcePattern, actions: Actions, constraints: Constraints) -> Self {
        let id = identify(&resource, &actions, &constraints);
        Self {
            resource,
            actions,
            kind: Kind::of(&constraints),
            constraints: (!constraints.is_empty()).then(|| Box::new(constraints)),
            id,
        }
    }

    /// Every action on every resource, without constraints.
    pub fn everything() -> Self {
        Self::new(
            ResourcePattern::everything(),
            Actions::any(),
            Constraints::default(),
        )
    }

    /// Reads `{resource, actions, constraints?}`.
    ///
    /// # Errors
    /// Names the member that is wrong, missing or unknown.
    pub fn from_json(value: &Value) -> Result<Self, Invalid> {
        let members = value.as_object().ok_or_else(|| {
            Invalid::new("a permission is an object with `resource`, `actions` and `constraints`")
        })?;
        let known = ["resource", "actions", "constraints"];
        if let Some(name) = members.keys().find(|name| !known.contains(&name.as_str())) {
            let known = "known are `resource`, `actions`, `constraints`";
            return Err(Invalid::at(
                clip(name),
                format!("a permission has no such member; {known}"),
            ));
        }
        let constraints = match members.get("constraints") {
            None => Constraints::default(),
            Some(_) => member(members, "constraints")?,
        };
        Ok(Self::new(
            member(members, "resource")?,
            member(members, "actions")?,
            constraints,
        ))
    }

    /// The resources.
    pub fn resource(&self) -> &ResourcePattern {
        &self.resource
    }

    /// The actions.
    pub fn actions(&self) -> &Actions {
        &self.actions
    }

    /// What must hold besides; `None` when a match is all that is needed.
    pub fn constraints(&self) -> Option<&Constraints> {
        self.constraints.as_deref()
    }

    /// The name under which its counters are kept and under which records mention it.
    pub fn id(&self) -> PermissionId {
        self.id
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether it is about this action and resource; its constraints are another question.
    pub fn matches(&self, action: &Action, resource: &Resource) -> bool {
        self.resource.matches(resource) && self.actions.contains(action)
    }

    /// Whether it allows everything that `other` allows, taken by itself: nothing is inherited here.
    fn includes(&self, other: &Self) -> bool {
        self.resource.covers(&other.resource)
            && self.actions.covers(&other.actions)
            && implies(other.constraints(), self.constraints())
    }

    /// The order in which people read a list.
    fn reading_order(&self) -> (&ResourcePattern, &Actions, PermissionId) {
        (&self.resource, &self.actions, self.id)
    }
}

/// Whether whatever passes the `strict` constraints passes the `loose` ones, each taken by itself.
pub(crate) fn implies(strict: Option<&Constraints>, loose: Option<&Constraints>) -> bool {
    match (strict, loose) {
        (_, None) => true,
        (None, Some(loose)) => loose.is_empty(),
        // Narrower lets a kind be left out because it is inherited; here nothing may be left to inherit.
        (Some(strict), Some(loose)) => {
            strict.narrower_than(loose).is_ok() && strict.clone().inheriting(loose) == *strict
        }
    }
}

/// Whether constraints written below `parent` in a chain are narrower; a kind that is left out is inherited.
pub(crate) fn narrower(
    child: Option<&Constraints>,
    parent: Option<&Constraints>,
) -> Result<(), Invalid> {
    match (child, parent) {
        (Some(child), Some(parent)) => child.narrower_than(parent),
        _ => Ok(()),
    }
}

/// Reads a required member.
fn member<T: DeserializeOwned>(members: &Map<String, Value>, name: &str) -> Result<T, Invalid> {
    let value = members
        .get(name)
        .ok_or_else(|| Invalid::at(name, format!("`{name}` is missing")))?;
    json::read(value).map_err(|error| error.within(name))
}

fn identify(
    resource: &ResourcePattern,
    actions: &Actions,
    constraints: &Constraints,
) -> PermissionId {
    let names = actions.names().map(Value::from).collect();
    let mut members = Map::new();
    members.insert("resource".to_owned(), resource.as_str().into());
    members.insert("actions".to_owned(), Value::Array(names));
    if !constraints.is_empty() {
        // INVARIANT: constraints always have a JSON form; the fallback is never taken, and tells them apart too.
        let form = serde_json::to_value(constraints);
        let form = form.unwrap_or_else(|_| format!("{constraints:?}").into());
        members.insert("constraints".to_owned(), form);
    }
    let hash = Sha256::digest(json::canonical(&Value::Object(members)).as_bytes());
    PermissionId(hash.first_chunk().copied().unwrap_or_default())
}

impl Serialize for Permission {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Wire<'p> {
            resource: &'p ResourcePattern,
            actions: &'p Actions,
            #[serde(skip_serializing_if = "Option::is_none")]
            constraints: Option<&'p Constraints>,
        }
        Wire {
            resource: &self.resource,
            actions: &self.actions,
            constraints: self.constraints(),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Permission {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_json(&Value::deserialize(deserializer)?).map_err(|error| located(&error))
    }
}

/// An error with its place in the message, for readers that have no other way to say it.
fn located<E: de::Error>(error: &Invalid) -> E {
    if error.field().is_empty() {
        E::custom(error)
    } else {
        E::custom(format!("{}: {error}", error.field()))
    }
}

/// 1 to [`MAX_PERMISSIONS`] permissions, read as a union.
///
/// ```
/// use kavachos_core::permission::PermissionSet;
///
/// let parent: PermissionSet = serde_json::from_str(
///     r#"[{"resource": "mcp:github:*", "actions": ["read", "write"], "constraints": {"maxCallsPerHour": 100}},
///         {"resource": "mcp:slack:send", "actions": ["*"]}]"#,
/// )?;
/// let (action, resource) = ("read".parse()?, "mcp:github:repos".parse()?);
/// assert_eq!(parent.matching(&action, &resource).count(), 1);
///
/// let child = |text| serde_json::from_str::<PermissionSet>(text);
/// assert!(parent.covers_all(&child(r#"[{"resource": "mcp:github:repos", "actions": ["read"]}]"#)?).is_ok());
/// assert!(parent.covers_all(&child(r#"[{"resource": "mcp:*", "actions": ["read"]}]"#)?).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Permissions are shared: equal ones of many sets can be one allocation ([`PermissionSet::from_shared`]). So is a set
/// itself with its clones. It is one allocation, because a directory holds very many.
#[derive(Clone)]
pub struct PermissionSet {
    /// INVARIANT: sorted by key in the index, then id; no two have the same id.
    blocks: Blocks,
    /// INVARIANT: with those that stand aside, the shapes of all permissions.
    plain: PlainShapes,
    /// What few sets have.
    aside: Option<Arc<Aside>>,
    priced: bool,
}

impl PermissionSet {
    /// Compiles a set; a permission that stands twice counts once.
    ///
    /// # Errors
    /// When there are none, or more than [`MAX_PERMISSIONS`], or more than [`MAX_PATTERNS`] in all.
    pub fn new(permissions: impl IntoIterator<Item = Permission>) -> Result<Self, Invalid> {
        Self::from_shared(permissions.into_iter().map(Arc::new))
    }

    /// Compiles a set of permissions that other sets may hold too.
    ///
    /// # Errors
    /// As [`PermissionSet::new`].
    pub fn from_shared(
        permissions: impl IntoIterator<Item = Arc<Permission>>,
    ) -> Result<Self, Invalid> {
        let mut placed = Vec::new();
        let mut tally = Tally::default();
        for permission in permissions {
            tally.add(&permission)?;
            placed.push((index::key(&permission.resource), permission));
        }
        if placed.is_empty() {
            return Err(Invalid::new(
                "an empty list permits nothing; write at least one permission",
            ));
        }
        placed.sort_by_key(|(key, permission)| (*key, permission.id));
        placed.dedup_by_key(|(key, permission)| (*key, permission.id));
        Ok(Self::compile(placed))
    }

    fn compile(placed: Vec<(u16, Arc<Permission>)>) -> Self {
        let (plain, aside) = index::survey(&placed);
        Self {
            plain,
            aside: aside.map(Arc::new),
            priced: (placed.iter()).any(|(_, permission)| permission.kind.priced),
            blocks: Blocks::new(placed),
        }
    }

    /// The set that permits every action on every resource.
    pub fn everything() -> Self {
        let everything = Permission::everything();
        Self::compile(vec![(
            index::key(&everything.resource),
            Arc::new(everything),
        )])
    }

    /// Reads a JSON list of permissions.
    ///
    /// # Errors
    /// Names the member that is wrong, as in `[3].constraints.rate`.
    pub fn from_json(value: &Value) -> Result<Self, Invalid> {
        let list = value
            .as_array()
            .ok_or_else(|| Invalid::new("permissions are a list"))?;
        // A list that says the same a thousand times is too long, though little is left of it.
        if list.len() > MAX_PERMISSIONS {
            return Err(Invalid::new(format!(
                "at most {MAX_PERMISSIONS} permissions; use patterns, or several grants"
            )));
        }
        let mut permissions = Vec::new();
        // Counted here too, so that what comes after too many is not even compiled.
        let mut tally = Tally::default();
        for (at, value) in list.iter().enumerate() {
            let permission = Permission::from_json(value);
            let permission = permission.map_err(|error| error.within(&format!("[{at}]")))?;
            tally.add(&permission)?;
            permissions.push(permission);
        }
        Self::new(permissions)
    }

    /// The permissions, in the same order for equal sets.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Permission>> {
        self.blocks.iter()
    }

    /// Those that are about this action and resource, in the same order for equal sets.
    #[inline]
    pub fn matching(
        &self,
        action: &Action,
        resource: &Resource,
    ) -> impl Iterator<Item = &Permission> {
        self.candidates(resource.keys())
            .filter(|permission| permission.matches(action, resource))
    }

    /// Those that may match a name with these keys, each once.
    #[inline]
    fn candidates(&self, name: &Keys) -> impl Iterator<Item = &Permission> {
        let aside = self.aside.as_deref().unwrap_or(const { &Aside::NOTHING });
        let plain = self.plain.clone().admitting(name.count());
        let mut shapes = plain.chain(aside.admitting(name.count()));
        let mut at: Option<(Shape, Under<'_>)> = None;
        std::iter::from_fn(move || {
            loop {
                if let Some((shape, under)) = &mut at {
                    // One of another shape that has this key by chance is found under its own key, or not at all.
                    let found = under.find(|permission| permission.resource.shape() == *shape);
                    if found.is_some() {
                        return found;
                    }
                }
                let shape = shapes.next()?;
                at = Some((shape, self.blocks.under(name.under(shape), aside)));
            }
        })
    }

    /// Whether some permission has a budget in another unit than calls.
    pub(crate) fn is_priced(&self) -> bool {
        self.priced
    }

    /// Checks that one permission of this set covers the child's resource and actions, and that the constraints which
    /// the child states are narrower. One that it leaves out is inherited, since every hop of a chain must permit.
    ///
    /// No child is covered only by several permissions together, so comparing with single ones loses nothing in
    /// resources; a child with actions of two parents is to be written as two.
    ///
    /// # Errors
    /// Names what failed at the permission that came closest.
    pub fn cover(&self, child: &Permission) -> Result<(), Invalid> {
        // A `*` of the child is looked up as a segment of that name: see ResourcePattern::covers.
        let keys = child.resource.keys();
        let mut closest = None;
        for parent in self.candidates(&keys) {
            if !parent.resource.covers(&child.resource) {
                continue;
            }
            let shortfall = match parent.actions.covers(&child.actions) {
                false => Shortfall::Actions,
                true => match narrower(child.constraints(), parent.constraints()) {
                    Ok(()) => return Ok(()),
                    Err(error) => Shortfall::Constraints(parent.id, error),
                },
            };
            if closest
                .as_ref()
                .is_none_or(|closest| shortfall.rank() < Shortfall::rank(closest))
            {
                closest = Some(shortfall);
            }
        }
        Err(Shortfall::explain(closest, child))
    }

    /// Checks that every permission of `child` is [covered](PermissionSet::cover).
    ///
    /// # Errors
    /// About the first one in reading order that is not.
    pub fn covers_all(&self, child: &Self) -> Result<(), Invalid> {
        child
            .in_reading_order()
            .into_iter()
            .try_for_each(|permission| self.cover(permission))
    }

    /// Whether this set by itself allows everything that `old` allows by itself, so that what was derived from `old`
    /// still holds.
    pub fn includes(&self, old: &Self) -> bool {
        old.iter().all(|old| {
            let keys = old.resource.keys();
            let mut candidates = self.candidates(&keys);
            candidates.any(|ours| ours.includes(old))
        })
    }

    fn in_reading_order(&self) -> Vec<&Permission> {
        let mut list: Vec<&Permission> = self.iter().map(Arc::as_ref).collect();
        list.sort_by(|left, right| left.reading_order().cmp(&right.reading_order()));
        list
    }
}

/// Counts what a set may hold only so many of.
#[derive(Default)]
struct Tally {
    permissions: usize,
    patterns: usize,
}

impl Tally {
    fn add(&mut self, permission: &Permission) -> Result<(), Invalid> {
        self.permissions += 1;
        self.patterns += permission.constraints().map_or(0, Constraints::patterns);
        if self.permissions > MAX_PERMISSIONS {
            return Err(Invalid::new(format!(
                "more than {MAX_PERMISSIONS} permissions; use patterns, or several grants"
            )));
        }
        if self.patterns > MAX_PATTERNS {
            return Err(Invalid::new(format!(
                "more than {MAX_PATTERNS} patterns in the constraints of all permissions together; use fewer, or \
                 several grants"
            )));
        }
        Ok(())
    }
}

/// What a parent that covers the child's resource lacks.
enum Shortfall {
    Actions,
    Constraints(PermissionId, Invalid),
}

impl Shortfall {
    /// Lower is closer to covering; the id makes the choice independent of order.
    fn rank(&self) -> (u8, Option<PermissionId>) {
        match self {
            Self::Constraints(id, _) => (0, Some(*id)),
            Self::Actions => (1, None),
        }
    }

    fn explain(closest: Option<Self>, child: &Permission) -> Invalid {
        let resource = clip(child.resource.as_str());
        match closest {
            Some(Self::Constraints(_, error)) => Invalid::at(
                Invalid::at(error.field(), "").within("constraints").field(),
                format!("the permission for `{resource}` is not narrower: {error}"),
            ),
            Some(Self::Actions) => Invalid::at(
                "actions",
                format!(
                    "no single permission of the parent allows all these actions on `{resource}`"
                ),
            ),
            None => Invalid::at(
                "resource",
                format!("no permission of the parent covers `{resource}`"),
            ),
        }
    }
}

impl PartialEq for PermissionSet {
    fn eq(&self, other: &Self) -> bool {
        self.blocks.is_same(&other.blocks) || self.iter().eq(other.iter())
    }
}

impl fmt::Debug for PermissionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.in_reading_order()).finish()
    }
}

impl Serialize for PermissionSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.in_reading_order())
    }
}

impl<'de> Deserialize<'de> for PermissionSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_json(&Value::deserialize(deserializer)?).map_err(|error| located(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: &Value) -> Result<PermissionSet, Invalid> {
        PermissionSet::from_json(value)
    }

    #[test]
    fn the_member_that_is_wrong_is_named() {
        let good = json!({"resource": "a", "actions": ["r"]});
        for (bad, field) in [
            (json!("a"), "[1]"),
            (json!({"actions": ["r"]}), "[1].resource"),
            (json!({"resource": "a"}), "[1].actions"),
            (json!({"resource": "a", "actions": []}), "[1].actions"),
            (json!({"resource": "a b", "actions": ["r"]}), "[1].resource"),
            (
                json!({"resource": "a", "actions": ["r"], "rate": 1}),
                "[1].rate",
            ),
            (
                json!({"resource": "a", "actions": ["r"], "constraints": {"x": 1}}),
                "[1].constraints.x",
            ),
            (
                json!({"resource": "a", "actions": ["r"], "constraints": null}),
                "[1].constraints",
            ),
        ] {
            let error = read(&json!([good, bad])).unwrap_err();
            assert_eq!(error.field(), field, "{bad}");
        }
        assert!(read(&json!([good])).is_ok());
    }

    #[test]
    fn a_set_has_one_to_a_thousand_permissions() {
        let many = |count: usize| {
            let one = |n| json!({"resource": format!("a{n}"), "actions": ["r"]});
            read(&(0..count).map(one).collect())
        };
        for (count, accepted) in [
            (0, false),
            (1, true),
            (MAX_PERMISSIONS, true),
            (MAX_PERMISSIONS + 1, false),
        ] {
            assert_eq!(many(count).is_ok(), accepted, "{count}");
        }
    }

    #[test]
    fn a_set_has_at_most_256_patterns_wherever_they_stand() {
        let one = |number: usize, patterns: usize| {
            let matches: Vec<String> = (0..patterns).map(|n| "a".repeat(n + 1)).collect();
            let constraints = json!({ "args": { "/x": { "matches": matches } } });
            json!({"resource": format!("a{number}"), "actions": ["r"], "constraints": constraints})
        };
        let most: Vec<Value> = (0..MAX_PATTERNS / 16).map(|n| one(n, 16)).collect();
        let plain = json!({"resource": "b", "actions": ["r"]});
        let fits = [most.clone(), vec![plain]].concat();
        assert!(read(&fits.into()).is_ok());
        let beyond: Vec<Value> = [most, vec![one(100, 1)]].concat();
        assert!(read(&beyond.clone().into()).is_err());
        // However the set is made.
        let permissions = beyond.iter().map(|one| Permission::from_json(one).unwrap());
        assert!(PermissionSet::new(permissions).is_err());
    }

    #[test]
    fn an_id_is_of_the_canonical_form_and_names_the_content() {
        let id = |value: Value| Permission::from_json(&value).unwrap().id();
        let plain = id(json!({"resource": "a:*", "actions": ["w", "r"]}));
        // echo -n '{"actions":["r","w"],"resource":"a:*"}' | sha256sum
        assert_eq!(plain.to_string(), "23eab4ebf773236e");
        for same in [
            json!({"actions": ["r", "w", "r"], "resource": "a:*"}),
            json!({"actions": ["r", "w"], "resource": "a:*", "constraints": {}}),
        ] {
            assert_eq!(id(same), plain);
        }
        let hourly =
            id(json!({"resource": "a", "actions": ["r"], "constraints": {"maxCallsPerHour": 5}}));
        let rate = json!({"rate": {"limit": 5, "per": 3600}});
        assert_eq!(
            id(json!({"resource": "a", "actions": ["r"], "constraints": rate})),
            hourly
        );
        assert_ne!(id(json!({"resource": "a", "actions": ["r"]})), hourly);
    }

    #[test]
    fn an_empty_constraint_object_is_none_at_all() {
        let value = json!({"resource": "a", "actions": ["*"], "constraints": {}});
        let permission = Permission::from_json(&value).unwrap();
        assert!(permission.constraints().is_none());
        assert_eq!(
            serde_json::to_value(permission).unwrap(),
            json!({"resource": "a", "actions": ["*"]})
        );
        let everything = serde_json::to_value(PermissionSet::everything()).unwrap();
        assert_eq!(everything, json!([{"resource": "*", "actions": ["*"]}]));
    }
}
