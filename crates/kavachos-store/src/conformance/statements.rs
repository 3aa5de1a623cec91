//! Every statement of the crate runs, and what it stores reads back as it was: the subset of SQL is really common.

use kavachos_core::id::{
    AgentId, AuditId, GrantId, KeyId, MailId, RequestId, SessionId, ToolServerId, UserId,
};
use kavachos_core::ledger::{Outcome, Pseudonym};
use kavachos_core::principal::{Owner, Status};
use kavachos_core::revocation::{Handle, HandleKind, Mark};
use kavachos_core::secret::SecretHash;
use kavachos_core::time::Timestamp;

use super::world::{Failure, World, insert};
use crate::agent::{self, AgentFilter, AgentKeyRow, AgentRow, ProofKeyRow};
use crate::answer::ReadError;
use crate::batch::Write;
use crate::begun_kill::{self, BegunKill};
use crate::checkup::{self, Checkup, Compared};
use crate::grant::{self, GrantFilter, GrantRow, Quota};
use crate::ledger::{self, LedgerFilter};
use crate::mail::{self, MailRow};
use crate::operator_key::{self, OperatorKeyRow};
use crate::page::Listed;
use crate::promise::{self, PromiseRow};
use crate::row::Query;
use crate::tool_server::{self, ToolServerRow};
use crate::user::{self, UserRow};
use crate::user_search::{self, UserFilter};
use crate::{handle, idempotency, session_handle};

super::list_cases![
    a_user_is_stored_changed_and_found,
    an_agent_and_its_key_are_stored_changed_and_found,
    grants_are_stored_within_their_quota_changed_and_found,
    an_operator_key_is_stored_changed_and_found,
    mails_wait_in_the_order_of_their_time,
    a_promise_is_redeemed_once_and_forgotten,
    a_proof_key_is_one_agents,
    a_slot_is_claimed_once_and_forgotten,
    a_kill_goes_on_in_steps_of_which_each_is_made_once,
    a_session_has_one_handle_for_each_tool_server,
    records_are_found_by_every_filter,
    the_end_of_the_ledger_is_compared,
    what_stands_in_texts_names_and_comments_is_no_placeholder,
];

pub(super) const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);
pub(super) const LATER: Timestamp = Timestamp::from_micros(1_900_000_000_000_000);

pub(super) fn fresh(kind: HandleKind, byte: u8) -> Mark {
    let bytes = [byte; 16];
    Mark {
        handle: Handle { kind, bytes },
        generation: 1,
    }
}

pub(super) fn user(number: u128) -> UserRow {
    UserRow {
        id: UserId::from_bits(number),
        status: Status::Active,
        email: Some(format!("{number}@example.com")),
        name: None,
        external: Some(("idp".to_owned(), number.to_string())),
        permissions: Some("[]".to_owned()),
        mark: fresh(HandleKind::User, 1),
        kills: 0,
        pseudonym: Pseudonym::from_bits(number),
        agents: 0,
        version: 1,
        created_at: NOW,
        email_verified_at: None,
        role: None,
        banned_until: None,
    }
}

pub(super) fn agent(number: u128, owner: Owner) -> AgentRow {
    AgentRow {
        id: AgentId::from_bits(number),
        owner,
        root: UserId::from_bits(1),
        name: "agent".to_owned(),
        kind: "autonomous".to_owned(),
        status: Status::Active,
        expires_at: None,
        metadata: Some("{}".to_owned()),
        root_grant: GrantId::from_bits(number),
        mark: fresh(HandleKind::Agent, u8::try_from(number).unwrap_or(u8::MAX)),
        kills: 0,
        version: 1,
        created_at: NOW,
        proof_key: None,
        maker: None,
    }
}

