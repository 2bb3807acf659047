//! Tests with real servers, as root and as an ordinary user.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::future::Future;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use local_postgres::{Error, LocalPostgres, Options, StopMode};
use sqlx::{Connection, PgConnection};

/// Most of these tests do not need durability.
fn quick() -> Options {
    Options { settings: vec![("fsync".into(), "off".into())], ..Options::default() }
}

fn keeping(folder: &Path) -> Options {
    Options { data_dir: Some(folder.to_owned()), ..quick() }
}

async fn ask(url: &str, query: &'static str) -> String {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let answer = sqlx::query_scalar(query).fetch_one(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    answer
}

async fn run(url: &str, statement: &'static str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::raw_sql(statement).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// Waits until a condition holds.
async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "not within 20 s: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The command lines of all processes of a folder: server, guard, initdb.
fn processes_of(folder: &Path) -> Vec<String> {
    let output = match fs::read_dir("/proc/self") {
        Ok(_) => fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
            .map(|line| String::from_utf8_lossy(&line).replace(['\0', '\n'], " "))
            .collect::<Vec<_>>(),
        Err(_) => {
            let output = Command::new("ps").args(["-axww", "-o", "args="]).output().unwrap();
            String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
        }
    };
    let folder = folder.to_str().unwrap();
    output.into_iter().filter(|line| line.contains(folder)).collect()
}

/// A folder for data folders. The server's user can enter it if the test runs as root.
fn parent_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

fn is_root(folder: &Path) -> bool {
    fs::metadata(folder).unwrap().uid() == 0
}

fn kill(pid: u32) {
    assert!(Command::new("kill").args(["-s", "KILL", &pid.to_string()]).status().unwrap().success());
}

#[tokio::test]
async fn starts_accepts_connections_and_stops_without_a_trace() {
    let began = Instant::now();
    let server = LocalPostgres::start(quick()).await.unwrap();
    println!("started in {:?}", began.elapsed());
    let (folder, pid) = (server.data_dir().to_owned(), server.pid().unwrap());
    assert!(server.bin_dir().join("postgres").is_file());
    assert!(server.url().contains(&format!("127.0.0.1:{}/postgres", server.port())));
    assert_eq!(ask(&server.url(), "SHOW fsync").await, "off");
    assert_eq!(ask(&server.url(), "SHOW server_encoding").await, "UTF8");

    run(&server.url(), "CREATE DATABASE other").await;
    assert_eq!(ask(&server.database_url("other"), "SELECT current_database()::text").await, "other");

    server.stop(StopMode::Fast).await.unwrap();
    assert!(!folder.exists());
    assert!(!Path::new("/proc").join(pid.to_string()).exists());
    assert_eq!(processes_of(&folder), [""; 0]);
}

#[tokio::test]
async fn requires_the_password() {
    let server = LocalPostgres::start(quick()).await.unwrap();
    let (front, back) = server.url().rsplit_once('@').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let wrong = format!("{}:wrong@{back}", front.rsplit_once(':').unwrap().0);
    let error = PgConnection::connect(&wrong).await.unwrap_err();
    assert!(error.to_string().contains("password authentication failed"), "{error}");
    assert!(!server.data_dir().join("password").exists());
}

#[tokio::test]
async fn two_servers_at_once() {
    let (one, two) = tokio::join!(LocalPostgres::start(quick()), LocalPostgres::start(quick()));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_ne!(one.port(), two.port());
    assert_ne!(one.data_dir(), two.data_dir());
    run(&one.url(), "CREATE TABLE mine ()").await;
    assert_eq!(ask(&two.url(), "SELECT count(*)::text FROM pg_tables WHERE tablename = 'mine'").await, "0");
}

#[tokio::test]
async fn dropping_stops_the_server() {
    let server = LocalPostgres::start(quick()).await.unwrap();
    let folder = server.data_dir().to_owned();
    assert!(!processes_of(&folder).is_empty());
    drop(server);
    assert_eq!(processes_of(&folder), [""; 0]);
    assert!(!folder.exists());
}

#[tokio::test]
async fn cancelling_a_start_leaves_nothing() {
    let parent = parent_folder();
    let folder = parent.path().join("data");
    let start = LocalPostgres::start(keeping(&folder));
    assert!(tokio::time::timeout(Duration::from_millis(200), start).await.is_err());
    let cluster = folder.join("cluster");
    eventually("the start ends", || cluster.exists() && processes_of(&folder).is_empty()).await;
}

#[tokio::test]
async fn a_kept_folder_keeps_data_and_password() {
    let parent = parent_folder();
    let folder = parent.path().join("a project's folder/postgres");
    let server = LocalPostgres::start(keeping(&folder)).await.unwrap();
    assert_eq!(server.data_dir(), folder);
    run(&server.url(), "CREATE TABLE kept AS SELECT 'still here' AS word").await;
    let before = server.url();
    server.stop(StopMode::Fast).await.unwrap();
    assert_eq!(processes_of(&folder), [""; 0]);
    assert_eq!(fs::metadata(folder.join("password")).unwrap().mode() & 0o777, 0o600);

    let server = LocalPostgres::start(keeping(&folder)).await.unwrap();
    assert_eq!(ask(&server.url(), "SELECT word FROM kept").await, "still here");
    let until_port = |url: &str| url.rsplit_once(':').unwrap().0.to_owned();
    assert_eq!(until_port(&server.url()), until_port(&before));
    drop(server);
    assert!(folder.join("cluster/PG_VERSION").exists());
}

#[tokio::test]
async fn a_kept_folder_allows_one_server_at_a_time() {
    let parent = parent_folder();
    let folder = parent.path().join("data");
    let server = LocalPostgres::start(keeping(&folder)).await.unwrap();
    let error = LocalPostgres::start(keeping(&folder)).await.unwrap_err();
    assert!(matches!(&error, Error::InUse { pid, .. } if *pid == server.pid()), "{error}");
    assert!(error.to_string().contains(&server.pid().unwrap().to_string()), "{error}");
}

#[tokio::test]
async fn a_folder_of_another_version_or_with_other_files_is_refused() {
    let parent = parent_folder();
    let folder = parent.path().join("data");
    let server = LocalPostgres::start(keeping(&folder)).await.unwrap();
    let bin_dir = server.bin_dir().to_owned();
    server.stop(StopMode::Fast).await.unwrap();
    fs::write(folder.join("cluster/PG_VERSION"), "9\n").unwrap();
    let helper = Helper::command("serve_until_killed").env("DATA_DIR", &folder).env("TASKER_PG_BIN", bin_dir).output();
    let text = String::from_utf8(helper.unwrap().stderr).unwrap();
    assert!(text.contains("it is version") && text.contains("TASKER_PG_BIN"), "{text}");

    let other = parent.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("letter.txt"), "mine").unwrap();
    let error = LocalPostgres::start(keeping(&other)).await.unwrap_err();
    assert!(error.to_string().contains("it contains other files"), "{error}");
}

