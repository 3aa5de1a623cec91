//! What is stored of how humans sign in, and of what is taken back: each statement runs, and what is good once is so.

use kavachos_core::id::{AgentId, GrantId, SessionId, UserId};
use kavachos_core::ledger::Pseudonym;
use kavachos_core::principal::{Owner, Status};
use kavachos_core::revocation::HandleKind;
use kavachos_core::secret::SecretHash;
use kavachos_core::time::Timestamp;

use super::statements::{LATER, NOW, agent, apply, fresh, grant, people, user};
use super::world::{Failure, World};
use crate::agent::{self, AgentRow};
use crate::batch::Write;
use crate::former_address::{self, FormerAddressRow};
use crate::grant::{self, Quota};
use crate::guess_run::{self, Run};
use crate::maker::{Ending, Extent, Maker};
use crate::not_me::{self, NotMeRow};
use crate::session::{self, SessionRow};
use crate::user::{self, UserRow};
use crate::{former_identity, given_identity, handle, second_factor, vouching};

super::list_cases![
    an_outside_identity_is_taken_away_and_remembered,
    an_identity_that_was_given_says_so_until_it_is_used,
    what_a_human_made_is_told_from_what_others_made_for_them,
    a_link_against_a_sign_in_is_used_once_and_so_many_are_made_in_an_hour,
    guesses_in_a_row_are_counted_to_their_end,
    an_address_that_was_left_earlier_outlives_the_later_ones,
];

async fn an_outside_identity_is_taken_away_and_remembered(world: World) -> Result<(), Failure> {
    let row = user(1);
    let own = || ("idp".to_owned(), "1".to_owned());
    let births = vec![handle::born(row.mark), user::insert(row.clone())];
    apply(&world, births).await?;
    // What a provider says of them counts while they have it, and no second factor.
    apply(&world, vec![vouching::still(row.id, own())]).await?;
    apply(&world, vec![former_identity::still_new(row.id, own())]).await?;
    let arms = vec![
        second_factor::arm(row.id, "totp", NOW),
        vouching::still(row.id, own()),
    ];
    assert!(apply(&world, arms).await.is_err());
    let mut next = UserRow {
        external: None,
        ..row.clone()
    };
    let taken = vec![
        vouching::still(row.id, own()),
        former_identity::remember(row.id, own(), NOW),
        user::update(next.clone()),
    ];
    apply(&world, taken).await?;
    next.version = next.version.saturating_add(1);
    let store = &*world.store;
    assert_eq!(store.find(user::by_id(row.id)).await?, Some(next.clone()));
    assert_eq!(
        store
            .find(user::by_external("idp".into(), "1".into()))
            .await?,
        None
    );
    for found in [
        store.find(former_identity::of(own())).await?,
        store.find(former_identity::any_of(row.id)).await?,
    ] {
        assert_eq!(found, Some((row.id,)));
    }
    for over in [
        vouching::still(row.id, own()),
        former_identity::still_new(row.id, own()),
    ] {
        assert!(apply(&world, vec![over]).await.is_err());
    }
    // It may be given back by hand, and be taken again; but not while it is somebody else's.
    let other = UserRow {
        id: UserId::from_bits(2),
        email: None,
        external: Some(own()),
        mark: fresh(HandleKind::User, 2),
        pseudonym: Pseudonym::from_bits(2),
        ..row.clone()
    };
    let births = vec![handle::born(other.mark), user::insert(other.clone())];
    apply(&world, births).await?;
    let given = UserRow {
        external: Some(own()),
        ..next
    };
    assert!(apply(&world, vec![user::update(given)]).await.is_err());
    let again = former_identity::remember(other.id, own(), LATER);
    apply(&world, vec![again]).await?;
    let last = store.find(former_identity::of(own())).await?;
    assert_eq!(last, Some((other.id,)));
    Ok(())
}

/// However often it is noted that somebody came in by it.
async fn an_identity_that_was_given_says_so_until_it_is_used(world: World) -> Result<(), Failure> {
    let [human, other] = [1, 2].map(UserId::from_bits);
    apply(&world, vec![given_identity::give(human)]).await?;
    let store = &*world.store;
    let unused = |id| store.find(given_identity::unused(id));
    assert_eq!(unused(human).await?, Some((human,)));
    assert_eq!(unused(other).await?, None);
    for _ in 0..2 {
        apply(&world, vec![given_identity::used(human)]).await?;
        assert_eq!(unused(human).await?, None);
    }
    Ok(())
}

