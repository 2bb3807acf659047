//! Schedules: each slot gets exactly one task, whatever the clocks and the number of servers do.

use std::collections::HashSet;

use anyhow::{Context, Result, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, json};
use tasker_api::{Overlap, PutSchedule, Schedule, SlotOutcome};
use tasker_engine::{Cron, FiredOutcome, PutOutcome, TaskFilter};
use uuid::Uuid;

use crate::fixture::{Fixture, NAMESPACE, completed, step};

fn schedule(cron: &str, timezone: &str) -> PutSchedule {
    PutSchedule {
        namespace: NAMESPACE.to_owned(),
        template: "t".to_owned(),
        version: None,
        cron: cron.to_owned(),
        timezone: timezone.to_owned(),
        overlap: Overlap::Allow,
        catch_up_seconds: 3600,
        context: Map::new(),
        priority: None,
        tags: None,
        paused: false,
    }
}

/// Stores a schedule as a server does.
async fn put(fixture: &Fixture, name: &str, schedule: &PutSchedule) -> Result<Schedule> {
    let next_at = Cron::parse(&schedule.cron, &schedule.timezone)?.next_after(fixture.engine.now().await?)?;
    match fixture.engine.put_schedule(name, schedule, next_at, None).await? {
        PutOutcome::Created(schedule) | PutOutcome::Replaced(schedule) => Ok(schedule),
        PutOutcome::Taken => anyhow::bail!("the name is taken"),
    }
}

/// A fixture with a template of one step, whose clock shows this time.
async fn fixture(time: &str) -> Result<Fixture> {
    let fixture = Fixture::new().await?;
    fixture.store_template(NAMESPACE, json!([step("a", &[])])).await?;
    fixture.set_clock(time.parse()?).await?;
    Ok(fixture)
}

async fn outcomes(fixture: &Fixture) -> Result<Vec<FiredOutcome>> {
    Ok(fixture.engine.fire_schedules(100, || None).await?.into_iter().map(|fired| fired.outcome).collect())
}

/// The task that a schedule created now.
async fn created(fixture: &Fixture) -> Result<Uuid> {
    match outcomes(fixture).await?[..] {
        [FiredOutcome::Created(task)] => Ok(task),
        ref other => anyhow::bail!("{other:?}"),
    }
}

async fn get(fixture: &Fixture, name: &str) -> Result<Schedule> {
    fixture.engine.get_schedule(name).await?.context("no schedule")
}

