//! Checks that requests are within the limits.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, DeserializeOwned};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Number, Value};

use super::{
    CreateTask, OpenDeadLetter, OperatorAction, PatchDeadLetter, PatchGate, PatchNamespace, PutSchedule, ResolveStep,
    SendSignal,
};
use crate::limits::{
    MAX_ACTOR_CHARS, MAX_CATCH_UP_SECONDS, MAX_CRON_CHARS, MAX_GATE_LIMIT, MAX_IDEMPOTENCY_KEY_CHARS,
    MAX_METADATA_BYTES, MAX_NAME_CHARS, MAX_NAMESPACE_CHARS, MAX_NOTES_CHARS, MAX_PRIORITY, MAX_REASON_CHARS,
    MAX_RESULT_BYTES, MAX_RETENTION_DAYS, MAX_TAG_CHARS, MAX_TAGS, MAX_TIMEOUT_SECONDS, MAX_VERSION_CHARS, json_bytes,
    stored_bytes,
};

/// Which limit a request exceeds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// A value is not allowed.
    #[error("{0}")]
    Malformed(String),
    /// A value has too many bytes.
    #[error("{0}")]
    TooLarge(String),
}

impl CreateTask {
    /// Checks every limit except the size of the context, which is a setting.
    ///
    /// # Errors
    /// The first value that exceeds its limit.
    pub fn check(&self) -> Result<(), RequestError> {
        let Self { namespace, name, version, context: _, idempotency_key, priority: _, tags } = self;
        length("namespace", namespace, 1, MAX_NAMESPACE_CHARS)?;
        length("name", name, 1, MAX_NAME_CHARS)?;
        if let Some(version) = version {
            length("version", version, 1, MAX_VERSION_CHARS)?;
        }
        if let Some(key) = idempotency_key {
            length("idempotency_key", key, 1, MAX_IDEMPOTENCY_KEY_CHARS)?;
        }
        tags_within_limits(tags.as_ref())
    }
}

impl OpenDeadLetter {
    /// Checks every limit.
    ///
    /// # Errors
    /// The first value that exceeds its limit.
    pub fn check(&self) -> Result<(), RequestError> {
        self.resolution_notes.as_deref().map_or(Ok(()), |notes| length("resolution_notes", notes, 0, MAX_NOTES_CHARS))
    }
}

impl PatchDeadLetter {
    /// Checks every limit.
    ///
    /// # Errors
    /// The first value that exceeds its limit.
    pub fn check(&self) -> Result<(), RequestError> {
        if let Some(notes) = &self.resolution_notes {
            length("resolution_notes", notes, 0, MAX_NOTES_CHARS)?;
        }
        if let Some(actor) = &self.resolved_by {
            length("resolved_by", actor, 0, MAX_ACTOR_CHARS)?;
        }
        let bytes = self.metadata.as_ref().map_or(0, json_bytes);
        if bytes > MAX_METADATA_BYTES {
            let message = format!("the metadata has {bytes} bytes of JSON; the limit is {MAX_METADATA_BYTES}");
            return Err(RequestError::TooLarge(message));
        }
        Ok(())
    }
}

impl PatchNamespace {
    /// Checks every limit.
    ///
    /// # Errors
    /// The first value that exceeds its limit.
    pub fn check(&self) -> Result<(), RequestError> {
        match self.finished_tasks_days.flatten() {
            Some(days) if days > MAX_RETENTION_DAYS => Err(RequestError::Malformed(format!(
                "finished_tasks_days must be 0 to {MAX_RETENTION_DAYS}, or null, not {days}"
            ))),
            _ => Ok(()),
        }
    }
}

impl PatchGate {
    /// Checks every limit.
    ///
    /// # Errors
    /// The first value that exceeds its limit.
    pub fn check(&self) -> Result<(), RequestError> {
        let within = |what: &str, value: u32, min: u32, max: u32| {
            if (min..=max).contains(&value) {
                return Ok(());
            }
            Err(RequestError::Malformed(format!("{what} must be {min} to {max}, not {value}")))
        };
        if let Some(limit) = self.limit.flatten() {
            within("limit", limit, 0, MAX_GATE_LIMIT)?;
        }
        let rate = self.rate.flatten().unwrap_or_default();
        if let Some(limit) = rate.limit {
            within("rate.limit", limit, 1, MAX_GATE_LIMIT)?;
        }
        if let Some(seconds) = rate.per_seconds {
            within("rate.per_seconds", seconds, 1, MAX_TIMEOUT_SECONDS)?;
        }
        if let Some(burst) = rate.burst {
            within("rate.burst", burst, 1, rate.limit.unwrap_or(MAX_GATE_LIMIT))?;
        }
        Ok(())
    }
}

impl PutSchedule {
    /// Checks every limit except the size of the context, which is a setting. `name` is the name of the schedule.
    ///
    /// # Errors
    /// The first value that exceeds its limit.
    pub fn check(&self, name: &str) -> Result<(), RequestError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if name.is_empty() || name.len() > MAX_NAME_CHARS || !name.chars().all(plain) || name.starts_with('.') {
            return Err(RequestError::Malformed(format!(
                "the name of a schedule must have 1 to {MAX_NAME_CHARS} ASCII letters, digits, `_`, `-` or `.`, and \
                 must not start with a dot"
            )));
        }
        length("namespace", &self.namespace, 1, MAX_NAMESPACE_CHARS)?;
        length("template", &self.template, 1, MAX_NAME_CHARS)?;
        if let Some(version) = &self.version {
            length("version", version, 1, MAX_VERSION_CHARS)?;
        }
        length("cron", &self.cron, 1, MAX_CRON_CHARS)?;
        if self.catch_up_seconds > MAX_CATCH_UP_SECONDS {
            return Err(RequestError::Malformed(format!(
                "catch_up_seconds must be 0 to {MAX_CATCH_UP_SECONDS}, not {}",
                self.catch_up_seconds
            )));
        }
        tags_within_limits(self.tags.as_ref())
    }
}

