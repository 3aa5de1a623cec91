//! Answers that are lost: applied or not is found out, and what is told stays true whatever still arrives.

use std::sync::{Arc, Mutex};

use kavachos_spike_d1::{Http, Link, LinkError, Statement};
use kavachos_store::{Batch, CommitError, Row, Store, Write};

use crate::server::{commit, database, plain, recorded, verified, writing};

/// What befalls the next group.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Answered,
    /// It never reaches the database.
    NeverSent,
    /// It is applied, and its answer is lost.
    AnswerLost,
    /// It is still under way when its sender gives up.
    Late,
    /// So, and nothing after it is answered either.
    LateAndSilent,
}

/// A link on which groups get lost.
#[derive(Clone)]
struct Lossy {
    link: Http,
    fate: Arc<Mutex<Fate>>,
    late: Arc<Mutex<Vec<Statement>>>,
}

impl Lossy {
    fn new() -> Self {
        Self {
            link: database(),
            fate: Arc::new(Mutex::new(Fate::Answered)),
            late: Arc::default(),
        }
    }

    fn next(&self, fate: Fate) {
        *self.fate.lock().unwrap() = fate;
    }

    /// What was still under way arrives.
    fn arrive(&self) -> Result<(), LinkError> {
        let late = std::mem::take(&mut *self.late.lock().unwrap());
        assert!(!late.is_empty());
        self.link.batch(&late).map(drop)
    }
}

impl Link for Lossy {
    fn batch(&self, statements: &[Statement]) -> Result<Vec<Vec<Row>>, LinkError> {
        let mut fate = self.fate.lock().unwrap();
        let lost = || Err(LinkError::Lost("as the test has it".to_owned()));
        let silent = *fate == Fate::LateAndSilent;
        if !statements
            .iter()
            .any(|one| one.sql.starts_with("UPDATE log"))
        {
            return if silent {
                lost()
            } else {
                self.link.batch(statements)
            };
        }
        let late = *fate == Fate::Late || silent && self.late.lock().unwrap().is_empty();
        match *fate {
            Fate::Answered => return self.link.batch(statements),
            Fate::AnswerLost => self.link.batch(statements).map(drop)?,
            Fate::NeverSent | Fate::Late | Fate::LateAndSilent => {}
        }
        if late {
            *self.late.lock().unwrap() = statements.to_vec();
        }
        if !silent {
            *fate = Fate::Answered;
        }
        lost()
    }
}

fn commit_with(
    lossy: &Lossy,
    store: &Arc<dyn Store>,
    fate: Fate,
    batch: Batch,
) -> Result<Option<u64>, CommitError> {
    lossy.next(fate);
    commit(store, batch).map(|receipt| receipt.first_seq)
}

#[test]
fn a_group_that_never_arrived_is_unavailable_and_one_whose_answer_was_lost_is_applied() {
    let lossy = Lossy::new();
    let store = plain(lossy.clone());
    let never = commit_with(&lossy, &store, Fate::NeverSent, recorded(1));
    assert!(
        matches!(never, Err(CommitError::Unavailable(_))),
        "{never:?}"
    );
    assert_eq!(
        commit_with(&lossy, &store, Fate::AnswerLost, recorded(2)),
        Ok(Some(0))
    );
    assert_eq!(
        commit_with(&lossy, &store, Fate::Answered, recorded(3)),
        Ok(Some(1))
    );
    assert_eq!(verified(&lossy.link), 2);
}

#[test]
fn a_group_that_arrives_late_is_not_applied_any_more() {
    let lossy = Lossy::new();
    let store = plain(lossy.clone());
    let late = commit_with(&lossy, &store, Fate::Late, recorded(1));
    assert!(matches!(late, Err(CommitError::Unavailable(_))), "{late:?}");
    assert!(matches!(lossy.arrive(), Err(LinkError::Refused(_))));
    assert_eq!(verified(&lossy.link), 0);
    // The twin: while nobody has moved the head it is applied, and so its sender was told that it is not known.
    let lossy = Lossy::new();
    let store = plain(lossy.clone());
    let silent = commit_with(&lossy, &store, Fate::LateAndSilent, recorded(1));
    assert_eq!(silent, Err(CommitError::Unknown));
    assert_eq!(lossy.arrive(), Ok(()));
    assert_eq!(verified(&lossy.link), 1);
}

#[test]
fn without_a_record_it_is_not_known_whether_a_lost_group_was_applied() {
    let lossy = Lossy::new();
    let store = plain(lossy.clone());
    let write = || {
        writing(Write::exactly(
            1,
            "INSERT INTO probe (name, value) VALUES ('a', 1)",
        ))
    };
    assert_eq!(
        commit_with(&lossy, &store, Fate::AnswerLost, write()),
        Err(CommitError::Unknown)
    );
    // The twin: with a record it is.
    let with_record = Batch {
        writes: vec![Write::exactly(
            1,
            "UPDATE probe SET value = 2 WHERE name = 'a'",
        )],
        ..recorded(1)
    };
    assert_eq!(
        commit_with(&lossy, &store, Fate::AnswerLost, with_record),
        Ok(Some(0))
    );
}
