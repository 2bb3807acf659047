//! An import in batches that tolerates bad records.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tasker_worker::{HandlerError, HandlerResult, StepContext};

/// The task's input. A record has at least an `id` and an `email`.
#[derive(Deserialize)]
struct Input {
    records: Vec<Value>,
    batch_size: Option<usize>,
}

/// A batch: positions in the list of records. The end is not part of it.
#[derive(Serialize, Deserialize)]
struct Cursor {
    batch_id: String,
    start_cursor: usize,
    end_cursor: usize,
    batch_size: usize,
}

/// Divides the records into batches.
pub(crate) async fn split(step: StepContext) -> HandlerResult {
    #[derive(Deserialize)]
    struct Settings {
        worker_template_name: String,
        batch_size: usize,
    }
    let Input { records, batch_size } = step.input()?;
    let settings: Settings = step.initialization()?;
    let batch_size = batch_size.unwrap_or(settings.batch_size).max(1);
    let total = records.len();
    if total == 0 {
        return Ok(json!({"batch_processing_outcome": {"type": "no_batches"}}));
    }
    let cursor = |(number, start): (usize, usize)| Cursor {
        batch_id: format!("{:03}", number + 1),
        start_cursor: start,
        end_cursor: total.min(start + batch_size),
        batch_size,
    };
    let cursors: Vec<_> = (0..total).step_by(batch_size).enumerate().map(cursor).collect();
    Ok(json!({"batch_processing_outcome": {
        "type": "create_batches",
        "worker_template_name": settings.worker_template_name,
        "worker_count": cursors.len(),
        "cursor_configs": cursors,
        "total_items": total,
    }}))
}

/// Imports the records of one batch. A bad record fails the batch for good, because every attempt would find it.
pub(crate) async fn import_batch(step: StepContext) -> HandlerResult {
    #[derive(Deserialize)]
    struct Batch {
        cursor: Value,
        is_no_op: bool,
    }
    let batch: Batch = step.initialization()?;
    if batch.is_no_op {
        return Ok(json!({"imported": 0}));
    }
    let Cursor { start_cursor, end_cursor, .. } = Cursor::deserialize(&batch.cursor)?;
    let Input { records, .. } = step.input()?;
    let records = records.get(start_cursor..end_cursor).unwrap_or_default();
    for record in records {
        if !record["email"].as_str().is_some_and(|email| email.contains('@')) {
            let message = format!("record {} has no email address", record["id"]);
            return Err(HandlerError::permanent(message).with_kind("bad_record"));
        }
    }
    Ok(json!({"imported": records.len()}))
}

/// Adds up the batches. A batch that failed has an `error` in the place of its result.
pub(crate) async fn report(step: StepContext) -> HandlerResult {
    let mut imported = 0;
    let mut failed = Vec::new();
    for (batch, result) in step.dependency_results().as_object().into_iter().flatten() {
        if let Some(error) = result.get("error") {
            failed.push(json!({"batch": batch, "reason": error["message"]}));
        }
        imported += result["imported"].as_u64().unwrap_or_default();
    }
    Ok(json!({"imported": imported, "failed": failed}))
}
