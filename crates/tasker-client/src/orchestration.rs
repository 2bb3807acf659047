//! The server's API.

use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use tasker_api::{
    AppliedTemplate, CreateTask, Health, ListTasks, NamespaceList, OperatorAction, ResolveStep, StepList, SystemInfo,
    TaskDetail, TaskList, TaskSummary, TemplateDetail, TemplateList, TransitionList, WorkerList,
};
use tokio::time::Instant;
use uuid::Uuid;

use crate::ClientError;
use crate::http::{Http, Repeat};

/// How long one request of [`OrchestrationApiClient::wait_for_task`] asks the server to wait.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// The pause before the next such request.
const PAUSE: Duration = Duration::from_millis(50);

/// What a server can be asked. Every call fails with a [`ClientError`].
pub trait OrchestrationApiClient: Sync {
    /// Creates a task, or finds the one that was created with the same idempotency key and the same request.
    fn create_task(&self, task: &CreateTask) -> impl Future<Output = Result<TaskSummary, ClientError>> + Send;

    /// A task with its steps, as it is now.
    fn get_task(&self, task_uuid: Uuid) -> impl Future<Output = Result<TaskDetail, ClientError>> + Send;

    /// A task with its steps, as soon as it is at rest, but after `wait` at the latest.
    fn get_task_at_rest(
        &self,
        task_uuid: Uuid,
        wait: Duration,
    ) -> impl Future<Output = Result<TaskDetail, ClientError>> + Send;

    /// A task once it is at rest: final, or blocked by failures. [`ClientError::NotAtRest`] if it is not within `limit`.
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
                // A server that shuts down answers at once.
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// A page of the tasks that match, newest first.
    fn list_tasks(&self, filter: &ListTasks) -> impl Future<Output = Result<TaskList, ClientError>> + Send;

    /// The steps of a task.
    fn list_steps(&self, task_uuid: Uuid) -> impl Future<Output = Result<StepList, ClientError>> + Send;

    /// The history of a task and its steps.
    fn list_transitions(&self, task_uuid: Uuid) -> impl Future<Output = Result<TransitionList, ClientError>> + Send;

    /// Ends a task.
    fn cancel_task(
        &self,
        task_uuid: Uuid,
        action: &OperatorAction,
    ) -> impl Future<Output = Result<TaskSummary, ClientError>> + Send;

    /// Gives up a task that is blocked by failures.
    fn fail_task(
        &self,
        task_uuid: Uuid,
        action: &OperatorAction,
    ) -> impl Future<Output = Result<TaskSummary, ClientError>> + Send;

    /// Lets all failed steps of a task run again.
    fn retry_task(
        &self,
        task_uuid: Uuid,
        action: &OperatorAction,
    ) -> impl Future<Output = Result<TaskSummary, ClientError>> + Send;

    /// Lets a failed step run again.
    fn retry_step(
        &self,
        task_uuid: Uuid,
        step: &str,
        action: &OperatorAction,
    ) -> impl Future<Output = Result<TaskSummary, ClientError>> + Send;

    /// Gives a step a result by hand.
    fn resolve_step(
        &self,
        task_uuid: Uuid,
        step: &str,
        resolution: &ResolveStep,
    ) -> impl Future<Output = Result<TaskSummary, ClientError>> + Send;

    /// Stores a template, given as YAML or JSON text.
    fn apply_template(&self, source: &str) -> impl Future<Output = Result<AppliedTemplate, ClientError>> + Send;

    /// All templates, or those of a namespace.
    fn list_templates(&self, namespace: Option<&str>)
    -> impl Future<Output = Result<TemplateList, ClientError>> + Send;

    /// A version of a template, or its newest one.
    fn get_template(
        &self,
        namespace: &str,
        name: &str,
        version: Option<&str>,
    ) -> impl Future<Output = Result<TemplateDetail, ClientError>> + Send;

    /// All namespaces.
    fn list_namespaces(&self) -> impl Future<Output = Result<NamespaceList, ClientError>> + Send;

    /// All workers that the server knows, or those that serve a namespace.
    fn list_workers(&self, namespace: Option<&str>) -> impl Future<Output = Result<WorkerList, ClientError>> + Send;

