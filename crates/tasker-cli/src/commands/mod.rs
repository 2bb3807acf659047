//! The commands, one file for each.

pub(crate) mod bench;
pub(crate) mod bulk;
pub(crate) mod config;
pub(crate) mod database;
pub(crate) mod demo;
pub(crate) mod dev;
pub(crate) mod dlq;
pub(crate) mod event;
pub(crate) mod gate;
pub(crate) mod namespace;
pub(crate) mod new;
pub(crate) mod schedule;
pub(crate) mod step;
pub(crate) mod system;
pub(crate) mod task;
pub(crate) mod template;
pub(crate) mod worker;

use clap::Args;
use tasker_api::OperatorAction;

/// Options of an operator's actions.
#[derive(Debug, Args)]
pub(crate) struct Operator {
    /// The reason, for the task's history.
    #[arg(long)]
    reason: Option<String>,
    /// Your name, for the task's history [default: the user's name].
    #[arg(long)]
    actor: Option<String>,
}

impl Operator {
    /// Only the actor is known.
    fn of(actor: Option<String>) -> Self {
        Self { reason: None, actor }
    }

    fn action(self) -> OperatorAction {
        let user = || std::env::var("USER").ok().filter(|user| !user.is_empty());
        OperatorAction { actor: self.actor.or_else(user), reason: self.reason }
    }
}
