//! A child process that never outlives us.
//!
//! The child is started by a small shell process, the guard, that reads a pipe of which only we hold the writing end.
//! We send it signals for the child by name. When the pipe ends, because we closed it or because we are gone, even by
//! SIGKILL, the guard stops the child and removes the throw-away folder. (The alternatives are worse: PR_SET_PDEATHSIG
//! is Linux only, needs unsafe code, and follows the thread, not the process.)

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::user::User;

/// Longest time that the guard needs to end a child that ignores every wish: see the script.
const LAST_RESORT: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(5);

/// `$1` is the folder to remove when we are gone, or empty; `$2` the log file, opened here because root must not
/// follow symlinks in another user's folder; the rest is the command.
///
/// Signals that come to the whole process group or service (SIGTERM from a service manager) must not end the guard
/// before the child; the child sets its own handlers. SIGUSR1 is how the shell ends its reading half when the child
/// ended by itself; a reading half that is already tidying up does not listen to it.
const SCRIPT: &str = r#"
trap '' HUP INT QUIT TERM
remove=$1
exec 3<&0 </dev/null >>"$2" 2>&1
shift 2
"$@" 3<&- &
child=$!
{
    while read -r signal; do kill -s "$signal" "$child"; done <&3
    trap '' USR1
    kill -s INT "$child"
    ticks=0
    while kill -0 "$child"; do
        ticks=$((ticks + 1))
        [ $ticks -eq 50 ] && kill -s QUIT "$child"
        [ $ticks -eq 120 ] && kill -s KILL "$child"
        sleep 0.1
    done
    [ -n "$remove" ] && rm -rf "$remove"
} >/dev/null 2>&1 &
reader=$!
exec 3<&-
wait "$child"
status=$?
kill -s USR1 "$reader"
wait "$reader"
exit $status
"#;

/// A signal that PostgreSQL's programs understand.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Signal {
    /// SIGINT: fast shutdown.
    Int,
    /// SIGQUIT: immediate shutdown.
    Quit,
}

/// A running child with its guard. Dropping it stops the child and waits for that.
#[derive(Debug)]
pub(crate) struct Guarded {
    guard: Child,
    pipe: Option<ChildStdin>,
}

impl Guarded {
    /// Starts `program` with its output going to `log`, in a process group of its own so that Ctrl-C in the terminal
    /// does not reach it. `remove` is the folder to remove when the pipe ends.
    pub(crate) fn spawn(
        program: &Path,
        arguments: &[String],
        user: Option<User>,
        log: &Path,
        remove: Option<&Path>,
    ) -> io::Result<Self> {
        let mut command = command("/bin/sh", user);
        command.arg("-c").arg(SCRIPT).arg("guard");
        command.arg(remove.unwrap_or(Path::new(""))).arg(log).arg(program).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let mut guard = command.spawn()?;
        let pipe = guard.stdin.take();
        Ok(Self { guard, pipe })
    }

    /// Sends the child a signal. A child that is gone already is no error.
    pub(crate) fn signal(&mut self, signal: Signal) {
        let name = match signal {
            Signal::Int => "INT\n",
            Signal::Quit => "QUIT\n",
        };
        if let Some(pipe) = &mut self.pipe {
            // Fails only if the guard is gone, and the child with it.
            let _ = pipe.write_all(name.as_bytes());
        }
    }

    /// How the child ended, or `None` if it runs.
    pub(crate) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.guard.try_wait()
    }

    /// Waits for the child to end; `None` if it still runs after `limit`.
    pub(crate) fn wait(&mut self, limit: Duration) -> io::Result<Option<ExitStatus>> {
        let deadline = Instant::now() + limit;
        loop {
            match self.ended()? {
                None if Instant::now() < deadline => thread::sleep(POLL),
                status => return Ok(status),
            }
        }
    }

    /// Closes the pipe: the guard stops the child and removes the folder. `false` if it did not manage.
    pub(crate) fn release(&mut self) -> io::Result<bool> {
        self.pipe = None;
        Ok(self.wait(LAST_RESORT)?.is_some())
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if !self.release().unwrap_or(false) {
            tracing::warn!(guard = self.guard.id(), "a PostgreSQL process did not stop");
        }
    }
}

/// A command that runs as `user` in surroundings that do not depend on ours: PostgreSQL's messages are read, its
/// programs complain about a working folder that they cannot enter, and initdb looks long for a time zone.
pub(crate) fn command(program: impl AsRef<std::ffi::OsStr>, user: Option<User>) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/").env("LC_ALL", "C").env("TZ", "UTC").stdin(Stdio::null());
    if let Some(user) = user {
        // As root this also drops the supplementary groups.
        command.uid(user.uid).gid(user.gid);
    }
    command
}
