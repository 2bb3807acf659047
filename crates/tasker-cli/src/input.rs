//! Reads values that are given on the command line.

use std::io::Read;

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

/// Parses JSON, given directly, as a file (`@FILE`), or on standard input (`-`). Errors name the `option`.
pub(crate) fn json(option: &str, given: &str) -> Result<Value, Failure> {
    let (origin, text) = match given.strip_prefix('@') {
        Some(file) => (file, read(file)?),
        None if given == "-" => ("standard input", read("-")?),
        None => (option, given.to_owned()),
    };
    serde_json::from_str(&text).map_err(|error| Failure::usage(format!("{origin} is not JSON: {error}")).hint(HINT))
}

/// Parses a JSON object like [`json`].
pub(crate) fn object(option: &str, given: &str) -> Result<Map<String, Value>, Failure> {
    match json(option, given)? {
        Value::Object(object) => Ok(object),
        _ => Err(Failure::usage(format!("{option} must be a JSON object")).hint(HINT)),
    }
}

const HINT: &str = r#"write '{"key": "value"}', or @FILE to read a file, or - to read standard input"#;

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
}
