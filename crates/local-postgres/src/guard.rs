//! A child process that never outlives this program.
//!
//! A small shell process, the guard, starts the child and reads a pipe whose writing end only this program has.
//! Through it, the program sends the names of signals for the child. When the pipe ends, because the program has
//! closed it or is gone, even by SIGKILL, the guard stops the child and removes the temporary folder. (The
//! alternative PR_SET_PDEATHSIG is worse: it is Linux only, needs unsafe code, and follows the thread, not the
//! process.)

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::user::User;

/// The longest time that the guard takes to stop a child that ignores signals: see the script.
const LAST_RESORT: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(5);

/// `$1` is the folder to remove at the end, or empty. `$2` is the log file; the guard opens it, because root must not
/// follow symlinks in another user's folder. The rest is the command.
///
/// Signals to the whole process group or service, such as SIGTERM from a service manager, must not end the guard
/// before the child. The child sets its own handlers. With SIGUSR1 the shell ends its reading half when the child has
/// exited; while the reading half is stopping the child, it ignores SIGUSR1.
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

/// A running child with its guard. Dropping it stops the child and waits for its end.
#[derive(Debug)]
pub(crate) struct Guarded {
    guard: Child,
    pipe: Option<ChildStdin>,
}

impl Guarded {
    /// Starts `program` with its output in `log`, in a process group of its own so that Ctrl-C in the terminal does
    /// not reach it. `remove` is the folder to remove when the pipe ends.
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

    /// Sends a signal to the child. It is not an error if the child has exited.
    pub(crate) fn signal(&mut self, signal: Signal) {
        let name = match signal {
            Signal::Int => "INT\n",
            Signal::Quit => "QUIT\n",
        };
        if let Some(pipe) = &mut self.pipe {
            // Fails only if the guard has exited, and the child with it.
            let _ = pipe.write_all(name.as_bytes());
        }
    }

    /// The exit status of the child, or `None` while it is running.
    pub(crate) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.guard.try_wait()
    }

    /// Waits until the child exits. `None` if it is still running after `limit`.
    pub(crate) fn wait(&mut self, limit: Duration) -> io::Result<Option<ExitStatus>> {
        let deadline = Instant::now() + limit;
        loop {
            match self.ended()? {
                None if Instant::now() < deadline => thread::sleep(POLL),
                status => return Ok(status),
            }
        }
    }

    /// Closes the pipe, so that the guard stops the child and removes the folder. Returns false if that fails.
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

/// A command that runs as `user`, in an environment that does not depend on this program's: PostgreSQL's messages are
/// parsed, its programs fail in a working folder that they cannot enter, and initdb searches long for a time zone.
pub(crate) fn command(program: impl AsRef<std::ffi::OsStr>, user: Option<User>) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/").env("LC_ALL", "C").env("TZ", "UTC").stdin(Stdio::null());
    if let Some(user) = user {
        // As root this also drops the supplementary groups.
        command.uid(user.uid).gid(user.gid);
    }
    command
}
