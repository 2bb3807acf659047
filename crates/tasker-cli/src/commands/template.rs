//! `tasker-cli template`

use clap::{Args, Subcommand};
use serde::Serialize;
use tasker_api::{TemplateOutcome, TemplateSummary};
use tasker_client::OrchestrationApiClient;
use tasker_template::{Finding, Parsed, StepType, TaskTemplate, TemplateErrors, parse};

use crate::context::Context;
use crate::failure::Failure;
use crate::{input, output};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check templates, and store them on the server.
    Apply {
        /// YAML or JSON files; - for standard input.
        #[arg(required = true)]
        files: Vec<String>,
    },
    /// Check templates without a server; exit code 1 if one is invalid.
    Validate {
        /// YAML or JSON files; - for standard input.
        #[arg(required = true)]
        files: Vec<String>,
    },
    /// List the templates on the server.
    List {
        /// Only templates of this namespace.
        #[arg(long)]
        namespace: Option<String>,
    },
    /// Show a template on the server.
    Show(Stored),
    /// Draw the graph of a template's steps.
    Graph {
        /// A YAML or JSON file; - for standard input [default: a template on the server].
        #[arg(conflicts_with_all = ["namespace", "name", "version"], required_unless_present_all = ["namespace", "name"])]
        file: Option<String>,
        #[arg(long, requires = "name")]
        /// The template's namespace.
        namespace: Option<String>,
        /// The template's name.
        #[arg(long, requires = "namespace")]
        name: Option<String>,
        /// The template's version [default: the newest].
        #[arg(long)]
        version: Option<String>,
        /// Print the graph for Graphviz.
        #[arg(long)]
        dot: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Stored {
    /// The template's namespace.
    #[arg(long)]
    namespace: String,
    /// The template's name.
    #[arg(long)]
    name: String,
    /// The template's version [default: the newest].
    #[arg(long)]
    version: Option<String>,
}

impl Command {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Apply { files } => apply(context, &files).await,
            Self::Validate { files } => validate(context, &files),
            Self::List { namespace } => {
                let list = context.orchestration()?.list_templates(namespace.as_deref()).await?;
                if context.json {
                    return output::print_json(&list);
                }
                let rows = list.templates.into_iter().map(|template| {
                    let TemplateSummary { namespace, name, version, description, total_steps, created_at } = template;
                    let description = output::short(&description.unwrap_or_default().into());
                    [namespace, name, version, total_steps.to_string(), output::time(created_at), description]
                });
                output::print(output::table(
                    ["namespace", "name", "version", "steps", "stored (UTC)", "description"],
                    rows,
                ))
            }
            Self::Show(Stored { namespace, name, version }) => {
                let template = context.orchestration()?.get_template(&namespace, &name, version.as_deref()).await?;
                if context.json {
                    return output::print_json(&template);
                }
                show(&stored(&template.definition)?)
            }
            Self::Graph { file: Some(file), dot, .. } => {
                let parsed = parse(&input::read(&file)?, Some(&file)).map_err(|errors| refused(&errors))?;
                draw(context, &parsed.template, dot)
            }
            Self::Graph { file: None, namespace, name, version, dot } => {
                let (namespace, name) = (namespace.unwrap_or_default(), name.unwrap_or_default());
                let template = context.orchestration()?.get_template(&namespace, &name, version.as_deref()).await?;
                draw(context, &stored(&template.definition)?, dot)
            }
        }
    }
}

/// Parses a template that the server sent.
fn stored(definition: &serde_json::Value) -> Result<TaskTemplate, Failure> {
    match parse(&definition.to_string(), None) {
        Ok(Parsed { template, .. }) => Ok(template),
        Err(errors) => Err(Failure::failed(format!("this tasker-cli cannot read the server's template: {errors}"))),
    }
}

fn refused(errors: &TemplateErrors) -> Failure {
    Failure::failed(format!("the template is invalid:\n{errors}"))
}

async fn apply(context: &Context, files: &[String]) -> Result<(), Failure> {
    // All are checked before the first is stored, so that an invalid file does not leave half of them stored.
    let sources: Vec<_> = files.iter().map(|file| Ok((file, input::read(file)?))).collect::<Result<_, Failure>>()?;
    for (file, source) in &sources {
        for warning in parse(source, Some(file)).map_err(|errors| refused(&errors))?.warnings {
            output::note(warning_line(&warning));
        }
    }
    let client = context.orchestration()?;
    let mut applied = Vec::new();
    for (file, source) in &sources {
        let template = client.apply_template(source).await.map_err(|error| Failure::from(error).context(file))?;
        if !context.json {
            let what = match template.outcome {
                TemplateOutcome::Created => "stored",
                TemplateOutcome::Unchanged => "unchanged",
            };
            output::print(format!("{}/{} {}: {what}", template.namespace, template.name, template.version))?;
        }
        applied.push(template);
    }
    if context.json { output::print_json(&applied) } else { Ok(()) }
}

/// The output of `template validate --json` for a file.
#[derive(Serialize)]
struct Checked {
    file: String,
    valid: bool,
    errors: Vec<Finding>,
    warnings: Vec<Finding>,
}

