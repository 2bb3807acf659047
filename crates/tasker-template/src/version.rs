//! Versions that sort in SQL.

use semver::Version;

/// A key whose byte order (collation `C`) is the precedence of semantic versions: `1.9.0` before `1.10.0`,
/// `2.0.0-rc.1` before `2.0.0`. Build metadata does not count, so versions that differ only there share a key.
///
/// The three numbers are padded to 20 digits. Then comes `~` for a release, or `-` and the pre-release identifiers,
/// separated by `,`: these sort in the right order, and `,` sorts before all that an identifier may contain. Numeric
/// identifiers begin with `0` and their length, since they may be longer than any integer type; others with `1`.
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
