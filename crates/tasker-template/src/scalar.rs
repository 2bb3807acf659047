//! The values of plain (unquoted) YAML scalars, by the core schema of YAML 1.2.
//!
//! There is one difference, for the published templates: digits with a leading zero (`00501`) are text. `yes` and `no`
//! are text, as the core schema says. A number that JSON cannot represent exactly is an error.

use serde_json::{Number, Value};

const TOO_LARGE: &str = "the number does not fit into 64 bits; quote it";
const NOT_FINITE: &str = "JSON has no such number; quote it";

/// Returns the value of a plain scalar, or why it has none.
pub(crate) fn resolve(text: &str) -> Result<Value, &'static str> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Value::Null),
        "true" | "True" | "TRUE" => return Ok(Value::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Value::Bool(false)),
        _ => {}
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return Err(NOT_FINITE);
    }
    if let Some(digits) = text.strip_prefix("0x").filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit())) {
        return radix(text, digits, 16);
    }
    if let Some(digits) = text.strip_prefix("0o").filter(|d| d.bytes().all(|b| matches!(b, b'0'..=b'7'))) {
        return radix(text, digits, 8);
    }
    if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return Ok(text.into());
    }
    if unsigned.bytes().all(|b| b.is_ascii_digit()) {
        if unsigned.len() > 1 && unsigned.starts_with('0') {
            return Ok(text.into());
        }
        let signed = text.parse::<i64>().map(Value::from);
        return signed.or_else(|_| text.parse::<u64>().map(Value::from)).map_err(|_| TOO_LARGE);
    }
    // Rust and YAML agree here: the other floats that Rust reads (`inf`, `nan`) do not start with a digit or a dot.
    match text.parse::<f64>() {
        Ok(float) => Number::from_f64(float).map(Value::Number).ok_or(TOO_LARGE),
        Err(_) => Ok(text.into()),
    }
}

fn radix(text: &str, digits: &str, radix: u32) -> Result<Value, &'static str> {
    if digits.is_empty() {
        return Ok(text.into());
    }
    u64::from_str_radix(digits, radix).map(Value::from).map_err(|_| TOO_LARGE)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn plain_scalars_become_json() {
        for (text, value) in [
            ("~", json!(null)),
            ("True", json!(true)),
            ("yes", json!("yes")),
            ("-7", json!(-7)),
            ("+7", json!(7)),
            ("18446744073709551615", json!(u64::MAX)),
            ("0x1F", json!(31)),
            ("0o17", json!(15)),
            ("0x", json!("0x")),
            ("00501", json!("00501")),
            ("1.5", json!(1.5)),
            (".5e1", json!(5.0)),
            ("1.0.0", json!("1.0.0")),
            ("1_000", json!("1_000")),
            ("2024-01-01", json!("2024-01-01")),
            ("-", json!("-")),
            (".", json!(".")),
            ("inf", json!("inf")),
            ("-nan", json!("-nan")),
        ] {
            assert_eq!(resolve(text), Ok(value), "{text}");
        }
    }

    #[test]
    fn numbers_that_json_would_change_are_refused() {
        for text in ["18446744073709551616", "-9223372036854775809", "1e999", "0x10000000000000000", "-.inf", ".nan"] {
            assert!(resolve(text).is_err(), "{text}");
        }
    }
}