fn validate(context: &Context, files: &[String]) -> Result<(), Failure> {
    let mut checked = Vec::new();
    for file in files {
        let source = input::read(file)?;
        let (errors, warnings) = match parse(&source, Some(file)) {
            Ok(Parsed { template, warnings }) => {
                if !context.json {
                    let TaskTemplate { namespace_name, name, version, steps, .. } = &template;
                    let steps = steps.len();
                    output::print(output::clean(&format!("{file}: {namespace_name}/{name} {version}, {steps} steps")))?;
                }
                (Vec::new(), warnings)
            }
            Err(TemplateErrors(errors)) => (errors, Vec::new()),
        };
        if !context.json {
            for error in &errors {
                output::print(output::clean(&error.to_string()))?;
            }
            for warning in &warnings {
                output::print(warning_line(warning))?;
            }
        }
        checked.push(Checked { file: file.clone(), valid: errors.is_empty(), errors, warnings });
    }
    if context.json {
        output::print_json(&checked)?;
    }
    match checked.iter().filter(|file| !file.valid).count() {
        0 => Ok(()),
        wrong => Err(Failure::failed(format!("{wrong} of {} templates are invalid", checked.len()))),
    }
}

/// A warning in the format of compilers.
fn warning_line(warning: &Finding) -> String {
    let Finding { file, line, column, path, message } = warning;
    let path = if path.is_empty() { String::new() } else { format!("{path}: ") };
    output::clean(&format!("{}:{line}:{column}: warning: {path}{message}", file.as_deref().unwrap_or("-")))
}

fn show(template: &TaskTemplate) -> Result<(), Failure> {
    output::print(output::facts([
        ("template", Some(format!("{}/{}", template.namespace_name, template.name))),
        ("version", Some(template.version.to_string())),
        ("description", template.description.clone()),
        ("input", template.input_schema.as_ref().map(ToString::to_string)),
    ]))?;
    let rows = template.steps.iter().map(|step| {
        let retry = &step.retry;
        let retries = match retry.max_attempts() {
            1 => "1".to_owned(),
            attempts => {
                let backoff = serde_json::to_value(retry.backoff).unwrap_or_default();
                let backoff = backoff.as_str().unwrap_or_default();
                format!("{attempts}, {backoff} from {} to {} ms", retry.backoff_base_ms, retry.max_backoff_ms)
            }
        };
        [
            step.name.clone(),
            match &step.task {
                Some(task) => format!("task {}", task.template),
                None => step.callable().to_owned(),
            },
            step.dependencies.join(", "),
            retries,
            format!("{} s", step.timeout_seconds),
        ]
    });
    output::print(output::table(["step", "handler", "waits for", "attempts", "timeout"], rows))
}

/// Prints the steps of each level, or the graph for Graphviz.
fn draw(context: &Context, template: &TaskTemplate, dot: bool) -> Result<(), Failure> {
    let name = |step: u16| template.steps[usize::from(step)].name.as_str();
    let step_type = |step: u16| template.steps[usize::from(step)].step_type;
    // A standard step needs no label.
    let label = |step: u16| match step_type(step) {
        StepType::Standard => name(step).to_owned(),
        other => format!("{} ({})", name(step), other.as_str()),
    };
    let dependencies =
        |step: u16| template.dependencies_of(usize::from(step)).iter().map(|step| name(*step)).collect::<Vec<_>>();
    if context.json {
        let levels: Vec<Vec<_>> = template
            .levels()
            .iter()
            .map(|level| {
                let steps = level.iter();
                steps
                    .map(|step| {
                        let (name, step_type) = (name(*step), step_type(*step));
                        serde_json::json!({"name": name, "type": step_type, "dependencies": dependencies(*step)})
                    })
                    .collect()
            })
            .collect();
        return output::print_json(&levels);
    }
    if dot {
        let mut text = format!("digraph {:?} {{\n  rankdir = LR;\n  node [shape = box];\n", template.name);
        for step in template.levels().concat() {
            let shape = match step_type(step) {
                StepType::Standard => "",
                StepType::Decision => " [shape = diamond]",
                StepType::DeferredConvergence => " [shape = invtriangle]",
                StepType::Batchable => " [shape = trapezium]",
                StepType::BatchWorker => " [shape = box3d]",
            };
            text.push_str(&format!("  {:?}{shape};\n", name(step)));
            for dependency in dependencies(step) {
                text.push_str(&format!("  {dependency:?} -> {:?};\n", name(step)));
            }
        }
        return output::print(text + "}");
    }
    let mut text = format!("{}/{} {}", template.namespace_name, template.name, template.version);
    for (number, level) in template.levels().iter().enumerate() {
        let width = level.iter().map(|step| label(*step).chars().count()).max().unwrap_or(0);
        for (place, step) in level.iter().enumerate() {
            let row = if place == 0 { (number + 1).to_string() } else { String::new() };
            let waits_for = dependencies(*step).join(", ");
            let arrow = if waits_for.is_empty() { "" } else { " <- " };
            text.push_str(&format!("\n{row:>4}  {:width$}{arrow}{waits_for}", label(*step)));
        }
    }
    output::print(text.lines().map(|line| output::clean(line.trim_end())).collect::<Vec<_>>().join("\n"))
}
