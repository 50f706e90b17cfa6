//! Secrets in a directory of files, as Kubernetes mounts them: the file's name is the secret's, its content the value.
//!
//! Files are read anew for each job, so a rotated mount (Kubernetes swaps the `..data` link) is followed at once and no
//! value stays in memory longer than its job.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::BoxFuture;
use secrecy::SecretString;

use super::provider::{Provider, ProviderError, SecretScope};

/// The largest value, in bytes: what Kubernetes allows a whole secret.
const LARGEST: u64 = 64 * 1024;
/// A network mount may hang; a job must not hang with it.
const PATIENCE: Duration = Duration::from_secs(5);

/// A directory as a store of secrets.
pub struct Directory {
    path: PathBuf,
}

impl Directory {
    /// A store over the files of this directory. It need not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    fn unreadable(&self, what: impl std::fmt::Display) -> ProviderError {
        ProviderError(format!(
            "the secrets directory {} cannot be used ({what})",
            self.path.display()
        ))
    }
}

impl Provider for Directory {
    fn kind(&self) -> &'static str {
        "directory"
    }

    fn wanted(&self, name: &str, _scope: &SecretScope<'_>) -> String {
        if is_file_name(name) {
            format!("the file {}", self.path.join(name).display())
        } else {
            format!(
                "nothing in the directory {}, where no file can have this name",
                self.path.display()
            )
        }
    }

    fn get<'a>(
        &'a self,
        name: &'a str,
        _scope: &'a SecretScope<'a>,
    ) -> BoxFuture<'a, Result<Option<SecretString>, ProviderError>> {
        Box::pin(async move {
            if !is_file_name(name) {
                return Ok(None);
            }
            let (directory, name) = (self.path.clone(), name.to_owned());
            let reading = tokio::task::spawn_blocking(move || read(&directory, &name));
            match tokio::time::timeout(PATIENCE, reading).await {
                Ok(Ok(value)) => value.map_err(|error| self.unreadable(error)),
                Ok(Err(broken)) => Err(self.unreadable(broken)),
                Err(_) => Err(self.unreadable(format!("no answer within {} s", PATIENCE.as_secs()))),
            }
        })
    }
}

/// Can this be the name of a file in the directory itself? Hidden files are not secrets: `..data` is Kubernetes's own.
fn is_file_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 255 && !name.starts_with('.') && !name.contains(['/', '\\', '\0', ':'])
}

fn read(directory: &Path, name: &str) -> io::Result<Option<SecretString>> {
    let path = directory.join(name);
    let about = match fs::metadata(&path) {
        Ok(about) => about,
        // Missing is only what a directory that is there does not have.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return fs::read_dir(directory).map(|_| None),
        Err(error) => return Err(error),
    };
    if !about.is_file() {
        return Ok(None);
    }
    let mut value = String::new();
    fs::File::open(&path)?
        .take(LARGEST + 1)
        .read_to_string(&mut value)
        .map_err(|error| io::Error::new(error.kind(), format!("file {name}: {error}")))?;
    if value.len() as u64 > LARGEST {
        return Err(io::Error::other(format!("file {name}: larger than {LARGEST} bytes")));
    }
    let kept = value
        .strip_suffix('\n')
        .map_or(value.as_str(), |line| line.strip_suffix('\r').unwrap_or(line))
        .len();
    value.truncate(kept);
    Ok(Some(SecretString::from(value)))
}
