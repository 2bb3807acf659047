//! The constraints of the tables.

use anyhow::Result;
use serde_json::json;

use crate::fixture::{Fixture, NAMESPACE, step};

#[tokio::test]
async fn tables_refuse_impossible_rows() -> Result<()> {
    let fixture = Fixture::new().await?;
    let template = fixture.store_template(NAMESPACE, json!([step("a", &[]), step("b", &["a"])])).await?;
    fixture.create_task(template).await?;
    for impossible in [
        "update tasker.steps set state = 'in_progress'",
        "update tasker.steps set state = 'blocked_by_failures'",
        "update tasker.steps set result = '1' where state = 'enqueued'",
        "update tasker.steps set token = gen_random_uuid()",
        "update tasker.steps set pending_dependencies = -1",
        "update tasker.steps set pending_dependencies = 0 where state = 'pending'",
        "update tasker.tasks set state = 'enqueued'",
        "update tasker.tasks set state = 'completed'",
        "update tasker.tasks set completed_steps = 3",
        "update tasker.tasks set active_steps = -1",
        "update tasker.tasks set priority = 101",
        "update tasker.tasks set idempotency_key = 'k'",
        "delete from tasker.task_templates",
    ] {
        let refused = sqlx::query(impossible).execute(&fixture.pool).await;
        let code =
            refused.as_ref().err().and_then(|error| error.as_database_error()?.code().map(|code| code.into_owned()));
        // 23503: foreign key violation; 23514: check violation
        assert!(matches!(code.as_deref(), Some("23503" | "23514")), "{impossible}: {refused:?}");
    }
    Ok(())
}
