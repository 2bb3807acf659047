//! `tasker-cli task`

use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use humantime::parse_duration;
use serde_json::Value;
use tasker_api::{
    CreateTask, ForkTask, ListOfTask, ListTasks, OperatorAction, RerunTask, SendSignal, StepDetail, TaskDetail,
    TaskState, TaskSummary,
};
use tasker_client::OrchestrationApiClient;
use tasker_runtime::shutdown;
use uuid::Uuid;

use super::Operator;
use crate::context::Context;
use crate::failure::Failure;
use crate::progress::{Progress, watch};
use crate::task_id::TaskId;
use crate::{input, output};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create a task from a template.
    Create(Create),
    /// Show a task with its steps.
    Get {
        /// The task's id, or its first 8 or more digits.
        #[arg(long)]
        id: TaskId,
    },
    /// List tasks, newest first.
    List {
        #[command(flatten)]
        conditions: Conditions,
        /// Only the tasks with this id, or its first 8 or more digits, this idempotency key, tag or searchable value.
        #[arg(long)]
        search: Option<String>,
        /// How many tasks at most, 1 to 500.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=500))]
        limit: i64,
        /// The cursor that the previous page printed.
        #[arg(long)]
        cursor: Option<String>,
    },
    /// Watch a task until it is at rest; exit code 0 if it completed, otherwise 1.
    Watch {
        /// The task's id, or its first 8 or more digits.
        #[arg(long)]
        id: TaskId,
        #[command(flatten)]
        limit: Limit,
    },
    /// Show the history of a task and its steps.
    History {
        /// The task's id, or its first 8 or more digits.
        #[arg(long)]
        id: TaskId,
    },
    /// Show every attempt of a task's steps.
    Attempts {
        /// The task's id, or its first 8 or more digits.
        #[arg(long)]
        id: TaskId,
        /// Only the attempts of this step.
        #[arg(long)]
        step: Option<String>,
    },
    /// Create a new task from the input of another one.
    Rerun {
        /// The task's id, or its first 8 or more digits.
        #[arg(long)]
        id: TaskId,
        /// Another input: a JSON object, or @FILE, or - for standard input.
        #[arg(long)]
        input: Option<String>,
        /// The template's version [default: the newest].
        #[arg(long)]
        version: Option<String>,
        #[command(flatten)]
        operator: Operator,
    },
    /// Cancel a task: no more of its steps start.
    Cancel {
        /// The task's id, or its first 8 or more digits.
        #[arg(long)]
        id: TaskId,
        #[command(flatten)]
        operator: Operator,
    },
    /// Fail a task that is blocked by failures.
    Fail {
        /// The task's id, or its first 8 or more digits.
        #[arg(long)]
        id: TaskId,
        #[command(flatten)]
        operator: Operator,
    },
    /// Retry all failed steps of a task.
    Retry {
        /// The task's id, or its first 8 or more digits.
        #[arg(long)]
        id: TaskId,
        #[command(flatten)]
        operator: Operator,
    },
    /// Send a signal to a task. Steps that wait for it continue.
    Signal {
        /// The task's id, or its first 8 or more digits.
        #[arg(long)]
        id: TaskId,
        /// The name of the signal.
        #[arg(long)]
        name: String,
        /// What the steps receive: JSON, or `@FILE`, or `-` for standard input.
        #[arg(long, default_value = "null")]
        payload: String,
        /// Who sends it. The history records it.
        #[arg(long)]
        actor: Option<String>,
    },
    /// Run a task again from a step, as a new task with the results of the steps that do not depend on it.
    Fork {
        /// The task's id, or its first 8 or more digits.
        #[arg(long)]
        id: TaskId,
        /// The step from which the task runs again.
        #[arg(long)]
        step: String,
        #[command(flatten)]
        operator: Operator,
    },
}

/// Conditions on tasks.
#[derive(Debug, Args)]
pub(crate) struct Conditions {
    /// Only tasks of this namespace.
    #[arg(long)]
    pub(super) namespace: Option<String>,
    /// Only tasks in this state.
    #[arg(long, value_parser = PossibleValuesParser::new(TaskState::ALL.iter().map(|state| state.as_str())))]
    pub(super) status: Option<String>,
    /// Only tasks of the template with this name.
    #[arg(long)]
    pub(super) template: Option<String>,
    /// Only tasks with this tag or searchable value, such as `vip`, `customer=acme`, or `/order_id=42`.
    #[arg(long)]
    pub(super) tag: Option<String>,
    /// Only tasks created at this time (RFC 3339) or later.
    #[arg(long)]
    pub(super) created_after: Option<chrono::DateTime<chrono::Utc>>,
    /// Only tasks created before this time (RFC 3339).
    #[arg(long)]
    pub(super) created_before: Option<chrono::DateTime<chrono::Utc>>,
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// The template's namespace.
    #[arg(long)]
    namespace: String,
    /// The template's name.
    #[arg(long)]
    name: String,
    /// The template's version [default: the newest].
    #[arg(long)]
    version: Option<String>,
    /// The task's input: a JSON object, or @FILE, or - for standard input.
    #[arg(long, default_value = "{}")]
    input: String,
    /// Makes the request safe to repeat: repeating it with the same key returns the same task.
    #[arg(long)]
    idempotency_key: Option<String>,
    /// 0 (the default) to 100; each point counts like ten seconds of waiting.
    #[arg(long, value_parser = clap::value_parser!(i16).range(0..=100))]
    priority: Option<i16>,
    /// A tag of your own; may be repeated.
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Watch the task until it is at rest; exit code 0 if it completed, otherwise 1.
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    limit: Limit,
}

