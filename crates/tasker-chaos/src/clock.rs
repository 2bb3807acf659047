//! Clocks of workers and servers that can be moved, by libfaketime where it is installed.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

/// Where to look for the library if `TASKER_FAKETIME` does not name it. `*` is any folder.
const PLACES: [&str; 4] =
    ["/usr/lib/*/faketime", "/usr/lib/faketime", "/usr/lib64/faketime", "/usr/local/lib/faketime"];
const LIBRARY: &str = "libfaketimeMT.so.1";

/// The library that moves clocks.
#[derive(Debug, Clone)]
pub(crate) struct ClockLibrary(PathBuf);

impl ClockLibrary {
    /// The library that `TASKER_FAKETIME` names, or the one in the usual places. Tests that it moves the clock of a
    /// program.
    pub(crate) fn find(scratch: &Path) -> Result<Self, String> {
        let named = std::env::var_os("TASKER_FAKETIME").map(PathBuf::from);
        let path = named.or_else(|| PLACES.into_iter().find_map(find)).ok_or_else(|| {
            format!("{LIBRARY} is not installed (Debian's package is `faketime`; TASKER_FAKETIME may name the file)")
        })?;
        let library = Self(path);
        let clock = Clock::new(scratch.join("trial.clock")).map_err(|error| error.to_string())?;
        let before = library.seconds(&clock)?;
        clock.set(-1_000_000).map_err(|error| error.to_string())?;
        match before - library.seconds(&clock)? {
            999_000.. => Ok(library),
            _ => Err(format!("{} does not move the clock of `date`", library.0.display())),
        }
    }

    /// The variables that make a program use a clock. They do not affect its monotonic clock, like setting the
    /// system's time.
    pub(crate) fn variables(&self, clock: &Clock) -> [(&'static str, OsString); 4] {
        [
            ("LD_PRELOAD", self.0.clone().into()),
            ("FAKETIME_TIMESTAMP_FILE", clock.file.clone().into()),
            ("FAKETIME_NO_CACHE", "1".into()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
        ]
    }

    /// The time that `date` prints.
    fn seconds(&self, clock: &Clock) -> Result<i64, String> {
        let output = Command::new("date").arg("+%s").envs(self.variables(clock)).output();
        let output = output.map_err(|error| format!("cannot run `date`: {error}"))?;
        String::from_utf8_lossy(&output.stdout).trim().parse().map_err(|_| {
            format!("with {}, `date` fails: {}", self.0.display(), String::from_utf8_lossy(&output.stderr).trim())
        })
    }
}

/// A clock. Its file contains the offset.
#[derive(Debug)]
pub(crate) struct Clock {
    file: PathBuf,
}

impl Clock {
    /// A clock without an offset.
    pub(crate) fn new(file: PathBuf) -> io::Result<Self> {
        let clock = Self { file };
        clock.set(0)?;
        Ok(clock)
    }

    /// Sets the offset in seconds. Replaces the file atomically, because it may be read at any time.
    pub(crate) fn set(&self, seconds: i64) -> io::Result<()> {
        let next = self.file.with_extension("next");
        fs::write(&next, format!("{seconds:+}\n"))?;
        fs::rename(next, &self.file)
    }
}

fn find(place: &str) -> Option<PathBuf> {
    let exists = |path: PathBuf| path.is_file().then_some(path);
    match place.split_once("/*/") {
        None => exists(Path::new(place).join(LIBRARY)),
        Some((folder, rest)) => fs::read_dir(folder)
            .ok()?
            .filter_map(Result::ok)
            .find_map(|entry| exists(entry.path().join(rest).join(LIBRARY))),
    }
}
