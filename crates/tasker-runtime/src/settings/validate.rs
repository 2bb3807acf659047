//! Which values settings may have.

use std::fmt::Display;
use std::ops::RangeInclusive;

use tracing_subscriber::EnvFilter;

use super::{SettingProblem, Settings, ranges};
use tasker_api::limits::{MAX_NAMESPACE_CHARS, MAX_NAMESPACES, MAX_WORKER_ID_CHARS};

impl Settings {
    /// Checks every value.
    ///
    /// # Errors
    /// Every value that is not allowed.
    pub fn validate(&self) -> Result<(), Vec<SettingProblem>> {
        let mut problems = Problems::default();
        let Self { database, logging, orchestration, retention, telemetry, worker } = self;

        let url = database.url.as_str();
        problems.require(
            url.is_empty() || url.starts_with("postgres://") || url.starts_with("postgresql://"),
            "database.url",
            format!("{:?}", without_password(url)),
            "postgres://user:password@host:port/database",
        );
        problems.range("database.max_connections", database.max_connections, ranges::DATABASE_CONNECTIONS);
        problems.range("database.acquire_timeout_ms", database.acquire_timeout_ms, ranges::ACQUIRE_TIMEOUT_MS);

        problems.require(
            EnvFilter::try_new(&logging.filter).is_ok(),
            "logging.filter",
            format!("{:?}", logging.filter),
            "a level (error, warn, info, debug, trace) or directives such as \"info,tasker_worker=debug\"",
        );

        for host in &orchestration.allowed_hosts {
            problems.require(
                is_host_name(host),
                "orchestration.allowed_hosts",
                format!("{host:?}"),
                "a host name such as \"tasker.internal\", without scheme and port",
            );
        }
        problems.range("orchestration.max_body_bytes", orchestration.max_body_bytes, ranges::BODY_BYTES);
        let bodies = u64::try_from(orchestration.max_bodies_bytes).unwrap_or(u64::MAX);
        problems.range("orchestration.max_bodies_bytes", bodies, ranges::BODIES_BYTES);
        problems.require(
            orchestration.max_bodies_bytes >= orchestration.max_body_bytes,
            "orchestration.max_bodies_bytes",
            bodies.to_string(),
            "at least orchestration.max_body_bytes",
        );
        problems.range("orchestration.max_wait_ms", orchestration.max_wait_ms, ranges::WAIT_MS);
        problems.range("orchestration.max_connections", orchestration.max_connections, ranges::CONNECTIONS);
        for (key, value) in [
            ("orchestration.header_timeout_ms", orchestration.header_timeout_ms),
            ("orchestration.body_timeout_ms", orchestration.body_timeout_ms),
            ("orchestration.idle_timeout_ms", orchestration.idle_timeout_ms),
        ] {
            problems.range(key, value, ranges::CLIENT_TIMEOUT_MS);
        }
        problems.range(
            "orchestration.shutdown_timeout_ms",
            orchestration.shutdown_timeout_ms,
            ranges::SHUTDOWN_TIMEOUT_MS,
        );
        problems.0.extend(orchestration.access.problems());

        problems.range("retention.finished_tasks_days", retention.finished_tasks_days, ranges::RETENTION_DAYS);
        problems.range("retention.rejected_messages_days", retention.rejected_messages_days, ranges::RETENTION_DAYS);
        problems.range("retention.events_days", retention.events_days, ranges::RETENTION_DAYS);

        let endpoint = telemetry.otlp_endpoint.as_str();
        problems.require(
            endpoint.is_empty()
                || reqwest::Url::parse(endpoint).is_ok_and(|url| matches!(url.scheme(), "http" | "https")),
            "telemetry.otlp_endpoint",
            format!("{:?}", without_password(endpoint)),
            "an address such as \"http://127.0.0.1:4318\"",
        );
        problems.range("telemetry.sampling_ratio", telemetry.sampling_ratio, ranges::SAMPLING_RATIO);

        problems.require(
            worker.worker_id.chars().count() <= MAX_WORKER_ID_CHARS && !worker.worker_id.chars().any(char::is_control),
            "worker.worker_id",
            format!("{:?}", worker.worker_id),
            &format!("at most {MAX_WORKER_ID_CHARS} characters, none of them a control character"),
        );
        problems.require(
            worker
                .namespaces
                .iter()
                .all(|name| (1..=MAX_NAMESPACE_CHARS).contains(&name.chars().count()) && name.trim() == name),
            "worker.namespaces",
            format!("{:?}", worker.namespaces),
            &format!("names of 1 to {MAX_NAMESPACE_CHARS} characters, without spaces around them"),
        );
        problems.require(
            worker.namespaces.len() <= MAX_NAMESPACES,
            "worker.namespaces",
            format!("{} names", worker.namespaces.len()),
            &format!("at most {MAX_NAMESPACES} names"),
        );
        problems.range("worker.max_concurrent", worker.max_concurrent, ranges::CONCURRENT_STEPS);
        problems.range("worker.lease_ms", worker.lease_ms, ranges::LEASE_MS);
        problems.range("worker.poll_interval_ms", worker.poll_interval_ms, ranges::POLL_INTERVAL_MS);
        problems.range("worker.shutdown_timeout_ms", worker.shutdown_timeout_ms, ranges::SHUTDOWN_TIMEOUT_MS);
        if problems.0.is_empty() { Ok(()) } else { Err(problems.0) }
    }
}

#[derive(Default)]
struct Problems(Vec<SettingProblem>);