#[derive(Debug, Args)]
pub(crate) struct Limit {
    /// How long to wait at most, such as 90s or 5m [default: no limit].
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    timeout: Option<Duration>,
}

impl Limit {
    fn duration(&self) -> Duration {
        self.timeout.unwrap_or(Duration::MAX)
    }
}

impl Command {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let client = context.orchestration()?;
        match self {
            Self::Create(create) => return create.run(context).await,
            Self::Get { id } => show(context, &client.get_task(id.find(&client).await?).await?),
            Self::List { conditions, search, limit, cursor } => {
                let Conditions { namespace, status, template, tag, created_after, created_before } = conditions;
                let filter = ListTasks {
                    namespace,
                    status,
                    template,
                    tag,
                    created_after,
                    created_before,
                    q: search,
                    limit: Some(limit),
                    cursor,
                    ..ListTasks::default()
                };
                let tasks = client.list_tasks(&filter).await?;
                if context.json {
                    return output::print_json(&tasks);
                }
                output::print(list(&tasks.tasks))?;
                match tasks.next_cursor {
                    Some(cursor) => output::print(format!("Next page: --cursor {cursor}")),
                    None => Ok(()),
                }
            }
            Self::Watch { id, limit } => watch_one(context, &client, id.find(&client).await?, &limit).await,
            Self::History { id } => {
                let history = client.list_transitions(id.find(&client).await?).await?;
                if context.json {
                    return output::print_json(&history);
                }
                let rows = history.transitions.into_iter().map(|change| {
                    [
                        change.at.format("%Y-%m-%d %H:%M:%S%.3f").to_string(),
                        change.step.unwrap_or_else(|| "(task)".to_owned()),
                        change.attempt.map(|attempt| attempt.to_string()).unwrap_or_default(),
                        change.from.unwrap_or_default(),
                        change.to,
                        change.actor.unwrap_or_default(),
                        change.reason.unwrap_or_default(),
                    ]
                });
                output::print(output::table(["at (UTC)", "step", "attempt", "from", "to", "by", "why"], rows))
            }
            Self::Attempts { id, step } => {
                let id = id.find(&client).await?;
                let list = client.list_attempts(id, &ListOfTask { step, ..ListOfTask::default() }).await?;
                if context.json {
                    return output::print_json(&list);
                }
                let rows = list.attempts.into_iter().map(|attempt| {
                    [
                        attempt.step,
                        attempt.attempt.to_string(),
                        attempt.worker_id.unwrap_or_default(),
                        output::time(attempt.started_at),
                        output::between(Some(attempt.started_at), attempt.ended_at).unwrap_or_default(),
                        attempt.outcome.map(|outcome| outcome.to_string()).unwrap_or_default(),
                        attempt.message.unwrap_or_default(),
                    ]
                });
                output::print(output::table(
                    ["step", "attempt", "worker", "started (UTC)", "took", "outcome", "why"],
                    rows,
                ))
            }
            Self::Rerun { id, input, version, operator } => {
                let input = input.map(|text| input::object("--input", &text)).transpose()?;
                let OperatorAction { actor, reason } = operator.action();
                let rerun = RerunTask { context: input, version, actor, reason, ..RerunTask::default() };
                acted(context, &client.rerun_task(id.find(&client).await?, &rerun).await?)
            }
            Self::Cancel { id, operator } => {
                acted(context, &client.cancel_task(id.find(&client).await?, &operator.action()).await?)
            }
            Self::Fail { id, operator } => {
                acted(context, &client.fail_task(id.find(&client).await?, &operator.action()).await?)
            }
            Self::Retry { id, operator } => {
                acted(context, &client.retry_task(id.find(&client).await?, &operator.action()).await?)
            }
            Self::Signal { id, name, payload, actor } => {
                let payload = input::json("--payload", &payload)?;
                let id = id.find(&client).await?;
                acted(context, &client.send_signal(id, &name, &SendSignal { payload, actor }).await?)
            }
            Self::Fork { id, step, operator } => {
                let OperatorAction { actor, reason } = operator.action();
                let id = id.find(&client).await?;
                acted(context, &client.fork_task(id, &ForkTask { step, actor, reason }).await?)
            }
        }
    }
}

