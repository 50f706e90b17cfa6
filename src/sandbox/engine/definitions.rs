//! Deployed processes: BPMN files enter, versioned definitions leave.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::bpmn::{self, Process};
use super::machine::{Key, Machine};
use super::rejection::Rejection;

/// A deployed version of a process.
#[derive(Debug)]
pub struct Definition {
    /// Key of this version.
    pub key: Key,
    /// 1 for the first that was deployed under its id.
    pub version: i32,
    /// The file's name.
    pub resource_name: String,
    /// What is executed.
    pub process: Process,
    /// The file, by which a repeated deployment is recognised.
    source: Arc<[u8]>,
}

/// Names a definition.
#[derive(Clone, Debug)]
pub enum Selector {
    /// By its key.
    Key(Key),
    /// By the process's id and a version; none means the newest.
    Id(String, Option<i32>),
}

/// Every deployed definition.
#[derive(Debug, Default)]
pub struct Definitions {
    by_key: HashMap<Key, Arc<Definition>>,
    by_id: HashMap<String, BTreeMap<i32, Arc<Definition>>>,
}

impl Definitions {
    /// The definition that is named.
    ///
    /// # Errors
    /// There is none.
    pub fn find(&self, which: &Selector) -> Result<Arc<Definition>, Rejection> {
        let (found, reason) = match which {
            Selector::Key(key) => (
                self.by_key.get(key),
                format!("Expected to find process definition with key '{key}', but none found"),
            ),
            Selector::Id(id, None) => (
                self.newest(id),
                format!("Expected to find process definition with process ID '{id}', but none found"),
            ),
            Selector::Id(id, Some(version)) => (
                self.by_id.get(id).and_then(|versions| versions.get(version)),
                format!(
                    "Expected to find process definition with process ID '{id}' and version '{version}', but none found"
                ),
            ),
        };
        found.cloned().ok_or_else(|| Rejection::not_found("CREATE", reason))
    }

    fn newest(&self, id: &str) -> Option<&Arc<Definition>> {
        self.by_id.get(id)?.last_key_value().map(|(_, definition)| definition)
    }
}

impl Machine {
    /// Deploys BPMN files, all or none; returns the deployment's key and a definition for each process. A file that was
    /// the last to be deployed under its process's id makes no new version.
    ///
    /// # Errors
    /// A file is not BPMN, or holds something that this engine does not execute: every place is named.
    pub fn deploy(&mut self, files: Vec<(String, Vec<u8>)>) -> Result<(Key, Vec<Arc<Definition>>), Rejection> {
        if files.is_empty() {
            return Err(refuse("Expected to deploy at least one resource, but none given"));
        }
        let mut read = Vec::new();
        let mut faults = Vec::new();
        let mut ids = HashMap::new();
        for (name, content) in files {
            match read_file(&name, &content) {
                Ok(processes) => {
                    for process in &processes {
                        if let Some(other) = ids.insert(process.id.clone(), name.clone()) {
                            faults.push(format!("'{name}': process id '{}' is also in '{other}'", process.id));
                        }
                    }
                    read.push((name, Arc::from(content), processes));
                }
                Err(problems) => faults.push(format!("'{name}': {problems}")),
            }
        }
        if !faults.is_empty() {
            return Err(refuse(format!(
                "Expected to deploy new resources, but encountered the following errors:\n{}",
                faults.join("\n")
            )));
        }
        let deployment = self.new_key();
        let mut deployed = Vec::new();
        for (name, content, processes) in read {
            for process in processes {
                deployed.push(self.add_definition(&name, &content, process));
            }
        }
        Ok((deployment, deployed))
    }

    fn add_definition(&mut self, name: &str, source: &Arc<[u8]>, process: Process) -> Arc<Definition> {
        let newest = self.definitions.newest(&process.id);
        if let Some(same) = newest.filter(|newest| newest.source == *source && newest.resource_name == name) {
            return Arc::clone(same);
        }
        let version = newest.map_or(1, |newest| newest.version + 1);
        let id = process.id.clone();
        let definition = Arc::new(Definition {
            key: self.new_key(),
            version,
            resource_name: name.to_owned(),
            process,
            source: Arc::clone(source),
        });
        self.definitions.by_key.insert(definition.key, Arc::clone(&definition));
        let versions = self.definitions.by_id.entry(id).or_default();
        versions.insert(version, Arc::clone(&definition));
        definition
    }
}

fn read_file(name: &str, content: &[u8]) -> Result<Vec<Process>, String> {
    if !name.ends_with(".bpmn") && !name.ends_with(".xml") {
        return Err("only BPMN is supported; name the file *.bpmn".to_owned());
    }
    let text = std::str::from_utf8(content).map_err(|error| format!("this is not UTF-8 ({error})"))?;
    bpmn::read(text).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        lines.join("\n")
    })
}

fn refuse(reason: impl Into<String>) -> Rejection {
    Rejection::invalid_argument("CREATE", reason)
}
