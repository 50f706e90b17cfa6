//! Reading a scenario file: text goes in, a consistent [`World`] or every fault of it comes out.

use std::collections::HashSet;
use std::hash::Hash;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::environment::{Environment, Outputs, Script};
use super::{Guid, World};

/// The largest file that a file column holds.
pub(super) const FILE_BYTES: usize = 32 * 1024 * 1024;

/// The scenario cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    /// The text is not JSON of the right shape.
    #[error("scenario, at `{path}`: {reason}")]
    Unreadable {
        /// The field.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The parts do not fit together; every fault is named.
    #[error("scenario: {}", .0.join("; "))]
    Inconsistent(Vec<String>),
}

impl World {
    /// Reads a scenario file.
    ///
    /// # Errors
    /// When the text is not JSON of the documented shape (the field is named), or its parts contradict each other
    /// (all contradictions are named).
    pub fn from_json(text: &str) -> Result<World, WorldError> {
        let mut reader = serde_json::Deserializer::from_str(text);
        let unreadable = |path: String, reason: String| WorldError::Unreadable { path, reason };
        let world: World = serde_path_to_error::deserialize(&mut reader)
            .map_err(|error| unreadable(error.path().to_string(), error.inner().to_string()))?;
        reader
            .end()
            .map_err(|error| unreadable(".".to_owned(), error.to_string()))?;
        world.validate()?;
        Ok(world)
    }

    /// Checks that the parts of the world fit together.
    ///
    /// # Errors
    /// Names every part that does not.
    pub fn validate(&self) -> Result<(), WorldError> {
        let mut faults = Vec::new();
        if !(0.001..=100_000.0).contains(&self.clock.speed) {
            faults.push(format!(
                "clock.speed is {}: write a number from 0.001 to 100000",
                self.clock.speed
            ));
        }
        if self.limits.page_size == 0 {
            faults.push("limits.pageSize is 0: write at least 1".to_owned());
        }
        if self.limits.window.get().is_zero() {
            faults.push("limits.window is zero: write a duration like \"300s\"".to_owned());
        }
        let directory = &self.directory;
        unique(
            "directory.applications",
            directory.applications.iter().map(|one| one.client_id),
            &mut faults,
        );
        unique(
            "directory.users",
            directory.users.iter().map(|one| one.username.to_lowercase()),
            &mut faults,
        );
        for token in &directory.refresh_tokens {
            if !directory
                .users
                .iter()
                .any(|user| user.username.eq_ignore_ascii_case(&token.username))
            {
                faults.push(format!(
                    "directory.refreshTokens: no user is named `{}`",
                    token.username
                ));
            }
        }
        for fault in &self.faults {
            if let Err(reason) = fault.validate() {
                faults.push(reason);
            }
        }
        self.environment.check(&mut faults);
        if faults.is_empty() {
            Ok(())
        } else {
            Err(WorldError::Inconsistent(faults))
        }
    }
}

impl Environment {
    /// Adds to `faults` what contradicts itself in this environment.
    pub(in crate::sandbox::power_automate) fn check(&self, faults: &mut Vec<String>) {
        unique(
            "environment.workflows",
            self.workflows.iter().map(|one| (one.id, one.published)),
            faults,
        );
        unique(
            "environment.connections",
            self.connections.iter().map(|one| one.name.to_lowercase()),
            faults,
        );
        unique(
            "environment.machineGroups",
            self.machine_groups.iter().map(|one| one.name.clone()),
            faults,
        );
        let references = self
            .connection_references
            .iter()
            .map(|one| one.logical_name.to_lowercase());
        unique("environment.connectionReferences", references, faults);
        for workflow in &self.workflows {
            let field = format!("environment.workflows `{}`", workflow.name);
            if workflow.id == Guid::default() {
                faults.push(format!("{field}: `workflowid` is missing"));
            }
            if workflow.scripts.is_empty() {
                faults.push(format!("{field}: `scripts` is empty; leave it out or write one"));
            }
            for script in &workflow.scripts {
                script.check(&field, faults);
            }
        }
        for connection in &self.connections {
            if connection.name.is_empty() {
                faults.push("environment.connections: a `name` is empty".to_owned());
            }
            if let Some(group) = &connection.machine_group
                && !self.machine_groups.iter().any(|one| one.name == *group)
            {
                faults.push(format!(
                    "environment.connections `{}`: no machine group is named `{group}`",
                    connection.name
                ));
            }
        }
    }
}

impl Script {
    fn check(&self, field: &str, faults: &mut Vec<String>) {
        if !self.ends.is_final() {
            faults.push(format!(
                "{field}: a run cannot end as `{}`; write e.g. Succeeded or Failed",
                self.ends.label()
            ));
        }
        match &self.outputs {
            Outputs::Base64(text) if BASE64.decode(text).is_err() => {
                faults.push(format!("{field}: `outputs.base64` is not base64"));
            }
            Outputs::Bytes(bytes) if *bytes > FILE_BYTES => {
                faults.push(format!(
                    "{field}: `outputs.bytes` is {bytes}; a file column holds at most {FILE_BYTES}"
                ));
            }
            _ => {}
        }
    }
}

fn unique<K: Eq + Hash + std::fmt::Debug>(field: &str, keys: impl Iterator<Item = K>, faults: &mut Vec<String>) {
    let mut seen = HashSet::new();
    for key in keys {
        if seen.contains(&key) {
            faults.push(format!("{field}: {key:?} occurs twice"));
        }
        seen.insert(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_scenario_is_the_default_world() {
        let world = World::from_json("{}").unwrap();
        assert_eq!(
            world.environment.workflows.len(),
            World::default().environment.workflows.len()
        );
        assert_eq!(world.journal, 10_000);
    }

    #[test]
    fn an_unknown_field_is_named() {
        let error = World::from_json(r#"{"environment":{"workflows":[{"nmae":"x"}]}}"#)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("environment.workflows[0]") && error.contains("nmae"),
            "{error}"
        );
    }

    #[test]
    fn every_contradiction_is_named_at_once() {
        let text = r#"{"clock":{"speed":0},"environment":{
            "workflows":[{"workflowid":"5a1b0000-0000-4000-8000-0000000000f1","scripts":[{"ends":"Running"}]}],
            "connections":[{"name":"c","machineGroup":"nowhere"}], "machineGroups":[]}}"#;
        let error = World::from_json(text).unwrap_err().to_string();
        for part in ["clock.speed", "`Running`", "nowhere"] {
            assert!(error.contains(part), "{part} is missing in: {error}");
        }
    }

    #[test]
    fn a_world_survives_being_written_and_read() {
        let text = serde_json::to_string(&World::default()).unwrap();
        let again = World::from_json(&text).unwrap();
        assert_eq!(serde_json::to_string(&again).unwrap(), text);
    }
}
