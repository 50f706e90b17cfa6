//! The binary as a user types it: what it prints, and how it ends.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);

/// deskhand without any setting of this machine, in a directory of its own.
struct Desk {
    directory: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().expect("a directory"),
        }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_deskhand"));
        command
            .args(arguments)
            .env_clear()
            .current_dir(self.path())
            .stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("deskhand starts")
    }

    /// A command that prints an address first and goes on.
    fn serve(&self, arguments: &[&str]) -> (Server, String) {
        let child = self
            .command(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .expect("deskhand starts");
        let mut server = Server { child };
        let mut out = BufReader::new(server.child.stdout.take().expect("a pipe"));
        let address = line(&mut out);
        server.child.stdout = Some(out.into_inner());
        (server, address)
    }
}

fn line(out: &mut BufReader<ChildStdout>) -> String {
    let mut line = String::new();
    out.read_line(&mut line).expect("a line");
    line.trim_end().to_owned()
}

/// A process that ends with its test.
struct Server {
    child: Child,
}

impl Server {
    fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args(["-s", name, &self.child.id().to_string()])
            .status();
        assert!(sent.expect("kill starts").success());
    }

    fn ends(&mut self) -> Option<i32> {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("deskhand does not end");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn help_teaches_with_examples_and_exit_codes() {
    let desk = Desk::new();
    let help = desk.run(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    for part in ["deskhand run", "deskhand feel", "Exit codes:", "64", "69", "143"] {
        assert!(out(&help).contains(part), "{part}");
    }
    for command in ["run", "check", "sandbox", "simulate", "feel", "healthcheck"] {
        let help = desk.run(&[command, "--help"]);
        assert!(help.status.success() && out(&help).contains("Examples:"), "{command}");
    }
    assert!(out(&desk.run(&["run", "--help"])).contains("ZEEBE_ADDRESS"));
}

#[test]
fn what_was_mistyped_ends_with_64() {
    let desk = Desk::new();
    for arguments in [
        &["rum"][..],
        &[],
        &["run", "--max-job", "3"],
        &["sandbox", "--listen", "nowhere"],
    ] {
        assert_eq!(desk.run(arguments).status.code(), Some(64), "{arguments:?}");
    }
}

#[test]
fn every_fault_of_the_configuration_is_told_at_once() {
    let desk = Desk::new();
    std::fs::write(desk.path().join("deskhand.toml"), "[worker]\nmax_job = 1\n").expect("a file");
    let output = desk
        .command(&["run", "--max-jobs", "0"])
        .env("ZEEBE_ADDRESS", "ftp://x")
        .output()
        .expect("deskhand");
    assert_eq!(output.status.code(), Some(64));
    for part in [
        "deskhand.toml, worker.max_job",
        "did you mean `worker.max_jobs`",
        "--max-jobs: `0`",
        "ZEEBE_ADDRESS",
    ] {
        assert!(err(&output).contains(part), "{part} in {}", err(&output));
    }
}

#[test]
fn feel_prints_a_result_and_says_where_a_mistake_is() {
    let desk = Desk::new();
    assert_eq!(out(&desk.run(&["feel", "= {a: 1 + 2}.a"])), "3\n");
    std::fs::write(desk.path().join("context.json"), r#"{"items": [1, 2, 3]}"#).expect("a file");
    assert_eq!(
        out(&desk.run(&["feel", "sum(items)", "--context", "context.json"])),
        "6\n"
    );
    let mistake = desk.run(&["feel", "1 +"]);
    assert_eq!(mistake.status.code(), Some(1));
    assert!(err(&mistake).contains("line 1, column 4"), "{}", err(&mistake));
    std::fs::write(desk.path().join("list.json"), "[1]").expect("a file");
    let list = desk.run(&["feel", "1", "--context", "list.json"]);
    assert!(
        err(&list).contains("must be a JSON object, but is a list"),
        "{}",
        err(&list)
    );
}

#[test]
fn feel_reads_the_context_from_the_standard_input() {
    let desk = Desk::new();
    let mut child = desk
        .command(&["feel", "name", "--context", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("deskhand starts");
    child
        .stdin
        .take()
        .expect("a pipe")
        .write_all(br#"{"name": "Ada"}"#)
        .expect("written");
    let output = child.wait_with_output().expect("an output");
    assert_eq!(out(&output), "\"Ada\"\n");
}

#[cfg(unix)]
#[test]
fn a_reader_that_has_gone_away_is_no_fault() {
    let desk = Desk::new();
    let mut child = desk
        .command(&["feel", "for i in 1..100000 return i"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("deskhand starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("an output");
    assert_eq!((output.status.code(), err(&output).as_str()), (Some(0), ""));
}

#[test]
fn check_shows_what_is_used_and_reaches_the_engine() {
    let desk = Desk::new();
    let (_engine, address) = desk.serve(&["sandbox", "--listen", "127.0.0.1:0"]);
    let output = desk
        .command(&["check"])
        .env("ZEEBE_ADDRESS", &address)
        .output()
        .expect("deskhand");
    let text = out(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(
        text.contains(&address) && text.contains("(from ZEEBE_ADDRESS)") && text.contains("brokers: 1"),
        "{text}"
    );
    assert!(!text.contains('\x1b'), "no colours in a pipe");

    let output = desk.run(&["check", "--json", "--engine", &address]);
    let told: serde_json::Value = serde_json::from_str(&out(&output)).expect("JSON");
    assert_eq!(told["ok"], true);
    assert_eq!(told["settings"][0]["source"], "--engine");
}

#[test]
fn check_of_an_engine_that_is_not_there_ends_with_69_and_says_what_to_look_at() {
    let free = TcpListener::bind("127.0.0.1:0")
        .expect("a port")
        .local_addr()
        .expect("an address")
        .to_string();
    let output = Desk::new().run(&["check", "--engine", &free]);
    assert_eq!(output.status.code(), Some(69));
    assert!(out(&output).contains("is the engine running there"), "{}", out(&output));
}

#[test]
fn simulate_prints_its_address_first_and_serves_a_world_from_a_file() {
    let desk = Desk::new();
    std::fs::write(desk.path().join("world.json"), r#"{"seed": 7}"#).expect("a file");
    let (mut simulator, address) = desk.serve(&["simulate", "--listen", "127.0.0.1:0", "--scenario", "world.json"]);
    let address: std::net::SocketAddr = address.parse().expect("an address");
    assert_ne!(address.port(), 0);
    std::net::TcpStream::connect(address).expect("a connection");
    simulator.signal("TERM");
    assert_eq!(simulator.ends(), Some(0));

    let unknown = desk.run(&["simulate", "--scenario", "nope"]);
    assert_eq!(unknown.status.code(), Some(64));
    assert!(
        err(&unknown).contains("choose success, fails, slow"),
        "{}",
        err(&unknown)
    );
}

#[test]
fn an_address_that_is_taken_ends_with_69() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    for command in ["sandbox", "simulate"] {
        let output = Desk::new().run(&[command, "--listen", &address]);
        assert_eq!(output.status.code(), Some(69), "{command}");
        assert!(err(&output).contains(&address), "{}", err(&output));
    }
}

#[test]
fn healthcheck_needs_a_port_to_ask() {
    let output = Desk::new().run(&["healthcheck"]);
    assert_eq!(output.status.code(), Some(64));
    assert!(err(&output).contains("DESKHAND_ADMIN_LISTEN"));
}
