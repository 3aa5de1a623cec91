//! What is forgotten of grants that were made for tokens, and what never is.

use kavachos_core::id::GrantId;
use kavachos_core::revocation::Mark;
use kavachos_core::time::Timestamp;

use super::statements::{LATER, NOW, apply, grant, people};
use super::world::{Failure, World};
use crate::grant::{self as grants, GrantRow, Quota};
use crate::token_grant::{self, GRANTS_PER_STEP};
use crate::{handle, promise};

super::list_cases![
    a_grant_of_a_token_goes_once_it_is_over_with_its_handle_unless_that_was_killed,
    a_chain_of_grants_of_tokens_goes_from_its_end,
    one_step_forgets_so_many_and_no_more,
    a_grant_that_is_no_longer_over_stays,
];

/// A microsecond after [`NOW`].
const AFTER: Timestamp = Timestamp::from_micros(NOW.as_micros() + 1);
const QUOTA: Quota = Quota {
    children: 1_000,
    received: 1_000,
};

fn over(number: u128, parent: Option<&GrantRow>) -> GrantRow {
    let mut row = GrantRow {
        expires_at: Some(NOW),
        ..grant(number, parent.map(|parent| parent.id))
    };
    row.mark.handle.bytes = number.to_be_bytes();
    row
}

async fn store(world: &World, row: &GrantRow, is_for_token: bool) -> Result<(), Failure> {
    let mut writes = vec![handle::born(row.mark), grants::insert(row.clone(), QUOTA)];
    let end = row.expires_at.filter(|_| is_for_token);
    writes.extend(end.map(|end| token_grant::insert(row.id, end)));
    apply(world, writes).await
}

/// Forgets until nothing is left; how many steps it took.
async fn forget(world: &World, before: Timestamp) -> Result<usize, Failure> {
    let mut steps = 0_usize;
    loop {
        let over = world.store.list(token_grant::over(before)).await?;
        if over.is_empty() {
            return Ok(steps);
        }
        steps = steps.saturating_add(1);
        assert!(steps < 10, "forgetting comes to an end");
        apply(world, token_grant::forget(&over, before).into()).await?;
    }
}

/// Which of the grants are there, and which of their handles.
async fn left(world: &World, rows: &[GrantRow]) -> Result<(Vec<bool>, Vec<bool>), Failure> {
    let ids: Vec<GrantId> = rows.iter().map(|row| row.id).collect();
    let handles: Vec<_> = rows.iter().map(|row| row.mark.handle).collect();
    let known = world.store.list(handle::current(&handles)).await?;
    let mut here = Vec::new();
    for id in ids {
        // Without the handle the row would not be found.
        here.push(world.store.find(grants::by_id(id)).await?.is_some());
    }
    let alive = |handle| known.iter().any(|(known, _)| known == handle);
    Ok((here, handles.iter().map(alive).collect()))
}

async fn a_grant_of_a_token_goes_once_it_is_over_with_its_handle_unless_that_was_killed(
    world: World,
) -> Result<(), Failure> {
    people(&world).await?;
    // The first agent's own has the number 1.
    let [own, gone, killed, ordinary, above, live] =
        [1, 2, 3, 4, 5, 6].map(|number| over(number, None));
    let live = GrantRow {
        expires_at: Some(LATER),
        ..live
    };
    let below = over(7, Some(&above));
    for row in [&own, &gone, &killed, &above, &live] {
        store(&world, row, true).await?;
    }
    for row in [&ordinary, &below] {
        store(&world, row, false).await?;
    }
    let kill = Mark {
        generation: 2,
        ..killed.mark
    };
    world.store.commit(world.killing(vec![kill])?).await?;
    // Just over: none is before its end.
    assert_eq!(forget(&world, NOW).await?, 0);
    let rows = [own, gone, killed, ordinary, above, live, below];
    assert_eq!(left(&world, &rows).await?.0, [true; 7]);
    forget(&world, AFTER).await?;
    let (grants, handles) = left(&world, &rows).await?;
    assert_eq!(grants, [true, false, false, true, true, true, true]);
    assert_eq!(handles, [true, false, true, true, true, true, true]);
    // What something hangs on is an ordinary one now, and the live one waits for its end.
    let long_after = LATER.plus(std::time::Duration::from_secs(1));
    forget(&world, long_after).await?;
    let (grants, _) = left(&world, &rows).await?;
    assert_eq!(grants, [true, false, false, true, true, false, true]);
    assert_eq!(world.count("token_grants").await?, 0);
    Ok(())
}

async fn a_chain_of_grants_of_tokens_goes_from_its_end(world: World) -> Result<(), Failure> {
    people(&world).await?;
    let top = over(11, None);
    let middle = over(12, Some(&top));
    let end = over(13, Some(&middle));
    let rows = [top, middle, end];
    for row in &rows {
        store(&world, row, true).await?;
    }
    assert_eq!(forget(&world, AFTER).await?, 3);
    let (grants, handles) = left(&world, &rows).await?;
    assert_eq!((grants, handles), (vec![false; 3], vec![false; 3]));
    assert_eq!(world.count("token_grants").await?, 0);
    Ok(())
}

async fn one_step_forgets_so_many_and_no_more(world: World) -> Result<(), Failure> {
    people(&world).await?;
    let count = u128::try_from(GRANTS_PER_STEP).unwrap_or(0) + 1;
    for number in 0..count {
        store(&world, &over(100 + number, None), true).await?;
    }
    let first = world.store.list(token_grant::over(AFTER)).await?;
    assert_eq!(first.len(), GRANTS_PER_STEP);
    apply(&world, token_grant::forget(&first, AFTER).into()).await?;
    assert_eq!(world.count("grants").await?, 1);
    assert_eq!(world.store.list(token_grant::over(AFTER)).await?.len(), 1);
    Ok(())
}

/// Between the look and the write it may have got another end; and a promise that is open keeps its grant.
async fn a_grant_that_is_no_longer_over_stays(world: World) -> Result<(), Failure> {
    let [top, _] = people(&world).await?;
    let (turned, promised) = (over(21, None), over(22, None));
    let server = super::statements::server();
    for row in [&turned, &promised] {
        store(&world, row, true).await?;
    }
    let open = promise::PromiseRow {
        grant: promised.id,
        giver: top.id,
        receiver: promised.receiver,
        server: server.id,
        bound: false,
        marks: Vec::new(),
        epoch: 1,
        expires_at: LATER,
        redeemed_at: None,
    };
    let writes = vec![
        handle::born(server.mark),
        crate::tool_server::insert(server),
        promise::insert(&open, NOW, 1),
    ];
    apply(&world, writes).await?;
    let seen = world.store.list(token_grant::over(AFTER)).await?;
    assert_eq!(seen.len(), 2);
    let longer = GrantRow {
        expires_at: Some(LATER),
        ..turned.clone()
    };
    apply(&world, vec![grants::update(longer)]).await?;
    apply(&world, token_grant::forget(&seen, AFTER).into()).await?;
    let (grants, handles) = left(&world, &[turned, promised]).await?;
    assert_eq!((grants, handles), (vec![true; 2], vec![true; 2]));
    Ok(())
}