/// Has a session of this human that was opened then, whether there was one or not.
async fn session_since(
    world: &World,
    user: UserId,
    (since, handle): (Timestamp, u8),
) -> Result<(), Failure> {
    let mark = fresh(HandleKind::Session, handle);
    let row = SessionRow {
        id: SessionId::from_bits(1),
        hash: SecretHash::from_bytes([9; 32]),
        shown: String::new(),
        user,
        opened_by: "system".to_owned(),
        status: Status::Active,
        user_kills: 0,
        mark,
        signed_in_at: since,
        used_at: since,
        expires_at: LATER,
        created_at: since,
        method: None,
        ip: None,
        user_agent: None,
        two_factors: false,
        impersonator: None,
        impersonator_mark: None,
    };
    let again = Write::any("DELETE FROM sessions WHERE id = ?1").bind(row.id);
    let writes = vec![again, handle::born(mark), session::open(row, 10)];
    apply(world, writes).await
}

async fn what_a_human_made_is_told_from_what_others_made_for_them(
    world: World,
) -> Result<(), Failure> {
    let [top, _] = people(&world).await?;
    let store = &*world.store;
    let maker = Maker {
        human: top.root,
        session: Some(SessionId::from_bits(1)),
    };
    let own = AgentRow {
        maker: Some(maker),
        ..agent(3, Owner::User(top.root))
    };
    let (of_others, mut made) = (grant(1, None), grant(2, None));
    made.maker = Some(Maker {
        session: None,
        ..maker
    });
    let quota = Quota {
        children: 10,
        received: 10,
    };
    let mut writes = vec![handle::born(own.mark), agent::insert(own.clone())];
    for row in [&of_others, &made] {
        writes.extend([handle::born(row.mark), grant::insert(row.clone(), quota)]);
    }
    apply(&world, writes).await?;
    assert_eq!(store.find(agent::by_id(own.id)).await?, Some(own.clone()));
    assert_eq!(store.find(grant::by_id(made.id)).await?, Some(made.clone()));
    let ending = |extent| Ending {
        human: top.root,
        extent,
        until: NOW,
    };
    let agents = async |ending: Ending| -> Result<Vec<AgentId>, Failure> {
        let found = store.list(agent::ending(ending, 10)).await?;
        Ok(found.iter().map(|agent| agent.id).collect())
    };
    let grants = async |ending: Ending| -> Result<Vec<GrantId>, Failure> {
        let found = store.list(grant::ending(ending, NOW, 10)).await?;
        Ok(found.iter().map(|grant| grant.id).collect())
    };
    assert_eq!(agents(ending(Extent::Made)).await?, [own.id]);
    assert_eq!(agents(ending(Extent::Given)).await?, [top.id, own.id]);
    assert_eq!(grants(ending(Extent::Made)).await?, [made.id]);
    // Who holds them ends too.
    assert_eq!(grants(ending(Extent::Given)).await?, []);
    let early = Ending {
        until: Timestamp::MIN,
        ..ending(Extent::Given)
    };
    assert_eq!(agents(early).await?, []);
    assert_eq!(grants(early).await?, []);
    // What is younger than the end ends too, where it was made in a session that was open by then.
    let before = Ending {
        until: Timestamp::from_micros(NOW.as_micros() - 1),
        ..ending(Extent::Made)
    };
    assert_eq!(agents(before).await?, []);
    session_since(&world, top.root, (before.until, 8)).await?;
    assert_eq!(agents(before).await?, [own.id]);
    session_since(&world, top.root, (NOW, 9)).await?;
    assert_eq!(agents(before).await?, []);
    apply(&world, vec![agent::revoke(own.id), grant::revoke(made.id)]).await?;
    assert_eq!(agents(ending(Extent::Made)).await?, []);
    assert_eq!(grants(ending(Extent::Made)).await?, []);
    assert!(apply(&world, vec![agent::revoke(own.id)]).await.is_err());
    assert!(apply(&world, vec![grant::revoke(made.id)]).await.is_err());
    Ok(())
}

async fn a_link_against_a_sign_in_is_used_once_and_so_many_are_made_in_an_hour(
    world: World,
) -> Result<(), Failure> {
    let [top, _] = people(&world).await?;
    let link = |number: u8| NotMeRow {
        hash: [number; 32],
        user: top.root,
        session: SessionId::from_bits(1),
        expires_at: LATER,
        created_at: NOW,
    };
    let one = not_me::insert(&link(1), (1, Timestamp::MIN));
    apply(&world, vec![one]).await?;
    let more = not_me::insert(&link(2), (1, Timestamp::MIN));
    assert!(apply(&world, vec![more]).await.is_err());
    apply(&world, vec![not_me::insert(&link(2), (1, NOW))]).await?;
    let store = &*world.store;
    let count = not_me::since(top.root, Timestamp::MIN);
    assert_eq!(store.find(count).await?, Some((2,)));
    let found = not_me::by_hash([1; 32], NOW);
    assert_eq!(store.find(found).await?, Some(link(1)));
    assert_eq!(store.find(not_me::by_hash([1; 32], LATER)).await?, None);
    let late = not_me::consume([1; 32], LATER);
    assert!(apply(&world, vec![late]).await.is_err());
    apply(&world, vec![not_me::consume([1; 32], NOW)]).await?;
    let again = not_me::consume([1; 32], NOW);
    assert!(apply(&world, vec![again]).await.is_err());
    apply(&world, vec![not_me::forget(LATER)]).await?;
    assert_eq!(store.find(not_me::by_hash([2; 32], NOW)).await?, None);
    apply(&world, vec![not_me::insert(&link(2), (1, NOW))]).await?;
    apply(&world, vec![not_me::forget_of(top.root)]).await?;
    assert_eq!(store.find(not_me::by_hash([2; 32], NOW)).await?, None);
    Ok(())
}