impl Create {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let task = CreateTask {
            namespace: self.namespace,
            name: self.name,
            version: self.version,
            context: input::object("--input", &self.input)?,
            idempotency_key: self.idempotency_key,
            priority: self.priority,
            tags: (!self.tags.is_empty()).then(|| Value::from(self.tags)),
        };
        let client = context.orchestration()?;
        let task = client.create_task(&task).await?;
        if self.wait {
            // Printed now, so that the id is known if the wait is interrupted.
            output::note(format!("Created task {}", task.task_uuid));
            return watch_one(context, &client, task.task_uuid, &self.limit).await;
        }
        if context.json {
            return output::print_json(&task);
        }
        let TaskSummary { namespace, name, version, task_uuid, status, .. } = task;
        output::print(format!(
            "{namespace}/{name} {version} is task {task_uuid}: {status}\nWatch it: tasker-cli task watch --id {task_uuid}"
        ))
    }
}

/// Watches a task until it is at rest, and shows it. Fails if it did not complete or the user interrupts.
async fn watch_one(
    context: &Context,
    client: &impl OrchestrationApiClient,
    task_uuid: Uuid,
    limit: &Limit,
) -> Result<(), Failure> {
    let interrupt = shutdown::on_signal().map_err(|error| Failure::failed(format!("cannot catch signals: {error}")))?;
    let watching = watch(client, task_uuid, limit.duration(), Progress::default().task(0));
    let Some(task) = interrupt.run_until_cancelled(watching).await.transpose()? else {
        let hint = format!("the task continues; watch it with `tasker-cli task watch --id {task_uuid}`");
        return Err(Failure::interrupted().hint(hint));
    };
    show(context, &task)?;
    match task.summary.status {
        TaskState::Completed => Ok(()),
        TaskState::BlockedByFailures => Err(not_completed(&task).hint(format!(
            "fix the cause and run `tasker-cli task retry --id {task_uuid}`, or give up with `task fail`"
        ))),
        _ => Err(not_completed(&task)),
    }
}

/// Says why a task that is at rest did not complete.
pub(crate) fn not_completed(task: &TaskDetail) -> Failure {
    let TaskSummary { task_uuid, status, .. } = task.summary;
    let errors: Vec<_> =
        task.steps.iter().filter_map(|step| Some(format!("{}: {}", step.name, error(step)?))).collect();
    let why = if errors.is_empty() { String::new() } else { format!(" ({})", errors.join("; ")) };
    Failure::failed(output::clean(&format!("task {task_uuid} is {status}{why}")))
}

/// Prints a task after an operator's action.
pub(super) fn acted(context: &Context, task: &TaskSummary) -> Result<(), Failure> {
    if context.json {
        return output::print_json(task);
    }
    output::print(format!("Task {} is {}.", task.task_uuid, task.status))
}

fn list(tasks: &[TaskSummary]) -> String {
    let rows = tasks.iter().map(|task| {
        [
            task.task_uuid.to_string(),
            format!("{}/{}", task.namespace, task.name),
            task.version.clone(),
            task.status.to_string(),
            format!("{} of {}", task.completed_steps, task.total_steps),
            output::time(task.created_at),
            output::between(task.started_at, task.completed_at).unwrap_or_default(),
        ]
    });
    output::table(["task", "template", "version", "status", "steps", "created (UTC)", "took"], rows)
}

fn show(context: &Context, task: &TaskDetail) -> Result<(), Failure> {
    if context.json {
        return output::print_json(task);
    }
    let summary = &task.summary;
    output::print(output::facts([
        ("task", Some(summary.task_uuid.to_string())),
        ("template", Some(format!("{}/{} {}", summary.namespace, summary.name, summary.version))),
        (
            "status",
            Some(format!(
                "{}, {} % ({} of {} steps)",
                summary.status, summary.completion_percentage, summary.completed_steps, summary.total_steps
            )),
        ),
        ("ended by", task.ended_by.clone()),
        ("why", task.end_reason.clone()),
        ("created", Some(format!("{} UTC", output::time(summary.created_at)))),
        ("time limit", task.deadline.map(|deadline| format!("{} UTC", output::time(deadline)))),
        ("took", output::between(summary.started_at, summary.completed_at)),
        ("priority", (summary.priority != 0).then(|| summary.priority.to_string())),
        ("tags", summary.tags.as_ref().map(Value::to_string)),
        ("context", Some(output::short(&task.context))),
    ]))?;
    output::print(steps(&task.steps))
}

fn steps(steps: &[StepDetail]) -> String {
    let rows = steps.iter().map(|step| {
        [
            step.name.clone(),
            step.status.to_string(),
            format!("{} of {}", step.attempts, step.max_attempts),
            step.dependencies.join(", "),
            output::between(step.started_at, step.completed_at).unwrap_or_default(),
            outcome(step),
        ]
    });
    output::table(["step", "status", "attempts", "waits for", "took", "result"], rows)
}

/// A step's result, or the error of its last attempt.
pub(crate) fn outcome(step: &StepDetail) -> String {
    match (&step.result, error(step)) {
        (Some(result), _) => output::short(result),
        (None, Some(error)) => format!("error: {error}"),
        (None, None) => String::new(),
    }
}

/// The error of a step's last attempt, shortened.
fn error(step: &StepDetail) -> Option<String> {
    let error = step.error.as_ref()?;
    Some(output::short(error.get("message").unwrap_or(error)))
}
