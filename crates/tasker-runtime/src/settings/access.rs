//! Who may use the server's API: keys, and the public key of whoever signs tokens. No key is kept, only its digest.

use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Orchestration, SettingProblem, SettingsError};

/// Who may use the server's API. Without a key of either kind everybody may, so the server then listens on loopback only.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Access {
    /// Listen anywhere although there is no key.
    pub insecure: bool,
    /// The keys; `API_KEY` and `API_KEY_FILE` add one each, with every scope.
    pub keys: Vec<ApiKey>,
    /// The RSA public key (PEM, `BEGIN PUBLIC KEY`) that tokens are verified with; `JWT_PUBLIC_KEY` overrides it. Empty: none.
    pub jwt_public_key: String,
    /// A file with that key instead; `JWT_PUBLIC_KEY_FILE` overrides it. Empty: none.
    pub jwt_public_key_file: PathBuf,
    /// What a token's `iss` must be. Empty: not looked at.
    pub jwt_issuer: String,
    /// What a token's `aud` must be or hold. Empty: not looked at.
    pub jwt_audience: String,
}

/// What a caller may do. One scope does not imply another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Look at everything.
    Read,
    /// Create tasks.
    Submit,
    /// Store templates; cancel, fail and retry tasks; retry and resolve steps.
    Operate,
}

/// An API key: what it may do, and where its text or its digest is.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiKey {
    /// Whose key it is, for people.
    pub name: String,
    /// What it may do; at least one.
    pub scopes: Vec<Scope>,
    /// The file that holds the key: this or the digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// The SHA-256 digest of the key, in 64 hexadecimal digits.
    #[serde(default, skip_serializing)]
    pub key_sha256: Option<String>,
}

impl fmt::Debug for ApiKey {
    /// Without the digest: short keys can be guessed from it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey").field("name", &self.name).field("scopes", &self.scopes).finish_non_exhaustive()
    }
}

impl Orchestration {
    /// Whether anybody who can reach the server could use it: it has no key, and would listen beyond this machine without having
    /// been told so.
    pub fn is_exposed(&self) -> bool {
        !self.access.insecure && self.access.is_open() && !self.host.is_loopback()
    }

    /// Where to listen.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.host, self.port)
    }
}

impl Access {
    /// Whether there is no key at all, so that everybody may do everything.
    pub fn is_open(&self) -> bool {
        self.keys.is_empty() && self.jwt_public_key.is_empty() && self.jwt_public_key_file.as_os_str().is_empty()
    }

    /// The public key that tokens are verified with, as PEM; read from its file where it is in one.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn jwt_public_key_pem(&self) -> Result<Option<String>, SettingsError> {
        if !self.jwt_public_key.is_empty() {
            // Files of environment variables have no lines: there, breaks are written as two characters.
            return Ok(Some(self.jwt_public_key.replace("\\n", "\n")));
        }
        let file = &self.jwt_public_key_file;
        if file.as_os_str().is_empty() { Ok(None) } else { read(file).map(Some) }
    }

    /// Takes over what the environment says.
    pub(super) fn override_from(&mut self, variable: impl Fn(&str) -> Option<String>) -> Result<(), SettingsError> {
        let every = || vec![Scope::Read, Scope::Submit, Scope::Operate];
        if let Some(key) = variable("API_KEY") {
            let digest = digest_of_key(&key).map_err(|allowed| SettingsError::Invalid {
                origin: "the environment".to_owned(),
                problems: vec![problem("API_KEY", "something that is not shown", allowed)],
            })?;
            let key_sha256 = Some(digest.iter().map(|byte| format!("{byte:02x}")).collect());
            self.keys.push(ApiKey { name: "API_KEY".to_owned(), scopes: every(), key_file: None, key_sha256 });
        }
        if let Some(file) = variable("API_KEY_FILE") {
            let key_file = Some(PathBuf::from(file));
            self.keys.push(ApiKey { name: "API_KEY_FILE".to_owned(), scopes: every(), key_file, key_sha256: None });
        }
        let (pem, file) = (variable("JWT_PUBLIC_KEY"), variable("JWT_PUBLIC_KEY_FILE"));
        if pem.is_some() || file.is_some() {
            self.jwt_public_key = pem.unwrap_or_default();
            self.jwt_public_key_file = file.unwrap_or_default().into();
        }
        Ok(())
    }

    /// What is wrong with the settings.
    pub(super) fn problems(&self) -> Vec<SettingProblem> {
        let mut problems = Vec::new();
        for ApiKey { name, scopes, key_file, key_sha256 } in &self.keys {
            let key = "orchestration.access.keys";
            let mut require = |holds: bool, what: &str, allowed: &str| {
                if !holds {
                    problems.push(problem(key, &format!("a key {name:?} with {what}"), allowed));
                }
            };
            require(
                !name.trim().is_empty() && !name.chars().any(char::is_control),
                "this name",
                "named, without control characters",
            );
            require(!scopes.is_empty(), "no scope", "given at least one of read, submit, operate");
            match (key_file, key_sha256) {
                (Some(_), None) => {}
                (None, Some(digest)) => {
                    require(from_hex(digest).is_some(), "a wrong key_sha256", "given as 64 hexadecimal digits");
                }
                _ => require(false, "both or neither of key_file and key_sha256", "given by one of the two"),
            }
        }
        if !self.jwt_public_key.is_empty() && !self.jwt_public_key_file.as_os_str().is_empty() {
            problems.push(problem(
                "orchestration.access.jwt_public_key",
                "given together with jwt_public_key_file",
                "given by one of the two",
            ));
        }
        problems
    }
}

