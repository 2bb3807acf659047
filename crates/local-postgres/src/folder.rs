//! The private folder of a server: creates, locks and initialises it.
//!
//! It contains `cluster` (PostgreSQL's own data folder) and `server.log`, and if it is kept, `password` and `lock`.

use std::fs::{self, DirBuilder, File, Permissions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown, fchown};
use std::path::{Path, PathBuf, absolute};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::SUPERUSER;
use crate::binaries::Binaries;
use crate::error::{Error, io_error};
use crate::guard::Guarded;
use crate::postmaster::{Holder, Postmaster};
use crate::server::tail;
use crate::user::User;

/// Where root keeps data folders that the server's user could not enter at the requested path.
const ROOT_DATA: &str = "/var/lib/tasker/postgresql";
/// How long initdb and pg_basebackup may take. They usually take a second.
const FILL_LIMIT: Duration = Duration::from_secs(60);
/// How long the guard of a killed program may take to stop its server.
const LEFTOVER_LIMIT: Duration = Duration::from_secs(15);

/// The folder of one server.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    user: Option<User>,
    password: String,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    ThrowAway(TempDir),
    /// The folder is locked while this file is open.
    Kept(#[expect(dead_code, reason = "kept open, not read")] File),
}

impl Folder {
    /// Creates a folder that is removed when the value is dropped.
    pub(crate) fn throw_away(user: Option<User>) -> Result<Self, Error> {
        let places = [std::env::temp_dir(), "/tmp".into(), "/var/tmp".into()];
        let place = match user {
            None => &places[0],
            Some(user) => places
                .iter()
                .find(|place| user.can_enter(place, true))
                .ok_or_else(|| Error::Root(format!("user id {} can write to none of {places:?}", user.uid)))?,
        };
        let what = || format!("create a temporary folder in {}", place.display());
        let folder = tempfile::Builder::new().prefix("local-postgres-").tempdir_in(place).map_err(io_error(what()))?;
        give(folder.path(), user)?;
        let path = folder.path().to_owned();
        Ok(Self { path, user, password: random_password()?, kind: Kind::ThrowAway(folder) })
    }

    /// Opens or creates a permanent folder, and locks it against other programs.
    pub(crate) fn kept(path: PathBuf, user: Option<User>) -> Result<Self, Error> {
        let path = absolute(&path).map_err(io_error(format!("find the folder {}", path.display())))?;
        let path = reachable(path, user);
        let unusable = |reason: &str| Error::Unusable { folder: path.clone(), reason: reason.into() };

        let lock_file = path.join("lock");
        if !lock_file.exists() {
            let what = format!("create the folder {}", path.display());
            if path.exists() {
                let mut entries =
                    fs::read_dir(&path).map_err(io_error(format!("read the folder {}", path.display())))?;
                if entries.next().is_some() {
                    return Err(unusable("it contains other files"));
                }
            } else {
                let parent = path.parent().ok_or_else(|| unusable("it has no parent folder"))?;
                fs::create_dir_all(parent).map_err(io_error(what.clone()))?;
                match DirBuilder::new().mode(0o700).create(&path) {
                    // Another program has created it. The lock decides which of them uses it.
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                    result => result.map_err(io_error(what))?,
                }
            }
            give(&path, user)?;
        }
        if let Some(user) = user
            && !user.can_enter(&path, true)
        {
            return Err(Error::Root(format!("user id {} cannot write to {}", user.uid, path.display())));
        }

        let what = format!("lock {}", lock_file.display());
        let lock = match create_for(user, &lock_file) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => File::options().write(true).open(&lock_file),
            result => result,
        };
        let lock = lock.map_err(io_error(&what))?;

