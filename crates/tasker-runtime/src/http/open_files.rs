//! The limit on open files (`ulimit -n`): each connection takes a file descriptor.

use super::slots::RESERVED;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// File descriptors for everything but connections of clients and of the database: the listener, logs, timers, and
/// so on.
const OTHER_FILES: u64 = 32;

/// Returns how many connections of clients fit within the limit on open files: at most `wanted`. Before that it
/// raises the soft limit of the process, if necessary, as far as the hard limit allows. If that is not enough, it
/// logs a warning.
///
/// `database` is the number of connections to the database.
pub fn room_for_connections(wanted: usize, database: usize) -> usize {
    let other = OTHER_FILES.saturating_add(u64::try_from(database.saturating_add(RESERVED)).unwrap_or(u64::MAX));
    let needed = other.saturating_add(u64::try_from(wanted).unwrap_or(u64::MAX));
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return wanted };
    let mut limit = soft;
    if soft < needed && soft < hard && setrlimit(Resource::RLIMIT_NOFILE, needed.min(hard), hard).is_ok() {
        limit = needed.min(hard);
    }
    if limit >= needed {
        return wanted;
    }
    let room = usize::try_from(limit.saturating_sub(other)).unwrap_or(wanted).max(1);
    tracing::warn!(
        open_files = limit,
        connections = room,
        wanted,
        "the limit on open files (ulimit -n) allows fewer connections than the settings"
    );
    room
}