pub(super) fn grant(number: u128, parent: Option<GrantId>) -> GrantRow {
    GrantRow {
        id: GrantId::from_bits(number),
        parent,
        giver: Owner::User(UserId::from_bits(1)),
        receiver: AgentId::from_bits(1),
        root: UserId::from_bits(1),
        permissions: "[]".to_owned(),
        guards: None,
        depth: 0,
        max_depth: 3,
        expires_at: Some(LATER),
        reason: Some("why".to_owned()),
        status: Status::Active,
        mark: fresh(HandleKind::Grant, u8::try_from(number).unwrap_or(u8::MAX)),
        version: 1,
        created_at: NOW,
        uses: Some("{}".to_owned()),
        reserved_for: Some("https://tools.example.com".to_owned()),
        maker: None,
    }
}

/// The only thing on a page that has no other after it.
fn only<T>(page: Vec<Listed<T>>) -> Option<T> {
    let mut page = page.into_iter();
    match (page.next(), page.next()) {
        (Some(Listed { thing, more: false }), None) => Some(thing),
        _ => None,
    }
}

pub(super) async fn apply(world: &World, writes: Vec<Write>) -> Result<(), Failure> {
    world.store.commit(world.writing(writes)?).await?;
    Ok(())
}

/// A human, an agent of the human, and an agent of that agent.
pub(super) async fn people(world: &World) -> Result<[AgentRow; 2], Failure> {
    let human = user(1);
    let top = agent(1, Owner::User(human.id));
    let below = agent(2, Owner::Agent(top.id));
    apply(
        world,
        vec![
            handle::born(human.mark),
            user::insert(human),
            handle::born(top.mark),
            agent::insert(top.clone()),
            handle::born(below.mark),
            agent::insert(below.clone()),
        ],
    )
    .await?;
    Ok([top, below])
}

async fn a_user_is_stored_changed_and_found(world: World) -> Result<(), Failure> {
    let mut row = user(1);
    let births = vec![handle::born(row.mark), user::insert(row.clone())];
    apply(&world, births).await?;
    let store = &*world.store;
    let id = row.id;
    for found in [
        store.find(user::by_id(id)).await?,
        store.find(user::by_email("1@example.com".into())).await?,
        store
            .find(user::by_external("idp".into(), "1".into()))
            .await?,
        store.find(user::by_ids(&[id])).await?,
        store.find(user::by_pseudonyms(&[row.pseudonym])).await?,
        store
            .find(user_search::page(
                &UserFilter::default(),
                None,
                Timestamp::MIN,
                1,
            ))
            .await?
            .map(|listed| listed.thing),
    ] {
        assert_eq!(found.as_ref(), Some(&row));
    }
    assert_eq!(
        store
            .list(user_search::page(
                &UserFilter::default(),
                Some(id),
                Timestamp::MIN,
                1
            ))
            .await?,
        []
    );
    // Whoever comes with the same address or the same name elsewhere is a conflict, not an error.
    let twin = user::insert(UserRow {
        id: UserId::from_bits(2),
        ..row.clone()
    });
    assert!(apply(&world, vec![twin]).await.is_err());
    row.status = Status::Suspended;
    row.email = None;
    apply(
        &world,
        vec![user::update(row.clone()), user::count_agent(id, 1)],
    )
    .await?;
    row.version = row.version.saturating_add(1);
    row.agents = 1;
    assert_eq!(world.store.find(user::by_id(id)).await?, Some(row));
    assert!(apply(&world, vec![user::count_agent(id, 1)]).await.is_err());
    Ok(())
}

