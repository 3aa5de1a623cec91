//! What a new user does first, in the words of the library.

use std::error::Error;

use kavachos::{Code, Kavach, NewAgent, NewDelegation, NewUser, Request};

#[tokio::test]
async fn an_agent_is_created_acts_delegates_and_is_stopped() -> Result<(), Box<dyn Error>> {
    let kavach = Kavach::builder().sqlite_in_memory().build().await?;
    let ada = kavach.users().create(NewUser::named("Ada")).await?;
    let reader = kavach
        .agents()
        .create(
            NewAgent::owned_by(&ada)
                .named("github-reader")
                .may(["read"], "mcp:github:*")
                .may_with_approval(["execute"], "mcp:deploy:production"),
        )
        .await?;
    let allowed = kavach
        .authorize(&reader.id, Request::new("read", "mcp:github:repos"))
        .await?;
    assert!(allowed.allowed);
    let denied = kavach
        .authorize(&reader.id, Request::new("read", "mcp:slack:send"))
        .await?;
    assert_eq!(denied.code, Code::PermissionDenied);
    let asked = kavach
        .authorize(&reader.id, Request::new("execute", "mcp:deploy:production"))
        .await?;
    assert_eq!(asked.code, Code::ApprovalRequired);

    let scanner = kavach
        .agents()
        .create(
            NewAgent::owned_by(&reader)
                .named("repo-scanner")
                .may(["read"], "mcp:github:repos"),
        )
        .await?;
    assert!(
        kavach
            .authorize(&scanner.id, Request::new("read", "mcp:github:repos"))
            .await?
            .allowed
    );
    let third = kavach
        .agents()
        .create(
            NewAgent::owned_by(&ada)
                .named("third")
                .may(["read"], "mcp:nothing"),
        )
        .await?;
    kavach
        .delegations()
        .create(
            NewDelegation::new(&scanner.id, &third.id, "look closer")
                .may(["read"], "mcp:github:repos"),
        )
        .await?;
    assert!(
        kavach
            .authorize(&third.id, Request::new("read", "mcp:github:repos"))
            .await?
            .allowed
    );

    kavach.agents().revoke(&reader.id).await?;
    let stopped = kavach
        .authorize(&scanner.id, Request::new("read", "mcp:github:repos"))
        .await?;
    assert_eq!(stopped.code, Code::OwnerNotActive);
    let stopped = kavach
        .authorize(&third.id, Request::new("read", "mcp:github:repos"))
        .await?;
    assert_eq!(stopped.code, Code::AncestorNotActive);

    let records = kavach
        .audit()
        .query(&Default::default(), Default::default())
        .await?;
    assert_eq!(records.items.len(), 13);
    kavach.close().await;
    Ok(())
}
