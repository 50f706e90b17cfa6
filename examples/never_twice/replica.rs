//! A worker in a process of its own: `deskhand run` in all but two things. It tells its steps on stdout, and stands still at
//! one of the points of a start or of a message when it was told to, until it is killed or a line comes in.

use std::io::{BufRead, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use deskhand::config::{Config, Flags, Process};
use deskhand::engine::Engine;
use deskhand::engine::credentials::Authority;
use deskhand::http::Client;
use deskhand::http::token::Tokens;
use deskhand::mapping::Mapper;
use deskhand::progress::{Progress, PublishPoint, StartPoint, Step};
use deskhand::worker::{self, Clock, Pipeline};
use tokio_util::sync::CancellationToken;

/// How often ends of runs are looked for without a hint: a round shall not wait a minute for what a kill prevented.
const OUTBOX: Duration = Duration::from_secs(4);

/// Where to stand still: the point, and at which of its occurrences.
struct Stop {
    point: String,
    left: AtomicU32,
}

pub async fn run(words: &[String]) -> ExitCode {
    let mut config = Config::load(&Flags::default(), &Process).unwrap();
    config.connectors.desktop_flow.outbox.every = OUTBOX;
    let mut stop = None;
    let mut words = words.iter();
    while let (Some(flag), Some(value)) = (words.next(), words.next()) {
        let guards = &mut config.connectors.desktop_flow.once.guards;
        match flag.as_str() {
            "--without" => match value.as_str() {
                "intent" => guards.intent = false,
                "settle" => guards.settle = false,
                "look" => guards.look = false,
                _ => guards.lease = false,
            },
            "--clock-ahead" => {
                let clock = Clock::chosen();
                clock.set_wall_forward(Duration::from_secs(value.parse().unwrap()));
                config.worker.clock = clock;
            }
            _ => {
                let (name, nth) = value.split_once(':').unwrap();
                let starts = StartPoint::ALL.map(|point| format!("{point:?}"));
                let mut points = starts
                    .into_iter()
                    .chain(PublishPoint::ALL.map(|point| format!("{point:?}")));
                stop = Some(Stop {
                    point: points.find(|point| point == name).unwrap(),
                    left: AtomicU32::new(nth.parse().unwrap()),
                });
            }
        }
    }
    let filter = tracing_subscriber::EnvFilter::new(&config.log.filter);
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let progress = watched(stop);
    let client = Client::new().unwrap();
    let authority = Authority::new(&config.engine.credentials, Arc::new(Tokens::new(client))).unwrap();
    let engine = Engine::new(config.engine.clone(), authority).unwrap();
    let pipeline = Pipeline::new(
        config.connectors().unwrap(),
        config.secrets().unwrap(),
        Mapper::default(),
        progress.clone(),
    );
    worker::run(
        engine,
        Arc::new(pipeline),
        config.worker,
        progress,
        CancellationToken::new(),
    )
    .await;
    ExitCode::SUCCESS
}

fn watched(stop: Option<Stop>) -> Progress {
    let go_on = Arc::new(AtomicBool::new(false));
    let told = go_on.clone();
    // A thread of its own: whoever stands still must hear that it shall go on.
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            if line.is_err() {
                break;
            }
            told.store(true, Ordering::SeqCst);
        }
        // The campaign is gone: so are we.
        std::process::exit(1);
    });
    let stand = Arc::new(move |point: &str, instance: i64| {
        if let Some(stop) = stop.as_ref().filter(|stop| stop.point == point)
            && stop.left.fetch_sub(1, Ordering::SeqCst) == 1
        {
            say(&format!("at {point}"), instance);
            while !go_on.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    });
    // A message does not say which instance it is for.
    let publishing = stand.clone();
    let progress = Progress::watched_by(move |job, step| match step {
        Step::Start(point) => {
            stand(&format!("{point:?}"), job.process_instance_key);
        }
        Step::Received => say(
            &format!("got {} {}", job.key, job.element_instance_key),
            job.process_instance_key,
        ),
        Step::RunAdopted { .. } => say("adopted", job.process_instance_key),
        Step::StartClearedUp { .. } => say("reconciled", job.process_instance_key),
        Step::LateStartCancelled { .. } => say("late", job.process_instance_key),
        _ => {}
    });
    progress.and_messages(move |_, point| publishing(&format!("{point:?}"), 0))
}

fn say(what: &str, instance: i64) {
    let mut out = std::io::stdout().lock();
    // A campaign that is gone listens no more.
    let _ = writeln!(out, "{what} {instance}");
    let _ = out.flush();
}