#[tokio::test]
async fn files_of_a_killed_server_do_not_stop_the_next_one() {
    let parent = parent_folder();
    let folder = parent.path().join("data");
    let mut server = LocalPostgres::start(keeping(&folder)).await.unwrap();
    run(&server.url(), "CREATE TABLE kept AS SELECT 'still here' AS word").await;

    let pid = server.pid().unwrap();
    kill(pid);
    eventually("the server dies", || server.pid().is_none()).await;
    let pid_file = folder.join("cluster/postmaster.pid");
    assert!(pid_file.exists());
    server.resume().await.unwrap();
    assert_ne!(server.pid().unwrap(), pid);
    assert_eq!(ask(&server.url(), "SELECT word FROM kept").await, "still here");

    // Pretend that the pid of the dead server now belongs to another program, this one.
    kill(server.pid().unwrap());
    eventually("the server dies", || server.pid().is_none()).await;
    drop(server);
    let left = fs::read_to_string(&pid_file).unwrap();
    let rest = left.split_once('\n').unwrap().1;
    fs::write(&pid_file, format!("{}\n{rest}", std::process::id())).unwrap();
    let server = LocalPostgres::start(keeping(&folder)).await.unwrap();
    assert_eq!(ask(&server.url(), "SELECT word FROM kept").await, "still here");
}

