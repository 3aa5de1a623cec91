//! Attacks on the engine that once worked, each as the attacker would run it.

use std::error::Error as StdError;
use std::time::Duration;

use kavachos::core::ledger::Outcome;
use kavachos::core::permission::PermissionSet;
use kavachos::engine::actor::{Actor, Caller, Scopes};
use kavachos::engine::{Ban, NewOwner, Question};
use kavachos::{
    Agent, AgentChange, AgentKind, AuditFilter, Code, Error, External, Issued, Kavach, NewAgent,
    NewDelegation, NewUser, Request, Timestamp, User, engine,
};
use serde_json::{Value, json};

type Done = Result<(), Box<dyn StdError>>;

async fn fresh() -> Result<(Kavach, Issued<User>), Box<dyn StdError>> {
    let kavach = Kavach::builder().sqlite_in_memory().build().await?;
    let ada = kavach.users().create(NewUser::named("Ada")).await?;
    Ok((kavach, ada))
}

/// The caller of a request with this credential.
async fn caller(kavach: &Kavach, credential: &str) -> Result<Actor, Error> {
    let engine = kavach.engine();
    Ok(Actor {
        caller: engine.authenticate(credential).await?,
        ..Actor::local(engine.id())
    })
}

/// An operator who may do everything, to what stands under `mcp:low`.
async fn bounded(kavach: &Kavach, constraints: &Value) -> Result<Actor, Box<dyn StdError>> {
    let key = engine::NewKey {
        name: "bounded".to_owned(),
        scopes: Scopes::parse(&["*"])?,
        ceiling: Some(permissions("mcp:low:*", constraints)?),
        expires_at: None,
    };
    let local = Actor::local(kavach.engine().id());
    let key = kavach.engine().create_key(&local, &key).await?;
    Ok(caller(kavach, key.token.as_ref().ok_or("no key")?.reveal()).await?)
}

fn permissions(resource: &str, constraints: &Value) -> Result<PermissionSet, Box<dyn StdError>> {
    Ok(PermissionSet::from_json(&json!([
        { "resource": resource, "actions": ["read"], "constraints": constraints },
    ]))?)
}

async fn agent(
    kavach: &Kavach,
    owner: impl kavachos::IntoOwner,
    resource: &str,
) -> Result<Issued<Agent>, Error> {
    let new = NewAgent::owned_by(owner).may(["read"], resource);
    kavach.agents().create(new).await
}

fn is_forbidden<T>(answer: &Result<T, Error>) -> bool {
    matches!(answer, Err(Error::Forbidden(_)))
}

async fn refusals(kavach: &Kavach, kind: &str) -> Result<usize, Error> {
    let filter = AuditFilter {
        kind: Some(kind.to_owned()),
        outcome: Some(Outcome::Denied),
        ..AuditFilter::default()
    };
    let page = kavach.audit().query(&filter, Default::default()).await?;
    Ok(page.items.len())
}

#[tokio::test]
async fn revoking_from_the_middle_down_and_then_up_takes_no_agent_off_twice() -> Done {
    let (kavach, ada) = fresh().await?;
    let top = agent(&kavach, &ada, "mcp:low:*").await?;
    let middle = agent(&kavach, &top, "mcp:low:*").await?;
    let leaf = agent(&kavach, &middle, "mcp:low:*").await?;
    for id in [middle.id, leaf.id, top.id] {
        kavach.agents().revoke(&id).await?;
    }
    // What lay below a revoked one when it was revoked is taken off when the limit is reached.
    assert_eq!(kavach.users().show(&ada.id).await?.agents, 1);
    Ok(())
}

#[tokio::test]
async fn an_operator_gets_no_key_of_an_agent_above_its_ceiling() -> Done {
    let (kavach, ada) = fresh().await?;
    let operator = bounded(&kavach, &json!({})).await?;
    let engine = kavach.engine();
    let high = agent(&kavach, &ada, "mcp:high:*").await?;
    assert!(is_forbidden(
        &engine.rotate_agent(&operator, high.id, None).await
    ));

    // Its own grant is low, and it was given a high one.
    let low = agent(&kavach, &ada, "mcp:low:*").await?;
    assert!(engine.rotate_agent(&operator, low.id, None).await.is_ok());
    let gift = NewDelegation::new(&high.id, &low.id, "a gift").may(["read"], "mcp:high:x");
    let gift = kavach.delegations().create(gift).await?;
    assert!(is_forbidden(
        &engine.rotate_agent(&operator, low.id, None).await
    ));
    kavach.delegations().revoke(&gift.id).await?;
    assert!(engine.rotate_agent(&operator, low.id, None).await.is_ok());
    Ok(())
}

