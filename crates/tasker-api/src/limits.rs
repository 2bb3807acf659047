//! Every limit on what comes from outside, in one place; `docs/limits.md` says what happens beyond each.
//!
//! Those that a machine's size decides are settings instead: `orchestration.max_body_bytes`, `orchestration.max_wait_ms`,
//! `worker.max_concurrent` and the like.

use serde::Serialize;
use serde_json::{Number, Value};

/// The deepest nesting of a task's context and of a step's result. Readers of JSON, ours among them, stop at 128 levels, and both
/// are shown inside other JSON.
pub const MAX_JSON_DEPTH: usize = 100;

/// The largest namespace. PGMQ takes queue names up to this length, so a queue can be named like its namespace.
pub const MAX_NAMESPACE_CHARS: usize = 47;
/// The longest name of a template or a step, in characters.
pub const MAX_NAME_CHARS: usize = 128;
/// The longest version, in characters.
pub const MAX_VERSION_CHARS: usize = 64;

/// The longest idempotency key, in characters.
pub const MAX_IDEMPOTENCY_KEY_CHARS: usize = 255;
/// The largest priority.
pub const MAX_PRIORITY: i16 = 100;
/// The most tags of a task. Lists show them, so they are small.
pub const MAX_TAGS: usize = 32;
/// The longest tag, and the longest name of one, in characters.
pub const MAX_TAG_CHARS: usize = 255;
/// The longest name of who acts, in characters.
pub const MAX_ACTOR_CHARS: usize = 255;
/// The longest reason of an operator, in characters.
pub const MAX_REASON_CHARS: usize = 1_000;
/// The most tasks of a page.
pub const MAX_PAGE: i64 = 500;

/// The largest template, in bytes, as it is sent and as JSON, which is what is stored: 1 MiB.
pub const MAX_SOURCE_BYTES: usize = 1024 * 1024;
/// The deepest nesting of lists and mappings in a template, aliases expanded.
pub const MAX_TEMPLATE_DEPTH: usize = 64;
/// The longest key in a template, in characters as JSON writes it. YAML reads no key of more than 1,024, unless it is written in
/// a way that JSON does not have; the template is JSON when it is stored.
pub const MAX_KEY_CHARS: usize = 1_000;
/// How much the anchors and aliases of a template may copy: bytes of text, and 16 for each value.
pub const MAX_COPIED_BYTES: usize = 1024 * 1024;
/// The most steps of a template.
pub const MAX_STEPS: usize = 1_000;
/// The most steps that one step depends on. It is given all their results at once, up to [`MAX_RESULT_BYTES`] each.
pub const MAX_DEPENDENCIES: usize = 250;
/// The longest callable of a handler, in characters.
pub const MAX_CALLABLE_CHARS: usize = 255;
/// The largest `retry.limit`.
pub const MAX_ATTEMPTS: u32 = 100;
/// The longest delay between attempts: seven days, in milliseconds.
pub const MAX_BACKOFF_MS: u32 = 7 * 24 * 3600 * 1000;
/// The longest `timeout_seconds`: seven days.
pub const MAX_TIMEOUT_SECONDS: u32 = 7 * 24 * 3600;

/// The largest result of a step, as [`stored_bytes`] measures it: 1 MiB.
pub const MAX_RESULT_BYTES: usize = 1024 * 1024;
/// The longest kind of an error that is stored, in characters; more is cut off.
pub const MAX_ERROR_KIND_CHARS: usize = 100;
/// The longest message of an error that is stored, in characters; more is cut off.
pub const MAX_ERROR_MESSAGE_CHARS: usize = 4_000;

/// The longest name of a worker, in characters.
pub const MAX_WORKER_ID_CHARS: usize = 255;
/// The most namespaces that the settings of a worker name. Each is looked at in every claim.
pub const MAX_NAMESPACES: usize = 256;

/// How many bytes a value has when PostgreSQL writes it, which stores no exponents: `1e300` is a one with 300 zeros then.
pub fn stored_bytes(value: &Value) -> usize {
    json_bytes(value) + zeros(value)
}

/// How many bytes a value has as JSON.
pub fn json_bytes(value: &impl Serialize) -> usize {
    let mut size = Size(0);
    // Writing into a counter does not fail.
    let _ = serde_json::to_writer(&mut size, value);
    size.0
}

/// The digits that exponents stand for. Values have few levels: whatever parsed them made sure of it.
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
        // At most 324: it is the exponent of a float.
        usize::try_from(exponent.unsigned_abs()).unwrap_or(0)
    })
}

/// Counts what is written.
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