#[tokio::test]
async fn an_outage_ends_on_the_same_port() {
    let mut server = LocalPostgres::start(Options::default()).await.unwrap();
    let (url, folder) = (server.url(), server.data_dir().to_owned());
    assert_eq!(ask(&url, "SHOW fsync").await, "on");
    run(&url, "CREATE TABLE kept AS SELECT 'still here' AS word").await;
    for mode in [StopMode::Immediate, StopMode::Fast] {
        server.interrupt(mode).await.unwrap();
        assert_eq!(server.pid(), None);
        assert_eq!(processes_of(&folder), [""; 0]);
        PgConnection::connect(&url).await.unwrap_err();
        server.resume().await.unwrap();
        assert_eq!(server.url(), url);
        assert_eq!(ask(&url, "SELECT word FROM kept").await, "still here");
    }
    server.stop(StopMode::Immediate).await.unwrap();
    assert!(!folder.exists());
}

#[tokio::test]
async fn a_failed_start_shows_the_log() {
    let options = Options { settings: vec![("no_such_setting".into(), "1".into())], ..Options::default() };
    let text = LocalPostgres::start(options).await.unwrap_err().to_string();
    assert!(text.contains("exit status") && text.contains("unrecognized configuration parameter"), "{text}");
}

#[tokio::test]
async fn a_wrong_bin_folder_is_named() {
    let helper = Helper::command("serve_until_killed").env("TASKER_PG_BIN", "/no/such/folder").output().unwrap();
    let text = String::from_utf8(helper.stderr).unwrap();
    assert!(text.contains("TASKER_PG_BIN=/no/such/folder: postgres: No such file"), "{text}");
}

#[tokio::test]
async fn killing_the_program_stops_a_temporary_server() {
    let mut helper = Helper::start("serve_until_killed", None);
    assert!(!processes_of(&helper.folder).is_empty());
    helper.process.kill().unwrap();
    helper.process.wait().unwrap();
    eventually("no process is left", || processes_of(&helper.folder).is_empty()).await;
    eventually("no folder is left", || !helper.folder.exists()).await;
}

#[tokio::test]
async fn killing_the_program_keeps_a_kept_folder() {
    let parent = parent_folder();
    let folder = parent.path().join("data");
    let mut helper = Helper::start("serve_until_killed", Some(&folder));
    helper.process.kill().unwrap();
    helper.process.wait().unwrap();
    // Immediately, while the guard may still be stopping the old server.
    let server = LocalPostgres::start(keeping(&folder)).await.unwrap();
    assert_eq!(ask(&server.url(), "SELECT 'hello'").await, "hello");
}

#[tokio::test]
async fn killing_the_program_during_its_first_start_leaves_a_usable_folder() {
    let parent = parent_folder();
    let folder = parent.path().join("data");
    let mut command = Helper::command("serve_until_killed");
    let process = command.env("DATA_DIR", &folder).stdout(Stdio::null()).spawn().unwrap();
    let mut helper = Helper { process, folder: folder.clone() };
    eventually("initdb runs", || folder.join("cluster.new").exists()).await;
    helper.process.kill().unwrap();
    helper.process.wait().unwrap();
    eventually("no process is left", || processes_of(&folder).is_empty()).await;
    assert!(!folder.join("cluster.new").exists());
    let server = LocalPostgres::start(keeping(&folder)).await.unwrap();
    assert_eq!(ask(&server.url(), "SELECT 'hello'").await, "hello");
}

#[tokio::test]
async fn a_panic_stops_the_server() {
    let mut helper = Helper::start("panic_with_a_server", None);
    assert!(!helper.process.wait().unwrap().success());
    assert_eq!(processes_of(&helper.folder), [""; 0]);
    assert!(!helper.folder.exists());
}

