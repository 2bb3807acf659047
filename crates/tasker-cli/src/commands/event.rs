//! `tasker-cli event`

use std::time::Duration;

use clap::{Args, Subcommand};
use tasker_api::{DomainEvent, ListDomainEvents};
use tasker_client::OrchestrationApiClient;
use tokio::time::sleep;

use crate::context::Context;
use crate::failure::Failure;
use crate::output;

/// How often new events are looked for.
const POLL: Duration = Duration::from_secs(1);

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the newest domain events of a namespace, as they are in its queue. They stay there.
    List(Newest),
    /// The same, and then each new event until Ctrl-C. With --json, each event is one line.
    Tail(Newest),
}

#[derive(Debug, Args)]
pub(crate) struct Newest {
    /// The namespace.
    #[arg(long)]
    namespace: String,
    /// How many of the newest events.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=500))]
    limit: u32,
}

impl Newest {
    fn query(&self) -> ListDomainEvents {
        ListDomainEvents { after: None, limit: Some(self.limit.into()) }
    }
}

impl Command {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::List(newest) => {
                let list = context.orchestration()?.list_domain_events(&newest.namespace, &newest.query()).await?;
                if context.json {
                    return output::print_json(&list);
                }
                let rows = list.events.iter().map(cells);
                output::print(output::table(["published (UTC)", "event", "task", "step", "read", "payload"], rows))
            }
            Self::Tail(newest) => tail(context, &newest).await,
        }
    }
}

async fn tail(context: &Context, newest: &Newest) -> Result<(), Failure> {
    let client = context.orchestration()?;
    let mut query = newest.query();
    loop {
        let events = client.list_domain_events(&newest.namespace, &query).await?.events;
        for event in &events {
            let line = if context.json {
                serde_json::to_string(event).map_err(Failure::failed)?
            } else {
                let [published, name, task, step, _, payload] = cells(event);
                output::clean(&format!("{published}  {name}  {task}  {step}  {payload}"))
            };
            if !output::print_on(line)? {
                return Ok(());
            }
        }
        // Before the first event, all events are new.
        query.after = events.last().map(|event| event.msg_id).or(query.after).or(Some(0));
        if events.is_empty() {
            sleep(POLL).await;
        }
    }
}

fn cells(event: &DomainEvent) -> [String; 6] {
    let DomainEvent { published_at, reads, event, .. } = event;
    let text = |pointer| event.pointer(pointer).and_then(|value| value.as_str()).unwrap_or_default().to_owned();
    [
        output::time(*published_at),
        text("/event_name"),
        text("/metadata/task_uuid"),
        text("/metadata/step_name"),
        if *reads == 0 { String::new() } else { format!("{reads} times") },
        event.get("payload").map(output::short).unwrap_or_default(),
    ]
}