/// Of guesses in a row so many are counted, one closes the run, and whoever was right ends it.
async fn guesses_in_a_row_are_counted_to_their_end(world: World) -> Result<(), Failure> {
    const LIMIT: u64 = 2;
    let [top, _] = people(&world).await?;
    let run = |browser: &[u8]| Run {
        user: top.root,
        authenticator: "password",
        browser: browser.to_vec(),
    };
    let (strangers, known) = (run(&[]), run(&[7; 32]));
    let store = &*world.store;
    assert_eq!(store.find(guess_run::length(&strangers)).await?, None);
    let early = guess_run::close(&strangers, LIMIT);
    assert!(apply(&world, vec![early]).await.is_err());
    for _ in 0..LIMIT {
        apply(&world, vec![guess_run::count_below(&strangers, LIMIT)]).await?;
    }
    let more = guess_run::count_below(&strangers, LIMIT);
    assert!(apply(&world, vec![more]).await.is_err());
    apply(&world, vec![guess_run::close(&strangers, LIMIT)]).await?;
    let again = guess_run::close(&strangers, LIMIT);
    assert!(apply(&world, vec![again]).await.is_err());
    apply(&world, vec![guess_run::touch(&strangers)]).await?;
    let length = guess_run::length(&strangers);
    assert_eq!(store.find(length).await?, Some((LIMIT + 1,)));
    apply(&world, vec![guess_run::count_below(&known, LIMIT)]).await?;
    assert_eq!(store.find(guess_run::length(&known)).await?, Some((1,)));
    apply(&world, vec![guess_run::end(top.root, "totp")]).await?;
    assert_eq!(store.find(guess_run::length(&known)).await?, Some((1,)));
    apply(&world, vec![guess_run::end(top.root, "password")]).await?;
    assert_eq!(store.find(guess_run::length(&strangers)).await?, None);
    apply(&world, vec![guess_run::count_below(&known, LIMIT)]).await?;
    apply(&world, vec![guess_run::end_of(top.root)]).await?;
    assert_eq!(store.find(guess_run::length(&known)).await?, None);
    Ok(())
}

async fn an_address_that_was_left_earlier_outlives_the_later_ones(
    world: World,
) -> Result<(), Failure> {
    let [top, _] = people(&world).await?;
    let left = |number: u8| FormerAddressRow {
        hash: [number; 32],
        user: top.root,
        email: format!("{number}@example.com"),
        expires_at: LATER,
        created_at: NOW,
    };
    let store = &*world.store;
    for number in 1..=3 {
        apply(&world, vec![former_address::insert(&left(number))]).await?;
    }
    let found = former_address::by_hash([2; 32], NOW);
    assert_eq!(store.find(found).await?, Some(left(2)));
    let over = former_address::by_hash([2; 32], LATER);
    assert_eq!(store.find(over).await?, None);
    let uses = vec![
        former_address::forget_later(top.root, [2; 32]),
        former_address::consume([2; 32], NOW),
    ];
    apply(&world, uses.clone()).await?;
    assert!(apply(&world, uses).await.is_err());
    let of = || former_address::of(top.root, NOW);
    assert_eq!(
        store.list(of()).await?,
        [("1@example.com".to_owned(), LATER)]
    );
    let late = former_address::consume([1; 32], LATER);
    assert!(apply(&world, vec![late]).await.is_err());
    // One that is left after all is later than it again.
    apply(&world, vec![former_address::insert(&left(4))]).await?;
    let first = former_address::forget_later(top.root, [1; 32]);
    apply(&world, vec![first]).await?;
    assert_eq!(store.list(of()).await?.len(), 1);
    apply(&world, vec![former_address::forget(LATER)]).await?;
    assert!(store.list(of()).await?.is_empty());
    apply(&world, vec![former_address::insert(&left(5))]).await?;
    apply(&world, vec![former_address::forget_of(top.root)]).await?;
    assert!(store.list(of()).await?.is_empty());
    Ok(())
}