impl Problems {
    fn require(&mut self, holds: bool, key: &'static str, value: String, allowed: &str) {
        if !holds {
            self.0.push(SettingProblem { key, value, allowed: allowed.to_owned() });
        }
    }

    fn range<T: PartialOrd + Display>(&mut self, key: &'static str, value: T, range: RangeInclusive<T>) {
        let allowed = format!("{} to {}", range.start(), range.end());
        self.require(range.contains(&value), key, value.to_string(), &allowed);
    }
}

/// Whether this can be the name in a `Host` header.
fn is_host_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
}

/// Returns the address of a database without user and password, which stand between `//` and `@`.
pub fn without_password(url: &str) -> String {
    match (url.split_once("//"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}//***@{host}"),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(Settings::default().validate(), Ok(()));
    }

    #[test]
    fn every_problem_is_reported_with_the_allowed_values() {
        let mut settings = Settings::default();
        settings.database.url = "mysql://me:secret@host/tasker".to_owned();
        settings.database.max_connections = 1;
        settings.logging.filter = "tasker=loud".to_owned();
        settings.orchestration.allowed_hosts = vec!["tasker.internal".to_owned(), "http://tasker".to_owned()];
        settings.orchestration.max_body_bytes = 0;
        settings.orchestration.max_bodies_bytes = 17 * 1024 * 1024 * 1024;
        settings.orchestration.idle_timeout_ms = 0;
        settings.retention.finished_tasks_days = 36_501;
        settings.telemetry.otlp_endpoint = "localhost:4318".to_owned();
        settings.telemetry.sampling_ratio = f64::NAN;
        settings.worker.worker_id = "a\nb".to_owned();
        settings.worker.namespaces = vec!["a".to_owned(), " b".to_owned()];
        settings.worker.poll_interval_ms = 0;
        let problems = settings.validate().unwrap_err();
        let keys: Vec<_> = problems.iter().map(|problem| problem.key).collect();
        assert_eq!(
            keys,
            [
                "database.url",
                "database.max_connections",
                "logging.filter",
                "orchestration.allowed_hosts",
                "orchestration.max_body_bytes",
                "orchestration.max_bodies_bytes",
                "orchestration.idle_timeout_ms",
                "retention.finished_tasks_days",
                "telemetry.otlp_endpoint",
                "telemetry.sampling_ratio",
                "worker.worker_id",
                "worker.namespaces",
                "worker.poll_interval_ms",
            ]
        );
        assert_eq!(
            problems[0].to_string(),
            "database.url = \"mysql://***@host/tasker\", but must be postgres://user:password@host:port/database"
        );
        assert_eq!(problems[1].to_string(), "database.max_connections = 1, but must be 2 to 100");
    }

    /// 67108864 as `67,108,864`.
    fn grouped(number: &dyn Display) -> String {
        let digits = number.to_string();
        let mut text = String::new();
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                text.push(',');
            }
            text.push(digit);
        }
        text
    }

    #[test]
    fn the_page_of_limits_names_every_range() {
        let page = include_str!("../../../../docs/limits.md");
        let mut missing = Vec::new();
        let mut expect = |settings: &[&str], least: &dyn Display, most: &dyn Display| {
            for setting in settings {
                let words = format!("`{setting}`, {} to {}", grouped(least), grouped(most));
                if !page.contains(&words) {
                    missing.push(words);
                }
            }
        };
        macro_rules! expect {
            ($range:ident: $($setting:literal),+) => {
                expect(&[$($setting),+], ranges::$range.start(), ranges::$range.end())
            };
        }
        expect!(DATABASE_CONNECTIONS: "database.max_connections");
        expect!(ACQUIRE_TIMEOUT_MS: "database.acquire_timeout_ms");
        expect!(BODY_BYTES: "orchestration.max_body_bytes");
        expect!(BODIES_BYTES: "orchestration.max_bodies_bytes");
        expect!(WAIT_MS: "orchestration.max_wait_ms");
        expect!(CONNECTIONS: "orchestration.max_connections");
        expect!(CLIENT_TIMEOUT_MS: "orchestration.header_timeout_ms", "orchestration.body_timeout_ms",
            "orchestration.idle_timeout_ms");
        expect!(SHUTDOWN_TIMEOUT_MS: "orchestration.shutdown_timeout_ms", "worker.shutdown_timeout_ms");
        expect!(RETENTION_DAYS: "retention.finished_tasks_days", "retention.rejected_messages_days", "retention.events_days");
        expect!(SAMPLING_RATIO: "telemetry.sampling_ratio");
        expect!(CONCURRENT_STEPS: "worker.max_concurrent");
        expect!(LEASE_MS: "worker.lease_ms");
        expect!(POLL_INTERVAL_MS: "worker.poll_interval_ms");
        assert!(missing.is_empty(), "docs/limits.md lacks {missing:#?}");
    }

    #[test]
    fn namespaces_are_limited_in_number_and_length() {
        let problem = |namespaces: Vec<String>| {
            let mut settings = Settings::default();
            settings.worker.namespaces = namespaces;
            settings.validate().err().map(|problems| problems[0].to_string())
        };
        assert_eq!(problem((0..256).map(|number| format!("n{number}")).collect()), None);
        let many = (0..257).map(|number| format!("n{number}")).collect();
        assert_eq!(problem(many).unwrap(), "worker.namespaces = 257 names, but must be at most 256 names");
        assert_eq!(problem(vec!["n".repeat(47)]), None);
        assert!(
            problem(vec!["n".repeat(48)])
                .unwrap()
                .ends_with("must be names of 1 to 47 characters, without spaces around them")
        );
    }
}