async fn an_agent_and_its_key_are_stored_changed_and_found(world: World) -> Result<(), Failure> {
    let [top, below] = people(&world).await?;
    let store = &*world.store;
    assert_eq!(store.find(agent::by_id(top.id)).await?, Some(top.clone()));
    let filters = [
        (AgentFilter::default(), 2),
        (
            AgentFilter {
                owner: Some(top.owner),
                status: Some(Status::Active),
                kind: Some("autonomous".to_owned()),
                root: Some(top.root),
            },
            1,
        ),
        (
            AgentFilter {
                owner: Some(below.owner),
                ..AgentFilter::default()
            },
            1,
        ),
    ];
    for (filter, expected) in filters {
        let found = store.list(agent::page(filter, None, 10)).await?;
        assert_eq!(found.len(), expected);
    }
    let before = agent::page(AgentFilter::default(), Some(below.id), 10);
    assert_eq!(only(store.list(before).await?).as_ref(), Some(&top));
    let above = store.list(agent::with_owners(&[below.id, top.id])).await?;
    assert_eq!(above.len(), 2);

    let key = AgentKeyRow {
        hash: SecretHash::from_bytes([1; 32]),
        agent: top.id,
        shown: "kv_..".to_owned(),
        status: Status::Active,
        expires_at: LATER,
        agent_kills: 0,
        user_kills: 0,
        mark: fresh(HandleKind::Key, 1),
        ended_at: None,
        created_at: NOW,
    };
    apply(
        &world,
        vec![handle::born(key.mark), agent::insert_key(key.clone())],
    )
    .await?;
    let active = store.list(agent::active_keys(top.id)).await?;
    assert_eq!(active, std::slice::from_ref(&key));
    apply(&world, vec![agent::end_key(key.hash, NOW)]).await?;
    let ended = store.find(agent::key_by_hash(key.hash)).await?;
    assert_eq!(ended.and_then(|key| key.ended_at), Some(NOW));
    apply(&world, vec![agent::forget_keys(LATER)]).await?;
    assert_eq!(store.find(agent::key_by_hash(key.hash)).await?, None);

    agents_are_counted_anew_where_the_count_is_full(&world, top).await
}

async fn agents_are_counted_anew_where_the_count_is_full(
    world: &World,
    mut top: AgentRow,
) -> Result<(), Failure> {
    let (id, root) = (top.id, top.root);
    let both = vec![user::count_agent(root, 5), user::count_agent(root, 5)];
    apply(world, both).await?;
    top.status = Status::Revoked;
    apply(world, vec![agent::uncount(id, root), agent::update(top)]).await?;
    let counted = async || {
        let user = world.store.find(user::by_id(root)).await;
        user.map(|user| user.map(|user| user.agents))
    };
    // The one below it is counted still: that is noticed at the limit, and no earlier.
    assert_eq!(counted().await?, Some(1));
    assert_eq!(world.store.find(user::live_agents(root)).await?, Some((0,)));
    apply(world, vec![user::recount_agents(root, 2)]).await?;
    assert_eq!(counted().await?, Some(1));
    apply(world, vec![user::recount_agents(root, 1)]).await?;
    assert_eq!(counted().await?, Some(0));
    Ok(())
}