#[tokio::test]
async fn two_servers_create_one_task_for_each_slot_over_both_changes_of_summer_time() -> Result<()> {
    for (start, slots) in [
        ("2026-03-27T12:00:00Z", ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]),
        ("2026-10-23T12:00:00Z", ["2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]),
    ] {
        let first = fixture(start).await?;
        let second = first.another_session().await?;
        put(&first, "nightly", &schedule("30 2 * * *", "Europe/Berlin")).await?;
        put(&first, "often", &schedule("*/15 * * * *", "Europe/Berlin")).await?;
        let start: DateTime<Utc> = start.parse()?;
        for minutes in (15..3 * 24 * 60).step_by(15) {
            let now = start + TimeDelta::minutes(minutes);
            first.set_clock(now).await?;
            second.set_clock(now).await?;
            let (one, other) =
                tokio::join!(first.engine.fire_schedules(100, || None), second.engine.fire_schedules(100, || None));
            for fired in one?.into_iter().chain(other?) {
                ensure!(matches!(fired.outcome, FiredOutcome::Created(_)), "{now}: {fired:?}");
            }
        }
        let keys: Vec<String> = first
            .values("select idempotency_key from tasker.tasks where idempotency_key like 'schedule:n%' order by 1")
            .await?;
        assert_eq!(keys, slots.map(|slot| format!("schedule:nightly:{slot}")));
        let times: Vec<DateTime<Utc>> = first
            .values("select created_at from tasker.tasks where idempotency_key like 'schedule:n%' order by 1")
            .await?;
        assert_eq!(times, slots.map(|slot| slot.parse::<DateTime<Utc>>().unwrap()), "each at its time");
        let often: i64 =
            first.value("select count(*) from tasker.tasks where idempotency_key like 'schedule:o%'").await?;
        assert_eq!(often, 3 * 24 * 4 - 1, "an interval follows the real time");
    }
    Ok(())
}

#[tokio::test]
async fn a_running_task_is_skipped_joined_or_cancelled_as_the_schedule_says() -> Result<()> {
    for overlap in Overlap::ALL {
        let fixture = fixture("2026-01-01T00:00:00Z").await?;
        put(&fixture, "hourly", &PutSchedule { overlap, ..schedule("0 * * * *", "UTC") }).await?;
        fixture.set_clock("2026-01-01T01:00:00Z".parse()?).await?;
        let first = created(&fixture).await?;
        fixture.set_clock("2026-01-01T02:00:00Z".parse()?).await?;
        let second = outcomes(&fixture).await?;
        let state = fixture.engine.get_task_summary(first).await?.context("no task")?.status.as_str();
        let stored = get(&fixture, "hourly").await?;
        match overlap {
            Overlap::Skip => {
                assert_eq!((second, state), (vec![FiredOutcome::Skipped], "pending"));
                assert_eq!(stored.last_outcome, Some(SlotOutcome::Skipped));
                assert_eq!(stored.last_task_uuid, Some(first));
                // The next slot finds the task completed.
                let claimed = fixture.claim_only("w").await?;
                fixture.complete("w", 0, &[completed(&claimed)]).await?;
                fixture.set_clock("2026-01-01T03:00:00Z".parse()?).await?;
                ensure!(created(&fixture).await? != first);
            }
            Overlap::Allow => assert_eq!((second.len(), state), (1, "pending")),
            Overlap::Cancel => {
                assert_eq!((second.len(), state), (1, "cancelled"));
                let history = fixture.engine.list_transitions(first, None, 0, None).await?;
                ensure!(history.iter().any(|change| change.actor.as_deref() == Some("schedule:hourly")), "{history:?}");
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn of_several_missed_slots_only_the_last_is_caught_up() -> Result<()> {
    let fixture = fixture("2026-01-01T00:30:00Z").await?;
    assert_eq!(fixture.engine.next_schedule().await?, None, "without schedules, none is due");
    put(&fixture, "hourly", &schedule("0 * * * *", "UTC")).await?;
    put(&fixture, "strict", &PutSchedule { catch_up_seconds: 60, ..schedule("0 * * * *", "UTC") }).await?;
    fixture.set_clock("2026-01-01T05:10:00Z".parse()?).await?;
    let place = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let fired = fixture.engine.fire_schedules(100, || Some(place.to_owned())).await?;
    ensure!(matches!(fired[0].outcome, FiredOutcome::Created(_)), "{fired:?}");
    assert_eq!(fired[0].traceparent.as_deref(), Some(place));
    assert_eq!(fixture.claim("w", 10).await?[0].traceparent.as_deref(), Some(place), "workers continue the trace");
    assert_eq!(fired[0].slot, Some("2026-01-01T05:00:00Z".parse()?));
    assert_eq!(fired[1].outcome, FiredOutcome::Missed);
    for name in ["hourly", "strict"] {
        assert_eq!(get(&fixture, name).await?.next_at, "2026-01-01T06:00:00Z".parse::<DateTime<Utc>>()?);
    }
    assert_eq!(outcomes(&fixture).await?, []);
    assert_eq!(fixture.engine.next_schedule().await?.map(|due| due.as_secs()), Some(50 * 60));
    Ok(())
}

#[tokio::test]
async fn a_task_that_cannot_be_created_is_reported_and_the_next_slot_comes() -> Result<()> {
    let fixture = fixture("2026-01-01T00:30:00Z").await?;
    put(&fixture, "hourly", &PutSchedule { template: "nothing".to_owned(), ..schedule("0 * * * *", "UTC") }).await?;
    fixture.set_clock("2026-01-01T01:00:00Z".parse()?).await?;
    let outcome = outcomes(&fixture).await?.pop().context("nothing happened")?;
    ensure!(matches!(&outcome, FiredOutcome::Failed(why) if why.contains("does not exist")), "{outcome:?}");
    let stored = get(&fixture, "hourly").await?;
    assert_eq!(stored.last_outcome, Some(SlotOutcome::Failed));
    ensure!(stored.last_error.is_some_and(|error| error.contains("does not exist")));
    assert_eq!(stored.next_at, "2026-01-01T02:00:00Z".parse::<DateTime<Utc>>()?);
    Ok(())
}

#[tokio::test]
async fn storing_a_schedule_again_skips_no_slot_and_a_paused_one_creates_nothing() -> Result<()> {
    let fixture = fixture("2026-01-01T00:30:00Z").await?;
    let hourly = schedule("0 * * * *", "UTC");
    put(&fixture, "hourly", &hourly).await?;
    fixture.set_clock("2026-01-01T01:00:05Z".parse()?).await?;
    // The slot of one o'clock is due and not handled yet.
    let again = put(&fixture, "hourly", &PutSchedule { priority: Some(7), ..hourly.clone() }).await?;
    assert_eq!(again.next_at, "2026-01-01T01:00:00Z".parse::<DateTime<Utc>>()?);
    let task = created(&fixture).await?;
    assert_eq!(fixture.engine.get_task_summary(task).await?.context("no task")?.priority, 7);

    put(&fixture, "hourly", &PutSchedule { paused: true, ..hourly.clone() }).await?;
    fixture.set_clock("2026-01-01T04:00:00Z".parse()?).await?;
    assert_eq!(outcomes(&fixture).await?, []);
    let resumed = put(&fixture, "hourly", &hourly).await?;
    assert_eq!(resumed.next_at, "2026-01-01T05:00:00Z".parse::<DateTime<Utc>>()?, "a pause is not caught up");
    // Deleted and stored again, the schedule does not repeat a slot.
    ensure!(fixture.engine.delete_schedule("hourly").await?);
    fixture.set_clock("2026-01-01T00:30:00Z".parse()?).await?;
    put(&fixture, "hourly", &hourly).await?;
    fixture.set_clock("2026-01-01T01:00:00Z".parse()?).await?;
    assert_eq!(outcomes(&fixture).await?, [FiredOutcome::Skipped]);
    Ok(())
}

#[tokio::test]
async fn the_tasks_of_schedules_and_their_forks_are_found_by_their_values() -> Result<()> {
    let fixture = Fixture::new().await?;
    let template = json!({ "name": "t", "namespace_name": NAMESPACE, "version": "1.0.0", "searchable": ["/region"],
                           "steps": [step("a", &[])] });
    fixture.engine.apply_template(&tasker_template::parse(&template.to_string(), None)?.template, "test").await?;
    fixture.set_clock("2026-01-01T00:30:00Z".parse()?).await?;
    let context = json!({ "region": "north" }).as_object().context("no object")?.clone();
    let tags = Some(json!(["nightly"]));
    put(&fixture, "hourly", &PutSchedule { context, tags, ..schedule("0 * * * *", "UTC") }).await?;
    fixture.set_clock("2026-01-01T01:00:00Z".parse()?).await?;
    let task = created(&fixture).await?;
    let fork = Uuid::now_v7();
    fixture.engine.fork_task(task, "a", fork, None, None, None).await?;
    for value in [("", "nightly"), ("/region", "north")] {
        let filter = TaskFilter { value: Some((value.0.to_owned(), value.1.to_owned())), ..TaskFilter::default() };
        let found: HashSet<_> = fixture.engine.find_tasks(&filter, 10).await?.tasks.into_iter().collect();
        assert_eq!(found, HashSet::from([task, fork]), "{value:?}");
    }
    Ok(())
}
