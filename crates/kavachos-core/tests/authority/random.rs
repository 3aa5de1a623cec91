//! Random worlds and questions from a seed, small enough that everything that can meet does meet.

use std::time::Duration;

use serde_json::{Value, json};

use crate::naive;
use crate::world::{Agent, Counter, From, Grant, Holder, Party, Permission, Question, User, World};

/// 2026-11-23T00:00:00Z, a Monday.
pub const MONDAY: i64 = 1_795_392_000_000_000;
pub const MINUTE: i64 = 60_000_000;

/// SplitMix64: a failing case is its seed.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 0x5851_f42d_4c95_7f2d)
    }

    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.number() % u64::try_from(end).unwrap()).unwrap()
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn pick<T: Clone>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())].clone()
    }

    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for last in (1..list.len()).rev() {
            list.swap(last, self.below(last + 1));
        }
    }

    fn list<T>(&mut self, most: usize, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..=self.below(most)).map(|_| make(self)).collect()
    }

    fn status(&mut self) -> &'static str {
        match self.below(40) {
            0 => "suspended",
            1 => "revoked",
            2 => "banned",
            _ => "active",
        }
    }

    fn expiry(&mut self) -> Option<i64> {
        self.one_in(3).then(|| self.moment())
    }

    fn moment(&mut self) -> i64 {
        if self.one_in(8) {
            MONDAY + MINUTE * 60 * i64::try_from(self.below(24)).unwrap()
        } else {
            MONDAY + MINUTE * 60 * 24
        }
    }

    pub fn constraints(&mut self) -> Value {
        let mut all = json!({});
        if self.one_in(2) {
            return all;
        }
        for _ in 0..=self.below(2) {
            let (name, value) = self.constraint();
            all[name] = value;
        }
        all
    }

    fn constraint(&mut self) -> (&'static str, Value) {
        let net = ["10.0.0.0/24", "10.0.1.0/24", "192.0.2.0/24"];
        match self.below(11) {
            0 | 1 => (
                "rate",
                json!({"limit": self.pick(&[0, 5, 5, 9]), "per": self.pick(&[60, 3600])}),
            ),
            2 => (
                "timeWindow",
                self.pick(&[
                    json!({"start": "09:00", "end": "17:00"}),
                    json!({"start": "22:00", "end": "06:00"}),
                ]),
            ),
            3 => ("ipAllowlist", json!([self.pick(&net)])),
            4 => (
                "requireApproval",
                self.pick(&[json!(true), json!({"ttlSeconds": 60})]),
            ),
            5 => (
                "args",
                json!({"/path": {"prefix": self.pick(&["/tmp", "/tmp/a"])}}),
            ),
            6 => (
                "args",
                json!({"/n": {"range": {"max": self.pick(&[3, 7])}}}),
            ),
            7 | 8 => (
                "budget",
                json!({"amount": self.pick(&[0, 5, 50, 50]), "unit": self.pick(&["calls", "calls", "tokens", "usd_cents"])}),
            ),
            9 => (
                "notBefore",
                self.pick(&[json!("2026-11-23T00:00:00Z"), json!("2026-11-23T12:00:00Z")]),
            ),
            _ => (
                "expiresAt",
                self.pick(&[json!("2026-11-24T00:00:00Z"), json!("2026-11-23T13:00:00Z")]),
            ),
        }
    }

    pub fn pattern(&mut self) -> String {
        if self.one_in(5) {
            return "*".to_owned();
        }
        let mut segments: Vec<&str> = self.list(2, |random| random.pick(&["a", "a", "b", "*"]));
        if self.one_in(2) {
            segments.push("*");
        }
        segments.join(":")
    }

    pub fn resource(&mut self) -> String {
        self.list(3, |random| random.pick(&["a", "a", "a", "b"]))
            .join(":")
    }

    pub fn permission(&mut self) -> Permission {
        Permission {
            resource: self.pattern(),
            actions: self.pick(&[vec!["*"], vec!["r"], vec!["w"], vec!["w", "r"]]),
            constraints: self.constraints(),
        }
    }

    fn permissions(&mut self) -> Vec<Permission> {
        let mut list = self.list(4, Self::permission);
        if self.one_in(2) {
            list.push(self.wide());
        }
        list
    }

    fn wide(&mut self) -> Permission {
        Permission {
            resource: "*".to_owned(),
            actions: vec!["*"],
            constraints: if self.one_in(3) {
                self.constraints()
            } else {
                json!({})
            },
        }
    }

    pub fn world(&mut self) -> World {
        let users = self.list(2, |random| User {
            status: random.status(),
            permissions: if random.one_in(3) {
                random.permissions()
            } else {
                vec![random.wide()]
            },
        });
        let mut agents: Vec<Agent> = Vec::new();
        for _ in 0..=self.below(4) {
            let owned = !agents.is_empty() && self.one_in(3);
            agents.push(Agent {
                owner: if owned {
                    Party::Agent(self.below(agents.len()))
                } else {
                    Party::User(self.below(users.len()))
                },
                status: self.status(),
                expires: self.expiry(),
            });
        }
        let mut world = World {
            users,
            agents,
            grants: Vec::new(),
        };
        for _ in 0..=self.below(7) {
            let grant = self.grant(&world);
            world.grants.push(grant);
        }
        world
    }

    fn grant(&mut self, world: &World) -> Grant {
        let parent = (!world.grants.is_empty() && !self.one_in(3))
            .then(|| self.below(world.grants.len()))
            .filter(|parent| world.chain(*parent).1.len() < 8);
        Grant {
            from: parent.map_or_else(|| From::Human(self.below(world.users.len())), From::Grant),
            to: self.below(world.agents.len()),
            permissions: self.permissions(),
            guards: if self.one_in(3) {
                self.constraints()
            } else {
                json!({})
            },
            status: self.status(),
            expires: self.expiry(),
        }
    }

    pub fn question(&mut self, world: &World) -> Question {
        let arguments = [
            json!({"path": "/tmp/a", "n": 2}),
            json!({"path": "/tmp/a/b", "n": 5}),
            json!({"path": "/tmpx", "n": "5"}),
            json!({"path": ["/tmp/a"], "n": 9}),
            json!({}),
        ];
        Question {
            agent: (!self.one_in(40)).then(|| self.below(world.agents.len())),
            key: self.pick(&[
                "none", "none", "none", "live", "live", "live", "live", "expired", "revoked",
            ]),
            subject: self.one_in(4).then(|| self.below(world.users.len())),
            action: self.pick(&["r", "w", "x"]),
            resource: self.resource(),
            arguments: (!self.one_in(4)).then(|| self.pick(&arguments)),
            ip: (!self.one_in(4))
                .then(|| self.pick(&[[10, 0, 0, 7], [10, 0, 1, 7], [192, 0, 2, 7]])),
            cost: (!self.one_in(3))
                .then(|| (self.pick(&[1, 9]), self.pick(&["tokens", "usd_cents"]))),
            now: MONDAY + MINUTE * i64::try_from(self.below(1440)).unwrap(),
            full: self.full(world),
            approvals: self.approvals(world),
        }
    }

    /// Some of all the counters there are.
    fn full(&mut self, world: &World) -> Vec<(Counter, Option<Duration>)> {
        let share = self.pick(&[1, 2, 8, 1000]);
        let mut full = Vec::new();
        for counter in counters(world) {
            if self.one_in(share + 1) {
                let seconds = self.below(4);
                let wait = Duration::from_secs(u64::try_from(seconds).unwrap());
                full.push((counter, (seconds > 0).then_some(wait)));
            }
        }
        self.shuffle(&mut full);
        full
    }

    fn approvals(&mut self, world: &World) -> Vec<(usize, &'static str)> {
        let mut list = Vec::new();
        for grant in 0..world.grants.len() {
            if self.one_in(2) {
                list.push((grant, self.pick(&["pending", "approved", "denied"])));
            }
        }
        list
    }
}

fn counters(world: &World) -> Vec<Counter> {
    let mut list = Vec::new();
    let mut add = |holder, what: String, constraints: &Value| {
        if let Some(per) = constraints["rate"]["per"].as_u64() {
            list.push((holder, what.clone(), format!("rate {per}")));
        }
        if let Some(unit) = constraints["budget"]["unit"].as_str() {
            list.push((holder, what, format!("budget {unit}")));
        }
    };
    for (position, user) in world.users.iter().enumerate() {
        for permission in &user.permissions {
            add(
                Holder::User(position),
                naive::id(permission),
                &permission.constraints,
            );
        }
    }
    for (position, grant) in world.grants.iter().enumerate() {
        for permission in &grant.permissions {
            add(
                Holder::Grant(position),
                naive::id(permission),
                &permission.constraints,
            );
        }
        add(Holder::Grant(position), "guards".to_owned(), &grant.guards);
    }
    list.sort();
    list.dedup();
    list
}
