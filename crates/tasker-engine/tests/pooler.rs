//! Tasker behind PgBouncer: sessions work, shared sessions are refused. These tests need `pgbouncer`, so they only run when
//! asked for: `cargo nextest run --run-ignored only`.

use std::net::TcpListener;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use local_postgres::{LocalPostgres, Options};
use tasker_engine::database::{DatabaseError, connect};
use tasker_engine::{Engine, migrate};
use tasker_runtime::settings::Database;
use tokio::process::{Child, Command};

const PATIENCE: Duration = Duration::from_secs(10);

/// A running PgBouncer, which ends with the value.
struct Pooler {
    url: String,
    _process: Child,
    _folder: tempfile::TempDir,
}

impl Pooler {
    async fn start(postgres: &LocalPostgres, mode: &str) -> Result<Self> {
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let server: sqlx::postgres::PgConnectOptions = postgres.url().parse()?;
        let password = postgres.url().split([':', '@']).nth(2).context("no password")?.to_owned();
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("pgbouncer.ini");
        let ini = format!(
            "[databases]\n\
             * = host={} port={} user={} password={password}\n\
             [pgbouncer]\n\
             listen_addr = 127.0.0.1\n\
             listen_port = {port}\n\
             unix_socket_dir =\n\
             auth_type = any\n\
             pool_mode = {mode}\n\
             ignore_startup_parameters = extra_float_digits\n",
            server.get_host(),
            server.get_port(),
            server.get_username()
        );
        std::fs::write(&file, ini)?;
        let mut command = Command::new("pgbouncer");
        command.env("PATH", format!("{}:/usr/sbin", std::env::var("PATH")?));
        // PgBouncer refuses to run as root.
        if std::process::Command::new("id").arg("-u").output()?.stdout == b"0\n" {
            let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(folder.path(), open)?;
            command.args(["-u", "nobody"]);
        }
        let process = command
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("pgbouncer cannot be started; is it installed?")?;
        let deadline = Instant::now() + PATIENCE;
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            if Instant::now() > deadline {
                bail!("PgBouncer does not accept connections");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let url = format!("postgres://anyone@127.0.0.1:{port}/postgres");
        Ok(Self { url, _process: process, _folder: folder })
    }

    fn settings(&self) -> Database {
        Database { url: self.url.clone(), ..Database::default() }
    }
}

#[tokio::test]
#[ignore = "needs pgbouncer"]
async fn a_pooler_in_session_mode_is_as_good_as_postgresql() -> Result<()> {
    let postgres = LocalPostgres::start(Options::default()).await?;
    let pooler = Pooler::start(&postgres, "session").await?;
    let pool = connect(&pooler.settings(), "pooler").await?;
    migrate(&pool).await?;
    let engine = Engine::new(pool.clone());
    engine.ensure_namespaces(&["pooler".to_owned()]).await?;
    assert!(engine.start_steps("w", &["pooler".to_owned()], 1, PATIENCE, &[None]).await?.is_empty());
    let plans: String = sqlx::query_scalar("select current_setting('plan_cache_mode')").fetch_one(&pool).await?;
    assert_eq!(plans, "force_generic_plan");
    pool.close().await;
    Ok(())
}

#[tokio::test]
#[ignore = "needs pgbouncer"]
async fn a_pooler_in_transaction_mode_is_refused() -> Result<()> {
    let postgres = LocalPostgres::start(Options::default()).await?;
    let pooler = Pooler::start(&postgres, "transaction").await?;
    let refused = connect(&pooler.settings(), "pooler").await;
    let Err(error @ DatabaseError::Pooler { .. }) = refused else { bail!("{refused:?}") };
    assert!(error.to_string().contains("is a connection pooler in transaction mode"), "{error}");
    Ok(())
}