impl ApiKey {
    /// The SHA-256 digest of the key.
    ///
    /// # Errors
    /// When the file cannot be read, or what it holds, or the digest, cannot be one.
    pub fn digest(&self) -> Result<[u8; 32], SettingsError> {
        let wrong = |allowed: &str| SettingsError::Invalid {
            origin: format!("the API key '{}'", self.name),
            problems: vec![problem("orchestration.access.keys", "something that is not shown", allowed)],
        };
        match (&self.key_file, &self.key_sha256) {
            (Some(file), _) => digest_of_key(&read(file)?).map_err(wrong),
            (None, Some(digest)) => from_hex(digest).ok_or_else(|| wrong("64 hexadecimal digits")),
            (None, None) => Err(wrong("given by key_file or key_sha256")),
        }
    }
}

/// The digest of a key, without the space around it. Else what a key may be: it travels in a header.
fn digest_of_key(key: &str) -> Result<[u8; 32], &'static str> {
    let key = key.trim();
    if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("one line of ASCII letters, digits and signs, without spaces");
    }
    Ok(Sha256::digest(key).into())
}

fn read(file: &Path) -> Result<String, SettingsError> {
    fs::read_to_string(file).map_err(|source| SettingsError::Unreadable { path: file.to_owned(), source })
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (number, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * number..2 * number + 2)?, 16).ok()?;
    }
    Some(digest)
}

fn problem(key: &'static str, value: &str, allowed: &str) -> SettingProblem {
    SettingProblem { key, value: value.to_owned(), allowed: allowed.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_environment(pairs: &[(&str, &str)]) -> Result<Access, SettingsError> {
        let mut access = Access::default();
        let find = |name: &str| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        access.override_from(find)?;
        Ok(access)
    }

    #[test]
    fn the_environment_brings_keys() {
        assert!(from_environment(&[]).unwrap().is_open());
        let access = from_environment(&[("API_KEY", " a-secret\n"), ("JWT_PUBLIC_KEY", "PEM\\nPEM")]).unwrap();
        assert!(!access.is_open());
        assert_eq!(access.keys[0].digest().unwrap(), <[u8; 32]>::from(Sha256::digest("a-secret")));
        assert_eq!(access.jwt_public_key_pem().unwrap().as_deref(), Some("PEM\nPEM"));
        let error = from_environment(&[("API_KEY", "has space")]).unwrap_err().to_string();
        assert!(error.contains("API_KEY") && !error.contains("has space"), "{error}");
    }

    #[test]
    fn a_key_comes_from_a_file_or_a_digest() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        fs::write(&file, "a-secret\n").unwrap();
        let mut key =
            ApiKey { name: "ci".to_owned(), scopes: vec![Scope::Read], key_file: Some(file), key_sha256: None };
        let digest = key.digest().unwrap();
        assert_eq!(digest, <[u8; 32]>::from(Sha256::digest("a-secret")));
        key.key_file = None;
        key.key_sha256 = Some(digest.iter().map(|byte| format!("{byte:02X}")).collect());
        assert_eq!(key.digest().unwrap(), digest);
    }

    #[test]
    fn wrong_keys_are_named_and_their_digests_shown_nowhere() {
        let digest = "0123456789abcdef".repeat(4);
        let key = |name: &str, scopes: &[Scope], key_sha256: Option<&str>| ApiKey {
            name: name.to_owned(),
            scopes: scopes.to_owned(),
            key_file: None,
            key_sha256: key_sha256.map(str::to_owned),
        };
        let access = Access {
            keys: vec![
                key("good", &[Scope::Submit], Some(&digest)),
                key("no scope", &[], Some(&digest)),
                key("short", &[Scope::Read], Some("abc")),
                key("nothing", &[Scope::Read], None),
            ],
            ..Access::default()
        };
        let problems: Vec<_> = access.problems().iter().map(ToString::to_string).collect();
        assert_eq!(problems.len(), 3, "{problems:?}");
        for (problem, name) in problems.iter().zip(["\"no scope\"", "\"short\"", "\"nothing\""]) {
            assert!(problem.contains(name), "{problem}");
        }
        assert!(!format!("{access:?}").contains(&digest));
        assert!(!toml::to_string(&access).unwrap().contains(&digest));
    }
}
