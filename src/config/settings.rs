//! The table of all settings.

use super::values::Kind;

/// One setting: `section.name` in `deskhand.toml`, `DESKHAND_SECTION_NAME` in the environment, `--flag` where it has one.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Section and name in the file, joined by a dot.
    pub key: &'static str,
    /// What kind of value it takes.
    pub kind: Kind,
    /// Its default as text; empty where the setting is off or derived.
    pub default: &'static str,
    /// Names in the environment beside its own, by falling precedence: those of Camunda's clients.
    pub variables: &'static [&'static str],
    /// Flag without the dashes; secrets have none, because other users can read a command line.
    pub flag: Option<&'static str>,
    /// What it does, one line.
    pub meaning: &'static str,
}

impl Setting {
    /// `DESKHAND_WORKER_MAX_JOBS` for `worker.max_jobs`.
    pub fn variable(&self) -> String {
        format!("DESKHAND_{}", self.key.replace('.', "_").to_ascii_uppercase())
    }

    /// The setting with this key.
    pub fn find(key: &str) -> Option<&'static Setting> {
        SETTINGS.iter().find(|setting| setting.key == key)
    }
}

const fn setting(key: &'static str, kind: Kind, default: &'static str, meaning: &'static str) -> Setting {
    Setting {
        key,
        kind,
        default,
        variables: &[],
        flag: None,
        meaning,
    }
}

impl Setting {
    const fn or(mut self, variables: &'static [&'static str]) -> Self {
        self.variables = variables;
        self
    }

    const fn flag(mut self, flag: &'static str) -> Self {
        self.flag = Some(flag);
        self
    }
}

