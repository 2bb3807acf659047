//! The process group of a campaign's servers and workers, which ends with the campaign.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The group's leader waits for the end of its standard input, that is, until the campaign closes the pipe or is gone,
/// even by SIGKILL. Then the leader removes the campaign's folder (`$1`) and kills the group, itself included. It
/// ignores the signals that a terminal or a service manager sends to everyone.
const LEADER: &str = r#"trap '' HUP INT QUIT TERM; read -r end; rm -rf "$1"; kill -s KILL 0"#;

/// A process group. Dropping it kills the processes in it.
#[derive(Debug)]
pub(crate) struct ProcessGroup {
    leader: Child,
    id: i32,
}

impl ProcessGroup {
    /// Starts a group. `folder` is removed when the group ends.
    pub(crate) fn start(folder: &Path) -> io::Result<Self> {
        let mut leader = Command::new("/bin/sh");
        leader.args(["-c", LEADER, "leader"]).arg(folder).current_dir("/");
        leader.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let leader = leader.spawn()?;
        let id = i32::try_from(leader.id()).map_err(io::Error::other)?;
        Ok(Self { leader, id })
    }

    /// The id of the group, for new processes to join.
    pub(crate) fn id(&self) -> i32 {
        self.id
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        drop(self.leader.stdin.take());
        // Waiting only fails for a process that was already waited for.
        let _ = self.leader.wait();
    }
}
