//! deskhand as a process, as a user starts it.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::gateway::PATIENCE;

/// A process of the program; killed with its guard.
pub struct Deskhand {
    pub child: Child,
    errors: BufReader<ChildStderr>,
}

impl Deskhand {
    pub fn start(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_deskhand"))
            .args(arguments)
            .env_clear()
            .envs(environment.iter().copied())
            .current_dir(std::env::temp_dir())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self::of(child)
    }

    pub fn of(mut child: Child) -> Self {
        let errors = BufReader::new(child.stderr.take().unwrap());
        Self { child, errors }
    }

    /// Reads its log until a line holds this text.
    pub fn until(&mut self, text: &str) -> String {
        let mut seen = String::new();
        loop {
            let mut line = String::new();
            assert!(
                self.errors.read_line(&mut line).unwrap() > 0,
                "`{text}` was not said, but:\n{seen}"
            );
            seen.push_str(&line);
            if line.contains(text) {
                return line;
            }
        }
    }

    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args(["-s", name, &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    pub fn ended(mut self) -> (ExitStatus, String) {
        let give_up = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                let mut rest = String::new();
                self.errors.read_to_string(&mut rest).unwrap();
                return (status, rest);
            }
            assert!(Instant::now() < give_up, "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Deskhand {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
