//! What a new user does first, in the words of the library.

use std::error::Error;

use kavachos::{AgentId, Code, Kavach, NewAgent, NewDelegation, NewUser, Request};

async fn code(
    kavach: &Kavach,
    agent: &AgentId,
    action: &str,
    resource: &str,
) -> Result<Code, Box<dyn Error>> {
    Ok(kavach
        .authorize(agent, Request::new(action, resource))
        .await?
        .code)
}

#[tokio::test]
async fn an_agent_is_created_acts_delegates_and_is_stopped() -> Result<(), Box<dyn Error>> {
    let kavach = Kavach::builder().sqlite_in_memory().build().await?;
    let ada = kavach.users().create(NewUser::named("Ada")).await?;
    let reader = NewAgent::owned_by(&ada)
        .named("github-reader")
        .may(["read"], "mcp:github:*")
        .may_with_approval(["execute"], "mcp:deploy:production");
    let reader = kavach.agents().create(reader).await?;
    let repos = "mcp:github:repos";
    assert_eq!(
        code(&kavach, &reader.id, "read", repos).await?,
        Code::Allowed
    );
    assert_eq!(
        code(&kavach, &reader.id, "read", "mcp:slack:send").await?,
        Code::PermissionDenied
    );
    let deploy = code(&kavach, &reader.id, "execute", "mcp:deploy:production").await?;
    assert_eq!(deploy, Code::ApprovalRequired);

    let scanner = NewAgent::owned_by(&reader)
        .named("repo-scanner")
        .may(["read"], repos);
    let scanner = kavach.agents().create(scanner).await?;
    let third = NewAgent::owned_by(&ada)
        .named("third")
        .may(["read"], "mcp:nothing");
    let third = kavach.agents().create(third).await?;
    let closer = NewDelegation::new(&scanner.id, &third.id, "look closer").may(["read"], repos);
    kavach.delegations().create(closer).await?;
    assert_eq!(
        code(&kavach, &scanner.id, "read", repos).await?,
        Code::Allowed
    );
    assert_eq!(
        code(&kavach, &third.id, "read", repos).await?,
        Code::Allowed
    );

    kavach.agents().revoke(&reader.id).await?;
    assert_eq!(
        code(&kavach, &scanner.id, "read", repos).await?,
        Code::OwnerNotActive
    );
    assert_eq!(
        code(&kavach, &third.id, "read", repos).await?,
        Code::AncestorNotActive
    );

    let records = kavach
        .audit()
        .query(&Default::default(), Default::default())
        .await?;
    assert_eq!(records.items.len(), 14);
    kavach.close().await;
    Ok(())
}
