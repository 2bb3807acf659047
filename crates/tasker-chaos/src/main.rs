//! `tasker-chaos`: a fault campaign.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use clap::builder::PossibleValuesParser;
use humantime::parse_duration;
use tasker_chaos::campaign::{self, Options};
use tasker_runtime::shutdown;

/// Breaks a complete Tasker stack in every known way, and checks that nothing was lost.
///
/// Starts a throw-away PostgreSQL, and the tasker-server and rust-worker in TASKER_BIN_DIR or next to this program.
/// Exit codes: 0 if nothing was lost, 1 if something was lost or the campaign could not run, 2 for wrong arguments.
#[derive(Parser)]
#[command(name = "tasker-chaos", version)]
struct Arguments {
    /// Determines the kinds, targets and pauses of the faults [default: random; the report names it].
    #[arg(long)]
    seed: Option<u64>,
    /// How long faults are injected, such as 90s, 10m or 1h [default: 1m, or no limit with --faults].
    #[arg(long, value_parser = parse_duration)]
    duration: Option<Duration>,
    /// How many faults are injected at most [default: no limit].
    #[arg(long, value_name = "NUMBER")]
    faults: Option<usize>,
    /// How many tasks are open at the same time.
    #[arg(long, default_value_t = 240, value_parser = clap::value_parser!(u16).range(1..=5_000))]
    tasks: u16,
    /// How many workers run.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=20))]
    workers: u16,
    /// How many servers run.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=10))]
    servers: u16,
    /// Only inject faults of this kind; may be repeated.
    #[arg(long, value_name = "KIND", value_parser = PossibleValuesParser::new(campaign::kinds()))]
    only: Vec<String>,
    /// Multiplies the limits of time, for a machine with other work to do.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    slack: u32,
    /// Print events with their times on standard error.
    #[arg(long)]
    timeline: bool,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("tasker-chaos: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let default_duration = if arguments.faults.is_some() { Duration::MAX } else { Duration::from_secs(60) };
    let options = Options {
        seed: arguments.seed.unwrap_or_else(|| fastrand::u64(0..1_000_000)),
        duration: arguments.duration.unwrap_or(default_duration),
        faults: arguments.faults.unwrap_or(usize::MAX),
        tasks: arguments.tasks.into(),
        workers: arguments.workers.into(),
        servers: arguments.servers.into(),
        only: arguments.only.clone(),
        slack: arguments.slack,
        timeline: arguments.timeline,
    };
    // Dropping the campaign stops everything that it started.
    let report = tokio::select! {
        report = campaign::run(&options) => report?,
        () = shutdown::on_signal()?.cancelled_owned() => anyhow::bail!("interrupted; the seed was {}", options.seed),
    };
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        println!("{report}");
    }
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
