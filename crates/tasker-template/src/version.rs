//! Versions that sort in SQL.

use semver::Version;

/// Returns a key that sorts like the version: the byte order of keys (collation `C`) is the precedence of semantic
/// versions, with `1.9.0` before `1.10.0` and `2.0.0-rc.1` before `2.0.0`. Versions that differ only in build metadata
/// have the same key.
///
/// The key starts with the three numbers, padded to 20 digits. A release continues with `~`. A pre-release continues
/// with `-`, which sorts before `~`, and its identifiers, separated by `,`, which sorts before every character of an
/// identifier. A numeric identifier starts with `0` and its number of digits, because it may be too long for any
/// integer type; others start with `1`.
///
/// ```
/// use tasker_template::version_key;
/// let key = |version| semver::Version::parse(version).map(|v| version_key(&v));
/// assert!(key("1.9.0")? < key("1.10.0-alpha.2")?);
/// assert!(key("1.10.0-alpha.2")? < key("1.10.0-alpha.10")?);
/// assert!(key("1.10.0-alpha.10")? < key("1.10.0")?);
/// # Ok::<(), semver::Error>(())
/// ```
pub fn version_key(version: &Version) -> String {
    let Version { major, minor, patch, pre, .. } = version;
    let mut key = format!("{major:020}.{minor:020}.{patch:020}");
    if pre.is_empty() {
        key.push('~');
        return key;
    }
    for (i, identifier) in pre.split('.').enumerate() {
        key.push(if i == 0 { '-' } else { ',' });
        if identifier.bytes().all(|b| b.is_ascii_digit()) {
            key.push_str(&format!("0{:010}{identifier}", identifier.len()));
        } else {
            key.push('1');
            key.push_str(identifier);
        }
    }
    key
}
