//! `deskhand lint FILE...`: what is wrong with the tasks of a diagram, before it is deployed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use roxmltree::{Document, Node};
use serde_json::{Value, json};
use url::Url;

use super::FAILURE;
use super::output::{complain, line};
use super::settings::Settings;
use crate::config::Config;
use crate::connector::JOB_TYPES;
use crate::feel::{Program, Scope};
use crate::secrets::allow_list::declared::is_eligible;
use crate::secrets::allow_list::{AllowList, Place, Refusal};
use crate::secrets::policy::Policy;
use crate::secrets::reference::{Form, references};
use crate::secrets::{Destination, SecretScope, Secrets};

const ZEEBE: &str = "http://camunda.org/schema/zeebe/1.0";
/// Bytes of one diagram.
const LARGEST: u64 = 16 * 1024 * 1024;

/// Look for mistakes in BPMN files, before they are deployed.
///
/// Finds secrets that no store has or that may not go where the task sends them, references in the bare form and in fields
/// where they do not count, expressions that do not parse (with line and column), and headers without which a result is
/// lost. Looks at tasks of deskhand's job types alone. No server of a task is asked.
///
/// Exit code 0 when there are no errors, 1 when there are (with --strict also for warnings), 64 when the configuration
/// cannot work.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  deskhand lint examples/*.bpmn
  deskhand lint --strict --json processes/*.bpmn | jq .findings
  deskhand lint --no-secrets invoice.bpmn      on a machine that has none of the secrets")]
pub(super) struct Args {
    /// BPMN files.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// One JSON object instead of text.
    #[arg(long)]
    json: bool,
    /// Warnings count as errors.
    #[arg(long)]
    strict: bool,
    /// Do not ask the stores whether they have the secrets.
    #[arg(long)]
    no_secrets: bool,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Severity {
    Error,
    Warning,
}

impl Severity {
    fn label(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

/// Something that was found.
struct Finding {
    file: String,
    line: u32,
    column: u32,
    element: String,
    severity: Severity,
    rule: &'static str,
    message: String,
}

pub(super) async fn run(args: Args) -> ExitCode {
    let config = match args.settings.load() {
        Ok(config) => config,
        Err(code) => return code,
    };
    let secrets = match config.secrets() {
        Ok(secrets) => (!args.no_secrets).then(|| secrets.allowing_all()),
        Err(error) => {
            complain(format_args!("the stores of secrets cannot be set up: {error}"));
            return ExitCode::from(FAILURE);
        }
    };
    let lint = Lint {
        policy: Policy::new(config.policy.clone()),
        // A diagram is compared with itself: what it declares is declared.
        fields: AllowList::new(crate::secrets::allow_list::Settings {
            diagrams: None,
            ..config.secrets.allow_list.clone()
        }),
        has_diagrams: config.secrets.allow_list.diagrams.is_some(),
        secrets,
        config: &config,
    };
    let mut findings = Vec::new();
    for file in &args.files {
        lint.file(file, &mut findings).await;
    }
    let bad = |finding: &&Finding| args.strict || finding.severity == Severity::Error;
    let failed = findings.iter().any(|finding| bad(&finding));
    if args.json {
        print_json(&args, &findings, !failed);
    } else {
        print_text(&args, &findings);
    }
    if failed {
        ExitCode::from(FAILURE)
    } else {
        ExitCode::SUCCESS
    }
}

struct Lint<'a> {
    policy: Policy,
    fields: AllowList,
    has_diagrams: bool,
    secrets: Option<Secrets>,
    config: &'a Config,
}

/// A task of one file, and where its findings go.
struct Task<'a, 'f> {
    file: &'a str,
    document: &'a Document<'a>,
    process: &'a str,
    element: &'a str,
    job_type: &'a str,
    findings: &'f mut Vec<Finding>,
}

impl Task<'_, '_> {
    fn found(&mut self, at: usize, severity: Severity, rule: &'static str, message: String) {
        let position = self.document.text_pos_at(at);
        self.findings.push(Finding {
            file: self.file.to_owned(),
            line: position.row,
            column: position.col,
            element: self.element.to_owned(),
            severity,
            rule,
            message,
        });
    }
}

/// An input or header: its name, its text, and where that begins in the file.
struct Entry<'a> {
    name: &'a str,
    text: &'a str,
    at: usize,
}

impl Lint<'_> {
    async fn file(&self, path: &Path, findings: &mut Vec<Finding>) {
        let file = path.display().to_string();
        let fault = |line, column, message| Finding {
            file: file.clone(),
            line,
            column,
            element: String::new(),
            severity: Severity::Error,
            rule: "file",
            message,
        };
        let text = match std::fs::metadata(path).and_then(|about| match about.len() {
            0..=LARGEST => std::fs::read_to_string(path),
            _ => Err(std::io::Error::other(format!("larger than {LARGEST} bytes"))),
        }) {
            Ok(text) => text,
            Err(error) => return findings.push(fault(0, 0, format!("cannot be read: {error}"))),
        };
        let document = match Document::parse(&text) {
            Ok(document) => document,
            Err(error) => {
                let position = error.pos();
                return findings.push(fault(position.row, position.col, format!("is no XML: {error}")));
            }
        };
        let mut tasks = 0;
        for node in document.descendants().filter(is_eligible) {
            let definition = extension(node, "taskDefinition");
            let Some(job_type) = definition.and_then(|definition| definition.attribute("type")) else {
                continue;
            };
            if !JOB_TYPES.contains(&job_type) {
                continue;
            }
            tasks += 1;
            let process = node.ancestors().find(|one| one.tag_name().name() == "process");
            let mut task = Task {
                file: &file,
                document: &document,
                process: process.and_then(|process| process.attribute("id")).unwrap_or_default(),
                element: node.attribute("id").unwrap_or_default(),
                job_type,
                findings,
            };
            self.task(node, &mut task).await;
        }
        if tasks == 0 {
            let mut finding = fault(
                1,
                1,
                format!("holds no task of the job types {}", JOB_TYPES.join(" and ")),
            );
            finding.severity = Severity::Warning;
            findings.push(finding);
        }
    }

    async fn task(&self, node: Node<'_, '_>, task: &mut Task<'_, '_>) {
        let inputs = entries(node, "ioMapping", "input", "target", "source");
        let headers = entries(node, "taskHeaders", "header", "key", "value");
        for entry in inputs.iter().filter(|entry| entry.text.starts_with('=')) {
            expression(entry, "the input", task);
        }
        for entry in headers
            .iter()
            .filter(|entry| matches!(entry.name, "resultExpression" | "errorExpression"))
        {
            expression(entry, "the header", task);
        }
        let has = |name: &str| {
            headers
                .iter()
                .any(|entry| entry.name == name && !entry.text.trim().is_empty())
        };
        let at = node.range().start;
        if !has("resultExpression") && !has("resultVariable") {
            let message = "neither `resultExpression` nor `resultVariable`: the response is dropped".to_owned();
            task.found(at, Severity::Warning, "no-result", message);
        }
        if !has("retryBackoff") {
            let message = "no `retryBackoff`: failed tries follow each other at once; write e.g. PT30S".to_owned();
            task.found(at, Severity::Warning, "no-backoff", message);
        }
        self.references(&inputs, task).await;
        self.destinations(&inputs, task);
    }

    async fn references(&self, inputs: &[Entry<'_>], task: &mut Task<'_, '_>) {
        for entry in inputs {
            for found in references(entry.text) {
                let at = entry.at + found.place.start;
                let name = found.name;
                if found.form == Form::Bare {
                    let short = name.split(['/', '.']).next().unwrap_or(name);
                    let message = if self.config.secrets.bare_references {
                        format!(
                            "`secrets.{name}` without braces goes on over `/` and `.`: write {{{{secrets.{short}}}}}"
                        )
                    } else {
                        format!(
                            "`secrets.{name}` is a text here (bare_references = false): write {{{{secrets.{short}}}}}"
                        )
                    };
                    task.found(at, Severity::Warning, "bare-reference", message);
                    if !self.config.secrets.bare_references {
                        continue;
                    }
                }
                let scope = SecretScope {
                    tenant_id: "<default>",
                    bpmn_process_id: task.process,
                    process_definition_key: 0,
                    element_id: task.element,
                };
                let in_query = entry.name == "url" && entry.text[..found.place.start].contains('?');
                let place = Place {
                    name: name.to_owned(),
                    form: found.form,
                    path: if in_query {
                        "url?".to_owned()
                    } else {
                        entry.name.to_owned()
                    },
                };
                if !self.has_diagrams
                    && let Err(Refusal::Refused(error)) = self.fields.check(&[place], &scope).await
                {
                    task.found(at, Severity::Error, "field", error.message);
                }
                if let Some(secrets) = &self.secrets {
                    let text = format!("{{{{secrets.{name}}}}}");
                    if let Err(error) = secrets.text(&text, &scope).await {
                        task.found(
                            at,
                            Severity::Error,
                            "unknown-secret",
                            error.message.replace(" (field `value`)", ""),
                        );
                    }
                }
            }
        }
    }

    /// Secrets beside hosts that may not have them, as far as the diagram itself says where a call goes.
    fn destinations(&self, inputs: &[Entry<'_>], task: &mut Task<'_, '_>) {
        let scope = SecretScope {
            tenant_id: "<default>",
            bpmn_process_id: task.process,
            process_definition_key: 0,
            element_id: task.element,
        };
        let policy = self.policy.for_connector(task.job_type).for_job(&scope);
        let names = |root: &str| -> BTreeMap<String, usize> {
            let below = |name: &str| {
                root.is_empty()
                    || name
                        .strip_prefix(root)
                        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            };
            let inputs = inputs.iter().filter(|entry| below(entry.name));
            let found = inputs.flat_map(|entry| {
                references(entry.text).map(|found| (found.name.to_owned(), entry.at + found.place.start))
            });
            let mut first = BTreeMap::new();
            for (name, at) in found {
                first.entry(name).or_insert(at);
            }
            first
        };
        let address = |wanted: &str| {
            let entry = inputs.iter().find(|entry| entry.name == wanted)?;
            Url::parse(&constant(entry.text)?).ok()
        };
        let mut ask = |names: BTreeMap<String, usize>, url: Option<Url>, destination| {
            let Some(url) = url else { return };
            for (name, at) in names {
                if let Err(error) = policy.check(&[&name], &url, destination) {
                    task.found(at, Severity::Error, "foreign-host", error.message);
                }
            }
        };
        ask(
            names(""),
            address("url").or_else(|| address("organizationUri")),
            Destination::Api,
        );
        ask(
            names("authentication"),
            address("authentication.oauthTokenEndpoint"),
            Destination::TokenEndpoint,
        );
    }
}

fn extension<'a>(node: Node<'a, 'a>, name: &str) -> Option<Node<'a, 'a>> {
    let extensions = node
        .children()
        .find(|child| child.tag_name().name() == "extensionElements")?;
    extensions.children().find(|child| child.has_tag_name((ZEEBE, name)))
}

fn entries<'a>(node: Node<'a, 'a>, list: &str, item: &str, name: &str, text: &str) -> Vec<Entry<'a>> {
    let items = extension(node, list).into_iter().flat_map(|list| list.children());
    items
        .filter(|child| child.has_tag_name((ZEEBE, item)))
        .filter_map(|child| {
            let written = child.attribute_node(text)?;
            Some(Entry {
                name: child.attribute(name)?,
                text: written.value(),
                at: written.range_value().start,
            })
        })
        .collect()
}

fn expression(entry: &Entry<'_>, what: &str, task: &mut Task<'_, '_>) {
    if let Err(error) = Program::parse(entry.text) {
        let message = format!("{what} `{}` does not parse: {error}", entry.name);
        task.found(entry.at, Severity::Error, "expression", message);
    }
}

/// The text of an input that says the same for every instance.
fn constant(text: &str) -> Option<String> {
    if !text.starts_with('=') {
        return Some(text.to_owned());
    }
    let program = Program::parse(text).ok()?;
    if program.projection() != crate::feel::Projection::default() {
        return None;
    }
    match program.result(&Scope::new(), &crate::feel::Settings::default()).ok()? {
        Value::String(text) => Some(text),
        _ => None,
    }
}

fn print_text(args: &Args, findings: &[Finding]) {
    for finding in findings {
        let element = match finding.element.as_str() {
            "" => String::new(),
            element => format!(" {element}:"),
        };
        line(format_args!(
            "{}:{}:{}: {}:{element} {} [{}]",
            finding.file,
            finding.line,
            finding.column,
            finding.severity.label(),
            finding.message,
            finding.rule
        ));
    }
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    line(format_args!(
        "{} files, {} errors, {} warnings",
        args.files.len(),
        count(Severity::Error),
        count(Severity::Warning)
    ));
}

fn print_json(args: &Args, findings: &[Finding], ok: bool) {
    let findings: Vec<Value> = findings
        .iter()
        .map(|finding| {
            json!({
                "file": finding.file, "line": finding.line, "column": finding.column, "element": finding.element,
                "severity": finding.severity.label(), "rule": finding.rule, "message": finding.message,
            })
        })
        .collect();
    line(format_args!(
        "{}",
        json!({"ok": ok, "files": args.files.len(), "findings": findings})
    ));
}
