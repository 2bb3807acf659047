//! Who may use the server's API: the API keys, and the public key that verifies tokens. Only digests of API keys are
//! kept.

use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tasker_api::limits::MAX_NAMESPACE_CHARS;

use super::{Orchestration, SettingProblem, SettingsError};

/// The shortest key, in characters: that many hold 16 random bytes in base64.
const MIN_KEY_CHARS: usize = 24;
/// The longest name of a key, in characters.
const MAX_KEY_NAME_CHARS: usize = 64;
/// Stands for a secret in messages.
const HIDDEN: &str = "a value that is not shown";

/// Who may use the server's API. Without a key of either kind everyone may use it, so the server listens on loopback
/// only.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Access {
    /// Listen on any address even without a key.
    pub insecure: bool,
    /// The API keys. `API_KEY` and `API_KEY_FILE` each add one with every scope.
    pub keys: Vec<ApiKey>,
    /// The RSA public key (PEM, `BEGIN PUBLIC KEY`) that verifies tokens; `JWT_PUBLIC_KEY` overrides it. Empty: none.
    pub jwt_public_key: String,
    /// A file that holds this key instead; `JWT_PUBLIC_KEY_FILE` overrides it. Empty: none.
    pub jwt_public_key_file: PathBuf,
    /// The required value of a token's `iss`. Empty: any issuer.
    pub jwt_issuer: String,
    /// The required value of a token's `aud`, or of one of its entries. Empty: any audience.
    pub jwt_audience: String,
}

/// What a caller may do. No scope implies another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Read everything.
    Read,
    /// Create tasks.
    Submit,
    /// Store templates; cancel, fail and retry tasks; retry and resolve steps.
    Operate,
}

impl Scope {
    /// The name in settings, tokens and responses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Submit => "submit",
            Self::Operate => "operate",
        }
    }
}

/// An API key: what its holder may do, and where its text or its digest is.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiKey {
    /// The name of its holder, which goes into the history: unique, 1 to 64 letters, digits, `.`, `_`, `-` and `@`.
    pub name: String,
    /// What its holder may do; at least one scope.
    pub scopes: Vec<Scope>,
    /// The namespaces that its holder may use; at least one. Absent: every namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<Vec<String>>,
    /// The file that holds the key. Give either this or the digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// The SHA-256 digest of the key, in 64 hexadecimal digits.
    #[serde(default, skip_serializing)]
    pub key_sha256: Option<String>,
}

impl fmt::Debug for ApiKey {
    /// Leaves out the digest, because a weak key can be guessed from it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey").field("name", &self.name).field("scopes", &self.scopes).finish_non_exhaustive()
    }
}

impl Orchestration {
    /// Whether everyone who can reach the server could use it: it has no key, listens beyond this machine, and
    /// `insecure` is not set.
    pub fn is_exposed(&self) -> bool {
        !self.access.insecure && self.access.is_open() && !self.host.is_loopback()
    }

    /// Where to listen.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.host, self.port)
    }
}

impl Access {
    /// Whether there is no key of either kind, so that everyone may do everything.
    pub fn is_open(&self) -> bool {
        self.keys.is_empty() && self.jwt_public_key.is_empty() && self.jwt_public_key_file.as_os_str().is_empty()
    }

    /// The SHA-256 digests of the keys, in their order.
    ///
    /// # Errors When a key's file cannot be read, when its text cannot be a key, when a digest is malformed, or when
    /// two keys are equal.
    pub fn key_digests(&self) -> Result<Vec<[u8; 32]>, SettingsError> {
        let mut digests = Vec::new();
        for key in &self.keys {
            let digest = key.digest()?;
            if let Some(earlier) = digests.iter().position(|earlier| *earlier == digest) {
                let allowed = format!(
                    "another key than that of '{}', so that the history can tell them apart",
                    self.keys[earlier].name
                );
                return Err(key.invalid(&allowed));
            }
            digests.push(digest);
        }
        Ok(digests)
    }