async fn grants_are_stored_within_their_quota_changed_and_found(
    world: World,
) -> Result<(), Failure> {
    let [top, _] = people(&world).await?;
    let store = &*world.store;
    let (mut parent, child) = (grant(1, None), grant(2, Some(GrantId::from_bits(1))));
    let quota = |children| Quota {
        children,
        received: 10,
    };
    let insert = |row: &GrantRow, children| {
        vec![
            handle::born(row.mark),
            grant::insert(row.clone(), quota(children)),
        ]
    };
    apply(&world, insert(&parent, 1)).await?;
    assert!(apply(&world, insert(&child, 0)).await.is_err());
    apply(&world, insert(&child, 1)).await?;
    let counts = grant::counts(Some(parent.id), top.id, NOW);
    assert_eq!(store.find(counts).await?, Some((1, 2)));
    assert_eq!(
        store.find(grant::by_id(child.id)).await?,
        Some(child.clone())
    );
    assert_eq!(store.list(grant::by_ids(&[child.id])).await?.len(), 1);
    assert_eq!(store.list(grant::with_parents(&[child.id])).await?.len(), 2);
    for filter in [
        GrantFilter::default(),
        GrantFilter {
            giver: Some(parent.giver),
            receiver: Some(top.id),
            root: Some(parent.root),
        },
    ] {
        let newest = grant::page(&filter, None, 10);
        assert_eq!(store.list(newest).await?.len(), 2);
        let oldest = grant::page(&filter, Some(child.id), 10);
        assert_eq!(only(store.list(oldest).await?).as_ref(), Some(&parent));
    }
    let human = parent.root;
    let given = grant::GivenGrant {
        id: parent.id,
        receiver: top.id,
        mark: parent.mark,
    };
    let given_after = |after: &str| grant::given_after(human, after.to_owned(), NOW, 10);
    assert_eq!(store.list(given_after("")).await?, [given]);
    let last = parent.id.to_string();
    assert_eq!(store.list(given_after(&last)).await?, []);
    parent.status = Status::Revoked;
    apply(&world, vec![grant::update(parent.clone())]).await?;
    assert_eq!(store.list(given_after("")).await?, []);
    let [live, ended] = grant::received(top.id, NOW);
    assert_eq!(store.list(live).await?, [child]);
    assert_eq!(store.list(ended).await?.len(), 1);
    assert!(apply(&world, vec![grant::update(parent)]).await.is_err());
    Ok(())
}

async fn an_operator_key_is_stored_changed_and_found(world: World) -> Result<(), Failure> {
    let mut key = OperatorKeyRow {
        id: KeyId::from_bits(1),
        hash: SecretHash::from_bytes([1; 32]),
        shown: "kv_..".to_owned(),
        name: "ops".to_owned(),
        origin: "created".to_owned(),
        scopes: "[\"*\"]".to_owned(),
        ceiling: None,
        status: Status::Active,
        expires_at: None,
        mark: fresh(HandleKind::Key, 1),
        version: 1,
        created_at: NOW,
    };
    let births = vec![handle::born(key.mark), operator_key::insert(key.clone())];
    apply(&world, births).await?;
    for found in [
        world.store.find(operator_key::by_id(key.id)).await?,
        world.store.find(operator_key::by_hash(key.hash)).await?,
        world
            .store
            .find(operator_key::active_of_origin("created"))
            .await?,
        world
            .store
            .find(operator_key::page(None, 1))
            .await?
            .map(|listed| listed.thing),
    ] {
        assert_eq!(found.as_ref(), Some(&key));
    }
    let before = operator_key::page(Some(key.id), 1);
    assert_eq!(world.store.list(before).await?, []);
    key.expires_at = Some(LATER);
    apply(&world, vec![operator_key::update(key.clone())]).await?;
    key.version = key.version.saturating_add(1);
    assert_eq!(
        world.store.find(operator_key::by_id(key.id)).await?,
        Some(key)
    );
    Ok(())
}

async fn a_slot_is_claimed_once_and_forgotten(world: World) -> Result<(), Failure> {
    let claim = || idempotency::claim([1; 32], [2; 32], "thing".to_owned(), NOW);
    apply(&world, vec![claim()]).await?;
    let claimed = world.store.find(idempotency::lookup([1; 32])).await?;
    assert_eq!(claimed, Some(([2; 32], "thing".to_owned())));
    assert!(apply(&world, vec![claim()]).await.is_err());
    apply(&world, vec![idempotency::forget(LATER)]).await?;
    apply(&world, vec![claim()]).await
}

