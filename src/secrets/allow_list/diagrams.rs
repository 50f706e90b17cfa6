//! A directory of diagrams: read when it is first needed, looked at again every few seconds, and read anew when a file
//! changed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::declared::Declared;
use crate::secrets::provider::ProviderError;

/// How long what was read counts without a look at the files.
const FRESH: Duration = Duration::from_secs(5);
/// How long files may take to be read.
const PATIENCE: Duration = Duration::from_secs(30);
const MOST_FILES: usize = 5_000;
/// Directories below each other.
const DEEPEST: usize = 8;
/// Bytes of one diagram.
const LARGEST: u64 = 16 * 1024 * 1024;

/// The diagrams of a directory and those below it.
pub struct Diagrams {
    directory: PathBuf,
    read: Mutex<Option<Read>>,
}

struct Read {
    at: Instant,
    files: Vec<Seen>,
    declared: Arc<Declared>,
}

/// A file as it was: enough to see that it changed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    path: PathBuf,
    length: u64,
    modified: Option<SystemTime>,
}

impl Diagrams {
    /// The diagrams of this directory; nothing is read yet.
    pub fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            read: Mutex::default(),
        }
    }

    /// Where they are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// What they declare now. All who ask at the same time wait for one reading.
    pub(super) async fn current(&self) -> Result<Arc<Declared>, ProviderError> {
        let mut read = self.read.lock().await;
        if let Some(read) = read.as_ref().filter(|read| read.at.elapsed() < FRESH) {
            return Ok(read.declared.clone());
        }
        let known = read.take();
        let directory = self.directory.clone();
        let reading = tokio::task::spawn_blocking(move || look(&directory, known));
        let fresh = match tokio::time::timeout(PATIENCE, reading).await {
            Ok(Ok(Ok(fresh))) => fresh,
            Ok(Ok(Err(error))) => return Err(self.unreadable(error)),
            Ok(Err(broken)) => return Err(self.unreadable(broken)),
            Err(_) => return Err(self.unreadable(format!("no answer within {} s", PATIENCE.as_secs()))),
        };
        Ok(read.insert(fresh).declared.clone())
    }

    fn unreadable(&self, what: impl std::fmt::Display) -> ProviderError {
        ProviderError(format!(
            "the diagrams in {} cannot be read ({what})",
            self.directory.display()
        ))
    }
}

fn look(directory: &Path, known: Option<Read>) -> io::Result<Read> {
    let mut files = Vec::new();
    list(directory, 0, &mut files)?;
    files.sort();
    if let Some(known) = known.filter(|known| known.files == files) {
        return Ok(Read {
            at: Instant::now(),
            ..known
        });
    }
    let mut declared = Declared::default();
    for file in &files {
        let shown = file.path.display();
        let text = fs::read_to_string(&file.path)?;
        match declared.add(&text) {
            Ok(again) => {
                for process in again {
                    tracing::info!(process, diagram = %shown, "another diagram of this process: what either declares is allowed");
                }
            }
            // It declares nothing, so nothing is allowed by it.
            Err(error) => tracing::warn!(diagram = %shown, %error, "this diagram cannot be read"),
        }
    }
    tracing::info!(
        files = files.len(),
        processes = declared.processes(),
        "diagrams read: they say where secrets may be used"
    );
    Ok(Read {
        at: Instant::now(),
        files,
        declared: Arc::new(declared),
    })
}

fn list(directory: &Path, depth: usize, files: &mut Vec<Seen>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let hidden = path
            .file_name()
            .is_none_or(|name| name.to_string_lossy().starts_with('.'));
        // What a link leads to counts: Kubernetes mounts files as links.
        let about = fs::metadata(&path)?;
        if about.is_dir() && !hidden && depth < DEEPEST {
            list(&path, depth + 1, files)?;
        } else if about.is_file() && path.extension().is_some_and(|kind| kind == "bpmn" || kind == "xml") {
            if about.len() > LARGEST || files.len() >= MOST_FILES {
                return Err(io::Error::other(format!(
                    "{}: more than {MOST_FILES} files or {LARGEST} bytes",
                    path.display()
                )));
            }
            files.push(Seen {
                path,
                length: about.len(),
                modified: about.modified().ok(),
            });
        }
    }
    Ok(())
}