    /// The public key (PEM) that verifies tokens, read from its file if the settings name one.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn jwt_public_key_pem(&self) -> Result<Option<String>, SettingsError> {
        if !self.jwt_public_key.is_empty() {
            // A file of environment variables cannot hold line breaks, so people write them as `\n`.
            return Ok(Some(self.jwt_public_key.replace("\\n", "\n")));
        }
        let file = &self.jwt_public_key_file;
        if file.as_os_str().is_empty() { Ok(None) } else { read(file).map(Some) }
    }

    /// Applies the environment variables.
    pub(super) fn override_from(&mut self, variable: impl Fn(&str) -> Option<String>) -> Result<(), SettingsError> {
        let every = || vec![Scope::Read, Scope::Submit, Scope::Operate];
        if let Some(key) = variable("API_KEY") {
            let digest = digest_of_key(&key).map_err(|allowed| SettingsError::Invalid {
                origin: "the environment".to_owned(),
                problems: vec![problem("API_KEY", HIDDEN, allowed)],
            })?;
            let key_sha256 = Some(digest.iter().map(|byte| format!("{byte:02x}")).collect());
            self.keys.push(ApiKey {
                name: "API_KEY".to_owned(),
                scopes: every(),
                namespaces: None,
                key_file: None,
                key_sha256,
            });
        }
        if let Some(file) = variable("API_KEY_FILE") {
            let key_file = Some(PathBuf::from(file));
            self.keys.push(ApiKey {
                name: "API_KEY_FILE".to_owned(),
                scopes: every(),
                namespaces: None,
                key_file,
                key_sha256: None,
            });
        }
        let (pem, file) = (variable("JWT_PUBLIC_KEY"), variable("JWT_PUBLIC_KEY_FILE"));
        if pem.is_some() || file.is_some() {
            self.jwt_public_key = pem.unwrap_or_default();
            self.jwt_public_key_file = file.unwrap_or_default().into();
        }
        Ok(())
    }

    /// Every value that is not allowed.
    pub(super) fn problems(&self) -> Vec<SettingProblem> {
        let mut problems = Vec::new();
        let mut names = HashSet::new();
        for ApiKey { name, scopes, namespaces, key_file, key_sha256 } in &self.keys {
            let key = "orchestration.access.keys";
            let mut require = |holds: bool, what: &str, allowed: &str| {
                if !holds {
                    problems.push(problem(key, &format!("a key {name:?} with {what}"), allowed));
                }
            };
            require(
                (1..=MAX_KEY_NAME_CHARS).contains(&name.len()) && name.chars().all(is_of_key_name),
                "this name",
                "named with 1 to 64 ASCII letters, digits, '.', '_', '-' and '@'",
            );
            require(names.insert(name), "the name of another key", "named differently from every other key");
            require(!scopes.is_empty(), "no scope", "given at least one of read, submit, operate");
            if let Some(namespaces) = namespaces {
                require(
                    !namespaces.is_empty(),
                    "an empty list of namespaces",
                    "given at least one namespace, or no list for every namespace",
                );
                require(
                    namespaces.iter().all(|name| (1..=MAX_NAMESPACE_CHARS).contains(&name.chars().count())),
                    &format!("the namespaces {namespaces:?}"),
                    "given namespaces of 1 to 47 characters",
                );
            }
            match (key_file, key_sha256) {
                (Some(_), None) => {}
                (None, Some(digest)) => {
                    require(from_hex(digest).is_some(), "a malformed key_sha256", "given as 64 hexadecimal digits");
                }
                _ => require(false, "both or neither of key_file and key_sha256", "given by exactly one of the two"),
            }
        }
        if !self.jwt_public_key.is_empty() && !self.jwt_public_key_file.as_os_str().is_empty() {
            problems.push(problem(
                "orchestration.access.jwt_public_key",
                "given together with jwt_public_key_file",
                "given by exactly one of the two",
            ));
        }
        problems
    }
}

impl ApiKey {
    fn digest(&self) -> Result<[u8; 32], SettingsError> {
        match (&self.key_file, &self.key_sha256) {
            (Some(file), _) => digest_of_key(&read(file)?).map_err(|allowed| self.invalid(allowed)),
            (None, Some(digest)) => from_hex(digest).ok_or_else(|| self.invalid("64 hexadecimal digits")),
            (None, None) => Err(self.invalid("given by key_file or key_sha256")),
        }
    }

    fn invalid(&self, allowed: &str) -> SettingsError {
        SettingsError::Invalid {
            origin: format!("the API key '{}'", self.name),
            problems: vec![problem("orchestration.access.keys", HIDDEN, allowed)],
        }
    }
}

/// Returns the digest of a key without the whitespace around it, or what a key must look like. A key is sent in a
/// header, so it is ASCII.
fn digest_of_key(key: &str) -> Result<[u8; 32], &'static str> {
    let key = key.trim();
    if key.len() < MIN_KEY_CHARS || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("one line of at least 24 ASCII letters, digits and signs, without spaces; \
                    `openssl rand -hex 32` makes a safe key");
    }
    Ok(Sha256::digest(key).into())
}

