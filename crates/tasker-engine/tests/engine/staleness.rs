//! Tasks that do not go on: their templates say after which time they are stale, and what happens then.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tasker_api::{
    DeadLetter, DeadLetterReason, ListDeadLetters, PatchDeadLetter, PatchNamespace, ResolutionStatus, TaskState,
};
use uuid::Uuid;

use crate::fixture::{Fixture, NAMESPACE, completed, failed, step};

const MINUTE: i64 = 60_000;

/// A task of a template with this `lifecycle`. Its clock starts at the real time, which ids have.
async fn started(lifecycle: Value, steps: Value) -> Result<(Fixture, Uuid)> {
    let fixture = Fixture::new().await?;
    fixture.set_clock(chrono::Utc::now()).await?;
    let source =
        json!({ "name": "t", "namespace_name": NAMESPACE, "version": "1.0.0", "lifecycle": lifecycle, "steps": steps });
    let parsed = tasker_template::parse(&source.to_string(), None).map_err(|errors| anyhow::anyhow!("{errors}"))?;
    ensure!(parsed.warnings.is_empty(), "{:?}", parsed.warnings);
    fixture.engine.apply_template(&parsed.template, "test").await?;
    let template = fixture.engine.find_template(NAMESPACE, "t", None).await?.context("not stored")?.template_id;
    let task = fixture.create_task(template).await?;
    Ok((fixture, task))
}

async fn state(fixture: &Fixture, task: Uuid) -> Result<TaskState> {
    Ok(fixture.engine.get_task_summary(task).await?.context("no task")?.status)
}

async fn investigations(fixture: &Fixture) -> Result<Vec<DeadLetter>> {
    Ok(fixture.engine.list_dead_letters(None, &ListDeadLetters::default(), 50).await?)
}

/// Nothing is stale after one minute less than the limit, and the task is after one minute more.
async fn becomes_stale(fixture: &Fixture, task: Uuid, minutes: i64, limit: &str) -> Result<()> {
    fixture.advance_clock((minutes - 1) * MINUTE).await?;
    assert_eq!(fixture.engine.end_stale_tasks(10).await?, Vec::<Uuid>::new(), "{limit}");
    fixture.advance_clock(2 * MINUTE).await?;
    assert_eq!(fixture.engine.end_stale_tasks(10).await?, [task], "{limit}");
    assert_eq!(fixture.engine.end_stale_tasks(10).await?, Vec::<Uuid>::new(), "{limit}");
    assert_eq!(state(fixture, task).await?, TaskState::Cancelled);
    let letters = investigations(fixture).await?;
    let [letter] = &letters[..] else { anyhow::bail!("expected one investigation: {letters:?}") };
    assert_eq!((letter.task_uuid, letter.dlq_reason), (task, DeadLetterReason::StalenessTimeout));
    assert_eq!(letter.resolution_notes, Some(format!("the task is stale: {limit}")));
    Ok(())
}

#[tokio::test]
async fn a_task_whose_ready_steps_nobody_takes_is_stale() -> Result<()> {
    let limit = "max_waiting_for_dependencies_minutes";
    let (fixture, task) = started(json!({ limit: 60 }), json!([step("a", &[]), step("b", &["a"])])).await?;
    fixture.advance_clock(50 * MINUTE).await?;
    let a = fixture.claim_only("w").await?;
    fixture.advance_clock(50 * MINUTE).await?;
    // A step that runs is not waiting, and its end starts the time again.
    assert_eq!(fixture.engine.end_stale_tasks(10).await?, Vec::<Uuid>::new());
    fixture.complete("w", 0, &[completed(&a)]).await?;
    // Nothing starts while the namespace is paused.
    let pause = |paused| PatchNamespace { paused: Some(paused), finished_tasks_days: None };
    fixture.engine.set_namespace(NAMESPACE, &pause(true)).await?;
    fixture.advance_clock(MINUTE).await?;
    let later = fixture.engine.now().await? + chrono::Duration::minutes(120);
    let now = fixture.engine.now().await?;
    fixture.set_clock(later).await?;
    assert_eq!(fixture.engine.end_stale_tasks(10).await?, Vec::<Uuid>::new());
    fixture.set_clock(now).await?;
    fixture.engine.set_namespace(NAMESPACE, &pause(false)).await?;
    becomes_stale(&fixture, task, 59, limit).await
}

#[tokio::test]
async fn a_step_that_waits_for_a_signal_is_not_stale() -> Result<()> {
    let mut waits = step("a", &[]);
    waits["wait"] = json!({ "signal": "go" });
    let (fixture, task) = started(json!({ "max_waiting_for_dependencies_minutes": 60 }), json!([waits])).await?;
    fixture.advance_clock(600 * MINUTE).await?;
    assert_eq!(fixture.engine.end_stale_tasks(10).await?, Vec::<Uuid>::new());
    assert_eq!(state(&fixture, task).await?, TaskState::Pending);
    Ok(())
}

#[tokio::test]
async fn a_step_that_runs_for_too_long_makes_its_task_stale() -> Result<()> {
    let limit = "max_steps_in_process_minutes";
    let (fixture, task) = started(json!({ limit: 30 }), json!([step("a", &[])])).await?;
    let a = fixture.claim_only("w").await?;
    becomes_stale(&fixture, task, 30, limit).await?;
    assert_eq!(fixture.complete("w", 0, &[completed(&a)]).await?.refused.len(), 1, "the late result is refused");
    Ok(())
}

