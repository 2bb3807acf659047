//! Which values settings may have.

use std::fmt::Display;
use std::ops::RangeInclusive;

use tracing_subscriber::EnvFilter;

use super::{SettingProblem, Settings};
use tasker_api::limits::{MAX_NAMESPACE_CHARS, MAX_NAMESPACES, MAX_WORKER_ID_CHARS};

impl Settings {
    /// Checks every value.
    ///
    /// # Errors
    /// All values that are not allowed.
    pub fn validate(&self) -> Result<(), Vec<SettingProblem>> {
        let mut problems = Problems::default();
        let Self { database, logging, orchestration, retention, worker } = self;

        let url = database.url.as_str();
        problems.require(
            url.is_empty() || url.starts_with("postgres://") || url.starts_with("postgresql://"),
            "database.url",
            format!("{:?}", without_password(url)),
            "postgres://user:password@host:port/database",
        );
        problems.range("database.max_connections", database.max_connections, 2..=100);
        problems.range("database.acquire_timeout_ms", database.acquire_timeout_ms, 100..=60_000);

        problems.require(
            EnvFilter::try_new(&logging.filter).is_ok(),
            "logging.filter",
            format!("{:?}", logging.filter),
            "a level (error, warn, info, debug, trace) or directives such as \"info,tasker_worker=debug\"",
        );

        problems.range("orchestration.max_body_bytes", orchestration.max_body_bytes, 1_024..=67_108_864);
        problems.range("orchestration.max_wait_ms", orchestration.max_wait_ms, 0..=300_000);
        problems.range("orchestration.shutdown_timeout_ms", orchestration.shutdown_timeout_ms, 0..=600_000);
        problems.0.extend(orchestration.access.problems());

        problems.range("retention.finished_tasks_days", retention.finished_tasks_days, 0..=36_500);
        problems.range("retention.rejected_messages_days", retention.rejected_messages_days, 0..=36_500);

        problems.require(
            worker.worker_id.chars().count() <= MAX_WORKER_ID_CHARS && !worker.worker_id.chars().any(char::is_control),
            "worker.worker_id",
            format!("{:?}", worker.worker_id),
            "at most 255 characters, none of them a control character",
        );
        problems.require(
            worker
                .namespaces
                .iter()
                .all(|name| (1..=MAX_NAMESPACE_CHARS).contains(&name.chars().count()) && name.trim() == name),
            "worker.namespaces",
            format!("{:?}", worker.namespaces),
            "names of 1 to 47 characters, without spaces around them",
        );
        problems.require(
            worker.namespaces.len() <= MAX_NAMESPACES,
            "worker.namespaces",
            format!("{} names", worker.namespaces.len()),
            "at most 256 names",
        );
        problems.range("worker.max_concurrent", worker.max_concurrent, 1..=10_000);
        problems.range("worker.lease_ms", worker.lease_ms, 1_000..=3_600_000);
        problems.range("worker.poll_interval_ms", worker.poll_interval_ms, 10..=60_000);
        problems.range("worker.shutdown_timeout_ms", worker.shutdown_timeout_ms, 0..=600_000);
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

/// A database's address without user and password: what stands between `//` and `@`.
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
    fn every_problem_is_found_and_says_what_is_allowed() {
        let mut settings = Settings::default();
        settings.database.url = "mysql://me:secret@host/tasker".to_owned();
        settings.database.max_connections = 1;
        settings.logging.filter = "tasker=loud".to_owned();
        settings.orchestration.max_body_bytes = 0;
        settings.retention.finished_tasks_days = 36_501;
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
                "orchestration.max_body_bytes",
                "retention.finished_tasks_days",
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
