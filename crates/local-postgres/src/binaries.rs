//! Finding PostgreSQL's programs on the machine.

use std::env;
use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use crate::download::{cache_dir, download};
use crate::error::{Error, majors_text};
use crate::guard::command;
use crate::user::User;

/// The supported major versions.
const MAJORS: RangeInclusive<u32> = 14..=18;
/// Folders with one folder per version: the path, the prefix of the versions' folders, and the folder of the programs.
const USUAL_PLACES: [(&str, &str, &str); 4] = [
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/opt/homebrew/opt", "postgresql", "bin"),
    ("/usr/local/opt", "postgresql", "bin"),
];

/// A folder with `initdb` and `postgres` of a usable version.
#[derive(Debug, Clone)]
pub(crate) struct Binaries {
    dir: PathBuf,
}

impl Binaries {
    /// Finds programs that `user` can run, of major version `made_by` if it is given, otherwise of any supported
    /// version.
    pub(crate) async fn find_or_download(made_by: Option<u32>, user: Option<User>) -> Result<Self, Error> {
        let majors = made_by.map_or(MAJORS, |major| major..=major);
        if let Some(folder) = env::var_os("TASKER_PG_BIN").filter(|folder| !folder.is_empty()) {
            let folder = PathBuf::from(folder);
            return Self::open(&folder, &majors, user).map_err(|reason| Error::BadBinFolder { folder, reason });
        }
        let cache = cache_dir(user.is_some());
        let mut looked = Vec::new();
        let folders = candidates(cache.as_deref());
        if let Some(found) = Self::first_of(&folders, &majors, user, &mut looked) {
            return Ok(found);
        }
        let result = match cache {
            Some(cache) => download(cache, &majors).await,
            None => Err("neither HOME nor XDG_CACHE_HOME is set, so there is no cache folder".into()),
        };
        let result = result.and_then(|folder| Self::open(&folder, &majors, user));
        result.map_err(|reason| {
            looked.push(format!("download: {reason}"));
            Error::NoPostgres { majors, looked }
        })
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The first usable folder. Adds the reasons against the folders before it to `looked`.
    fn first_of(
        folders: &[PathBuf],
        majors: &RangeInclusive<u32>,
        user: Option<User>,
        looked: &mut Vec<String>,
    ) -> Option<Self> {
        for folder in folders {
            match Self::open(folder, majors, user) {
                Ok(found) => return Some(found),
                Err(reason) => looked.push(format!("{}: {reason}", folder.display())),
            }
        }
        let usual = USUAL_PLACES.map(|(parent, prefix, bin)| format!("{parent}/{prefix}*/{bin}")).join(", ");
        looked.push(format!("no other folder in PATH, {usual} or /usr/bin has initdb and postgres"));
        None
    }

    /// Checks a folder. The error is the reason why it is not usable.
    fn open(folder: &Path, majors: &RangeInclusive<u32>, user: Option<User>) -> Result<Self, String> {
        // Follows symlinks, because the server finds its other files relative to the real program.
        let postgres = folder.join("postgres").canonicalize().map_err(|error| format!("postgres: {error}"))?;
        let dir = postgres.parent().unwrap_or(folder);
        if !dir.join("initdb").is_file() {
            return Err("it has postgres, but not initdb".into());
        }
        let output = command(&postgres, user).arg("--version").output();
        let output = output.map_err(|error| match user {
            Some(user) => format!("user id {}, which runs the server for root, cannot run postgres: {error}", user.uid),
            None => format!("cannot run postgres: {error}"),
        })?;
        let text = String::from_utf8_lossy(&output.stdout);
        let major = major(&text).ok_or_else(|| {
            let complaint = String::from_utf8_lossy(&output.stderr);
            format!("postgres --version printed {:?} ({})", format!("{text}{complaint}").trim(), output.status)
        })?;
        if !majors.contains(&major) {
            return Err(format!("it is version {major}, but version {} is needed", majors_text(majors)));
        }
        Ok(Self { dir: dir.to_owned() })
    }
}

/// All folders on this machine that may have the programs, the best first.
fn candidates(cache: Option<&Path>) -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = env::split_paths(&path).collect();
    for (parent, prefix, bin) in USUAL_PLACES {
        folders.extend(versions_in(Path::new(parent), prefix).into_iter().map(|folder| folder.join(bin)));
    }
    folders.push("/usr/bin".into());
    if let Some(cache) = cache {
        folders.extend(versions_in(cache, "").into_iter().map(|folder| folder.join("bin")));
    }
    folders.retain(|folder| folder.join("postgres").exists());
    let mut seen = Vec::new();
    folders.retain(|folder| {
        let real = folder.join("postgres").canonicalize().ok();
        let new = !seen.contains(&real);
        seen.push(real);
        new
    });
    folders
}

/// The folders in `parent` whose names are `prefix` and a version, the newest first.
fn versions_in(parent: &Path, prefix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    let mut folders: Vec<(Vec<u32>, PathBuf)> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let rest = name.strip_prefix(prefix)?.trim_start_matches('@');
            // Homebrew's plain `postgresql` has no version. Hidden folders are unfinished downloads.
            let version: Vec<u32> = rest.split('.').map_while(|part| part.parse().ok()).collect();
            (!name.starts_with('.') && (rest.is_empty() || !version.is_empty())).then(|| (version, entry.path()))
        })
        .collect();
    folders.sort();
    folders.into_iter().rev().map(|(_, folder)| folder).collect()
}

/// The major version from `postgres (PostgreSQL) 15.8 (Debian 15.8-0+deb12u1)`, `postgres (PostgreSQL) 18beta1`.
fn major(version: &str) -> Option<u32> {
    let number = version.split_once("(PostgreSQL) ")?.1;
    number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_versions() {
        assert_eq!(major("postgres (PostgreSQL) 15.8 (Debian 15.8-0+deb12u1)\n"), Some(15));
        assert_eq!(major("postgres (PostgreSQL) 18beta1\n"), Some(18));
        assert_eq!(major("postgres (EnterpriseDB) what\n"), None);
        assert_eq!(major(""), None);
    }

    #[test]
    fn orders_versions_as_numbers() {
        let parent = tempfile::tempdir().unwrap();
        for name in ["postgresql@9", "postgresql@18", "postgresql", "postgresql@15.2", "other", ".postgresql@17"] {
            fs::create_dir(parent.path().join(name)).unwrap();
        }
        let found = versions_in(parent.path(), "postgresql");
        let names: Vec<_> = found.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["postgresql@18", "postgresql@15.2", "postgresql@9", "postgresql"]);
    }

    #[test]
    fn says_why_a_folder_is_not_usable() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let open = || Binaries::open(folder.path(), &MAJORS, None).unwrap_err();
        let install = |name: &str, version: &str| {
            let path = folder.path().join(name);
            fs::write(&path, format!("#!/bin/sh\necho 'postgres (PostgreSQL) {version}'\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        };
        assert!(open().contains("No such file"));
        install("postgres", "13.4");
        assert_eq!(open(), "it has postgres, but not initdb");
        install("initdb", "13.4");
        assert_eq!(open(), "it is version 13, but version 14 to 18 is needed");

        let mut looked = Vec::new();
        assert!(Binaries::first_of(&[folder.path().into()], &MAJORS, None, &mut looked).is_none());
        let text = Error::NoPostgres { majors: MAJORS, looked }.to_string();
        for part in ["14 to 18", "it is version 13", "PATH", "/usr/lib/postgresql/*/bin", "Install", "DATABASE_URL"] {
            assert!(text.contains(part), "{part} is missing in: {text}");
        }
    }
}
