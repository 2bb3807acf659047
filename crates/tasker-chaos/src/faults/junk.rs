//! Foreign messages in the queues.

use std::sync::Arc;

use anyhow::Result;
use fastrand::Rng;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::field::Field;

pub(super) async fn send(field: &Arc<Field>, rng: &mut Rng) -> Result<bool> {
    let steps: Vec<(Uuid, i16)> = sqlx::query_as(
        "select task_id, step_no from tasker.tasks t join tasker.steps s using (task_id)
         where t.state = 'in_progress' order by random() limit 10",
    )
    .fetch_all(field.pool())
    .await?;
    let of_steps = steps.into_iter().map(|(task, step)| json!({ "task_id": task, "step_no": step }));
    let nonsense = (0..rng.usize(1..10)).map(|_| nonsense(rng));
    let messages: Vec<Value> = of_steps.chain(nonsense.collect::<Vec<_>>()).collect();
    let sent: i64 = sqlx::query_scalar(
        "select count(*) from tasker.namespaces n, pgmq.send_batch(n.queue, $1) where n.namespace = 'faults'",
    )
    .bind(messages)
    .fetch_one(field.pool())
    .await?;
    Ok(sent > 0)
}

fn nonsense(rng: &mut Rng) -> Value {
    let task = Uuid::from_u128(rng.u128(..));
    match rng.u8(0..9) {
        0 => json!("hello"),
        1 => json!(null),
        2 => json!([1, 2, 3]),
        3 => json!({ "task_id": task }),
        4 => json!({ "task_id": task, "step_no": 0 }),
        5 => json!({ "task_id": task.to_string().to_uppercase(), "step_no": 0 }),
        6 => json!({ "task_id": task, "step_no": 99_999 }),
        7 => json!({ "task_id": task, "step_no": -1 }),
        _ => json!({ "task_id": { "step_no": [] }, "step_no": "1e3" }),
    }
}