    /// Facts about the server and its database.
    fn system_info(&self) -> impl Future<Output = Result<SystemInfo, ClientError>> + Send;

    /// The server's health. An unhealthy server is an answer, not an error.
    fn health(&self) -> impl Future<Output = Result<Health, ClientError>> + Send;
}

/// A server's API at an address, by HTTP. Cheap to clone: clones share their connections.
#[derive(Debug, Clone)]
pub struct OrchestrationClient {
    http: Http,
}

impl OrchestrationClient {
    /// A client of the server at `url`, such as `http://127.0.0.1:8080`. Nothing is sent yet.
    ///
    /// # Errors
    /// When the address is not one of http or https.
    pub fn new(url: &str) -> Result<Self, ClientError> {
        Ok(Self { http: Http::new(url)? })
    }

    /// The same with another time limit for answers; 10 seconds by default.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { http: self.http.with_timeout(timeout) }
    }

    /// The same, sending an API key or a token with every request. Over http it can be read on the way: use https beyond this
    /// machine. It is never shown, neither in errors nor by `Debug`.
    ///
    /// # Errors
    /// [`ClientError::BadApiKey`] when it cannot stand in a header.
    pub fn with_api_key(self, key: &str) -> Result<Self, ClientError> {
        Ok(Self { http: self.http.with_api_key(key)? })
    }

    /// `POST /v1/tasks/{task_uuid}/...`, with what the operator says.
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

    /// `GET`, with a namespace to filter by if there is one.
    async fn list<T: serde::de::DeserializeOwned>(
        &self,
        path: &[&str],
        namespace: Option<&str>,
    ) -> Result<T, ClientError> {
        let query: Vec<_> = namespace.map(|namespace| ("namespace", namespace)).into_iter().collect();
        self.http.send(Repeat::Safe, || self.http.get(path).query(&query)).await
    }
}

impl OrchestrationApiClient for OrchestrationClient {
    async fn create_task(&self, task: &CreateTask) -> Result<TaskSummary, ClientError> {
        let repeat = if task.idempotency_key.is_some() { Repeat::Safe } else { Repeat::Never };
        self.http.send(repeat, || self.http.post(&["v1", "tasks"]).json(task)).await
    }

    async fn get_task(&self, task_uuid: Uuid) -> Result<TaskDetail, ClientError> {
        self.list(&["v1", "tasks", &task_uuid.to_string()], None).await
    }

    async fn get_task_at_rest(&self, task_uuid: Uuid, wait: Duration) -> Result<TaskDetail, ClientError> {
        let task_uuid = task_uuid.to_string();
        self.http.send(Repeat::Safe, || self.http.get_after(&["v1", "tasks", &task_uuid], wait)).await
    }

    async fn list_tasks(&self, filter: &ListTasks) -> Result<TaskList, ClientError> {
        self.http.send(Repeat::Safe, || self.http.get(&["v1", "tasks"]).query(filter)).await
    }

    async fn list_steps(&self, task_uuid: Uuid) -> Result<StepList, ClientError> {
        self.list(&["v1", "tasks", &task_uuid.to_string(), "steps"], None).await
    }

    async fn list_transitions(&self, task_uuid: Uuid) -> Result<TransitionList, ClientError> {
        self.list(&["v1", "tasks", &task_uuid.to_string(), "transitions"], None).await
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
        self.list(&["v1", "templates"], namespace).await
    }

    async fn get_template(
        &self,
        namespace: &str,
        name: &str,
        version: Option<&str>,
    ) -> Result<TemplateDetail, ClientError> {
        let query: Vec<_> = version.map(|version| ("version", version)).into_iter().collect();
        let path = ["v1", "templates", namespace, name];
        self.http.send(Repeat::Safe, || self.http.get(&path).query(&query)).await
    }

    async fn list_namespaces(&self) -> Result<NamespaceList, ClientError> {
        self.list(&["v1", "namespaces"], None).await
    }

    async fn list_workers(&self, namespace: Option<&str>) -> Result<WorkerList, ClientError> {
        self.list(&["v1", "workers"], namespace).await
    }

    async fn system_info(&self) -> Result<SystemInfo, ClientError> {
        self.list(&["v1", "system", "info"], None).await
    }

    async fn health(&self) -> Result<Health, ClientError> {
        self.http.health().await
    }
}
