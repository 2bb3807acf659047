//! Reads JSON from clients and handlers without changing its meaning.
//!
//! It refuses text that is not JSON or does not have the requested type. It also refuses everything that would
//! change silently or that PostgreSQL cannot store: an object with the same key twice, an integer that does not fit
//! into 64 bits (it would be rounded), the character U+0000, and more than [`MAX_JSON_DEPTH`] levels of nesting
//! within the outermost value.

use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use crate::limits::MAX_JSON_DEPTH;

/// The longest part of the text, or of a path into it, that an error quotes.
const MAX_SHOWN_CHARS: usize = 200;

/// Why a text was refused: what is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct JsonError(String);

/// Reads a value from a text.
///
/// # Errors
/// See [`JsonError`].
pub fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<T, JsonError> {
    let mut json = serde_json::Deserializer::from_slice(text);
    let mut track = serde_path_to_error::Track::new();
    Strict { levels: MAX_JSON_DEPTH + 1 }
        .deserialize(serde_path_to_error::Deserializer::new(&mut json, &mut track))
        .map_err(|error| located(&track.path().to_string(), &error))?;
    json.end().map_err(|error| JsonError(error.to_string()))?;
    if let Some(number) = rounded_integer(text) {
        return Err(JsonError(format!("the number {number} does not fit into 64 bits; send it as a string")));
    }
    let mut json = serde_json::Deserializer::from_slice(text);
    serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        located(&path, error.inner())
    })
}

fn located(path: &str, error: &serde_json::Error) -> JsonError {
    JsonError(if path == "." {
        shown(&error.to_string())
    } else {
        format!("{}: {}", shown(path), shown(&error.to_string()))
    })
}

/// Returns the text, or its two ends if it is long. The end of an error message contains the place of the error.
fn shown(text: &str) -> String {
    let count = text.chars().count();
    if count <= 2 * MAX_SHOWN_CHARS {
        return text.to_owned();
    }
    let beginning: String = text.chars().take(MAX_SHOWN_CHARS).collect();
    let end: String = text.chars().skip(count - MAX_SHOWN_CHARS).collect();
    format!("{beginning}…{end}")
}

/// Returns the first integer of a JSON text that does not fit into 64 bits, so that a reader would round it.
fn rounded_integer(text: &[u8]) -> Option<String> {
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        match byte {
            b'"' => rest = after_string(after),
            b'-' | b'0'..=b'9' => {
                let length = rest
                    .iter()
                    .take_while(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'))
                    .count();
                let (number, after) = rest.split_at(length);
                let number = String::from_utf8_lossy(number);
                let is_integer = !number.contains(['.', 'e', 'E']);
                if is_integer && number.parse::<i64>().is_err() && number.parse::<u64>().is_err() {
                    return Some(shown(&number));
                }
                rest = after;
            }
            _ => rest = after,
        }
    }
    None
}

/// Returns the text after a string. The opening quote of the string was already read.
fn after_string(text: &[u8]) -> &[u8] {
    let mut rest = text;
    loop {
        rest = match rest {
            [b'\\', _, after @ ..] => after,
            [b'"', after @ ..] => return after,
            [_, after @ ..] => after,
            [] => return rest,
        };
    }
}

/// Checks any value without keeping it.
#[derive(Clone, Copy)]
struct Strict {
    /// How many levels of nesting are still allowed, including this one.
    levels: usize,
}

impl Strict {
    /// The check of the values within a list or object.
    fn inner<E: serde::de::Error>(self) -> Result<Self, E> {
        match self.levels.checked_sub(1) {
            Some(levels) => Ok(Self { levels }),
            None => Err(E::custom(format!("nested more than {MAX_JSON_DEPTH} levels deep"))),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        without_nul(text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let inner = self.inner()?;
        while items.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let inner = self.inner()?;
        let mut keys = HashSet::new();
        while let Some(key) = fields.next_key::<String>()? {
            without_nul(&key)?;
            fields.next_value_seed(inner)?;
            if keys.contains(&key) {
                return Err(A::Error::custom(format!("the key `{}` appears twice in this object", shown(&key))));
            }
            keys.insert(key);
        }
        Ok(())
    }
}

fn without_nul<E: serde::de::Error>(text: &str) -> Result<(), E> {
    if text.contains('\0') {
        return Err(E::custom("a NUL character (\\u0000) cannot be stored"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn refusal(text: &str) -> String {
        parse::<Value>(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn valid_json_is_read_without_changes() {
        let text = r#" {"a": [1, -1, 0.5, 1e300, true, null, "x\"-99999999999999999999", {}], "b": {"a": ""}} "#;
        assert_eq!(
            parse::<Value>(text.as_bytes()).unwrap(),
            json!({"a": [1, -1, 0.5, 1e300, true, null, "x\"-99999999999999999999", {}], "b": {"a": ""}})
        );
        for number in ["18446744073709551615", "-9223372036854775808", "100000000000000000000.0", "1E20"] {
            assert!(parse::<Value>(number.as_bytes()).is_ok(), "{number}");
        }
    }

    #[test]
    fn values_that_would_change_are_refused_with_their_place() {
        for (text, expected) in [
            (r#"{"a": 1, "a": 2}"#, "the key `a` appears twice in this object at line 1 column 16"),
            (r#"{"x": [{"a": 1, "\u0061": 2}]}"#, "x[0]: the key `a` appears twice"),
            (r#"{"x": {"y": "a\u0000"}}"#, "x.y: a NUL character (\\u0000) cannot be stored"),
            (r#"{"\u0000": 1}"#, "a NUL character"),
            (
                "[18446744073709551616]",
                "the number 18446744073709551616 does not fit into 64 bits; send it as a string",
            ),
            ("-9223372036854775809", "the number -9223372036854775809 does not fit"),
            ("1e400", "number out of range at line 1 column 5"),
            (r#"["\ud800"]"#, "[0]: unexpected end of hex escape"),
            ("{} {}", "trailing characters at line 1 column 4"),
            ("", "EOF while parsing a value"),
        ] {
            let message = refusal(text);
            assert!(message.starts_with(expected), "{text}: {message}");
        }
    }

    #[test]
    fn nesting_within_the_outermost_value_is_limited() {
        for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
            let nested = |levels: usize| format!("{}[]{}", open.repeat(levels - 1), close.repeat(levels - 1));
            assert!(parse::<Value>(nested(MAX_JSON_DEPTH + 1).as_bytes()).is_ok());
            let message = refusal(&nested(MAX_JSON_DEPTH + 2));
            assert!(message.contains("nested more than 100 levels deep"), "{message}");
            assert!(refusal(&nested(MAX_JSON_DEPTH + 2).replace("[]", "{}")).contains("100 levels"));
        }
        assert!(refusal(&"[".repeat(1_000_000)).contains("nested more than 100 levels deep"));
        assert!(refusal(&r#"{"a":"#.repeat(1_000)).contains("nested more than 100 levels deep"));
    }

    #[test]
    fn errors_are_short() {
        let long = "x".repeat(100_000);
        for text in [format!(r#"{{"{long}": 1, "{long}": 2}}"#), format!(r#"{{"{long}": tru}}"#), "9".repeat(100_000)] {
            assert!(refusal(&text).len() < 2_000);
        }
    }
}
