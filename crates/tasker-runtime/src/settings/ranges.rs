//! The ranges of the settings. Checks and error messages use these constants, and a test compares `docs/limits.md`
//! with them.

use std::ops::RangeInclusive;

/// `database.max_connections`
pub const DATABASE_CONNECTIONS: RangeInclusive<u32> = 2..=100;
/// `database.acquire_timeout_ms`
pub const ACQUIRE_TIMEOUT_MS: RangeInclusive<u64> = 100..=60_000;
/// `orchestration.max_body_bytes`: up to 64 MiB
pub const BODY_BYTES: RangeInclusive<usize> = 1_024..=64 * 1024 * 1024;
/// `orchestration.max_bodies_bytes`: up to 16 GiB
pub const BODIES_BYTES: RangeInclusive<u64> = 1_024..=16 * 1024 * 1024 * 1024;
/// `orchestration.max_wait_ms`: up to 5 minutes
pub const WAIT_MS: RangeInclusive<u64> = 0..=300_000;
/// `orchestration.max_connections`
pub const CONNECTIONS: RangeInclusive<usize> = 16..=100_000;
/// `orchestration.header_timeout_ms`, `orchestration.body_timeout_ms` and `orchestration.idle_timeout_ms`: up to an
/// hour
pub const CLIENT_TIMEOUT_MS: RangeInclusive<u64> = 100..=3_600_000;
/// `orchestration.shutdown_timeout_ms` and `worker.shutdown_timeout_ms`: up to 10 minutes
pub const SHUTDOWN_TIMEOUT_MS: RangeInclusive<u64> = 0..=600_000;
/// `retention.finished_tasks_days`, `retention.rejected_messages_days` and `retention.events_days`: up to 100 years
pub const RETENTION_DAYS: RangeInclusive<u32> = 0..=36_500;
/// `worker.max_concurrent`
pub const CONCURRENT_STEPS: RangeInclusive<u32> = 1..=10_000;
/// `worker.lease_ms`: up to an hour
pub const LEASE_MS: RangeInclusive<u64> = 1_000..=3_600_000;
/// `worker.poll_interval_ms`: up to a minute
pub const POLL_INTERVAL_MS: RangeInclusive<u64> = 10..=60_000;
/// `telemetry.sampling_ratio`
pub const SAMPLING_RATIO: RangeInclusive<f64> = 0.0..=1.0;
