//! The sample workflows beyond a graph of steps: waits, batches, decisions, child tasks and gates.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tasker_api::{Overlap, PutSchedule, SendSignal, StepState, TaskDetail, TaskState};
use tasker_client::OrchestrationApiClient;

use crate::support::{DEADLINE, Stack, complete, run, step, task, unique};

fn result(task: &TaskDetail, name: &str) -> Result<Value> {
    Ok(step(task, name)?.result.clone().unwrap_or_default())
}

#[tokio::test]
async fn an_approved_expense_is_paid_and_a_refused_one_is_not() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.api()?;
    let expense = task("expenses", "expense_approval", json!({ "employee": "ada", "amount_cents": 4200 }));
    for (approved, paid, message) in [
        (true, StepState::Completed, "4200 cents were paid"),
        (false, StepState::Skipped, "grace did not approve the expense"),
    ] {
        let id = api.create_task(&expense).await?.task_uuid;
        assert_eq!(step(&api.get_task(id).await?, "decide")?.status, StepState::Waiting);
        let payload = json!({ "approved": approved, "by": "grace" });
        api.send_signal(id, "decision", &SendSignal { payload, actor: None }).await?;
        let done = api.wait_for_task(id, DEADLINE).await?;
        assert_eq!((done.summary.status, step(&done, "reimburse")?.status), (TaskState::Completed, paid));
        assert_eq!(result(&done, "notify")?, json!({ "to": "ada", "message": message }));
    }
    let id = api.create_task(&expense).await?.task_uuid;
    api.send_signal(id, "decision", &SendSignal { payload: json!("yes"), actor: None }).await?;
    let blocked = api.wait_for_task(id, DEADLINE).await?;
    assert_eq!(blocked.summary.status, TaskState::BlockedByFailures);
    assert_eq!(step(&blocked, "decide")?.error.as_ref().map(|error| &error["kind"]), Some(&json!("bad_signal")));
    api.cancel_task(id, &Default::default()).await?;
    Ok(())
}

#[tokio::test]
async fn an_expense_without_a_decision_in_time_is_not_paid() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.api()?;
    // The same workflow with a deadline of a second.
    let mut template = api.get_template("expenses", "expense_approval", None).await?.definition;
    template["name"] = json!(unique("expense_approval"));
    template["steps"][0]["wait"]["timeout_seconds"] = json!(1);
    api.apply_template(&template.to_string()).await?;
    let name = template["name"].as_str().unwrap_or_default();
    let done = complete(&api, &task("expenses", name, json!({ "employee": "ada", "amount_cents": 4200 }))).await?;
    assert_eq!(step(&done, "reimburse")?.status, StepState::Skipped);
    assert_eq!(result(&done, "notify")?, json!({ "to": "ada", "message": "nobody decided in time" }));
    Ok(())
}

#[tokio::test]
async fn an_import_of_a_schedule_reports_a_batch_with_a_bad_record() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.api()?;
    let email = |id: u32| json!({ "id": id, "email": format!("{id}@example.org") });
    let context = json!({ "records": [email(1), email(2), { "id": 3 }, email(4), email(5)], "batch_size": 2 });
    let name = unique("nightly");
    let schedule = PutSchedule {
        namespace: "data_import".to_owned(),
        template: "nightly_import".to_owned(),
        version: None,
        cron: "0 2 * * *".to_owned(),
        timezone: "Europe/Berlin".to_owned(),
        overlap: Overlap::Skip,
        catch_up_seconds: 3600,
        context: context.as_object().cloned().unwrap_or_default(),
        priority: None,
        tags: None,
        paused: false,
    };
    api.put_schedule(&name, &schedule).await?;
    let id = api.trigger_schedule(&name).await?.task_uuid;
    api.delete_schedule(&name).await?;
    let done = api.wait_for_task(id, DEADLINE).await?;
    assert_eq!(done.summary.status, TaskState::Completed);
    assert_eq!(step(&done, "import_batch_002")?.status, StepState::Failed);
    assert_eq!(step(&done, "import_batch_003")?.status, StepState::Completed);
    let failed = json!([{ "batch": "import_batch_002", "reason": "record 3 has no email address" }]);
    assert_eq!(result(&done, "report")?, json!({ "imported": 3, "failed": failed }));
    Ok(())
}

#[tokio::test]
async fn an_import_without_records_has_one_batch_that_does_nothing() -> Result<()> {
    let stack = Stack::start().await?;
    let done = complete(&stack.api()?, &task("data_import", "nightly_import", json!({ "records": [] }))).await?;
    assert_eq!(step(&done, "import_batch_000")?.status, StepState::Completed);
    assert_eq!(result(&done, "report")?, json!({ "imported": 0, "failed": [] }));
    Ok(())
}

#[tokio::test]
async fn an_order_takes_the_branches_that_the_decision_names() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.api()?;
    for (total, ran, skipped) in [
        (99_999, vec!["approve_by_rule"], vec!["review", "check_credit"]),
        (100_000, vec!["check_credit", "review"], vec!["approve_by_rule"]),
    ] {
        let done = complete(&api, &task("order_routing", "routed_order", json!({ "total_cents": total }))).await?;
        for name in skipped {
            assert_eq!(step(&done, name)?.status, StepState::Skipped, "{name}");
        }
        assert_eq!(result(&done, "dispatch")?, json!({ "dispatched_after": ran }));
    }
    Ok(())
}

#[tokio::test]
async fn a_bill_completes_with_its_invoice() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.api()?;
    let account = json!({ "id": "a-7", "usage_cents": 4200 });
    let month = json!({ "month": "2026-11", "account": account });
    let done = complete(&api, &task("billing", "monthly_billing", month)).await?;
    assert_eq!(result(&done, "confirm")?, json!({ "invoice_id": "inv_a-7" }));
    let child = result(&done, "invoice")?["task_uuid"].as_str().unwrap_or_default().parse()?;
    let invoice = api.get_task(child).await?;
    assert_eq!((invoice.summary.name.as_str(), invoice.summary.status), ("invoice", TaskState::Completed));
    assert_eq!(result(&invoice, "issue")?, json!({ "invoice_id": "inv_a-7", "total_cents": 4200 }));
    // An invoice is also a task of its own.
    let alone = run(&api, &task("billing", "invoice", account)).await?;
    assert_eq!(result(&alone, "send")?, json!({ "invoice_id": "inv_a-7", "sent": true }));
    Ok(())
}

#[tokio::test]
async fn an_account_is_charged_by_one_payment_at_a_time() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.api()?;
    let account = unique("account");
    let mut ids = Vec::new();
    for amount in 1..=4 {
        let input = json!({ "account_id": account, "amount_cents": amount });
        ids.push(api.create_task(&task("payments", "charge_account", input)).await?.task_uuid);
    }
    let mut charges = Vec::new();
    for (id, amount) in ids.into_iter().zip(1..) {
        let done = api.wait_for_task(id, DEADLINE).await?;
        assert_eq!(done.summary.status, TaskState::Completed);
        let receipt = result(&done, "receipt")?;
        assert_eq!((&receipt["account_id"], &receipt["amount_cents"]), (&json!(account), &json!(amount)));
        let charge = step(&done, "charge")?;
        charges.push((charge.started_at.context("no start")?, charge.completed_at.context("no end")?));
    }
    charges.sort_unstable();
    for pair in charges.windows(2) {
        assert!(pair[0].1 <= pair[1].0, "two charges ran at once: {charges:?}");
    }
    Ok(())
}