impl OperatorAction {
    /// Checks every limit.
    ///
    /// # Errors
    /// The first value that exceeds its limit.
    pub fn check(&self) -> Result<(), RequestError> {
        if let Some(actor) = &self.actor {
            length("actor", actor, 0, MAX_ACTOR_CHARS)?;
        }
        match &self.reason {
            Some(reason) => length("reason", reason, 0, MAX_REASON_CHARS),
            None => Ok(()),
        }
    }
}

impl SendSignal {
    /// Checks the sizes of the payload and of the actor.
    ///
    /// # Errors
    /// When the payload is larger than the result of a step may be, or the actor is too long.
    pub fn check(&self) -> Result<(), RequestError> {
        OperatorAction { actor: self.actor.clone(), reason: None }.check()?;
        let bytes = stored_bytes(&self.payload);
        if bytes > MAX_RESULT_BYTES {
            return Err(RequestError::TooLarge(format!(
                "the payload has {bytes} bytes of JSON; the limit is {MAX_RESULT_BYTES}; \
                 store large data elsewhere, and send where"
            )));
        }
        Ok(())
    }
}

impl ResolveStep {
    /// Checks the size of the result. [`OperatorAction::check`] checks the other fields.
    ///
    /// # Errors
    /// When the result is larger than a handler may return.
    pub fn check(&self) -> Result<(), RequestError> {
        let bytes = stored_bytes(&self.result);
        if bytes > MAX_RESULT_BYTES {
            return Err(RequestError::TooLarge(format!(
                "the result has {bytes} bytes of JSON; the limit is {MAX_RESULT_BYTES}; \
                 store large data elsewhere, and return where"
            )));
        }
        Ok(())
    }
}

fn length(what: &str, text: &str, min: usize, max: usize) -> Result<(), RequestError> {
    let count = text.chars().count();
    if (min..=max).contains(&count) {
        return Ok(());
    }
    Err(RequestError::Malformed(format!("{what} must have {min} to {max} characters, not {count}")))
}

fn tags_within_limits(tags: Option<&Value>) -> Result<(), RequestError> {
    match tags {
        None => Ok(()),
        Some(Value::Array(items)) => check_tags(items.len(), items.iter()),
        Some(Value::Object(fields)) => {
            for key in fields.keys() {
                length("the name of a tag", key, 0, MAX_TAG_CHARS)?;
            }
            check_tags(fields.len(), fields.values())
        }
        Some(_) => Err(no_tags()),
    }
}

fn check_tags<'a>(count: usize, mut values: impl Iterator<Item = &'a Value>) -> Result<(), RequestError> {
    if count > MAX_TAGS {
        return Err(RequestError::Malformed(format!("there can be up to {MAX_TAGS} tags, not {count}")));
    }
    values.try_for_each(|value| length("a tag", value.as_str().ok_or_else(no_tags)?, 0, MAX_TAG_CHARS))
}

fn no_tags() -> RequestError {
    RequestError::Malformed("tags must be an array of strings, or an object of strings".to_owned())
}

/// Reads a priority, see [`whole_number`].
pub(crate) fn priority<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i16>, D::Error> {
    whole_number(deserializer, "priority", MAX_PRIORITY)
}

/// Reads a number of days, see [`whole_number`].
pub(crate) fn days<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    whole_number(deserializer, "finished_tasks_days", MAX_RETENTION_DAYS)
}

/// Reads the limit of a gate, see [`whole_number`].
pub(crate) fn gate_limit<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    whole_number(deserializer, "limit", MAX_GATE_LIMIT)
}

/// Reads the limit of catching up, see [`whole_number`].
pub(crate) fn catch_up_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let name = "catch_up_seconds";
    whole_number(deserializer, name, MAX_CATCH_UP_SECONDS)?.ok_or_else(|| de::Error::custom(format!("{name} is null")))
}

/// Reads a struct from an object only. By itself, serde also reads it from an array of its fields.
pub(crate) fn object<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<T, D::Error> {
    let fields = Map::deserialize(deserializer)?;
    T::deserialize(Value::Object(fields)).map_err(de::Error::custom)
}

/// Reads a number from 0 to a maximum, or null. `2.0` is 2, as in JSON Schema. The error names the range for every
/// other number, whatever its size.
fn whole_number<'de, D, T>(deserializer: D, name: &str, max: T) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr + PartialOrd + fmt::Display,
{
    let Some(number) = Option::<Number>::deserialize(deserializer)? else { return Ok(None) };
    let given = number.as_f64().filter(|given| *given >= 0.0);
    // Without `.0`, and without the sign of `-0.0`.
    match given.and_then(|given| given.abs().to_string().parse::<T>().ok()) {
        Some(given) if given <= max => Ok(Some(given)),
        _ => Err(de::Error::custom(format!("{name} must be 0 to {max}, not {number}"))),
    }
}
