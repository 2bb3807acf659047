//! `tasker-cli step`

use clap::{Args, Subcommand};
use tasker_api::{OperatorAction, ResolveStep};
use tasker_client::OrchestrationApiClient;

use super::{Operator, task};
use crate::context::Context;
use crate::failure::Failure;
use crate::task_id::TaskId;
use crate::{input, output};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show why a step waits.
    Why {
        #[command(flatten)]
        which: Which,
    },
    /// Retry a failed step, with all its attempts.
    Retry {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        operator: Operator,
    },
    /// Resolve a step manually with a result, so that the steps that wait for it continue.
    Resolve {
        #[command(flatten)]
        which: Which,
        /// The step's result: JSON, or @FILE, or - for standard input.
        #[arg(long, default_value = "null")]
        result: String,
        #[command(flatten)]
        operator: Operator,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Which {
    /// The task's id, or its first 8 or more digits.
    #[arg(long)]
    id: TaskId,
    /// The step's name.
    #[arg(long)]
    step: String,
}

impl Command {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let client = context.orchestration()?;
        let task = match self {
            Self::Why { which } => {
                let found = client.inspect_step(which.id.find(&client).await?, &which.step).await?;
                if context.json {
                    return output::print_json(&found);
                }
                let mut text = format!("Step {} is {}.", found.step.name, found.step.status);
                for reason in found.waiting {
                    // A signal or the key of a gate is a text of others.
                    text.push_str(&format!("\n{}", output::clean(&reason.message)));
                    if let Some(until) = reason.until {
                        text.push_str(&format!(" Until {} UTC.", output::time(until)));
                    }
                }
                return output::print(text);
            }
            Self::Retry { which, operator } => {
                client.retry_step(which.id.find(&client).await?, &which.step, &operator.action()).await?
            }
            Self::Resolve { which, result, operator } => {
                let OperatorAction { actor, reason } = operator.action();
                let resolution = ResolveStep { result: input::json("--result", &result)?, actor, reason };
                client.resolve_step(which.id.find(&client).await?, &which.step, &resolution).await?
            }
        };
        task::acted(context, &task)
    }
}
