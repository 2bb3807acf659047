//! Requests and responses of the HTTP APIs, as JSON. Times are RFC 3339 in UTC. Unknown fields of requests are
//! refused.

mod check;
mod dead_letters;
pub mod json;
pub mod limits;
mod position;
mod problem;
mod schedules;
mod system;
mod tasks;
mod templates;
mod workers;

pub use check::RequestError;
pub use dead_letters::{
    DeadLetter, DeadLetterList, DeadLetterReason, ListDeadLetters, OpenDeadLetter, PatchDeadLetter, ResolutionStatus,
};
pub use position::line_and_column;
pub use problem::{FieldError, PROBLEM_CONTENT_TYPE, Problem};
pub use schedules::{Overlap, PutSchedule, Schedule, ScheduleList, SlotOutcome};
pub use system::{
    Health, HealthCheck, HealthStatus, NamespaceList, NamespaceSummary, PatchNamespace, PgmqInfo, SystemInfo,
};
pub use tasks::{
    CreateTask, ForkTask, ListTasks, OperatorAction, ResolveStep, StepDetail, StepList, StepState, TaskDetail,
    TaskList, TaskState, TaskSummary, Transition, TransitionList, UnknownState,
};
pub use templates::{AppliedTemplate, TemplateDetail, TemplateList, TemplateOutcome, TemplateSummary};
pub use workers::{WorkerList, WorkerState, WorkerStatus, WorkerSummary};

/// The version of Tasker, as every binary and API reports it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