/// Only as root: a folder below one that the server's user cannot enter, like /root.
#[tokio::test]
async fn root_gets_a_reachable_folder() {
    let parent = tempfile::tempdir().unwrap();
    if !is_root(parent.path()) {
        return;
    }
    fs::set_permissions(parent.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let wanted = parent.path().join("project/.data");
    let server = LocalPostgres::start(keeping(&wanted)).await.unwrap();
    let place = server.data_dir().to_owned();
    assert!(place.starts_with("/var/lib/tasker/postgresql"), "{}", place.display());
    run(&server.url(), "CREATE TABLE kept AS SELECT 'still here' AS word").await;
    server.stop(StopMode::Fast).await.unwrap();

    let server = LocalPostgres::start(keeping(&wanted)).await.unwrap();
    assert_eq!(server.data_dir(), place);
    assert_eq!(ask(&server.url(), "SELECT word FROM kept").await, "still here");
    drop(server);
    fs::remove_dir_all(&place).unwrap();
    // Other programs may have folders there.
    let _ = fs::remove_dir("/var/lib/tasker/postgresql").and_then(|()| fs::remove_dir("/var/lib/tasker"));
}

// Programs that are killed or panic: this test binary, with one of the tests below.

/// A process with a server.
struct Helper {
    process: Child,
    folder: PathBuf,
}

impl Helper {
    fn command(name: &str) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", name, "--nocapture"]).env("LOCAL_POSTGRES_HELPER", name);
        command
    }

    /// Returns once its server is running.
    fn start(name: &str, data_dir: Option<&Path>) -> Self {
        let mut command = Self::command(name);
        if let Some(data_dir) = data_dir {
            command.env("DATA_DIR", data_dir);
        }
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let folder = lines.map_while(Result::ok).find_map(|line| Some(line.split_once("folder=")?.1.into()));
        Self { process, folder: folder.expect("the helper starts a server") }
    }

    /// In the helper: starts a server and calls `then`. In an ordinary run of the tests: does nothing.
    async fn main<F: Future<Output = ()>>(name: &str, then: impl FnOnce(LocalPostgres) -> F) {
        if std::env::var("LOCAL_POSTGRES_HELPER").is_ok_and(|wanted| wanted == name) {
            let data_dir = std::env::var_os("DATA_DIR").map(PathBuf::from);
            match LocalPostgres::start(Options { data_dir, ..quick() }).await {
                Ok(server) => {
                    println!("folder={}", server.data_dir().display());
                    then(server).await;
                }
                Err(error) => eprintln!("{error}"),
            }
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn serve_until_killed() {
    Helper::main("serve_until_killed", |_server| std::future::pending()).await;
}

#[tokio::test]
async fn panic_with_a_server() {
    Helper::main("panic_with_a_server", |_server| async { panic!("a bad end") }).await;
}

#[tokio::test]
async fn a_standby_follows_and_can_be_promoted() {
    let primary = LocalPostgres::start(quick()).await.unwrap();
    run(&primary.url(), "create table t as select 1 as x").await;
    let standby = primary.standby(None).await.unwrap();
    assert_ne!(primary.port(), standby.port());
    assert_eq!(ask(&standby.url(), "select pg_is_in_recovery()::text || (select x from t)").await, "true1");
    // Without waiting for the standby, it might not have the row yet.
    run(&primary.url(), "alter system set synchronous_standby_names = '*'").await;
    run(&primary.url(), "select pg_reload_conf()").await;
    while ask(&primary.url(), "show synchronous_standby_names").await != "*" {}
    run(&primary.url(), "insert into t values (2)").await;
    primary.stop(StopMode::Immediate).await.unwrap();
    assert_eq!(ask(&standby.url(), "select pg_promote()::text").await, "true");
    run(&standby.url(), "insert into t values (3)").await;
    let folder = standby.data_dir().to_owned();
    standby.stop(StopMode::Fast).await.unwrap();
    assert!(!folder.exists());
}