async fn a_kill_goes_on_in_steps_of_which_each_is_made_once(world: World) -> Result<(), Failure> {
    let store = &world.store;
    let begin = |generation| vec![begun_kill::begin("user_1".to_owned(), generation)];
    apply(&world, begin(2)).await?;
    let found = store.find(begun_kill::of("user_1".to_owned())).await?;
    let first = BegunKill {
        id: "user_1".to_owned(),
        generation: 2,
        reached: String::new(),
    };
    assert_eq!(found.as_ref(), Some(&first));
    let step = |from: &BegunKill| vec![begun_kill::advance(from, "b".to_owned())];
    apply(&world, step(&first)).await?;
    assert!(apply(&world, step(&first)).await.is_err());
    let early = vec![begun_kill::finish(&first)];
    assert!(apply(&world, early).await.is_err());
    // Whoever is killed again is begun anew, and who stood at the first is too late.
    apply(&world, begin(3)).await?;
    assert!(apply(&world, step(&first)).await.is_err());
    let found = store.list(begun_kill::all(10)).await?;
    let again = BegunKill {
        generation: 3,
        ..first
    };
    assert_eq!(found, std::slice::from_ref(&again));
    apply(&world, vec![begun_kill::finish(&again)]).await?;
    assert_eq!(store.list(begun_kill::all(10)).await?, []);
    // What ends the things that somebody made is told from what raises the handles of somebody.
    apply(&world, begin(5)).await?;
    assert_eq!(store.find(begun_kill::any_ending()).await?, None);
    let ending = "made:user_1".to_owned();
    apply(&world, vec![begun_kill::begin(ending.clone(), 5)]).await?;
    assert_eq!(store.find(begun_kill::any_ending()).await?, Some((ending,)));
    Ok(())
}

async fn a_session_has_one_handle_for_each_tool_server(world: World) -> Result<(), Failure> {
    let store = &world.store;
    let session = SessionId::from_bits(1);
    let servers = [ToolServerId::from_bits(1), ToolServerId::from_bits(2)];
    let marks = [fresh(HandleKind::Session, 1), fresh(HandleKind::Session, 2)];
    for (server, mark) in servers.into_iter().zip(marks) {
        let handle = mark.handle;
        let writes = vec![
            session_handle::insert(session, server, handle),
            handle::born(mark),
        ];
        apply(&world, writes).await?;
    }
    let [first, second] = servers;
    let again = session_handle::insert(session, first, fresh(HandleKind::Session, 3).handle);
    assert!(apply(&world, vec![again]).await.is_err());
    let all = |reached: String| session_handle::after(session, reached, 10);
    let found = store.list(all(String::new())).await?;
    assert_eq!(found.len(), 2);
    assert_eq!(found.first().map(|found| found.server), Some(first));
    let rest = store.list(all(first.to_string())).await?;
    assert_eq!(rest.first().map(|found| found.server), Some(second));
    let of_second = store.find(session_handle::of(session, second)).await?;
    assert_eq!(of_second, rest.first().copied());
    apply(&world, vec![session_handle::forget()]).await?;
    assert_eq!(store.list(all(String::new())).await?, []);
    Ok(())
}

async fn records_are_found_by_every_filter(world: World) -> Result<(), Failure> {
    let member = AgentId::from_bits(20);
    let mut batch = world.recorded()?;
    batch.entries.push(world.entry_with(&[member])?);
    world.store.commit(batch).await?;
    let all = LedgerFilter::default();
    let found = |filter: LedgerFilter| {
        let page = ledger::look(&filter, 0..2, 10).0;
        let store = &world.store;
        async move { store.list(page).await.map(|rows| rows.len()) }
    };
    assert_eq!(found(all.clone()).await?, 2);
    let of_member = LedgerFilter {
        member: Some(member),
        ..all.clone()
    };
    assert_eq!(found(of_member).await?, 1);
    let matching = LedgerFilter {
        agent: Some(AgentId::from_bits(7)),
        member: Some(AgentId::from_bits(7)),
        action: Some("read".to_owned()),
        outcome: Some(Outcome::Allowed),
        code: Some("allowed".to_owned()),
        kind: Some("decision".to_owned()),
        since: Some(Timestamp::MIN),
        until: Some(LATER),
        ..all.clone()
    };
    assert_eq!(found(matching).await?, 2);
    let of_others = LedgerFilter {
        subject: Some(Pseudonym::from_bits(9)),
        request: Some(RequestId::from_bits(9)),
        ..all
    };
    assert_eq!(found(of_others).await?, 0);
    let record = world
        .store
        .find(ledger::by_id(AuditId::from_bits(1)))
        .await?;
    assert_eq!(record.map(|record| record.seq), Some(0));
    Ok(())
}

