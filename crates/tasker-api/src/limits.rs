//! The limits on requests, templates and results. `docs/limits.md` says what happens to a value over a limit.
//!
//! Limits that depend on the size of the machine are settings instead, such as `orchestration.max_body_bytes` and
//! `worker.max_concurrent`.

use serde::Serialize;
use serde_json::{Number, Value};

/// The deepest nesting of the context of a task and the result of a step. Many JSON parsers, including the one used
/// here, stop at 128 levels, and other JSON documents contain these values.
pub const MAX_JSON_DEPTH: usize = 100;

/// The longest namespace, in characters. PGMQ accepts queue names up to this length, so a queue can have the name
/// of its namespace.
pub const MAX_NAMESPACE_CHARS: usize = 47;
/// The longest name of a template or a step, in characters.
pub const MAX_NAME_CHARS: usize = 128;
/// The longest version, in characters.
pub const MAX_VERSION_CHARS: usize = 64;

/// The longest idempotency key, in characters.
pub const MAX_IDEMPOTENCY_KEY_CHARS: usize = 255;
/// The largest priority.
pub const MAX_PRIORITY: i16 = 100;
/// The most tags of a task. Lists of tasks contain the tags, so they are small.
pub const MAX_TAGS: usize = 32;
/// The longest tag, and the longest name of one, in characters.
pub const MAX_TAG_CHARS: usize = 255;
/// The longest name of an actor, in characters.
pub const MAX_ACTOR_CHARS: usize = 255;
/// The longest reason for an action, in characters.
pub const MAX_REASON_CHARS: usize = 1_000;
/// How many tasks a page has if the request does not say.
pub const DEFAULT_PAGE: i64 = 50;
/// The most tasks of a page.
pub const MAX_PAGE: i64 = 500;
/// The fewest hexadecimal digits of the start of a task's id that a search looks for.
pub const MIN_ID_DIGITS: usize = 8;

/// The largest template, in bytes: 1 MiB. The limit applies to the text of the request and to the JSON that is
/// stored.
pub const MAX_SOURCE_BYTES: usize = 1024 * 1024;
/// The deepest nesting of lists and mappings in a template, aliases expanded.
pub const MAX_TEMPLATE_DEPTH: usize = 64;
/// The longest key in a template, in characters of its JSON form. A YAML parser refuses simple keys of more than
/// 1,024 characters, and the stored JSON must remain valid YAML.
pub const MAX_KEY_CHARS: usize = 1_000;
/// How many bytes the anchors and aliases of a template may copy. Each value counts as 16 bytes plus its text.
pub const MAX_COPIED_BYTES: usize = 1024 * 1024;
/// The most searchable values of a template.
pub const MAX_SEARCHABLE: usize = 8;
/// The longest searchable value, in characters. The rest is cut off.
pub const MAX_SEARCHABLE_CHARS: usize = 255;
/// The most steps of a template.
pub const MAX_STEPS: usize = 1_000;
/// The most dependencies of a step. The step receives all their results at once, up to [`MAX_RESULT_BYTES`] each.
pub const MAX_DEPENDENCIES: usize = 250;
/// The longest callable of a handler, in characters.
pub const MAX_CALLABLE_CHARS: usize = 255;
/// The largest `retry.limit`.
pub const MAX_ATTEMPTS: u32 = 100;
/// The longest delay between attempts: seven days, in milliseconds.
pub const MAX_BACKOFF_MS: u32 = 7 * 24 * 3600 * 1000;
/// The longest `timeout_seconds`: seven days.
pub const MAX_TIMEOUT_SECONDS: u32 = 7 * 24 * 3600;

