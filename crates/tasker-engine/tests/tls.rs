//! TLS to PostgreSQL: certificates that are accepted, and those that are not, with what to do about it.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use local_postgres::{LocalPostgres, Options};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tasker_engine::database::connect;
use tasker_runtime::settings::Database;
use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_secs(30);

/// A certificate and its key, as PEM.
struct Identity {
    certificate: String,
    key: String,
}

/// A CA, and a certificate that it has signed for this host.
fn ca_and_server(host: &str) -> Result<(Identity, Identity)> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate()?;
    let ca = Identity { certificate: params.self_signed(&key)?.pem(), key: key.serialize_pem() };
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(vec![host.to_owned()])?.signed_by(&key, &issuer)?;
    Ok((ca, Identity { certificate: certificate.pem(), key: key.serialize_pem() }))
}

/// Makes a running PostgreSQL use a certificate.
async fn present(postgres: &LocalPostgres, identity: &Identity) -> Result<()> {
    let cluster = postgres.data_dir().join("cluster");
    let owner = fs::metadata(&cluster)?;
    for (name, text) in [("server.crt", &identity.certificate), ("server.key", &identity.key)] {
        let file = cluster.join(name);
        fs::write(&file, text)?;
        // PostgreSQL may run as another user, and refuses a key that others can read.
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
        chown(&file, Some(owner.uid()), Some(owner.gid()))?;
    }
    let mut connection = PgConnection::connect(&format!("{}?sslmode=disable", postgres.url())).await?;
    for statement in ["alter system set ssl = on", "select pg_reload_conf()"] {
        sqlx::query(AssertSqlSafe(statement)).execute(&mut connection).await?;
    }
    Ok(connection.close().await?)
}

/// Connects with these parameters, and returns the error, if there is one.
async fn failure(postgres: &LocalPostgres, host: &str, parameters: &str) -> Option<String> {
    let url = format!("{}?{parameters}", postgres.url().replace("127.0.0.1", host));
    connect(&Database { url, ..Database::default() }, "tls").await.err().map(|error| error.to_string())
}

/// Connects until the result is that of the new settings, which PostgreSQL does not read at once.
async fn until(postgres: &LocalPostgres, parameters: &str, expected: impl Fn(Option<&str>) -> bool) -> Result<()> {
    let begun = Instant::now();
    loop {
        let failure = failure(postgres, "localhost", parameters).await;
        if expected(failure.as_deref()) {
            return Ok(());
        }
        ensure!(begun.elapsed() < DEADLINE, "{failure:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn certificates_are_verified_and_each_refusal_says_what_to_do() -> Result<()> {
    let folder = TempDir::new()?;
    let root = folder.path().join("root.crt");
    let settings = vec![("fsync".to_owned(), "off".to_owned())];
    let postgres = LocalPostgres::start(Options { settings, ..Options::default() }).await?;
    let (ca, server) = ca_and_server("localhost")?;
    fs::write(&root, &ca.certificate)?;
    let verify = |mode: &str| format!("sslmode={mode}&sslrootcert={}", root.display());

    let without = failure(&postgres, "localhost", &verify("verify-full")).await.context("TLS without a certificate")?;
    assert!(without.contains("server does not support TLS"), "{without}");

    present(&postgres, &server).await?;
    until(&postgres, &verify("verify-full"), |failure| failure.is_none()).await?;
    assert_eq!(failure(&postgres, "127.0.0.1", &verify("verify-ca")).await, None);
    let other_host = failure(&postgres, "127.0.0.1", &verify("verify-full")).await.context("another host")?;
    assert!(other_host.contains("Connect with that name"), "{other_host}");
    let unknown = failure(&postgres, "localhost", "sslmode=verify-full").await.context("an unknown CA")?;
    assert!(unknown.contains("Set sslrootcert"), "{unknown}");

    let missing = folder.path().join("missing.crt");
    let parameters = format!("sslmode=verify-full&sslrootcert={}", missing.display());
    let no_file = failure(&postgres, "localhost", &parameters).await.context("a missing file")?;
    assert!(no_file.contains(&format!("cannot read {}, which sslrootcert names", missing.display())), "{no_file}");

    // A self-signed certificate that is also the root.
    present(&postgres, &ca).await?;
    let advice = "Sign a certificate for the server";
    until(&postgres, &verify("verify-full"), |failure| failure.is_some_and(|error| error.contains(advice))).await
}