/// Every setting, in the order of the reference file.
pub const SETTINGS: &[Setting] = &[
    setting("engine.address", Kind::Text, "http://localhost:26500", "The gateway: http(s)://host:port, grpc(s)://host:port, or host:port.")
        .or(&["CAMUNDA_GRPC_ADDRESS", "CAMUNDA_CLIENT_GRPCADDRESS", "ZEEBE_GRPC_ADDRESS", "ZEEBE_ADDRESS"])
        .flag("engine"),
    setting("engine.insecure", Kind::Switch, "", "For an address without a scheme: plain text (true) or TLS (false). Default: TLS on port 443 or with credentials of an identity provider, else plain text.")
        .or(&["CAMUNDA_INSECURE_CONNECTION", "ZEEBE_INSECURE_CONNECTION"]),
    setting("engine.ca_certificate", Kind::Text, "", "PEM file of the certificate authority that signed the gateway's certificate. Default: the system's authorities.")
        .or(&["CAMUNDA_CA_CERTIFICATE_PATH", "CAMUNDA_CLIENT_CACERTIFICATEPATH", "ZEEBE_CA_CERTIFICATE_PATH", "CAMUNDA_MTLS_CA_PATH", "CAMUNDA_CUSTOM_ROOT_CERT_PATH"])
        .flag("ca-certificate"),
    setting("engine.client_certificate", Kind::Text, "", "PEM file of our own certificate (chain), where the gateway or a proxy before it asks for one (mutual TLS). Read again for each new connection.")
        .or(&["CAMUNDA_MTLS_CERT_PATH", "CAMUNDA_CUSTOM_CERT_CHAIN_PATH"]),
    setting("engine.client_key", Kind::Text, "", "PEM file of that certificate's key.")
        .or(&["CAMUNDA_MTLS_KEY_PATH", "CAMUNDA_CUSTOM_PRIVATE_KEY_PATH"]),
    setting("engine.override_authority", Kind::Text, "", "Name that requests carry and the gateway's certificate is checked against, where it is not the address's.")
        .or(&["CAMUNDA_OVERRIDE_AUTHORITY", "CAMUNDA_CLIENT_OVERRIDEAUTHORITY", "ZEEBE_OVERRIDE_AUTHORITY"]),
    setting("engine.cluster_id", Kind::Text, "", "Camunda SaaS: the cluster's id; with the region it makes the address.")
        .or(&["CAMUNDA_CLIENT_CLOUD_CLUSTERID", "CAMUNDA_CLUSTER_ID"]),
    setting("engine.region", Kind::Text, "", "Camunda SaaS: the cluster's region, e.g. bru-2.")
        .or(&["CAMUNDA_CLIENT_CLOUD_REGION", "CAMUNDA_CLUSTER_REGION"]),
    setting("engine.client_id", Kind::Text, "", "OAuth client credentials for the engine: the client's id.")
        .or(&["CAMUNDA_CLIENT_ID", "CAMUNDA_CLIENT_AUTH_CLIENTID", "ZEEBE_CLIENT_ID"]),
    setting("engine.client_secret", Kind::Secret, "", "OAuth client credentials for the engine: the client's secret.")
        .or(&["CAMUNDA_CLIENT_SECRET", "CAMUNDA_CLIENT_AUTH_CLIENTSECRET", "ZEEBE_CLIENT_SECRET"]),
    setting("engine.client_assertion_certificate", Kind::Text, "", "Instead of a client secret (private-key JWT): PEM file of the certificate that the identity provider knows."),
    setting("engine.client_assertion_key", Kind::Text, "", "PEM file of that certificate's key. Default: in the certificate's file."),
    setting("engine.client_assertion_algorithm", Kind::Choice(&["PS256", "RS256"]), "PS256", "How the key signs; Keycloak's default is RS256."),
    setting("engine.token_url", Kind::Text, "", "OAuth token endpoint. Default with a client id: Camunda SaaS's, https://login.cloud.camunda.io/oauth/token.")
        .or(&["CAMUNDA_OAUTH_URL", "CAMUNDA_AUTHORIZATION_SERVER_URL", "CAMUNDA_CLIENT_AUTH_TOKENURL", "ZEEBE_AUTHORIZATION_SERVER_URL"]),
    setting("engine.audience", Kind::Text, "", "OAuth audience. Default at Camunda SaaS: zeebe.camunda.io.")
        .or(&["CAMUNDA_TOKEN_AUDIENCE", "CAMUNDA_CLIENT_AUTH_AUDIENCE", "ZEEBE_TOKEN_AUDIENCE"]),
    setting("engine.scope", Kind::Text, "", "OAuth scope, where the identity provider wants one.")
        .or(&["CAMUNDA_TOKEN_SCOPE", "CAMUNDA_CLIENT_AUTH_SCOPE", "ZEEBE_TOKEN_SCOPE"]),
    setting("engine.username", Kind::Text, "", "HTTP Basic for the engine: the user's name.")
        .or(&["CAMUNDA_BASIC_AUTH_USERNAME", "CAMUNDA_CLIENT_AUTH_USERNAME"]),
    setting("engine.password", Kind::Secret, "", "HTTP Basic for the engine: the user's password.")
        .or(&["CAMUNDA_BASIC_AUTH_PASSWORD", "CAMUNDA_CLIENT_AUTH_PASSWORD"]),
    setting("engine.tenant_ids", Kind::List, "", "Tenants whose jobs are taken. Empty: the engine is used without tenants.")
        .or(&["CAMUNDA_DEFAULT_JOB_WORKER_TENANT_IDS", "ZEEBE_DEFAULT_JOB_WORKER_TENANT_IDS", "CAMUNDA_CLIENT_WORKER_DEFAULTS_TENANTIDS", "CAMUNDA_TENANT_ID", "CAMUNDA_DEFAULT_TENANT_ID", "ZEEBE_DEFAULT_TENANT_ID"])
        .flag("tenant"),
    setting("engine.tenant_filter", Kind::Choice(&["provided", "assigned"]), "provided", "Whose jobs are taken: those of engine.tenant_ids (provided), or of every tenant that the engine has assigned to us (assigned, 8.9 and later)."),
    setting("engine.keep_alive", Kind::Duration, "45s", "How long a connection to the gateway may be silent before it is asked whether it lives; unanswered for 10 s, another is made. Not below 30s, which gateways do not allow.")
        .or(&["CAMUNDA_KEEP_ALIVE", "CAMUNDA_CLIENT_KEEPALIVE", "ZEEBE_KEEP_ALIVE"]),
    setting("engine.worker_name", Kind::Text, "deskhand", "Name shown at jobs. One per deployment, not per replica: replicas with one name share their streams best.")
        .or(&["CAMUNDA_WORKER_NAME"])
        .flag("worker-name"),
    setting("worker.max_jobs", Kind::Count, "32", "Jobs that are worked on at once, over all job types that have no number of their own ([connectors] below).")
        .or(&["CAMUNDA_WORKER_MAX_CONCURRENT_JOBS"])
        .flag("max-jobs"),
    setting("worker.max_parked", Kind::Count, "100000", "Jobs that may wait for the end of a run without counting as worked on."),
    setting("worker.heartbeats_per_second", Kind::Count, "200", "Heartbeats a second for all jobs that wait for runs. With many waits, fewer make leases longer (15 minutes at most)."),
    setting("worker.job_timeout", Kind::Duration, "5m", "How long the engine waits for a job's outcome; kept up by heartbeats while the job runs.")
        .or(&["CAMUNDA_WORKER_TIMEOUT"])
        .flag("job-timeout"),
    setting("worker.poll_interval", Kind::Duration, "2s", "How often the backlog is asked for while nothing is found there."),
    setting("worker.stream_enabled", Kind::Switch, "true", "Take pushed jobs. Without it all jobs come by polls.")
        .or(&["CAMUNDA_CLIENT_WORKER_STREAM_ENABLED", "ZEEBE_CLIENT_WORKER_STREAM_ENABLED"]),
    setting("worker.leases", Kind::Choice(&["off", "preferred", "required"]), "off", "Take jobs with a lease token (engines of 8.10 and later), so that the engine refuses commands of a worker that lost its job. A leased job is invisible to workers that do not lease: switch all workers of a job type together, after the engine's upgrade."),
    setting("worker.drain_grace", Kind::Duration, "30s", "How long running jobs may go on after SIGTERM.")
        .flag("drain-grace"),
    setting("worker.job_types", Kind::List, "", "Job types that are worked on. Empty: all that deskhand knows.")
        .flag("job-type"),
    setting("secrets.environment", Kind::Switch, "true", "Look for secrets in environment variables.")
        .or(&["CAMUNDA_CONNECTOR_SECRETPROVIDER_ENVIRONMENT_ENABLED"]),
    setting("secrets.prefix", Kind::Text, "SECRET_", "What stands before a secret's name in the environment: {{secrets.TOKEN}} is SECRET_TOKEN.")
        .or(&["CAMUNDA_CONNECTOR_SECRETPROVIDER_ENVIRONMENT_PREFIX"]),
    setting("secrets.tenant_aware", Kind::Switch, "false", "Put the tenant's id and _ before the name.")
        .or(&["CAMUNDA_CONNECTOR_SECRETPROVIDER_ENVIRONMENT_TENANTAWARE"]),
    setting("secrets.process_aware", Kind::Switch, "false", "Put the process's BPMN id and _ before the name, after the tenant's.")
        .or(&["CAMUNDA_CONNECTOR_SECRETPROVIDER_ENVIRONMENT_PROCESSDEFINITIONAWARE"]),
    setting("secrets.directory", Kind::Text, "", "Directory with a file per secret (a mounted Kubernetes secret), asked after the environment.")
        .flag("secrets-directory"),
    setting("secrets.dotenv", Kind::Text, "", "File with a line NAME=value per secret, asked after the directory."),
    setting("secrets.order", Kind::List, "", "Kinds of stores in the order in which they are asked: environment, directory, dotenv, vault, azure-key-vault. The first that has a name wins; what is not named comes last."),
    setting("secrets.fresh", Kind::Duration, "5m", "How long a value of a remote store (Vault, Key Vault) is used before it is asked for again."),
    setting("secrets.stale", Kind::Duration, "1h", "How old a value of a remote store may be while the store does not answer."),
    setting("secrets.bare_references", Kind::Switch, "true", "Is secrets.NAME without braces a reference too?"),
    setting("secrets.diagrams", Kind::Text, "", "Directory with the deployed diagrams (.bpmn): a task may use a secret only in the fields where its own input mappings declare it."),
    setting("secrets.engine_address", Kind::Text, "", "In place of secrets.diagrams: address of the engine's REST API (8.8 and newer, with secondary storage), e.g. http://localhost:8080. The diagram of each job's own version is asked of it, with the credentials of engine.*."),
    setting("secrets.allow_list", Kind::Choice(&["strict", "lax", "off"]), "strict", "With secrets.diagrams: refuse what no diagram declares (strict), allow everything to processes without a diagram (lax), or do not ask them (off)."),
    setting("secrets.fields", Kind::Choice(&["credentials", "all"]), "credentials", "Without secrets.diagrams: where references are resolved. credentials: authentication, headers, clientTls, organizationUri and a URL before its query."),
    setting("secrets.on_secret_in_output", Kind::Choice(&["incident", "mask"]), "incident", "What happens when the result of a task would hold the value of a secret of its own, or a token: an incident, or *** in its place."),
    setting("secrets.allow_in_output", Kind::List, "", "Names of secrets (* stands for any characters) that results may hold, e.g. a client id that is kept as a secret."),
    setting("secrets.organizations", Kind::List, "", "Dataverse organisations that secrets without a rule may be sent to, e.g. contoso.crm4.dynamics.com."),
    setting("secrets.cloud", Kind::Choice(&["public", "gcc", "gcc-high", "dod", "china"]), "public", "Microsoft's cloud: its authorities sign tenants in, and secrets without a rule may be sent to them. Organisations must be of this cloud; the audiences of its flow service and Power Platform are known."),
    setting("vault.address", Kind::Text, "", "HashiCorp Vault, KV version 2, as a store of secrets: its address. {{secrets.NAME}} is the field NAME of the entry at vault.path.")
        .or(&["VAULT_ADDR"]),
    setting("vault.namespace", Kind::Text, "", "Vault's namespace, where there are any.")
        .or(&["VAULT_NAMESPACE"]),
    setting("vault.mount", Kind::Text, "secret", "Mount of the KV store."),
    setting("vault.path", Kind::Text, "deskhand", "Path of the entry below the mount; {{secrets.team/NAME}} is the field NAME of the entry team below it."),
    setting("vault.token", Kind::Secret, "", "Signing in to Vault with a token.")
        .or(&["VAULT_TOKEN"]),
    setting("vault.role_id", Kind::Text, "", "Signing in to Vault as an AppRole: its id."),
    setting("vault.secret_id", Kind::Secret, "", "Signing in to Vault as an AppRole: its secret id."),
    setting("vault.kubernetes_role", Kind::Text, "", "Signing in to Vault as a Kubernetes service account: the role."),
    setting("vault.kubernetes_token_file", Kind::Text, "/var/run/secrets/kubernetes.io/serviceaccount/token", "The service account's token."),
    setting("vault.auth_mount", Kind::Text, "", "Mount of the auth method. Default: approle or kubernetes."),
    setting("key_vault.url", Kind::Text, "", "Azure Key Vault as a store of secrets: its address. {{secrets.MY_NAME}} is the secret MY-NAME, {{secrets.MY_NAME/VERSION}} one of its versions."),
    setting("key_vault.identity", Kind::Text, "", "The [identities.NAME] that reads it."),
    setting("network.allow", Kind::List, "", "Addresses (10.0.0.0/8) and hosts (billing.internal, *.internal.example.com:8443) that tasks may reach beside the public Internet. Hosts that a secrets.rule or secrets.organizations names one by one are allowed by that."),
    setting("http.max_response_bytes", Kind::Count, "10485760", "The largest response that io.camunda:http-json:1 reads, in bytes after decompression."),
    setting(
        "http.total_timeout",
        Kind::Duration,
        "10m",
        "How long a call of io.camunda:http-json:1 may take in all, whatever the task's own timeouts say.",
    ),
    setting("http.flow_starts_once", Kind::Switch, "true", "Recognise a REST task of io.camunda:http-json:1 that starts a desktop flow (RunDesktopFlow), and start it once as deskhand:desktop-flow:1 does."),
    setting("desktop_flow.max_output_bytes", Kind::Count, "2097152", "The largest outputs of a desktop flow that are read unless the task says otherwise, in bytes."),
    setting("desktop_flow.save_dir", Kind::Text, "", "Directory below which tasks may save the outputs of runs as files (saveTo). Empty: they may not."),
    setting("desktop_flow.missing_grace", Kind::Duration, "30s", "How long a run that was just started may be unreadable before it counts as lost."),
    setting("desktop_flow.longest_pause", Kind::Duration, "30s", "Pauses up to this long, asked for by a throttled start, are waited for here; longer ones in the engine."),
    setting("desktop_flow.start_timeout", Kind::Duration, "125s", "How long the request that starts a run may take in all. Dataverse gives it two minutes; whoever gives up earlier has to find out whether the run was started. It never outlasts the job's lease."),
    setting("desktop_flow.namespace", Kind::Text, "", "What tells this engine from others that share a Dataverse: part of every start's token, the same for all replicas. Default: the engine's address, which at Camunda SaaS holds the cluster's id."),
    setting("desktop_flow.token_key", Kind::Secret, "", "Key of the hash in every start's token, 16 characters or more, the same for all replicas. Without it whoever knows a task's keys can compute the token's stable part."),
    setting("desktop_flow.token_url", Kind::Text, "", "Callback URL (https, a public name) for starts that have none: carries the token by which a start's run is found again, and need not do anything when Dataverse calls it."),
    setting("desktop_flow.append_token", Kind::Switch, "true", "May the token be appended, as the parameter deskhandToken, to the callback URL that a task names?"),
    setting("desktop_flow.settle_time", Kind::Duration, "", "How long a start may still be executed after its sender has given it up. Default: start_timeout and two minutes, Dataverse's own limit."),
    setting("desktop_flow.visibility", Kind::Duration, "30s", "How long the row of a run may be unreadable after it was accepted: each start is looked for again after so long."),
    setting("desktop_flow.look_first", Kind::Choice(&["when-uncertain", "always"]), "when-uncertain", "When to look for a run before a task's first start. always: after the engine was restored from a backup, until its old tasks are through."),
    setting("desktop_flow.starts_per_minute", Kind::Count, "70", "Runs of one connection that are started in a minute at most; further starts wait. Dataverse allows 70. Each replica counts its own."),
    setting("desktop_flow.max_running", Kind::Count, "0", "Runs of one connection that may go on at once; further starts wait. 0: any number. Several connections of one machine group are counted together by a [[desktop_flow.limit]]. Each replica counts its own."),
    setting("desktop_flow.pause", Kind::List, "", "Flows (ids or names) and connections that start nothing while runs that go on are waited for; * stands for any characters. `deskhand pause` does the same until the worker ends."),
    setting("desktop_flow.plain_http_hosts", Kind::List, "", "Hosts beside loopback that may be spoken to without TLS, e.g. a simulator in a container network."),
    setting("messages.outbox", Kind::List, "", "Whose runs' ends are published as messages (waitFor in a task): IDENTITY@HOST, e.g. rpa-prod@contoso.crm4.dynamics.com, an [identities.NAME] and an organisation that it may be used for. The engine's credentials need leave to publish messages."),
    setting("messages.time_to_live", Kind::Duration, "2d", "How long the engine keeps a message for a catch event that is not reached yet, and knows it again. A task may say otherwise (messageTimeToLive)."),
    setting("messages.look_back", Kind::Duration, "1d", "How far back runs that ended are looked for at start: how long all replicas may be away without a message being lost."),
    setting("feel.fuel", Kind::Count, "5000000", "Steps that one evaluation of a FEEL expression may take; an error about a limit names its setting."),
    setting("feel.deadline", Kind::Duration, "1s", "How long one evaluation may last."),
    setting("feel.cells", Kind::Count, "1000000", "Values that one evaluation may create: items, entries, 32 bytes of text each."),
    setting("feel.nesting", Kind::Count, "128", "Levels of an expression, at most 256."),
    setting("feel.value_nesting", Kind::Count, "200", "Lists and contexts within each other that an evaluation may create, at most 300."),
    setting("feel.chain", Kind::Count, "1024", "Operands in one chain of operators, steps in one path."),
    setting("feel.call_depth", Kind::Count, "200", "Calls within calls of functions that an expression defines."),
    setting("feel.regex_steps", Kind::Count, "1000000", "Steps back of a pattern with look-around, back-references or possessive quantifiers; other patterns need none."),
    setting("feel.output_bytes", Kind::Count, "16777216", "The largest result of one evaluation, in bytes of JSON."),
    setting("log.filter", Kind::Text, "info", "What is logged, e.g. info,deskhand::engine=debug.")
        .flag("log"),
    setting("log.format", Kind::Choice(&["human", "json"]), "human", "How logs look.")
        .flag("log-format"),
    setting("otlp.endpoint", Kind::Text, "", "Address of an OpenTelemetry collector that takes spans by OTLP over gRPC, e.g. http://localhost:4317. Empty: nothing is exported. Needs a build with --features otlp, as the container image is.")
        .or(&["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"]),
    setting("otlp.protocol", Kind::Choice(&["grpc"]), "grpc", "How spans are exported.")
        .or(&["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"]),
    setting("otlp.headers", Kind::Secret, "", "What every export carries: NAME=VALUE, separated by commas, values percent-encoded, e.g. authorization=Bearer%20TOKEN.")
        .or(&["OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"]),
    setting("otlp.timeout", Kind::Duration, "10s", "How long one export may take, repetitions included.")
        .or(&["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"]),
    setting("otlp.service_name", Kind::Text, "deskhand", "Name of this service in traces.")
        .or(&["OTEL_SERVICE_NAME"]),
    setting("otlp.resource_attributes", Kind::Text, "", "Attributes of this process in traces: NAME=VALUE, separated by commas, values percent-encoded, e.g. deployment.environment.name=test.")
        .or(&["OTEL_RESOURCE_ATTRIBUTES"]),
    setting("otlp.sampler", Kind::Choice(&["always_on", "always_off", "traceidratio", "parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio"]), "parentbased_always_on", "Which traces are recorded. Every stretch of work begins one, so parentbased_ makes no difference.")
        .or(&["OTEL_TRACES_SAMPLER"]),
    setting("otlp.sampler_arg", Kind::Text, "", "The share of traces that traceidratio records, from 0 to 1. Empty: all.")
        .or(&["OTEL_TRACES_SAMPLER_ARG"]),
    setting("otlp.queue_size", Kind::Count, "2048", "Spans that wait for their export at most; what does not fit is lost and counted.")
        .or(&["OTEL_BSP_MAX_QUEUE_SIZE"]),
    setting("otlp.batch_size", Kind::Count, "512", "Spans that are exported at once.")
        .or(&["OTEL_BSP_MAX_EXPORT_BATCH_SIZE"]),
    setting("otlp.delay", Kind::Duration, "5s", "How long spans wait for others before they are exported.")
        .or(&["OTEL_BSP_SCHEDULE_DELAY"]),
    setting("audit.file", Kind::Text, "", "File to which a line of JSON is appended for each start, adoption, cancelling and end of a desktop flow's run; opened again when it was moved away. Empty: a log line of the target audit."),
    setting("callback.listen", Kind::Text, "", "Address where Dataverse's word that a run has ended is heard, e.g. 0.0.0.0:9700. Empty: runs are only looked at."),
    setting("callback.public_url", Kind::Text, "", "The same place as Dataverse sees it: https, a DNS name, e.g. https://hooks.example.com/deskhand. A random token is appended for each run."),
    setting("callback.peers", Kind::List, "", "Other replicas' receivers, e.g. http://deskhand-1:9700: a callback for a run that nobody here waits for is passed to them, once and never further. The own address may be among them."),
    setting("admin.listen", Kind::Text, "", "Address of the port for operations (/live, /ready, /metrics, /log-level, /pauses), e.g. 0.0.0.0:9600. Empty: no such port.")
        .flag("admin-listen"),
];
