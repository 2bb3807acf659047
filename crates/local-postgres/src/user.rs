//! The user that runs the server. PostgreSQL refuses to run as root, so root must choose another user.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::error::{Error, io_error};
use crate::guard::command;

/// An unprivileged user that runs the server for root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl User {
    /// `None` for an ordinary user, who runs the server directly. For root: the owner of an existing data folder, so
    /// that `sudo` works on a folder that was created without it; otherwise `postgres`, otherwise `nobody`.
    pub(crate) fn for_server(data_dir: Option<&Path>) -> Result<Option<Self>, Error> {
        if id(&["-u"])? != Some(0) {
            return Ok(None);
        }
        if let Some(owner) = data_dir.and_then(|path| fs::metadata(path).ok())
            && owner.uid() != 0
        {
            return Ok(Some(Self { uid: owner.uid(), gid: owner.gid() }));
        }
        for name in ["postgres", "nobody"] {
            if let (Some(uid), Some(gid)) = (id(&["-u", name])?, id(&["-g", name])?) {
                return Ok(Some(Self { uid, gid }));
            }
        }
        Err(Error::Root("neither user postgres nor user nobody exists on this machine".into()))
    }

    /// Whether this user can enter the folder, and with `write`, create files in it. Tries it, because permission
    /// bits are not the whole truth.
    pub(crate) fn can_enter(self, folder: &Path, write: bool) -> bool {
        let test = if write { r#"cd "$1" && test -w ."# } else { r#"cd "$1""# };
        let mut shell = command("/bin/sh", Some(self));
        shell.args(["-c", test, "sh"]).arg(folder);
        shell.output().is_ok_and(|output| output.status.success())
    }
}

/// The output of `id`, which also knows users that are not in /etc/passwd. `None` for an unknown user.
fn id(arguments: &[&str]) -> Result<Option<u32>, Error> {
    let output = command("id", None).args(arguments).output().map_err(io_error("run the program id"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().parse().ok())
}