        let cluster = path.join("cluster");
        let in_use = || Error::InUse { folder: path.clone(), pid: Postmaster::read(&cluster).map(|server| server.pid) };
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(in_use()),
            Err(TryLockError::Error(error)) => return Err(io_error(what)(error)),
        }
        free_of_servers(&cluster, in_use)?;

        let password_file = path.join("password");
        let password = if cluster.exists() {
            fs::read_to_string(&password_file).map_err(io_error(format!("read {}", password_file.display())))?
        } else {
            random_password()?
        };
        Ok(Self { path, user, password, kind: Kind::Kept(lock) })
    }

    /// The same folder for a copy of another server, which has that server's password.
    pub(crate) fn with_password(self, password: &str) -> Self {
        Self { password: password.to_owned(), ..self }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn cluster(&self) -> PathBuf {
        self.path.join("cluster")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.path.join("server.log")
    }

    pub(crate) fn password(&self) -> &str {
        &self.password
    }

    pub(crate) fn user(&self) -> Option<User> {
        self.user
    }

    pub(crate) fn is_throw_away(&self) -> bool {
        matches!(self.kind, Kind::ThrowAway(_))
    }

    /// The major version that created the cluster; `None` if there is no cluster yet.
    pub(crate) fn made_by(&self) -> Result<Option<u32>, Error> {
        if !self.cluster().exists() {
            return Ok(None);
        }
        let file = self.cluster().join("PG_VERSION");
        let text = fs::read_to_string(&file).map_err(io_error(format!("read {}", file.display())))?;
        let major = text.trim().parse().map_err(|_| Error::Unusable {
            folder: self.path.clone(),
            reason: format!("cluster/PG_VERSION is {:?}, not a version", text.trim()),
        })?;
        Ok(Some(major))
    }

    /// Creates the cluster if there is none, completely or not at all. `sync` waits until it is on disk, which takes
    /// seconds on a busy one.
    pub(crate) fn initialise(&self, binaries: &Binaries, sync: bool) -> Result<(), Error> {
        let what = |what: &str| format!("{what} in {}", self.path.display());
        remove_if_there(&self.log()).map_err(io_error(what("remove the old server.log")))?;
        if self.cluster().exists() {
            return Ok(());
        }
        let new = self.new_cluster()?;
        let password_file = self.path.join("password");
        self.write_private(&password_file, &self.password)?;

        let mut arguments = vec![
            format!("--pgdata={}", new.display()),
            format!("--pwfile={}", password_file.display()),
            format!("--username={SUPERUSER}"),
            "--auth=scram-sha-256".into(),
            "--encoding=UTF8".into(),
            "--locale=C".into(),
            "--no-instructions".into(),
        ];
        if !sync {
            arguments.push("--no-sync".into());
        }
        self.fill(binaries, "initdb", &arguments, &new)?;
        if self.is_throw_away() {
            fs::remove_file(&password_file).map_err(io_error(what("remove the password file")))?;
        }
        fs::rename(&new, self.cluster()).map_err(io_error(what("rename cluster.new to cluster")))
    }

    /// Copies the cluster of the server on a port, which has the same password, and lets the copy follow it.
    pub(crate) fn copy(&self, binaries: &Binaries, port: u16) -> Result<(), Error> {
        let new = self.new_cluster()?;
        self.write_private(&self.path.join("password"), &self.password)?;
        // The copy reads it whenever it connects, so it stays.
        let passwords = self.path.join("pgpass");
        self.write_private(&passwords, &format!("*:*:*:*:{}\n", self.password))?;
        let passwords = passwords.display();
        let arguments = [
            format!("--pgdata={}", new.display()),
            format!("--dbname=host=127.0.0.1 port={port} user={SUPERUSER} passfile='{passwords}'"),
            "--checkpoint=fast".into(),
            "--write-recovery-conf".into(),
            "--no-sync".into(),
        ];
        self.fill(binaries, "pg_basebackup", &arguments, &new)?;
        let what = || format!("rename cluster.new to cluster in {}", self.path.display());
        fs::rename(&new, self.cluster()).map_err(io_error(what()))
    }

    /// The folder in which a cluster is created. It does not exist yet.
    fn new_cluster(&self) -> Result<PathBuf, Error> {
        let new = self.path.join("cluster.new");
        if new.exists() {
            fs::remove_dir_all(&new)
                .map_err(io_error(format!("remove {}, left by an interrupted start,", new.display())))?;
        }
        Ok(new)
    }

    /// Writes a new file that only the server's user can read.
    fn write_private(&self, file: &Path, text: &str) -> Result<(), Error> {
        remove_if_there(file)
            .and_then(|()| create_for(self.user, file))
            .and_then(|mut file| file.write_all(text.as_bytes()).and(file.sync_all()))
            .map_err(io_error(format!("write {}", file.display())))
    }

    /// Runs a program that creates the cluster `new`.
    fn fill(&self, binaries: &Binaries, program: &'static str, arguments: &[String], new: &Path) -> Result<(), Error> {
        let remove = if self.is_throw_away() { &self.path } else { new };
        let path = binaries.dir().join(program);
        let status = Guarded::spawn(&path, arguments, self.user, &self.log(), Some(remove))
            .and_then(|mut child| child.wait(FILL_LIMIT))
            .map_err(io_error(format!("run {}", path.display())))?;
        if status.is_some_and(|status| status.success()) {
            return Ok(());
        }
        Err(Error::Create {
            folder: self.path.clone(),
            program,
            status: status.map_or(format!("did not exit within {FILL_LIMIT:?}"), |status| status.to_string()),
            output: tail(&self.log(), 0),
        })
    }

    /// Removes a temporary folder, or unlocks a permanent one.
    pub(crate) fn close(self) -> Result<(), Error> {
        match self.kind {
            Kind::ThrowAway(folder) => match folder.close() {
                // The guard has removed it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                result => result.map_err(io_error(format!("remove {}", self.path.display()))),
            },
            Kind::Kept(_) => Ok(()),
        }
    }
}

