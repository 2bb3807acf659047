//! Requests and responses of the HTTP APIs, as JSON. Times are RFC 3339 in UTC. Unknown fields of requests are
//! refused.

mod bulk;
mod check;
mod dead_letters;
mod domain_events;
mod events;
mod gates;
mod inspect;
pub mod json;
mod layout;
pub mod limits;
mod position;
mod problem;
mod schedules;
mod stats;
mod system;
mod tasks;
mod templates;
mod whoami;
mod workers;

pub use bulk::{BulkAction, BulkJob, BulkJobList, BulkPreview, BulkStatus, CreateBulkJob, TaskConditions};
pub use check::RequestError;
pub use dead_letters::{
    DeadLetter, DeadLetterList, DeadLetterReason, ListDeadLetters, OpenDeadLetter, PatchDeadLetter, ResolutionStatus,
};
pub use domain_events::{DomainEvent, DomainEventList, ListDomainEvents};
pub use events::{GoneEvent, NewTasksEvent, RowEvent, StepBrief, TaskEvent, WatchTopics};
pub use gates::{Gate, GateDetail, GateHolder, GateList, GateRate, PatchGate, PatchGateRate};
pub use inspect::{Attempt, AttemptList, ListOfTask, StepInspection, WaitReason, Waiting};
pub use layout::{GraphLayout, LayoutEdge, LayoutNode, Place, TemplateLayout};
pub use position::line_and_column;
pub use problem::{FieldError, PROBLEM_CONTENT_TYPE, Problem};
pub use schedules::{Overlap, PutSchedule, Schedule, ScheduleList, SlotOutcome};
pub use stats::{QueueDepth, Stats, TaskCount, UnservedHandler, WorkerTotals};
pub use system::{
    Health, HealthCheck, HealthStatus, NamespaceList, NamespaceSummary, PatchNamespace, PgmqInfo, SystemInfo,
};
pub use tasks::{
    CreateTask, ForkTask, ListTasks, OperatorAction, RerunTask, ResolveStep, SendSignal, StepDetail, StepList,
    StepState, TaskDetail, TaskList, TaskState, TaskSummary, Transition, TransitionList, UnknownState,
};
pub use templates::{AppliedTemplate, ListTemplates, TemplateDetail, TemplateList, TemplateOutcome, TemplateSummary};
pub use whoami::Whoami;
pub use workers::{ListWorkers, WorkerList, WorkerState, WorkerStatus, WorkerSummary};

/// The version of Tasker, as every binary and API reports it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
