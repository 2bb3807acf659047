//! The server's API.

use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use tasker_api::{
    AppliedTemplate, AttemptList, BulkJob, BulkJobList, BulkPreview, CreateBulkJob, CreateTask, DeadLetter,
    DeadLetterList, DomainEventList, ForkTask, GateDetail, GateList, Health, ListDeadLetters, ListDomainEvents,
    ListOfTask, ListTasks, NamespaceList, NamespaceSummary, OpenDeadLetter, OperatorAction, PatchDeadLetter, PatchGate,
    PatchNamespace, PutSchedule, RerunTask, ResolveStep, Schedule, ScheduleList, SendSignal, Stats, StepInspection,
    StepList, SystemInfo, TaskDetail, TaskList, TaskSummary, TemplateDetail, TemplateLayout, TemplateList,
    TransitionList, Whoami, WorkerList,
};
use tokio::time::Instant;
use uuid::Uuid;

use crate::ClientError;
use crate::http::{Http, Repeat};

/// How long one request of [`OrchestrationApiClient::wait_for_task`] asks the server to wait.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// The pause before the next such request.
const PAUSE: Duration = Duration::from_millis(50);
const NO_QUERY: &[(&str, &str)] = &[];
/// The body `{}`.
const NO_BODY: OperatorAction = OperatorAction { actor: None, reason: None };

/// The calls of a server's API. Each fails with a [`ClientError`].
pub trait OrchestrationApiClient: Sync {
    /// Creates a task, or returns the existing one if the same request was made before with the same idempotency key.
    fn create_task(&self, task: &CreateTask) -> impl Future<Output = Result<TaskSummary, ClientError>> + Send;

    /// Creates a task and returns it with its steps as soon as it is at rest, and after `wait` at the latest. This saves
    /// a request. If the connection breaks, the caller does not know the task: set an idempotency key, and
    /// call again.
    fn create_task_and_wait(
        &self,
        task: &CreateTask,
        wait: Duration,
    ) -> impl Future<Output = Result<TaskDetail, ClientError>> + Send;

    /// Returns a task with its steps, as it is now.
    fn get_task(&self, task_uuid: Uuid) -> impl Future<Output = Result<TaskDetail, ClientError>> + Send;

    /// Returns a task with its steps as soon as it is at rest, and after `wait` at the latest.
    fn get_task_at_rest(
        &self,
        task_uuid: Uuid,
        wait: Duration,
    ) -> impl Future<Output = Result<TaskDetail, ClientError>> + Send;

