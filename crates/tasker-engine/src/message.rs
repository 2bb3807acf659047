//! Errors of the database in words for people.

use sqlx::migrate::MigrateError;

/// The message of an error. Unlike the error's own text, it leaves out the line of PostgreSQL's source code, which reads
/// like a line of the user's file, and it says what to do about a certificate that is not accepted.
pub fn message(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => error.message().to_owned(),
        sqlx::Error::Io(error) => certificate_message(&error.to_string()),
        sqlx::Error::Tls(error) => certificate_message(&error.to_string()),
        sqlx::Error::Migrate(error) => migration_message(error),
        error => error.to_string(),
    }
}

/// The message of a failed migration; see [`message`].
pub(crate) fn migration_message(error: &MigrateError) -> String {
    match error {
        MigrateError::Execute(error) => message(error),
        MigrateError::ExecuteMigration(error, version) => format!("migration {version} failed: {}", message(error)),
        error => error.to_string(),
    }
}

/// Says what to do if the text is that of rustls for a certificate that it does not accept.
fn certificate_message(text: &str) -> String {
    let advice = if text.contains("CaUsedAsEndEntity") {
        "the server uses the certificate of a CA, such as a self-signed one, as its own. Sign a certificate for the server \
         with this CA, and set sslrootcert to the CA's certificate"
    } else if text.contains("UnknownIssuer") {
        "the server's certificate is not signed by a known CA. Set sslrootcert to the certificate of its CA"
    } else if text.contains("certificate not valid for name") {
        "the server's certificate is for another host name. Connect with that name, or use sslmode=verify-ca"
    } else {
        return text.to_owned();
    };
    format!("{advice} ({text})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_certificates_come_with_advice() {
        for (reason, advice) in [
            ("Other(OtherError(CaUsedAsEndEntity))", "Sign a certificate for the server"),
            ("UnknownIssuer", "Set sslrootcert"),
            (
                "certificate not valid for name \"a\"; certificate is only valid for DnsName(\"b\")",
                "Connect with that name",
            ),
        ] {
            let text = format!("invalid peer certificate: {reason}");
            // The driver reports it as an error of the connection.
            let message = message(&sqlx::Error::Io(std::io::Error::other(text.clone())));
            assert!(message.contains(advice) && message.ends_with(&format!("({text})")), "{message}");
        }
        assert_eq!(message(&sqlx::Error::Io(std::io::Error::other("Connection refused"))), "Connection refused");
    }
}
