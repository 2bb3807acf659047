//! `tasker-cli gate`

use clap::{Args, Subcommand};
use tasker_api::{Gate, GateDetail, GateRate, PatchGate, PatchGateRate};
use tasker_client::OrchestrationApiClient;

use crate::context::Context;
use crate::failure::Failure;
use crate::output;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the gates, their limits, and how many steps hold slots or wait.
    List {
        /// Only gates of this namespace.
        #[arg(long)]
        namespace: Option<String>,
    },
    /// Show a gate, and the steps that hold its slots.
    Show(Named),
    /// Set limits that replace those of the templates.
    Set(Set),
}

#[derive(Debug, Args)]
pub(crate) struct Named {
    /// The namespace.
    #[arg(long)]
    namespace: String,
    /// The gate's name.
    #[arg(long)]
    name: String,
}

#[derive(Debug, Args)]
#[group(id = "change", required = true, multiple = true,
    args = ["limit", "template_limit", "rate_limit", "per_seconds", "burst", "template_rate"])]
pub(crate) struct Set {
    #[command(flatten)]
    named: Named,
    /// The most steps of a key that run at once; 0 closes the gate.
    #[arg(long)]
    limit: Option<u32>,
    /// Let the templates decide again how many steps run at once.
    #[arg(long, conflicts_with = "limit")]
    template_limit: bool,
    /// How many steps of a key start in a time [default: as before].
    #[arg(long)]
    rate_limit: Option<u32>,
    /// That time, in seconds [default: as before].
    #[arg(long)]
    per_seconds: Option<u32>,
    /// How many steps start at once [default: as before, but not more than in the time].
    #[arg(long)]
    burst: Option<u32>,
    /// Let the templates decide again how many steps start in a time.
    #[arg(long, conflicts_with_all = ["rate_limit", "per_seconds", "burst"])]
    template_rate: bool,
}

impl Command {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let client = context.orchestration()?;
        match self {
            Self::List { namespace } => {
                let list = client.list_gates(namespace.as_deref()).await?;
                if context.json {
                    return output::print_json(&list);
                }
                let rows = list.gates.into_iter().map(|gate| {
                    let (limit, rate) = (limit(&gate), rate(gate.rate));
                    [gate.namespace, gate.name, limit, rate, gate.holding.to_string(), gate.waiting.to_string()]
                });
                output::print(output::table(["namespace", "gate", "limit", "rate", "holding", "waiting"], rows))
            }
            Self::Show(Named { namespace, name }) => show(context, &client.get_gate(&namespace, &name).await?),
            Self::Set(set) => {
                let change = set.change();
                show(context, &client.patch_gate(&set.named.namespace, &set.named.name, &change).await?)
            }
        }
    }
}

impl Set {
    fn change(&self) -> PatchGate {
        let rate = PatchGateRate { limit: self.rate_limit, per_seconds: self.per_seconds, burst: self.burst };
        let rate = (rate != PatchGateRate::default()).then_some(rate);
        PatchGate {
            limit: (self.template_limit || self.limit.is_some()).then_some(self.limit),
            rate: (self.template_rate || rate.is_some()).then_some(rate),
        }
    }
}

/// The limit, and that of the templates if an operator has set another one.
fn limit(gate: &Gate) -> String {
    let Some(limit) = gate.limit else { return String::new() };
    match gate.template_limit {
        Some(template) if template != limit => format!("{limit} (templates: {template})"),
        _ => limit.to_string(),
    }
}

fn rate(rate: Option<GateRate>) -> String {
    rate.map_or_else(String::new, |rate| format!("{} in {} s, {} at once", rate.limit, rate.per_seconds, rate.burst))
}

fn show(context: &Context, detail: &GateDetail) -> Result<(), Failure> {
    if context.json {
        return output::print_json(detail);
    }
    let GateDetail { gate, holders } = detail;
    let overridden = gate.template_rate.filter(|template| Some(*template) != gate.rate);
    output::print(output::facts([
        ("gate", Some(format!("{}/{}", gate.namespace, gate.name))),
        ("limit", gate.limit.map(|_| limit(gate))),
        ("rate", gate.rate.map(|_| rate(gate.rate))),
        ("rate of templates", overridden.map(|template| rate(Some(template)))),
        ("holding", Some(gate.holding.to_string())),
        ("waiting", Some(gate.waiting.to_string())),
        ("changed (UTC)", Some(output::time(gate.updated_at))),
    ]))?;
    if holders.is_empty() {
        return Ok(());
    }
    let rows = holders.iter().map(|holder| {
        let key = holder.key.clone().unwrap_or_default();
        [key, holder.task_uuid.to_string(), holder.step.clone(), output::time(holder.since)]
    });
    output::print(output::table(["key", "task", "step", "since (UTC)"], rows))
}