/// `path`, or a replacement if the program runs as root and the server's user cannot enter `path`.
fn reachable(path: PathBuf, user: Option<User>) -> PathBuf {
    let Some(user) = user else { return path };
    match path.ancestors().find(|ancestor| ancestor.is_dir()) {
        Some(ancestor) if !user.can_enter(ancestor, false) => {
            let name = path.to_string_lossy().replace('%', "%25").replace('/', "%2F");
            let place = Path::new(ROOT_DATA).join(name);
            tracing::warn!(
                wanted = %path.display(), place = %place.display(),
                "PostgreSQL does not run as root, and its user cannot enter {}: keeping the data elsewhere",
                ancestor.display()
            );
            place
        }
        _ => path,
    }
}

/// Makes sure that no server uses the cluster. This program has the lock, so the guard of a killed program is
/// stopping the server, which is worth waiting for, or it was started in another way. PostgreSQL refuses to start if
/// the pid in its pid file now belongs to another program, so that file is removed. A file whose process is gone is
/// left to PostgreSQL, which also uses it to find shared memory of the dead server.
fn free_of_servers(cluster: &Path, in_use: impl Fn() -> Error) -> Result<(), Error> {
    let deadline = Instant::now() + LEFTOVER_LIMIT;
    while let Some(server) = Postmaster::read(cluster) {
        match server.holder() {
            Holder::Nobody => break,
            Holder::Other => {
                let file = Postmaster::file(cluster);
                remove_if_there(&file).map_err(io_error(format!("remove {}", file.display())))?;
            }
            Holder::Server if Instant::now() > deadline => return Err(in_use()),
            Holder::Server => thread::sleep(Duration::from_millis(20)),
        }
    }
    Ok(())
}

/// Makes a folder private to the server's user.
fn give(folder: &Path, user: Option<User>) -> Result<(), Error> {
    let what = format!("make {} private", folder.display());
    user.map_or(Ok(()), |user| chown(folder, Some(user.uid), Some(user.gid)))
        .and_then(|()| fs::set_permissions(folder, Permissions::from_mode(0o700)))
        .map_err(io_error(what))
}

/// Creates a private file that belongs to the server's user, who may start the server next time. Never follows a
/// symlink, because root is writing to a folder of that user.
fn create_for(user: Option<User>, path: &Path) -> io::Result<File> {
    let file = File::options().create_new(true).write(true).mode(0o600).open(path)?;
    if let Some(user) = user {
        fchown(&file, Some(user.uid), Some(user.gid))?;
    }
    Ok(file)
}

fn remove_if_there(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// 128 random bits in hexadecimal digits, which need no quoting.
fn random_password() -> Result<String, Error> {
    let mut bytes = [0; 16];
    let mut source = File::open("/dev/urandom").map_err(io_error("open /dev/urandom"))?;
    source.read_exact(&mut bytes).map_err(io_error("read /dev/urandom"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