#[tokio::test]
async fn an_operator_brings_nothing_above_its_ceiling_back_to_life() -> Done {
    let (kavach, ada) = fresh().await?;
    let operator = bounded(&kavach, &json!({})).await?;
    let engine = kavach.engine();
    let high = agent(&kavach, &ada, "mcp:high:*").await?;
    let until = |end: Option<Timestamp>| AgentChange {
        expires_at: Some(end),
        ..AgentChange::default()
    };
    let soon = until(Some(engine.now()));
    kavach.agents().update(&high.id, &soon).await?;
    let longer = engine.change_agent(&operator, high.id, &until(None)).await;
    assert!(is_forbidden(&longer));
    kavach.agents().update(&high.id, &until(None)).await?;

    // Stopping is allowed, letting go on is not.
    engine.suspend_agent(&operator, high.id).await?;
    assert!(is_forbidden(&engine.resume_agent(&operator, high.id).await));
    engine.ban_user(&operator, ada.id, &Ban::default()).await?;
    assert!(is_forbidden(&engine.unban_user(&operator, ada.id).await));
    kavach.users().unban(&ada.id).await?;
    kavach.agents().resume(&high.id).await?;
    Ok(())
}

#[tokio::test]
async fn a_ceiling_with_constraints_that_nothing_would_heed_is_refused() -> Done {
    let (kavach, _) = fresh().await?;
    assert!(
        bounded(&kavach, &json!({ "requireApproval": true }))
            .await
            .is_err()
    );
    assert!(bounded(&kavach, &json!({})).await.is_ok());
    Ok(())
}

#[tokio::test]
async fn an_owner_on_first_mention_is_no_way_around_the_ceiling() -> Done {
    let (kavach, _) = fresh().await?;
    let operator = bounded(&kavach, &json!({})).await?;
    let engine = kavach.engine();
    let new = engine::NewAgent {
        owner: NewOwner::External(External {
            provider: "clerk".to_owned(),
            external_id: "u1".to_owned(),
        }),
        name: "agent".to_owned(),
        kind: AgentKind::Service,
        permissions: permissions("mcp:low:x", &json!({}))?,
        guards: None,
        uses: kavachos::TokenUses::default(),
        max_depth: None,
        parent: None,
        expires_at: None,
        key_ttl: None,
        metadata: None,
        proof_key: None,
    };
    assert!(is_forbidden(
        &engine
            .create_agent(&operator, &new, &engine::Proofs::default())
            .await
    ));
    kavach
        .users()
        .create(NewUser::external("clerk", "u1"))
        .await?;
    assert!(
        engine
            .create_agent(&operator, &new, &engine::Proofs::default())
            .await
            .is_ok()
    );
    Ok(())
}