/// The longest JSON pointer in a template, in characters.
pub const MAX_POINTER_CHARS: usize = 500;
/// The most conditions of a step, in `when`.
pub const MAX_CONDITIONS: usize = 20;
/// The largest `batch_size`.
pub const MAX_BATCH_SIZE: u32 = 100_000;
/// The most children of a group that are active at once.
pub const MAX_PARALLELISM: u32 = 10_000;
/// The longest wait for time or for a signal: 366 days, in seconds.
pub const MAX_WAIT_SECONDS: u32 = 366 * 24 * 3600;
/// The largest `limit` of a gate.
pub const MAX_GATE_LIMIT: u32 = 100_000;
/// The most events that a step publishes.
pub const MAX_EVENTS: usize = 50;
/// The largest `lifecycle.max_duration_minutes`: 30 days.
pub const MAX_TASK_MINUTES: u32 = 30 * 24 * 60;
/// The largest other time in `lifecycle`: seven days, in minutes.
pub const MAX_LIFECYCLE_MINUTES: u32 = 7 * 24 * 60;

/// The longest notes of an investigation, in characters.
pub const MAX_NOTES_CHARS: usize = 4_000;
/// The largest metadata of an investigation, in bytes of JSON.
pub const MAX_METADATA_BYTES: usize = 64 * 1024;
/// The longest retention, in days.
pub const MAX_RETENTION_DAYS: u32 = 36_500;
/// The longest cron expression, in characters.
pub const MAX_CRON_CHARS: usize = 255;
/// The largest `catch_up_seconds` of a schedule: seven days.
pub const MAX_CATCH_UP_SECONDS: u32 = 7 * 24 * 3600;

/// The largest result of a step, as [`stored_bytes`] measures it: 1 MiB.
pub const MAX_RESULT_BYTES: usize = 1024 * 1024;
/// The longest kind of an error, in characters. The rest is cut off.
pub const MAX_ERROR_KIND_CHARS: usize = 100;
/// The longest message of an error, in characters. The rest is cut off.
pub const MAX_ERROR_MESSAGE_CHARS: usize = 4_000;

/// The longest name of a worker, in characters.
pub const MAX_WORKER_ID_CHARS: usize = 255;
/// The most namespaces in the settings of a worker. Every claim queries each of them.
pub const MAX_NAMESPACES: usize = 256;

/// Returns the size of a value in the form that PostgreSQL stores. That form has no exponents: `1e300` becomes a 1
/// with 300 zeros.
pub fn stored_bytes(value: &Value) -> usize {
    json_bytes(value) + zeros(value)
}

/// Returns the size of a value as JSON, in bytes.
pub fn json_bytes(value: &impl Serialize) -> usize {
    let mut size = Size(0);
    // Writing to a counter cannot fail.
    let _ = serde_json::to_writer(&mut size, value);
    size.0
}

/// Returns the number of digits that exponents stand for. Recursion is safe, because parsers limit the nesting.
fn zeros(value: &Value) -> usize {
    match value {
        Value::Number(number) => zeros_of(number),
        Value::Array(items) => items.iter().map(zeros).sum(),
        Value::Object(fields) => fields.values().map(zeros).sum(),
        Value::Null | Value::Bool(_) | Value::String(_) => 0,
    }
}

fn zeros_of(number: &Number) -> usize {
    let text = if number.is_f64() { number.to_string() } else { return 0 };
    text.split_once('e').and_then(|(_, exponent)| exponent.parse::<i32>().ok()).map_or(0, |exponent| {
        // The exponent of a 64-bit float is at most 324.
        usize::try_from(exponent.unsigned_abs()).unwrap_or(0)
    })
}

/// Counts the bytes that are written.
struct Size(usize);

impl std::io::Write for Size {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn exponents_count_as_the_digits_that_they_stand_for() {
        assert_eq!(stored_bytes(&json!({"a": [1, "x", null]})), r#"{"a":[1,"x",null]}"#.len());
        assert_eq!(stored_bytes(&json!(u64::MAX)), 20);
        assert_eq!(stored_bytes(&json!(0.25)), 4);
        assert!((300..320).contains(&stored_bytes(&json!(1e300))));
        assert!((300..320).contains(&stored_bytes(&json!(1e-300))));
    }
}