/// A tool server.
pub(super) fn server() -> ToolServerRow {
    ToolServerRow {
        id: ToolServerId::from_bits(1),
        hash: SecretHash::from_bytes([9; 32]),
        shown: "kv_..".to_owned(),
        audience: "https://tools.example.com".to_owned(),
        name: "tools".to_owned(),
        scopes: "[]".to_owned(),
        policy: "{}".to_owned(),
        status: Status::Active,
        mark: fresh(HandleKind::Key, 9),
        version: 1,
        created_at: NOW,
    }
}

async fn a_promise_is_redeemed_once_and_forgotten(world: World) -> Result<(), Failure> {
    let [top, _] = people(&world).await?;
    let (one, two, server) = (grant(1, None), grant(2, None), server());
    let quota = Quota {
        children: 10,
        received: 10,
    };
    let births = vec![
        handle::born(one.mark),
        grant::insert(one.clone(), quota),
        handle::born(two.mark),
        grant::insert(two.clone(), quota),
        handle::born(server.mark),
        tool_server::insert(server.clone()),
    ];
    apply(&world, births).await?;
    let promise = |grant: &GrantRow| PromiseRow {
        grant: grant.id,
        giver: top.id,
        receiver: grant.receiver,
        server: server.id,
        bound: true,
        marks: vec![top.mark, server.mark],
        epoch: 3,
        expires_at: LATER,
        redeemed_at: None,
    };
    apply(&world, vec![promise::insert(&promise(&one), NOW, 1)]).await?;
    let second = || vec![promise::insert(&promise(&two), NOW, 1)];
    assert!(apply(&world, second()).await.is_err());
    let open = async || world.store.find(promise::open_of(top.id, NOW)).await;
    assert_eq!(open().await?, Some((1,)));
    let found = async || world.store.find(promise::by_grant(one.id)).await;
    assert_eq!(found().await?, Some(promise(&one)));
    assert!(
        apply(&world, vec![promise::redeem(one.id, LATER)])
            .await
            .is_err()
    );
    apply(&world, vec![promise::redeem(one.id, NOW)]).await?;
    assert!(
        apply(&world, vec![promise::redeem(one.id, NOW)])
            .await
            .is_err()
    );
    let redeemed = found().await?.and_then(|promise| promise.redeemed_at);
    assert_eq!((redeemed, open().await?), (Some(NOW), Some((0,))));
    // One that was redeemed is none of the open ones.
    apply(&world, second()).await?;
    apply(&world, vec![promise::forget(LATER)]).await?;
    assert!(found().await?.is_some());
    let after = LATER.plus(std::time::Duration::from_secs(1));
    apply(&world, vec![promise::forget(after)]).await?;
    assert_eq!(found().await?, None);
    Ok(())
}

