//! The page itself, and who the caller is.

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tasker_runtime::settings::Access;

use crate::http::{database, send};
use crate::server::Running;
use crate::support::Stack;

#[tokio::test]
async fn the_page_is_served_without_a_key_and_with_a_strict_policy() -> Result<()> {
    let stack = Stack::start().await?;
    for (path, media_type) in
        [("/", "text/html"), ("/app.js", "text/javascript"), ("/app.css", "text/css"), ("/icon.svg", "image/svg+xml")]
    {
        let answer = send(stack.server.address, "GET", path, &[("sec-fetch-site", "same-origin")], "").await?;
        ensure!(answer.status == 200, "{answer:?}");
        for header in [
            &format!("content-type: {media_type}"),
            "content-security-policy: default-src 'none'; script-src 'self';",
            "require-trusted-types-for 'script'",
            "x-content-type-options: nosniff",
        ] {
            ensure!(answer.head.contains(header), "{path} lacks {header}: {}", answer.head);
        }
        let tag = answer.head.lines().find_map(|line| line.strip_prefix("etag: ")).context("no tag")?;
        let again = send(stack.server.address, "GET", path, &[("if-none-match", tag)], "").await?;
        ensure!((again.status, again.body.len()) == (304, 0), "{again:?}");
    }
    // A link on another site opens the page. Nothing else may come from there.
    for (path, status) in [("/", 200), ("/app.js", 403), ("/v1/whoami", 403)] {
        let answer = send(stack.server.address, "GET", path, &[("sec-fetch-site", "cross-site")], "").await?;
        ensure!(answer.status == status, "{path}: {answer:?}");
    }
    // Another port of this machine is another page, too, and no browser keeps or embeds what the API returns.
    let answer = send(stack.server.address, "GET", "/v1/whoami", &[("sec-fetch-site", "same-site")], "").await?;
    ensure!(answer.status == 403, "{answer:?}");
    let answer = stack.get_as("every-key", "/v1/tasks").await?;
    for header in [
        "cache-control: no-store",
        "x-content-type-options: nosniff",
        "content-security-policy: default-src 'none'; frame-ancestors 'none'",
        "cross-origin-resource-policy: same-origin",
    ] {
        ensure!(answer.head.contains(header), "{header}: {}", answer.head);
    }
    stack.stop().await
}

#[tokio::test]
async fn whoami_needs_a_key_but_no_scope() -> Result<()> {
    let stack = Stack::start().await?;
    let every = stack.get("/v1/whoami").await?;
    assert_eq!(
        every,
        json!({ "name": "key:every", "scopes": ["read", "submit", "operate"], "namespaces": null, "keys": true })
    );
    let shop = stack.get_as("shop-key", "/v1/whoami").await?.json()?;
    assert_eq!(shop["namespaces"], json!(["shop"]));
    ensure!(stack.get_as("wrong", "/v1/whoami").await?.status == 401);
    stack.stop().await?;

    let postgres = database().await?;
    let open = Running::start(&postgres, Access::default()).await?;
    let answer = open.call("", "GET", "/v1/whoami", &json!(null)).await?;
    ensure!(answer.json()?["keys"] == false, "{answer:?}");
    open.stop().await
}
