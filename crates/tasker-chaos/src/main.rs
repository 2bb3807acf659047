//! `tasker-chaos`: a fault campaign.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use clap::builder::PossibleValuesParser;
use tasker_chaos::campaign::{self, Options};
use tasker_runtime::shutdown;

/// Breaks a stack of Tasker in every way that we know, and proves that nothing was lost.
///
/// Starts a throw-away PostgreSQL, and the tasker-server and rust-worker that are in TASKER_BIN_DIR or beside this program. Exit
/// codes: 0 if nothing was lost, 1 if something was or the campaign could not be run, 2 for wrong arguments.
#[derive(Parser)]
#[command(name = "tasker-chaos", version)]
struct Arguments {
    /// Decides kinds, targets and pauses of the faults; drawn at random, and reported, if not given.
    #[arg(long)]
    seed: Option<u64>,
    /// How long faults are injected, such as 90, 90s, 10m or 1h; a minute if there is no --faults either.
    #[arg(long, value_parser = duration)]
    duration: Option<Duration>,
    /// How many faults are injected, if there is time for them.
    #[arg(long, value_name = "NUMBER")]
    faults: Option<usize>,
    /// How many tasks are open at once.
    #[arg(long, default_value_t = 240, value_parser = clap::value_parser!(u16).range(1..=5_000))]
    tasks: u16,
    /// How many workers run.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=20))]
    workers: u16,
    /// How many servers run.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=10))]
    servers: u16,
    /// Only faults of this kind, to look closer at it; may be given several times.
    #[arg(long, value_name = "KIND", value_parser = PossibleValuesParser::new(campaign::kinds()))]
    only: Vec<String>,
    /// Tell on standard error what happens when.
    #[arg(long)]
    timeline: bool,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

/// A number of seconds, or one with a unit.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(['s', 'm', 'h']);
    let seconds = match &text[digits.len()..] {
        "" | "s" => Some(1),
        "m" => Some(60),
        "h" => Some(3_600),
        _ => None,
    };
    let number: Option<u64> = digits.parse().ok();
    let seconds = number.zip(seconds).and_then(|(number, seconds)| number.checked_mul(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| "expected a number of seconds, or such as 90s, 10m, 1h".to_owned())
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
        timeline: arguments.timeline,
    };
    // Everything that was started ends with the campaign, also when it is broken off.
    let report = tokio::select! {
        report = campaign::run(&options) => report?,
        () = shutdown::on_signal()?.cancelled_owned() => anyhow::bail!("broken off; the seed was {}", options.seed),
    };
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        println!("{report}");
    }
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("20"), Ok(Duration::from_secs(20)));
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(duration("1h"), Ok(Duration::from_secs(3_600)));
        for wrong in ["", "s", "-1", "1d", "1ms", "99999999999999999999"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