#[tokio::test]
async fn a_step_that_waits_too_long_for_a_retry_makes_its_task_stale() -> Result<()> {
    let limit = "max_waiting_for_retry_minutes";
    let mut slow = step("a", &[]);
    slow["retry"] =
        json!({ "limit": 5, "backoff": "fixed", "backoff_base_ms": 10 * MINUTE, "max_backoff_ms": 10 * MINUTE });
    let (fixture, task) = started(json!({ limit: 30, "staleness_action": "dlq" }), json!([slow])).await?;
    // Each failure starts the time again.
    for _ in 0..2 {
        let a = fixture.claim_only("w").await?;
        fixture.complete("w", 0, &[failed(&a)]).await?;
        fixture.advance_clock(20 * MINUTE).await?;
        assert_eq!(fixture.engine.end_stale_tasks(10).await?, Vec::<Uuid>::new());
    }
    becomes_stale(&fixture, task, 10, limit).await
}

#[tokio::test]
async fn a_template_says_what_happens_to_a_stale_task() -> Result<()> {
    for (fields, ends, investigates) in [
        (json!({}), true, true),
        (json!({ "staleness_action": "error" }), true, false),
        (json!({ "staleness_action": "none" }), false, false),
        (json!({ "auto_fail_on_timeout": false }), false, true),
        (json!({ "auto_dlq_on_timeout": false }), true, false),
        (json!({ "staleness_action": "none", "auto_fail_on_timeout": true }), true, false),
        (json!({ "auto_fail_on_timeout": false, "auto_dlq_on_timeout": false }), false, false),
    ] {
        // The same for both kinds of limits.
        for limit in ["max_steps_in_process_minutes", "max_duration_minutes"] {
            let mut lifecycle = fields.clone();
            lifecycle[limit] = json!(30);
            let (fixture, task) = started(lifecycle.clone(), json!([step("a", &[])])).await?;
            fixture.claim_only("w").await?;
            fixture.advance_clock(31 * MINUTE).await?;
            let look = async || -> Result<Vec<Uuid>> {
                Ok([fixture.engine.end_late_tasks(10).await?, fixture.engine.end_stale_tasks(10).await?].concat())
            };
            let expected = if ends || investigates { vec![task] } else { vec![] };
            assert_eq!(look().await?, expected, "{lifecycle}");
            let state = state(&fixture, task).await?;
            assert_eq!(state, if ends { TaskState::Cancelled } else { TaskState::InProgress }, "{lifecycle}");
            let letters = investigations(&fixture).await?;
            assert_eq!(letters.len(), usize::from(investigates), "{lifecycle}");
            // A task that goes on is investigated once, also when the investigation was closed.
            if let [letter] = &letters[..] {
                assert_eq!(letter.original_state, TaskState::InProgress);
                let status = Some(ResolutionStatus::ManuallyResolved);
                let closed = PatchDeadLetter { resolution_status: status, ..PatchDeadLetter::default() };
                fixture.engine.patch_dead_letter(letter.dlq_entry_uuid, &closed, None).await?;
            }
            assert_eq!(look().await?, Vec::<Uuid>::new(), "{lifecycle}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn looking_for_stale_tasks_does_not_read_the_history() -> Result<()> {
    let (fixture, _) = started(json!({ "max_steps_in_process_minutes": 30 }), json!([step("a", &[])])).await?;
    let template = fixture.value::<i64>("select template_id from tasker.task_templates").await?;
    for _ in 0..10 {
        fixture.create_task(template).await?;
    }
    fixture.claim("w", 10).await?;
    // Plans are made while the tables are small, and kept. Then there are many tasks that have ended, and some that have
    // just begun.
    assert_eq!(fixture.engine.end_stale_tasks(10).await?, Vec::<Uuid>::new());
    for (state, count) in [("completed", 20_000), ("in_progress", 2_000)] {
        sqlx::query(
            "insert into tasker.tasks (task_id, template_id, created_at, completed_at, state, priority, total_steps,
                                       completed_steps, active_steps, namespace, context)
             select tasker.uuid_at(tasker.now() - case $2 when 'completed' then interval '1 day' else interval '0' end), $1,
                    tasker.now(), case $2 when 'completed' then tasker.now() end, $2::tasker.state, 0, 1,
                    ($2 = 'completed')::integer, ($2 <> 'completed')::integer, 'test', '{}'
             from generate_series(1, $3) n",
        )
        .bind(template)
        .bind(state)
        .bind(count)
        .execute(&fixture.pool)
        .await?;
    }
    fixture.advance_clock(29 * MINUTE).await?;
    let rows = "select coalesce(sum(seq_tup_read + idx_tup_fetch), 0)::bigint from pg_stat_xact_user_tables
         where schemaname = 'tasker' and relname in ('tasks', 'steps', 'transitions')";
    sqlx::query("begin").execute(&fixture.pool).await?;
    let before: i64 = sqlx::query_scalar(rows).fetch_one(&fixture.pool).await?;
    fixture.engine.end_stale_tasks(100).await?;
    let after: i64 = sqlx::query_scalar(rows).fetch_one(&fixture.pool).await?;
    sqlx::query("commit").execute(&fixture.pool).await?;
    ensure!(after - before < 100, "it read {} rows", after - before);
    Ok(())
}
