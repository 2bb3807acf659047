//! A small file system for PostgreSQL's data, which can be full without harm to the machine.
//!
//! It is a tmpfs that only the campaign and its processes see, because they have a mount namespace of their own. So it is
//! gone when the last of them ends, however that happens. This needs Linux and root.

use std::path::Path;

use anyhow::Result;

/// Where the file system is mounted: a folder that every Linux has, and that nobody needs here.
const PLACE: &str = "/mnt";
/// Far more than a campaign needs. Memory is used only for what is stored.
const SIZE: u64 = 8 << 30;

/// The file system.
#[derive(Debug)]
pub(crate) struct Disk(());

#[cfg(target_os = "linux")]
impl Disk {
    /// Mounts it for this thread, and for the threads and processes that this thread starts later. The error says why
    /// that is not possible here.
    pub(crate) fn mount() -> Result<Self, String> {
        use nix::mount::{MsFlags, mount};
        use nix::sched::{CloneFlags, unshare};

        if !nix::unistd::geteuid().is_root() {
            return Err("only root can mount a small file system".to_owned());
        }
        let nothing = None::<&str>;
        unshare(CloneFlags::CLONE_NEWNS)
            // Otherwise the rest of the machine would see it.
            .and_then(|()| mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing))
            .and_then(|()| mount(nothing, PLACE, Some("tmpfs"), MsFlags::empty(), Some(options(SIZE).as_str())))
            .map_err(|error| format!("cannot mount a small file system on {PLACE}: {error}"))?;
        Ok(Self(()))
    }

    /// Leaves only this many bytes free.
    pub(crate) fn fill(&self, free: u64) -> Result<()> {
        let now = nix::sys::statvfs::statvfs(PLACE)?;
        let used = (now.blocks() - now.blocks_free()) * now.fragment_size();
        resize(used + free)
    }

    /// Makes room again.
    pub(crate) fn free(&self) -> Result<()> {
        resize(SIZE)
    }
}

#[cfg(target_os = "linux")]
fn resize(bytes: u64) -> Result<()> {
    use nix::mount::{MsFlags, mount};

    Ok(mount(None::<&str>, PLACE, None::<&str>, MsFlags::MS_REMOUNT, Some(options(bytes).as_str()))?)
}

/// Everyone may create files, as in /tmp: PostgreSQL runs as another user.
#[cfg(target_os = "linux")]
fn options(bytes: u64) -> String {
    format!("size={bytes},mode=1777")
}

#[cfg(not(target_os = "linux"))]
impl Disk {
    pub(crate) fn mount() -> Result<Self, String> {
        Err("only Linux has mount namespaces".to_owned())
    }

    pub(crate) fn fill(&self, _free: u64) -> Result<()> {
        Ok(())
    }

    pub(crate) fn free(&self) -> Result<()> {
        Ok(())
    }
}

impl Disk {
    /// A folder on it.
    pub(crate) fn folder(&self, name: &str) -> std::path::PathBuf {
        Path::new(PLACE).join(name)
    }
}
