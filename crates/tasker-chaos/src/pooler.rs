//! PgBouncer in session mode, between some of the processes and the database.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use sqlx::postgres::PgConnectOptions;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::Mutex;
use tokio::time::sleep;

use crate::group::ProcessGroup;

const START_LIMIT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);

/// A running PgBouncer. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Pooler {
    port: u16,
    program: PathBuf,
    settings: PathBuf,
    group: Arc<ProcessGroup>,
    process: Mutex<Child>,
}

impl Pooler {
    /// The program, on the PATH or where Debian has it.
    pub(crate) fn find() -> Result<PathBuf, String> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
        folders
            .find_map(|folder| Some(folder.join("pgbouncer")).filter(|program| program.is_file()))
            .ok_or_else(|| "pgbouncer is not installed".to_owned())
    }

    /// Starts it in front of a database.
    pub(crate) async fn start(
        program: PathBuf,
        database_url: &str,
        folder: &Path,
        group: &Arc<ProcessGroup>,
    ) -> Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let settings = folder.join("pgbouncer.ini");
        let database: PgConnectOptions = database_url.parse()?;
        let (host, target, user) = (database.get_host(), database.get_port(), database.get_username());
        let password = database_url.split([':', '@']).nth(2).context("the address has no password")?;
        // A lost server is tried again at once and not only after 15 s. Everyone is let in, as the one user.
        fs::write(
            &settings,
            format!(
                "[databases]\n* = host={host} port={target} user={user} password={password}\n\
                 [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
                 auth_type = any\npool_mode = session\ndefault_pool_size = 200\nmax_client_conn = 400\n\
                 server_login_retry = 1\nignore_startup_parameters = extra_float_digits\n"
            ),
        )?;
        let process = Mutex::new(spawn(&program, &settings, group)?);
        let pooler = Self { port, program, settings, group: Arc::clone(group), process };
        pooler.until_listening().await?;
        Ok(pooler)
    }

    /// The address of the database through it.
    pub(crate) fn url(&self) -> String {
        format!("postgres://anyone@127.0.0.1:{}/postgres", self.port)
    }

    /// SIGKILL, then a new process after a pause.
    pub(crate) async fn kill(&self, pause: Duration) -> Result<()> {
        let mut process = self.process.lock().await;
        process.kill().await?;
        sleep(pause).await;
        *process = spawn(&self.program, &self.settings, &self.group)?;
        self.until_listening().await
    }

    async fn until_listening(&self) -> Result<()> {
        let begun = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await.is_err() {
            ensure!(begun.elapsed() < START_LIMIT, "PgBouncer did not listen within {START_LIMIT:?}");
            sleep(POLL).await;
        }
        Ok(())
    }
}

fn spawn(program: &Path, settings: &Path, group: &ProcessGroup) -> Result<Child> {
    let mut command = Command::new(program);
    // PgBouncer refuses to run as root.
    if nix::unistd::geteuid().is_root() {
        command.args(["-u", "nobody"]);
    }
    command
        .arg(settings)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(group.id())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))
}