    /// Waits until a task is at rest: final, or blocked by failures. Fails with [`ClientError::NotAtRest`] after
    /// `limit`.
    fn wait_for_task(
        &self,
        task_uuid: Uuid,
        limit: Duration,
    ) -> impl Future<Output = Result<TaskDetail, ClientError>> + Send {
        async move {
            let start = Instant::now();
            loop {
                let left = limit.saturating_sub(start.elapsed());
                let task = self.get_task_at_rest(task_uuid, left.min(LONGEST_WAIT)).await?;
                if task.summary.status.is_at_rest() {
                    return Ok(task);
                }
                if left.is_zero() {
                    return Err(ClientError::NotAtRest { task: Box::new(task), waited: limit });
                }
                // A server that is shutting down responds at once.
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Returns a page of the matching tasks, newest first.
    fn list_tasks(&self, filter: &ListTasks) -> impl Future<Output = Result<TaskList, ClientError>> + Send;

    /// Returns the steps of a task.
    fn list_steps(&self, task_uuid: Uuid) -> impl Future<Output = Result<StepList, ClientError>> + Send;

    /// Returns the history of a task and its steps.
    fn list_transitions(&self, task_uuid: Uuid) -> impl Future<Output = Result<TransitionList, ClientError>> + Send;

    /// Returns a page of the attempts of a task's steps, the oldest first.
    fn list_attempts(
        &self,
        task_uuid: Uuid,
        page: &ListOfTask,
    ) -> impl Future<Output = Result<AttemptList, ClientError>> + Send;

    /// Returns a step, and why it waits.
    fn inspect_step(
        &self,
        task_uuid: Uuid,
        step: &str,
    ) -> impl Future<Output = Result<StepInspection, ClientError>> + Send;

    /// Creates a new task from the input of another one.
    fn rerun_task(
        &self,
        task_uuid: Uuid,
        rerun: &RerunTask,
    ) -> impl Future<Output = Result<TaskSummary, ClientError>> + Send;

    /// Counts the tasks of a bulk job without changing them.
    fn preview_bulk_job(&self, job: &CreateBulkJob) -> impl Future<Output = Result<BulkPreview, ClientError>> + Send;

    /// Starts an action on all tasks that match a filter.
    fn create_bulk_job(&self, job: &CreateBulkJob) -> impl Future<Output = Result<BulkJob, ClientError>> + Send;

    /// Returns a bulk job.
    fn get_bulk_job(&self, id: Uuid) -> impl Future<Output = Result<BulkJob, ClientError>> + Send;

    /// Returns the newest bulk jobs.
    fn list_bulk_jobs(&self) -> impl Future<Output = Result<BulkJobList, ClientError>> + Send;

    /// Stops a bulk job. What it has done stays.
    fn stop_bulk_job(&self, id: Uuid) -> impl Future<Output = Result<BulkJob, ClientError>> + Send;

    /// Cancels a task: no more of its steps start.
    fn cancel_task(
        &self,
        task_uuid: Uuid,
        action: &OperatorAction,
    ) -> impl Future<Output = Result<TaskSummary, ClientError>> + Send;

    /// Fails a task that is blocked by failures.
    fn fail_task(
        &self,
        task_uuid: Uuid,
        action: &OperatorAction,
    ) -> impl Future<Output = Result<TaskSummary, ClientError>> + Send;

    /// Retries all failed steps of a task.
    fn retry_task(
        &self,
        task_uuid: Uuid,
        action: &OperatorAction,
    ) -> impl Future<Output = Result<TaskSummary, ClientError>> + Send;

    /// Runs a task again from a step, as a new task.
    fn fork_task(
        &self,
        task_uuid: Uuid,
        fork: &ForkTask,
    ) -> impl Future<Output = Result<TaskSummary, ClientError>> + Send;

    /// Sends a signal to a task. Sending it again with the same payload changes nothing.
    fn send_signal(
        &self,
        task_uuid: Uuid,
        name: &str,
        signal: &SendSignal,
    ) -> impl Future<Output = Result<TaskSummary, ClientError>> + Send;

    /// Retries a failed step.
    fn retry_step(
        &self,
        task_uuid: Uuid,
        step: &str,
        action: &OperatorAction,
    ) -> impl Future<Output = Result<TaskSummary, ClientError>> + Send;

    /// Resolves a step manually with a given result.
    fn resolve_step(
        &self,
        task_uuid: Uuid,
        step: &str,
        resolution: &ResolveStep,
    ) -> impl Future<Output = Result<TaskSummary, ClientError>> + Send;

    /// Stores a template, given as YAML or JSON text.
    fn apply_template(&self, source: &str) -> impl Future<Output = Result<AppliedTemplate, ClientError>> + Send;

    /// Returns all templates, or those of a namespace.
    fn list_templates(&self, namespace: Option<&str>)
    -> impl Future<Output = Result<TemplateList, ClientError>> + Send;

    /// Returns a version of a template, by default the newest.
    fn get_template(
        &self,
        namespace: &str,
        name: &str,
        version: Option<&str>,
    ) -> impl Future<Output = Result<TemplateDetail, ClientError>> + Send;

    /// Returns all schedules, or those of a namespace.
    fn list_schedules(&self, namespace: Option<&str>)
    -> impl Future<Output = Result<ScheduleList, ClientError>> + Send;

    /// Returns a schedule.
    fn get_schedule(&self, name: &str) -> impl Future<Output = Result<Schedule, ClientError>> + Send;

    /// Stores a schedule, or replaces it.
    fn put_schedule(
        &self,
        name: &str,
        schedule: &PutSchedule,
    ) -> impl Future<Output = Result<Schedule, ClientError>> + Send;

    /// Deletes a schedule. Its tasks are kept.
    fn delete_schedule(&self, name: &str) -> impl Future<Output = Result<(), ClientError>> + Send;

    /// Creates a task as the schedule does, now and in addition.
    fn trigger_schedule(&self, name: &str) -> impl Future<Output = Result<TaskSummary, ClientError>> + Send;

    /// Returns all gates, or those of a namespace.
    fn list_gates(&self, namespace: Option<&str>) -> impl Future<Output = Result<GateList, ClientError>> + Send;

    /// Returns a gate, and steps that hold its slots.
    fn get_gate(&self, namespace: &str, name: &str) -> impl Future<Output = Result<GateDetail, ClientError>> + Send;

    /// Sets limits of a gate that replace those of templates, or removes them.
    fn patch_gate(
        &self,
        namespace: &str,
        name: &str,
        change: &PatchGate,
    ) -> impl Future<Output = Result<GateDetail, ClientError>> + Send;

    /// Returns a page of the matching investigations, newest first.
    fn list_dead_letters(
        &self,
        filter: &ListDeadLetters,
    ) -> impl Future<Output = Result<DeadLetterList, ClientError>> + Send;

    /// Returns an investigation.
    fn get_dead_letter(&self, dlq_entry_uuid: Uuid) -> impl Future<Output = Result<DeadLetter, ClientError>> + Send;

    /// Opens an investigation of a task, or returns the open one.
    fn open_dead_letter(
        &self,
        request: &OpenDeadLetter,
    ) -> impl Future<Output = Result<DeadLetter, ClientError>> + Send;

    /// Changes, closes or reopens an investigation.
    fn patch_dead_letter(
        &self,
        dlq_entry_uuid: Uuid,
        change: &PatchDeadLetter,
    ) -> impl Future<Output = Result<DeadLetter, ClientError>> + Send;

    /// Returns where each step of a template's graph is drawn.
    fn get_template_layout(
        &self,
        namespace: &str,
        name: &str,
        version: Option<&str>,
    ) -> impl Future<Output = Result<TemplateLayout, ClientError>> + Send;

    /// Returns counts of tasks, the queues, the workers together, and missing handlers, of a namespace or all.
    fn stats(&self, namespace: Option<&str>) -> impl Future<Output = Result<Stats, ClientError>> + Send;

    /// Returns whose key this client sends, and what it allows.
    fn whoami(&self) -> impl Future<Output = Result<Whoami, ClientError>> + Send;

    /// Returns all namespaces.
    fn list_namespaces(&self) -> impl Future<Output = Result<NamespaceList, ClientError>> + Send;

    /// Pauses or resumes a namespace, or sets how long its finished tasks are kept.
    fn patch_namespace(
        &self,
        namespace: &str,
        change: &PatchNamespace,
    ) -> impl Future<Output = Result<NamespaceSummary, ClientError>> + Send;

    /// Returns domain events that are in the queue of a namespace. They stay there.
    fn list_domain_events(
        &self,
        namespace: &str,
        query: &ListDomainEvents,
    ) -> impl Future<Output = Result<DomainEventList, ClientError>> + Send;

    /// Returns all workers that the server knows, or those that serve a namespace.
    fn list_workers(&self, namespace: Option<&str>) -> impl Future<Output = Result<WorkerList, ClientError>> + Send;

    /// Returns facts about the server and its database.
    fn system_info(&self) -> impl Future<Output = Result<SystemInfo, ClientError>> + Send;

    /// Returns the server's health. An unhealthy server is not an error.
    fn health(&self) -> impl Future<Output = Result<Health, ClientError>> + Send;
}

/// A client for a server's API over HTTP. Cheap to clone: clones share their connections.
#[derive(Debug, Clone)]
pub struct OrchestrationClient {
    http: Http,
}

impl OrchestrationClient {
    /// Creates a client for the server at `url`, such as `http://127.0.0.1:8080`. It does not connect yet.
    ///
    /// # Errors
    /// [`ClientError::BadUrl`] if `url` is not an http or https address; [`ClientError::Tls`] if https is not possible.
    pub fn new(url: &str) -> Result<Self, ClientError> {
        Ok(Self { http: Http::new(url)? })
    }

    /// Sets the time limit for responses, 10 seconds by default.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { http: self.http.with_timeout(timeout) }
    }

    /// Sends an API key or a token with every request. Others can read it on an http connection: use https to other
    /// machines. Neither errors nor `Debug` show it.
    ///
    /// # Errors
    /// [`ClientError::BadApiKey`] if it is not valid in a header.
    pub fn with_api_key(self, key: &str) -> Result<Self, ClientError> {
        Ok(Self { http: self.http.with_api_key(key)? })
    }

    /// Sends the caller's place in a trace, a W3C `traceparent`, with every request. Tasks that are created by this
    /// client then continue the trace. Clones are cheap, so a caller can make one for each of its own requests.
    ///
    /// # Errors
    /// [`ClientError::BadTraceparent`] if it is not a `traceparent`.
    pub fn with_traceparent(self, traceparent: &str) -> Result<Self, ClientError> {
        Ok(Self { http: self.http.with_traceparent(traceparent)? })
    }

    /// `POST /v1/tasks/{task_uuid}/...`: an operator's action.
    async fn operate(
        &self,
        task_uuid: Uuid,
        path: &[&str],
        body: &(impl serde::Serialize + Sync),
    ) -> Result<TaskSummary, ClientError> {
        let task_uuid = task_uuid.to_string();
        let path = [&["v1", "tasks", &task_uuid], path].concat();
        self.http.send(Repeat::Never, || self.http.post(&path).json(body)).await
    }

    async fn get<T: serde::de::DeserializeOwned>(
        &self,
        path: &[&str],
        query: &(impl serde::Serialize + Sync),
    ) -> Result<T, ClientError> {
        self.http.send(Repeat::Safe, || self.http.get(path).query(query)).await
    }
}

impl OrchestrationApiClient for OrchestrationClient {
    async fn create_task(&self, task: &CreateTask) -> Result<TaskSummary, ClientError> {
        self.http.send(repeat_of(task), || self.http.post(&["v1", "tasks"]).json(task)).await
    }

    async fn create_task_and_wait(&self, task: &CreateTask, wait: Duration) -> Result<TaskDetail, ClientError> {
        let request = || self.http.wait(self.http.post(&["v1", "tasks"]), wait).json(task);
        self.http.send(repeat_of(task), request).await
    }

    async fn get_task(&self, task_uuid: Uuid) -> Result<TaskDetail, ClientError> {
        self.get(&["v1", "tasks", &task_uuid.to_string()], &NO_QUERY).await
    }

    async fn get_task_at_rest(&self, task_uuid: Uuid, wait: Duration) -> Result<TaskDetail, ClientError> {
        let task_uuid = task_uuid.to_string();
        self.http.send(Repeat::Safe, || self.http.wait(self.http.get(&["v1", "tasks", &task_uuid]), wait)).await
    }

    async fn list_tasks(&self, filter: &ListTasks) -> Result<TaskList, ClientError> {
        self.get(&["v1", "tasks"], filter).await
    }

    async fn list_steps(&self, task_uuid: Uuid) -> Result<StepList, ClientError> {
        self.get(&["v1", "tasks", &task_uuid.to_string(), "steps"], &NO_QUERY).await
    }

    async fn list_transitions(&self, task_uuid: Uuid) -> Result<TransitionList, ClientError> {
        self.get(&["v1", "tasks", &task_uuid.to_string(), "transitions"], &NO_QUERY).await
    }

    async fn list_attempts(&self, task_uuid: Uuid, page: &ListOfTask) -> Result<AttemptList, ClientError> {
        self.get(&["v1", "tasks", &task_uuid.to_string(), "attempts"], page).await
    }

    async fn inspect_step(&self, task_uuid: Uuid, step: &str) -> Result<StepInspection, ClientError> {
        self.get(&["v1", "tasks", &task_uuid.to_string(), "steps", step], &NO_QUERY).await
    }

    async fn rerun_task(&self, task_uuid: Uuid, rerun: &RerunTask) -> Result<TaskSummary, ClientError> {
        let repeat = if rerun.idempotency_key.is_some() { Repeat::Safe } else { Repeat::Never };
        let task_uuid = task_uuid.to_string();
        self.http.send(repeat, || self.http.post(&["v1", "tasks", &task_uuid, "rerun"]).json(rerun)).await
    }

    async fn preview_bulk_job(&self, job: &CreateBulkJob) -> Result<BulkPreview, ClientError> {
        let job = CreateBulkJob { dry_run: true, ..job.clone() };
        self.http.send(Repeat::Safe, || self.http.post(&["v1", "bulk"]).json(&job)).await
    }

    async fn create_bulk_job(&self, job: &CreateBulkJob) -> Result<BulkJob, ClientError> {
        let job = CreateBulkJob { dry_run: false, ..job.clone() };
        self.http.send(Repeat::Never, || self.http.post(&["v1", "bulk"]).json(&job)).await
    }

    async fn get_bulk_job(&self, id: Uuid) -> Result<BulkJob, ClientError> {
        self.get(&["v1", "bulk", &id.to_string()], &NO_QUERY).await
    }

    async fn list_bulk_jobs(&self) -> Result<BulkJobList, ClientError> {
        self.get(&["v1", "bulk"], &NO_QUERY).await
    }

    async fn stop_bulk_job(&self, id: Uuid) -> Result<BulkJob, ClientError> {
        let id = id.to_string();
        self.http.send(Repeat::Never, || self.http.post(&["v1", "bulk", &id, "stop"]).json(&NO_BODY)).await
    }

    async fn cancel_task(&self, task_uuid: Uuid, action: &OperatorAction) -> Result<TaskSummary, ClientError> {
        self.operate(task_uuid, &["cancel"], action).await
    }

    async fn fail_task(&self, task_uuid: Uuid, action: &OperatorAction) -> Result<TaskSummary, ClientError> {
        self.operate(task_uuid, &["fail"], action).await
    }

    async fn retry_task(&self, task_uuid: Uuid, action: &OperatorAction) -> Result<TaskSummary, ClientError> {
        self.operate(task_uuid, &["retry"], action).await
    }

    async fn fork_task(&self, task_uuid: Uuid, fork: &ForkTask) -> Result<TaskSummary, ClientError> {
        self.operate(task_uuid, &["fork"], fork).await
    }

    async fn send_signal(&self, task_uuid: Uuid, name: &str, signal: &SendSignal) -> Result<TaskSummary, ClientError> {
        let task_uuid = task_uuid.to_string();
        let path = ["v1", "tasks", &task_uuid, "signals", name];
        self.http.send(Repeat::Safe, || self.http.post(&path).json(signal)).await
    }

    async fn retry_step(
        &self,
        task_uuid: Uuid,
        step: &str,
        action: &OperatorAction,
    ) -> Result<TaskSummary, ClientError> {
        self.operate(task_uuid, &["steps", step, "retry"], action).await
    }

    async fn resolve_step(
        &self,
        task_uuid: Uuid,
        step: &str,
        resolution: &ResolveStep,
    ) -> Result<TaskSummary, ClientError> {
        self.operate(task_uuid, &["steps", step, "resolve"], resolution).await
    }

    async fn apply_template(&self, source: &str) -> Result<AppliedTemplate, ClientError> {
        let request = || {
            let request = self.http.post(&["v1", "templates"]);
            request.header(CONTENT_TYPE, "application/yaml").body(source.to_owned())
        };
        self.http.send(Repeat::Never, request).await
    }

    async fn list_templates(&self, namespace: Option<&str>) -> Result<TemplateList, ClientError> {
        self.get(&["v1", "templates"], &[("namespace", namespace)]).await
    }

    async fn get_template(
        &self,
        namespace: &str,
        name: &str,
        version: Option<&str>,
    ) -> Result<TemplateDetail, ClientError> {
        self.get(&["v1", "templates", namespace, name], &[("version", version)]).await
    }

    async fn list_schedules(&self, namespace: Option<&str>) -> Result<ScheduleList, ClientError> {
        self.get(&["v1", "schedules"], &[("namespace", namespace)]).await
    }

    async fn get_schedule(&self, name: &str) -> Result<Schedule, ClientError> {
        self.get(&["v1", "schedules", name], &NO_QUERY).await
    }

    async fn put_schedule(&self, name: &str, schedule: &PutSchedule) -> Result<Schedule, ClientError> {
        self.http.send(Repeat::Safe, || self.http.put(&["v1", "schedules", name]).json(schedule)).await
    }

    async fn delete_schedule(&self, name: &str) -> Result<(), ClientError> {
        self.http.send_for_nothing(Repeat::Never, || self.http.delete(&["v1", "schedules", name])).await
    }

    async fn trigger_schedule(&self, name: &str) -> Result<TaskSummary, ClientError> {
        self.http.send(Repeat::Never, || self.http.post(&["v1", "schedules", name, "trigger"]).json(&NO_BODY)).await
    }

    async fn list_gates(&self, namespace: Option<&str>) -> Result<GateList, ClientError> {
        self.get(&["v1", "gates"], &[("namespace", namespace)]).await
    }

    async fn get_gate(&self, namespace: &str, name: &str) -> Result<GateDetail, ClientError> {
        self.get(&["v1", "gates", namespace, name], &NO_QUERY).await
    }

    async fn patch_gate(&self, namespace: &str, name: &str, change: &PatchGate) -> Result<GateDetail, ClientError> {
        self.http.send(Repeat::Safe, || self.http.patch(&["v1", "gates", namespace, name]).json(change)).await
    }

    async fn list_dead_letters(&self, filter: &ListDeadLetters) -> Result<DeadLetterList, ClientError> {
        self.get(&["v1", "dlq"], filter).await
    }

    async fn get_dead_letter(&self, dlq_entry_uuid: Uuid) -> Result<DeadLetter, ClientError> {
        self.get(&["v1", "dlq", &dlq_entry_uuid.to_string()], &NO_QUERY).await
    }

    async fn open_dead_letter(&self, request: &OpenDeadLetter) -> Result<DeadLetter, ClientError> {
        self.http.send(Repeat::Safe, || self.http.post(&["v1", "dlq"]).json(request)).await
    }

    async fn patch_dead_letter(
        &self,
        dlq_entry_uuid: Uuid,
        change: &PatchDeadLetter,
    ) -> Result<DeadLetter, ClientError> {
        let path = dlq_entry_uuid.to_string();
        self.http.send(Repeat::Safe, || self.http.patch(&["v1", "dlq", &path]).json(change)).await
    }

    async fn get_template_layout(
        &self,
        namespace: &str,
        name: &str,
        version: Option<&str>,
    ) -> Result<TemplateLayout, ClientError> {
        self.get(&["v1", "templates", namespace, name, "layout"], &[("version", version)]).await
    }

    async fn stats(&self, namespace: Option<&str>) -> Result<Stats, ClientError> {
        self.get(&["v1", "stats"], &[("namespace", namespace)]).await
    }

    async fn whoami(&self) -> Result<Whoami, ClientError> {
        self.get(&["v1", "whoami"], &NO_QUERY).await
    }

    async fn list_namespaces(&self) -> Result<NamespaceList, ClientError> {
        self.get(&["v1", "namespaces"], &NO_QUERY).await
    }

    async fn patch_namespace(&self, namespace: &str, change: &PatchNamespace) -> Result<NamespaceSummary, ClientError> {
        self.http.send(Repeat::Safe, || self.http.patch(&["v1", "namespaces", namespace]).json(change)).await
    }

    async fn list_domain_events(
        &self,
        namespace: &str,
        query: &ListDomainEvents,
    ) -> Result<DomainEventList, ClientError> {
        self.get(&["v1", "namespaces", namespace, "events"], query).await
    }

    async fn list_workers(&self, namespace: Option<&str>) -> Result<WorkerList, ClientError> {
        self.get(&["v1", "workers"], &[("namespace", namespace)]).await
    }

    async fn system_info(&self) -> Result<SystemInfo, ClientError> {
        self.get(&["v1", "system", "info"], &NO_QUERY).await
    }

    async fn health(&self) -> Result<Health, ClientError> {
        self.http.health().await
    }
}

/// Creating a task twice is safe if it has an idempotency key.
fn repeat_of(task: &CreateTask) -> Repeat {
    if task.idempotency_key.is_some() { Repeat::Safe } else { Repeat::Never }
}
