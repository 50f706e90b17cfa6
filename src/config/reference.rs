//! The reference of all settings, made from their table: `deskhand.toml` and the README's table.

use std::fmt::Write;

use super::settings::{SETTINGS, Setting};
use super::values::Kind;

const WIDTH: usize = 116;

/// The text of the project's `deskhand.toml`: every setting with its default, environment names and flag, all commented
/// out.
pub fn file() -> String {
    let mut text = String::from(
        "# Every setting of deskhand, with its default. Flags win over the environment, the environment over this file.\n\
         # deskhand reads the file that --config or DESKHAND_CONFIG names, else deskhand.toml in its working directory.\n",
    );
    let mut section = "";
    for setting in SETTINGS {
        let (head, name) = setting.key.split_once('.').unwrap_or(("", setting.key));
        if head != section {
            section = head;
            let _ = write!(text, "\n[{section}]\n");
        }
        text.push('\n');
        for line in wrapped(setting.meaning) {
            let _ = writeln!(text, "# {line}");
        }
        for line in wrapped(&also(setting)) {
            let _ = writeln!(text, "# {line}");
        }
        let _ = writeln!(text, "#{name} = {}", toml_default(setting));
    }
    text.push_str(
        "\n# Which secret may be sent where; one block a rule. A secret that a rule names goes to that rule's hosts only.\n\
         # Without a rule it goes to the cloud's sign-in authorities and to `organizations`, and nowhere else.\n\
         #[[secrets.rule]]\n\
         #name = \"BILLING_*\"\n\
         #hosts = [\"api.billing.example.com\", \"*.internal.example.com\", \"127.0.0.1:8081\"]\n\
         #connectors = [\"io.camunda:http-json:1\"]\n\
         #processes = [\"invoice-*\"]\n\
         #tenants = [\"<default>\"]\n\
         \n\
         # As whom tasks may call by name (`identity` in a task): no secret stands in the diagram then. Its tokens go to its\n\
         # hosts and nowhere else. Credentials may be references. Ways to sign in: client_secret; certificate (PEM or PFX,\n\
         # with certificate_password, private_key and algorithm PS256 or RS256); federated_token_file, or federated_token_url (and\n\
         # federated_token_bearer, which is shown there; the token is asked for anew each time); username and password;\n\
         # refresh_token (and refresh_token_file for its successors); managed (auto, imds, app-service); token.\n\
         # expires = \"2027-03-01\": when the client secret or refresh token ends; a certificate says it itself.\n\
         #[identities.rpa-prod]\n\
         #tenant = \"contoso.onmicrosoft.com\"\n\
         #client_id = \"00000000-0000-0000-0000-000000000000\"\n\
         #client_secret = \"{{secrets.RPA_PROD}}\"\n\
         #hosts = [\"contoso.crm4.dynamics.com\"]\n\
         #processes = [\"invoice-*\"]\n",
    );
    text.push_str(
        "\n# Runs that may go on at once, counted together for these connections: those that lead to one machine group. The\n\
         # first block that names a connection counts for it, before desktop_flow.max_running.\n\
         #[[desktop_flow.limit]]\n\
         #connections = [\"a8a85e2f-1dec-44ce-8814-a37c34234317\", \"accounting_*\"]\n\
         #max_running = 4\n",
    );
    text.push_str(
        "\n# Permits of a job type's own, one block a job type: so many of its jobs are worked on at once, beside\n\
         # worker.max_jobs for all others. Slow jobs of one type then never keep those of another waiting.\n\
         #[connectors.\"io.camunda:http-json:1\"]\n\
         #max_jobs = 32\n",
    );
    text
}

/// The README's table.
pub fn table() -> String {
    let mut text = String::from("| setting | default | environment | flag |\n|---|---|---|---|\n");
    for setting in SETTINGS {
        let default = if setting.default.is_empty() {
            String::new()
        } else {
            format!("`{}`", setting.default)
        };
        let flag = setting.flag.map(|flag| format!("`--{flag}`")).unwrap_or_default();
        let names: Vec<String> = names(setting).iter().map(|name| format!("`{name}`")).collect();
        let _ = writeln!(text, "| `{}` | {default} | {} | {flag} |", setting.key, names.join(" "));
    }
    text
}

fn names(setting: &Setting) -> Vec<String> {
    std::iter::once(setting.variable())
        .chain(setting.variables.iter().map(ToString::to_string))
        .collect()
}

fn also(setting: &Setting) -> String {
    let mut text = format!("Environment: {}.", names(setting).join(", "));
    if let Some(flag) = setting.flag {
        let _ = write!(text, " Flag: --{flag}.");
    }
    text
}

fn toml_default(setting: &Setting) -> String {
    match setting.kind {
        Kind::List => "[]".to_owned(),
        Kind::Switch if setting.default.is_empty() => "false".to_owned(),
        Kind::Count | Kind::Switch if !setting.default.is_empty() => setting.default.to_owned(),
        _ => format!("\"{}\"", setting.default),
    }
}

fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.last().map_or(0, String::len);
        if last > 0 && last + 1 + word.len() > WIDTH {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}