#[tokio::test]
async fn an_owner_on_first_mention_is_created_with_the_agent() -> Done {
    let (kavach, _) = fresh().await?;
    let owner = || External {
        provider: "clerk".to_owned(),
        external_id: "u1".to_owned(),
    };
    let one = agent(&kavach, owner(), "mcp:low:*").await?;
    let other = agent(&kavach, owner(), "mcp:low:*").await?;
    assert_eq!(one.user_id, other.user_id);
    assert_eq!(kavach.users().show(&one.user_id).await?.agents, 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn many_agents_of_one_new_human_at_once_are_no_error() -> Done {
    let (kavach, _) = fresh().await?;
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let kavach = kavach.clone();
            tokio::spawn(async move {
                let owner = External {
                    provider: "clerk".to_owned(),
                    external_id: "u1".to_owned(),
                };
                agent(&kavach, owner, "mcp:low:*")
                    .await
                    .map(|one| one.user_id)
            })
        })
        .collect();
    let mut owners = Vec::new();
    for task in tasks {
        owners.push(task.await??);
    }
    owners.dedup();
    assert_eq!(owners.len(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_take_one_address_at_once_the_second_is_told() -> Done {
    let (kavach, _) = fresh().await?;
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let kavach = kavach.clone();
            tokio::spawn(async move {
                let new = NewUser::named("Bob").email("bob@example.com");
                kavach.users().create(new).await.map(drop)
            })
        })
        .collect();
    let mut done = 0;
    for task in tasks {
        match task.await? {
            Ok(()) => done += 1,
            Err(error) => assert!(matches!(error, Error::WrongState(_)), "{error:?}"),
        }
    }
    assert_eq!(done, 1);
    Ok(())
}

#[tokio::test]
async fn more_full_counters_than_a_decision_looks_at_are_a_recorded_denial() -> Done {
    const COUNTERS: usize = 100;
    let (kavach, ada) = fresh().await?;
    let new = (0..COUNTERS).fold(NewAgent::owned_by(&ada), |new, number| {
        let rate = json!({ "rate": { "limit": 1, "per": 3600 + 60 * number } });
        new.may_under(["read"], "mcp:low:*", &rate)
    });
    let new = kavach.agents().create(new).await?;
    let mut codes = Vec::new();
    for _ in 0..=COUNTERS {
        let request = Request::new("read", "mcp:low:x");
        codes.push(kavach.authorize(&new.id, request).await?.code);
    }
    assert_eq!(codes.last(), Some(&Code::RateLimited));
    Ok(())
}

#[tokio::test]
async fn a_dead_agent_key_at_the_management_api_leaves_a_record() -> Done {
    let (kavach, ada) = fresh().await?;
    let one = agent(&kavach, &ada, "mcp:low:*").await?;
    let key = one.token.as_ref().ok_or("no key")?.reveal().to_owned();
    kavach.agents().revoke(&one.id).await?;
    let dead = caller(&kavach, &key).await?;
    assert!(matches!(dead.caller, Caller::Agent(_)));
    let refused = kavach.engine().admit(&dead).await;
    assert!(matches!(refused, Err(Error::Unauthenticated(_))));
    // The record does not hold up the answer; what is committed after it comes after it.
    kavach.users().create(NewUser::named("Bob")).await?;
    assert_eq!(refusals(&kavach, "refusal").await?, 1);
    Ok(())
}

#[tokio::test]
async fn a_question_that_may_not_be_asked_leaves_a_record() -> Done {
    let (kavach, ada) = fresh().await?;
    let spy = agent(&kavach, &ada, "mcp:low:*").await?;
    let other = agent(&kavach, &ada, "mcp:high:*").await?;
    let key = spy.token.as_ref().ok_or("no key")?.reveal().to_owned();
    let spy = caller(&kavach, &key).await?;
    let question = Question {
        presented: None,
        shown: None,
        agent: Some(other.id),
        on_behalf_of: None,
        request: kavachos::core::decide::Request {
            action: "read".parse()?,
            resource: "mcp:high:x".parse()?,
            arguments: None,
            ip: None,
            cost: None,
        },
    };
    let answer = kavach.engine().authorize(&spy, &question).await;
    assert!(is_forbidden(&answer));
    assert_eq!(refusals(&kavach, "decision").await?, 1);
    Ok(())
}

#[tokio::test]
async fn a_cursor_beyond_every_record_is_the_callers_mistake() -> Done {
    use kavachos::engine::page::{decode_cursor, encode_cursor};
    assert!(decode_cursor::<u64>(&encode_cursor(&u64::MAX, ""), "").is_err());
    assert!(decode_cursor::<u64>(&encode_cursor(&41_u64, ""), "").is_ok());
    Ok(())
}

#[tokio::test]
async fn a_sub_agent_is_no_renewal_of_the_agents_own_key() -> Done {
    const HOUR: Duration = Duration::from_secs(3600);
    let (kavach, ada) = fresh().await?;
    let new = NewAgent::owned_by(&ada).may(["read"], "mcp:low:*");
    let one = kavach.agents().create(new.key_ttl(HOUR)).await?;
    let key = one.token.as_ref().ok_or("no key")?.reveal().to_owned();
    let one_calls = caller(&kavach, &key).await?;
    let new = engine::NewAgent {
        owner: NewOwner::Agent(one.id),
        name: "heir".to_owned(),
        kind: AgentKind::Service,
        permissions: permissions("mcp:low:*", &json!({}))?,
        guards: None,
        uses: kavachos::TokenUses::default(),
        max_depth: None,
        parent: None,
        expires_at: None,
        key_ttl: Some(24 * HOUR),
        metadata: None,
        proof_key: None,
    };
    let heir = kavach
        .engine()
        .create_agent(&one_calls, &new, &engine::Proofs::default())
        .await?;
    assert_eq!(heir.key_expires_at, one.key_expires_at);
    // An operator may renew.
    let local = Actor::local(kavach.engine().id());
    let heir = kavach
        .engine()
        .create_agent(&local, &new, &engine::Proofs::default())
        .await?;
    assert!(heir.key_expires_at > one.key_expires_at);
    Ok(())
}

#[tokio::test]
async fn a_filter_that_no_record_can_match_is_the_callers_mistake() -> Done {
    let (kavach, _) = fresh().await?;
    let audit = |kind: &str| {
        let filter = AuditFilter {
            kind: Some(kind.to_owned()),
            ..AuditFilter::default()
        };
        let kavach = kavach.clone();
        async move { kavach.audit().query(&filter, Default::default()).await }
    };
    assert!(matches!(audit("a\0b").await, Err(Error::Invalid(_))));
    assert!(audit("decision").await.is_ok());
    Ok(())
}