fn is_of_key_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '-' | '@')
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

    const SECRET: &str = "a-secret-of-32-characters-at-all";

    fn key(name: &str, scopes: &[Scope], key_sha256: Option<&str>) -> ApiKey {
        ApiKey {
            name: name.to_owned(),
            scopes: scopes.to_owned(),
            namespaces: None,
            key_file: None,
            key_sha256: key_sha256.map(str::to_owned),
        }
    }

    fn from_environment(pairs: &[(&str, &str)]) -> Result<Access, SettingsError> {
        let mut access = Access::default();
        let find = |name: &str| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        access.override_from(find)?;
        Ok(access)
    }

    #[test]
    fn environment_variables_add_keys() {
        assert!(from_environment(&[]).unwrap().is_open());
        let access =
            from_environment(&[("API_KEY", &format!(" {SECRET}\n")), ("JWT_PUBLIC_KEY", "PEM\\nPEM")]).unwrap();
        assert!(!access.is_open());
        assert_eq!(access.keys[0].digest().unwrap(), <[u8; 32]>::from(Sha256::digest(SECRET)));
        assert_eq!(access.jwt_public_key_pem().unwrap().as_deref(), Some("PEM\nPEM"));
        for wrong in ["has space in the middle of it all", "short", &SECRET[..MIN_KEY_CHARS - 1]] {
            let error = from_environment(&[("API_KEY", wrong)]).unwrap_err().to_string();
            assert!(error.contains("API_KEY") && error.contains("at least 24"), "{error}");
            assert!(!error.contains(wrong), "{error}");
        }
        assert!(from_environment(&[("API_KEY", &SECRET[..MIN_KEY_CHARS])]).is_ok());
    }

    #[test]
    fn a_key_comes_from_a_file_or_a_digest() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        fs::write(&file, format!("{SECRET}\n")).unwrap();
        let mut key = key("ci", &[Scope::Read], None);
        key.key_file = Some(file);
        let digest = key.digest().unwrap();
        assert_eq!(digest, <[u8; 32]>::from(Sha256::digest(SECRET)));
        key.key_file = None;
        key.key_sha256 = Some(digest.iter().map(|byte| format!("{byte:02X}")).collect());
        assert_eq!(key.digest().unwrap(), digest);
    }

    #[test]
    fn two_keys_cannot_be_equal() {
        let (one, other) = ("01".repeat(32), "02".repeat(32));
        let keys = |digests: [&str; 2]| {
            let keys = ["shop", "on-call"].iter().zip(digests);
            let keys = keys.map(|(name, digest)| key(name, &[Scope::Read], Some(digest))).collect();
            Access { keys, ..Access::default() }.key_digests()
        };
        assert_eq!(keys([&one, &other]).unwrap(), [[1; 32], [2; 32]]);
        let error = keys([&one, &one]).unwrap_err().to_string();
        assert!(error.contains("'on-call'") && error.contains("'shop'") && !error.contains("0101"), "{error}");
    }

    #[test]
    fn messages_name_wrong_keys_and_never_show_digests() {
        let digest = "0123456789abcdef".repeat(4);
        let with_namespaces = |name: &str, namespaces: &[&str]| ApiKey {
            namespaces: Some(namespaces.iter().map(|name| (*name).to_owned()).collect()),
            ..key(name, &[Scope::Read], Some(&digest))
        };
        let access = Access {
            keys: vec![
                key("good", &[Scope::Submit], Some(&digest)),
                key("no-scope", &[], Some(&digest)),
                key("short", &[Scope::Read], Some("abc")),
                key("nothing", &[Scope::Read], None),
                key("with space", &[Scope::Read], Some(&digest)),
                key("good", &[Scope::Read], Some(&digest)),
                with_namespaces("no-namespace", &[]),
                with_namespaces("long-namespace", &["shop", &"x".repeat(48)]),
                with_namespaces("shop", &["shop"]),
            ],
            ..Access::default()
        };
        let problems: Vec<_> = access.problems().iter().map(ToString::to_string).collect();
        let expected = [
            ("\"no-scope\"", "at least one of read"),
            ("\"short\"", "64 hexadecimal digits"),
            ("\"nothing\"", "exactly one of the two"),
            ("\"with space\"", "1 to 64 ASCII letters"),
            ("\"good\"", "differently from every other key"),
            ("\"no-namespace\"", "at least one namespace"),
            ("\"long-namespace\"", "1 to 47 characters"),
        ];
        assert_eq!(problems.len(), expected.len(), "{problems:?}");
        for (problem, (name, allowed)) in problems.iter().zip(expected) {
            assert!(problem.contains(name) && problem.contains(allowed), "{problem}");
        }
        assert!(!format!("{access:?}").contains(&digest));
        assert!(!toml::to_string(&access).unwrap().contains(&digest));
    }
}
