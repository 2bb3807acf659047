//! Reads `postmaster.pid`, in which a server writes its process id and whether it is ready. `pg_ctl` uses it too.

use std::fs;
use std::path::{Path, PathBuf};

use crate::guard::command;

/// What a server wrote about itself.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Postmaster {
    pub(crate) pid: u32,
    /// The Unix time of its start, to distinguish it from an earlier server with the same pid.
    started: u64,
    /// Whether it accepts connections.
    pub(crate) ready: bool,
}

impl Postmaster {
    /// The file of a data folder's server.
    pub(crate) fn file(cluster: &Path) -> PathBuf {
        cluster.join("postmaster.pid")
    }

    /// `None` if the file is missing or incomplete.
    pub(crate) fn read(cluster: &Path) -> Option<Self> {
        Self::parse(&fs::read_to_string(Self::file(cluster)).ok()?)
    }

    /// Lines: pid (negative for a single-user server), data folder, start time, port, socket folder, listen address,
    /// shared memory, status. The last ones are added later.
    fn parse(text: &str) -> Option<Self> {
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        let pid: i64 = lines.first()?.parse().ok()?;
        Some(Self {
            pid: pid.unsigned_abs().try_into().ok()?,
            started: lines.get(2)?.parse().ok()?,
            ready: lines.get(7) == Some(&"ready"),
        })
    }

    /// Whether this is the same server as `other`.
    pub(crate) fn is(&self, other: &Self) -> bool {
        (self.pid, self.started) == (other.pid, other.started)
    }

    /// Which process has the pid now. After a crash it may be any process. This is common in containers, where the
    /// same small pids are used again.
    pub(crate) fn holder(&self) -> Holder {
        let (state, name) = match fs::read_to_string(format!("/proc/{}/status", self.pid)) {
            Ok(status) => {
                let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("").trim();
                (field("State:").to_owned(), field("Name:").to_owned())
            }
            Err(_) if Path::new("/proc/self/status").exists() => return Holder::Nobody,
            Err(_) => {
                let output = command("ps", None).args(["-o", "stat=,comm=", "-p", &self.pid.to_string()]).output();
                let line = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
                match line.unwrap_or_default().split_once(' ') {
                    Some((state, name)) => (state.to_owned(), name.trim().to_owned()),
                    None => return Holder::Nobody,
                }
            }
        };
        // macOS prints the whole path. Nix calls wrapped programs `.postgres-wrapped`.
        let name = name.rsplit('/').next().unwrap_or_default().trim_start_matches('.');
        match name.starts_with("postgres") && !state.starts_with('Z') {
            true => Holder::Server,
            false => Holder::Other,
        }
    }
}

/// The process that has the pid of a server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// A running PostgreSQL server.
    Server,
    /// Another program, or a dead server whose parent has not waited for it (a zombie).
    Other,
    /// No process.
    Nobody,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_file_at_every_stage_of_a_start() {
        let early = "4711\n/d/cluster\n1700000000\n20001\n";
        let starting = "4711\n/d/cluster\n1700000000\n20001\n\n127.0.0.1\n    12345         7\nstarting\n";
        let ready = starting.replace("starting", "ready   ");
        let parse = |text: &str| Postmaster::parse(text).unwrap();
        assert!(!parse(early).ready && !parse(starting).ready && parse(&ready).ready);
        assert!(parse(early).is(&parse(&ready)));
        assert!(!parse(early).is(&parse(&ready.replace("1700000000", "1700000001"))));
        assert_eq!(Postmaster::parse("-4711\n/d\n1\n").unwrap().pid, 4711);
        assert_eq!(Postmaster::parse("4711\n/d\n"), None);
        assert_eq!(Postmaster::parse(""), None);
    }

    #[test]
    fn another_program_is_not_a_server() {
        let mine = Postmaster { pid: std::process::id(), started: 1, ready: true };
        assert_eq!(mine.holder(), Holder::Other);
    }
}
