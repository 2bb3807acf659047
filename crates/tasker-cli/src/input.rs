//! Values given on the command line.

use std::io::Read;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::failure::Failure;

/// Reads a file, or standard input for `-`.
pub(crate) fn read(file: &str) -> Result<String, Failure> {
    let mut text = String::new();
    let result = match file {
        "-" => std::io::stdin().read_to_string(&mut text),
        file => std::fs::File::open(file).and_then(|mut file| file.read_to_string(&mut text)),
    };
    match result {
        Ok(_) => Ok(text),
        Err(error) => Err(Failure::usage(format!("cannot read {file}: {error}"))),
    }
}

/// JSON as it is, from a file (`@FILE`) or from standard input (`-`). `option` is named in errors.
pub(crate) fn json(option: &str, given: &str) -> Result<Value, Failure> {
    let (origin, text) = match given.strip_prefix('@') {
        Some(file) => (file, read(file)?),
        None if given == "-" => ("standard input", read("-")?),
        None => (option, given.to_owned()),
    };
    serde_json::from_str(&text).map_err(|error| Failure::usage(format!("{origin} is not JSON: {error}")).hint(HINT))
}

/// A JSON object: see [`json`].
pub(crate) fn object(option: &str, given: &str) -> Result<Map<String, Value>, Failure> {
    match json(option, given)? {
        Value::Object(object) => Ok(object),
        _ => Err(Failure::usage(format!("{option} must be a JSON object")).hint(HINT)),
    }
}

const HINT: &str = r#"write '{"key": "value"}', or @FILE to read a file, or - to read standard input"#;

/// For clap: a length of time such as `90s`, `500ms`, `5m` or `2h`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let milliseconds: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => 0,
    };
    match number.parse::<u64>() {
        Ok(number) if milliseconds > 0 => Ok(Duration::from_millis(number.saturating_mul(milliseconds))),
        _ => Err("write a number with a unit, such as 90s, 500ms, 5m or 2h".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_comes_from_the_argument_or_a_file() {
        assert_eq!(json("--input", "[1]").unwrap(), json!([1]));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), r#"{"a": 1}"#).unwrap();
        let given = format!("@{}", file.path().display());
        assert_eq!(Value::Object(object("--input", &given).unwrap()), json!({"a": 1}));
    }

    #[test]
    fn bad_json_is_refused_with_its_origin() {
        let error = json("--input", "{even_number: 6}").unwrap_err();
        assert_eq!(error.message(), "--input is not JSON: key must be a string at line 1 column 2");
        assert_eq!(object("--input", "[1]").unwrap_err().message(), "--input must be a JSON object");
        let error = object("--input", "@/nowhere.json").unwrap_err();
        assert!(error.message().starts_with("cannot read /nowhere.json: "), "{}", error.message());
    }

    #[test]
    fn a_duration_is_a_number_with_a_unit() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7200)));
        for wrong in ["", "s", "90", "1.5s", "-1s", "1 s", "1d"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
