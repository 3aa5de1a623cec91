//! `kavach migrate`, on both databases.

use std::path::Path;

use kavachos_test::postgres::{Cluster, name_of};

use crate::support::{Place, Ran, files, skipped};

/// A database that is empty, and how to change it behind everybody's back.
struct Fresh {
    place: Place,
    database: String,
    change: Box<dyn Fn(&str)>,
}

fn file() -> Fresh {
    let place = Place::new();
    let path = place.path("kavach.db");
    let change = move |sql: &str| {
        let connection = rusqlite::Connection::open(&path).unwrap();
        connection.execute_batch(sql).unwrap();
    };
    Fresh {
        place,
        database: "kavach.db".to_owned(),
        change: Box::new(change),
    }
}

fn fresh() -> Vec<Fresh> {
    let mut all = vec![file()];
    match Cluster::shared() {
        None => skipped("kavach migrate on PostgreSQL (there is none)"),
        Some(cluster) => {
            let database = cluster.database();
            let name = name_of(&database).to_owned();
            all.push(Fresh {
                place: Place::new(),
                database,
                change: Box::new(move |sql| drop(cluster.psql(&name, sql))),
            });
        }
    }
    all
}

impl Fresh {
    fn run(&self, line: &str) -> Ran {
        let database = &self.database;
        self.place.run(format!("{line} --database {database}"))
    }

    /// The states of all migrations, and how many are pending.
    fn states(&self) -> (Vec<String>, u64) {
        let json = self.run("migrate plan --json").json();
        let migrations = json["data"]["migrations"].as_array().unwrap();
        let states = migrations
            .iter()
            .map(|one| one["state"].as_str().unwrap().to_owned());
        (states.collect(), json["data"]["pending"].as_u64().unwrap())
    }
}

fn are(states: &[String], wanted: &str) -> bool {
    states.len() >= 6 && states.iter().all(|state| state == wanted)
}

#[test]
fn a_plan_changes_nothing_and_apply_does_what_it_says() {
    for fresh in fresh() {
        let (states, pending) = fresh.states();
        assert!(are(&states, "pending") && pending == states.len() as u64);
        assert_eq!(fresh.run("migrate plan").code, 0);
        assert_eq!(files(fresh.place.directory.path()), Vec::<String>::new());
        assert_eq!(fresh.states().1, pending);

        let applied = fresh.run("migrate apply --json");
        let named = applied.json()["data"]["applied"].as_array().unwrap().len();
        assert_eq!((applied.code, named), (0, states.len()));
        let before = files(fresh.place.directory.path());
        let (states, pending) = fresh.states();
        assert!(are(&states, "applied") && pending == 0);
        let again = fresh.run("migrate apply");
        assert!(
            again.code == 0 && again.out.contains("nothing is pending"),
            "{again:?}"
        );
        assert_eq!(files(fresh.place.directory.path()), before);
        let shown = fresh.run("migrate plan").out;
        assert!(shown.contains("core:1") && shown.contains("log"), "{shown}");
        // The tables are there and nobody can use them yet: `init` makes the first key.
        let init = fresh.run("init");
        assert!(init.code == 0 && init.out.contains("kv_key_"), "{init:?}");
    }
}

#[test]
fn an_edited_migration_is_shown_and_nothing_is_applied() {
    for fresh in fresh() {
        assert_eq!(fresh.run("migrate apply").code, 0);
        (fresh.change)(
            "UPDATE migration SET checksum = (SELECT checksum FROM migration WHERE owner = 'core' AND number = 1) \
             WHERE owner = 'core' AND number = 2",
        );
        let plan = fresh.run("migrate plan");
        assert!(
            plan.code == 1 && plan.out.contains("edited") && plan.err.contains("migration 2"),
            "{plan:?}"
        );
        for line in ["migrate apply", "serve --listen 127.0.0.1:0"] {
            let refused = fresh.run(line);
            assert!(
                refused.code == 1 && refused.err.contains("migration 2"),
                "{refused:?}"
            );
        }
    }
}

#[test]
fn a_database_that_is_too_new_is_refused_and_one_that_is_only_newer_is_not() {
    for fresh in fresh() {
        assert_eq!(fresh.run("init").code, 0);
        let newer = |level: u32| {
            format!(
                "DELETE FROM migration WHERE number = 9000; \
                 INSERT INTO migration (owner, number, name, checksum, min_binary, time) \
                 SELECT owner, 9000, 'later', checksum, {level}, time FROM migration WHERE number = 1"
            )
        };
        (fresh.change)(&newer(1));
        let plan = fresh.run("migrate plan");
        assert!(
            plan.code == 0 && plan.out.contains("core:9000") && plan.out.contains("unknown"),
            "{plan:?}"
        );
        assert_eq!(fresh.run("agent list").code, 0);
        (fresh.change)(&newer(9000));
        for line in [
            "migrate plan",
            "migrate apply",
            "serve --listen 127.0.0.1:0",
            "agent list",
        ] {
            let refused = fresh.run(line);
            assert!(
                refused.code == 1 && refused.err.contains("needs a newer kavach"),
                "{line}: {refused:?}"
            );
        }
    }
}

#[test]
fn what_is_no_database_of_ours_is_left_alone() {
    let place = Place::new();
    let other = place.path("other.db");
    let connection = rusqlite::Connection::open(&other).unwrap();
    connection.execute_batch("CREATE TABLE theirs (a)").unwrap();
    drop(connection);
    std::fs::write(
        place.path("text.db"),
        "no database, but long enough to look at",
    )
    .unwrap();
    for name in ["other.db", "text.db"] {
        let bytes = |name: &Path| std::fs::read(name).unwrap();
        let before = bytes(&place.path(name));
        for line in ["migrate plan", "migrate apply"] {
            let refused = place.run(format!("{line} --database {name}"));
            assert_eq!(refused.code, 1, "{refused:?}");
        }
        assert_eq!(bytes(&place.path(name)), before);
    }
    assert_eq!(files(place.directory.path()), ["other.db", "text.db"]);
}