async fn mails_wait_in_the_order_of_their_time(world: World) -> Result<(), Failure> {
    let row = |number: u128, next_at| MailRow {
        id: MailId::from_bits(number),
        kind: "magic_link".to_owned(),
        sealed: vec![0, 1, 255],
        attempts: 0,
        next_at,
        expires_at: LATER,
        created_at: NOW,
    };
    let waiting = async || world.store.list(mail::next(2)).await;
    let (first, second) = (row(2, NOW), row(1, LATER));
    let count = async || world.store.find(mail::waiting()).await;
    apply(&world, mail::insert(second.clone(), 2).into()).await?;
    apply(&world, mail::insert(first.clone(), 2).into()).await?;
    assert_eq!(count().await?, Some((2,)));
    assert_eq!(waiting().await?, [first.clone(), second.clone()]);
    let found = world.store.find(mail::by_id(first.id)).await?;
    assert_eq!(found.as_ref(), Some(&first));
    // A full queue takes no more.
    let third = mail::insert(row(3, NOW), 2);
    assert!(apply(&world, third.into()).await.is_err());
    let after = LATER.plus(std::time::Duration::from_secs(1));
    apply(&world, vec![mail::put_off(first.id, 1, after)]).await?;
    let put_off = MailRow {
        attempts: 1,
        next_at: after,
        ..first
    };
    assert_eq!(waiting().await?, [second.clone(), put_off.clone()]);
    // One that is settled twice is counted once.
    for _ in 0..2 {
        apply(&world, mail::settle(second.id).into()).await?;
    }
    assert_eq!(waiting().await?, [put_off]);
    assert_eq!(count().await?, Some((1,)));
    apply(&world, mail::forget(LATER).into()).await?;
    assert_eq!((waiting().await?.len(), count().await?), (1, Some((1,))));
    apply(&world, mail::forget(after).into()).await?;
    assert_eq!((waiting().await?.len(), count().await?), (0, Some((0,))));
    Ok(())
}

async fn a_proof_key_is_one_agents(world: World) -> Result<(), Failure> {
    let [mut top, mut below] = people(&world).await?;
    let key = ProofKeyRow {
        jwk: "{}".to_owned(),
        mark: fresh(HandleKind::Key, 7),
    };
    top.proof_key = Some(key.clone());
    let births = vec![handle::born(key.mark), agent::update(top.clone())];
    apply(&world, births).await?;
    let holder = async || world.store.find(agent::by_proof_key(key.mark.handle)).await;
    top.version = top.version.saturating_add(1);
    assert_eq!(holder().await?.as_ref(), Some(&top));
    below.proof_key = Some(key.clone());
    assert!(
        apply(&world, vec![agent::update(below.clone())])
            .await
            .is_err()
    );
    // One that was revoked leaves it to the next.
    top.status = Status::Revoked;
    apply(&world, vec![agent::update(top)]).await?;
    assert_eq!(holder().await?, None);
    apply(&world, vec![agent::update(below.clone())]).await?;
    below.version = below.version.saturating_add(1);
    assert_eq!(holder().await?, Some(below));
    Ok(())
}

async fn the_end_of_the_ledger_is_compared(world: World) -> Result<(), Failure> {
    let look = async || {
        let answers = world.store.read(checkup::queries()).await?;
        Checkup::of(answers).map_err(ReadError::from)
    };
    let none = Compared {
        recomputed: 0,
        joined: 0,
    };
    assert_eq!(look().await?.ledger, Ok(none));
    for _ in 0..3 {
        world.store.commit(world.recorded()?).await?;
    }
    let found = look().await?;
    let all = Compared {
        recomputed: 3,
        joined: 3,
    };
    assert_eq!((found.records, found.ledger), (3, Ok(all)));
    assert_eq!((found.has_keys, found.webhooks), (false, Vec::new()));
    Ok(())
}

async fn what_stands_in_texts_names_and_comments_is_no_placeholder(
    world: World,
) -> Result<(), Failure> {
    apply(&world, vec![insert("a", 1)]).await?;
    let sql = "-- it's ?3\n/* and \" ?4 */ UPDATE probe SET value = ?2 -- ?5\n \
               WHERE name = ?1 AND '?6' || '--' <> 'it''s ?7' /*?8*/";
    let change = Write::exactly(1, sql).bind("a").bind(7_i64);
    apply(&world, vec![change]).await?;
    let sql = "/* ?2 */ SELECT p.value AS \"?3\", '?4 -- ' || p.name FROM probe p WHERE p.name = ?1 -- ?5";
    let query = Query::new(1, sql).bind("a").of::<(i64, String)>();
    let found = world.store.find(query).await?;
    assert_eq!(found, Some((7, "?4 -- a".to_owned())));
    Ok(())
}
