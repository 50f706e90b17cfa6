//! Outputs as a file: pieces go in, a file below the directory that operations configured comes out, whole or not at all.
//!
//! The name comes from the diagram, so it is not believed: it must lead downwards, and each directory on the way is
//! opened from the one above it without following links. The bytes go into a file with a name of its own, which takes
//! the wanted name when everything is on the disk.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};
use rustix::fs::{AtFlags, Mode, OFlags, fsync, mkdirat, open, openat, renameat, unlinkat};
use rustix::io::Errno;

/// Directories and name that a path may have, and bytes of each: a name of ours is a little longer, and 255 are allowed.
const MOST_PARTS: usize = 16;
const LONGEST_PART: usize = 200;
/// What our own names begin with.
const OURS: &str = ".deskhand-";

/// Where below the configured directory a file shall lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavePath {
    directories: Vec<String>,
    name: String,
}

impl SavePath {
    /// Reads a path such as `invoices/2026/42.json`.
    ///
    /// # Errors
    /// What is wrong with it, to be put behind the name of the field.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let mut parts: Vec<String> = text.split('/').map(str::to_owned).collect();
        if text.starts_with('/') || text.contains(['\\', ':']) {
            return Err(
                "must lead downwards from the directory that operations configured: write a path such as \
                        `invoices/42.json`, without a drive, `\\` or a `/` at its beginning",
            );
        }
        if parts.iter().any(|part| part == "." || part == "..") {
            return Err("must not hold `.` or `..`: it leads downwards from the directory that operations configured");
        }
        if parts
            .iter()
            .any(|part| part.trim().is_empty() || part.chars().any(char::is_control))
        {
            return Err(
                "has a part without a name, or with a control character in it: write a path such as \
                        `invoices/42.json`",
            );
        }
        if parts.len() > MOST_PARTS || parts.iter().any(|part| part.len() > LONGEST_PART) {
            return Err("is too long: 16 parts with 200 bytes each are possible");
        }
        let name = parts.pop().unwrap_or_default();
        if name.starts_with(OURS) {
            return Err("begins with `.deskhand-`, which files have that are still being written");
        }
        Ok(Self {
            directories: parts,
            name,
        })
    }

    fn below(&self, root: &Path) -> PathBuf {
        root.join(self.directories.iter().collect::<PathBuf>()).join(&self.name)
    }
}

/// Why nothing was saved.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// The configured directory is not there, or may not be used.
    #[error("The directory {} (deskhand.toml: desktop_flow.save_dir) cannot be used: {error}", root.display())]
    Root {
        /// The directory.
        root: PathBuf,
        /// The system's words.
        error: io::Error,
    },
    /// The way to the file is blocked.
    #[error("`saveTo` leads over `{part}`, which is a link, or no directory")]
    Blocked {
        /// The part of the path.
        part: String,
    },
    /// A directory has the name.
    #[error("`saveTo` names a directory")]
    IsDirectory,
    /// The file system has its reasons: it is full, or may not be written.
    #[error("The file that `saveTo` names cannot be written: {0}")]
    Io(#[from] io::Error),
}

impl SaveError {
    /// May another try help without anybody's doing?
    pub fn may_pass(&self) -> bool {
        matches!(self, SaveError::Io(error) if error.kind() != io::ErrorKind::PermissionDenied)
    }
}

/// A file that is being written.
pub struct Part {
    directory: OwnedFd,
    temporary: String,
    name: String,
    path: PathBuf,
    file: File,
    digest: Context,
    size: u64,
    kept: bool,
}

/// A file that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// Where it lies on this machine.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of its bytes, hexadecimal.
    pub sha256: String,
}

impl Part {
    /// Makes an empty file beside the wanted one. Directories on the way are made where they are missing.
    ///
    /// # Errors
    /// [`SaveError`].
    pub fn create(root: &Path, path: &SavePath) -> Result<Self, SaveError> {
        let directory_flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut directory = open(root, directory_flags, Mode::empty()).map_err(|error| SaveError::Root {
            root: root.to_owned(),
            error: error.into(),
        })?;
        for part in &path.directories {
            match mkdirat(&directory, part, Mode::from_raw_mode(0o750)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(io::Error::from(error).into()),
            }
            directory = match openat(&directory, part, directory_flags | OFlags::NOFOLLOW, Mode::empty()) {
                Ok(inner) => inner,
                Err(Errno::LOOP | Errno::NOTDIR) => return Err(SaveError::Blocked { part: part.clone() }),
                Err(error) => return Err(io::Error::from(error).into()),
            };
        }
        let temporary = format!("{OURS}{:016x}.part", fastrand::u64(..));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&directory, &temporary, flags, Mode::from_raw_mode(0o640)).map_err(io::Error::from)?;
        Ok(Self {
            directory,
            temporary,
            name: path.name.clone(),
            path: path.below(root),
            file: file.into(),
            digest: Context::new(&SHA256),
            size: 0,
            kept: false,
        })
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// When the file system does not take them.
    pub fn write(&mut self, piece: &[u8]) -> Result<(), SaveError> {
        self.file.write_all(piece)?;
        self.digest.update(piece);
        self.size += piece.len() as u64;
        Ok(())
    }

    /// Gives the file its name; a file that has the name is replaced.
    ///
    /// # Errors
    /// When the bytes do not get to the disk, or a directory has the name. Nothing is left behind then.
    pub fn keep(mut self) -> Result<Saved, SaveError> {
        self.file.sync_all()?;
        match renameat(&self.directory, &self.temporary, &self.directory, &self.name) {
            Ok(()) => {}
            Err(Errno::ISDIR) => return Err(SaveError::IsDirectory),
            Err(error) => return Err(io::Error::from(error).into()),
        }
        self.kept = true;
        fsync(&self.directory).map_err(io::Error::from)?;
        let digest = self.digest.clone().finish();
        let sha256 = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Saved {
            path: std::mem::take(&mut self.path),
            size: self.size,
            sha256,
        })
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.kept {
            // It is ours alone; where this fails, its name says what it is.
            let _ = unlinkat(&self.directory, &self.temporary, AtFlags::empty());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn path(text: &str) -> SavePath {
        SavePath::parse(text).unwrap()
    }

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_path_leads_downwards_or_nowhere() {
        for bad in [
            "/etc/passwd",
            "..",
            "../x",
            "a/../x",
            "a/./x",
            ".",
            "a//x",
            "a/",
            "",
            " ",
            "C:\\x",
            "c:x",
            "a\\..\\x",
            "a\0b",
            "a\nb",
            ".deskhand-1.part",
            &"x/".repeat(20),
            &"x".repeat(201),
        ] {
            assert!(SavePath::parse(bad).is_err(), "{bad:?}");
        }
        for good in ["x", "a/b/c.json", "Rechnung Nr. 7 (ä).pdf", ".hidden", "a/..b", "..."] {
            assert!(SavePath::parse(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn a_file_appears_whole_or_not_at_all_and_replaces_the_one_before() {
        let root = tempfile::tempdir().unwrap();
        for text in ["one", "two and more"] {
            let mut part = Part::create(root.path(), &path("a/b/c.txt")).unwrap();
            let inner = root.path().join("a/b");
            assert_eq!(names(&inner).iter().filter(|name| name.starts_with(OURS)).count(), 1);
            for piece in text.as_bytes().chunks(2) {
                part.write(piece).unwrap();
            }
            let saved = part.keep().unwrap();
            assert_eq!(saved.path, inner.join("c.txt"));
            assert_eq!(std::fs::read_to_string(&saved.path).unwrap(), text);
            assert_eq!(saved.size, text.len() as u64);
            assert_eq!(names(&inner), ["c.txt"]);
        }
        let mut part = Part::create(root.path(), &path("a/b/c.txt")).unwrap();
        part.write(b"half").unwrap();
        drop(part);
        assert_eq!(names(&root.path().join("a/b")), ["c.txt"]);
        assert_eq!(
            std::fs::read_to_string(root.path().join("a/b/c.txt")).unwrap(),
            "two and more"
        );
    }

    #[test]
    fn the_digest_is_the_one_that_everybody_computes() {
        let root = tempfile::tempdir().unwrap();
        let mut part = Part::create(root.path(), &path("x")).unwrap();
        part.write(b"ab").unwrap();
        part.write(b"c").unwrap();
        assert_eq!(
            part.keep().unwrap().sha256,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn links_are_not_followed_and_a_link_in_the_files_place_is_replaced_not_written_through() {
        let (root, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        symlink(outside.path(), root.path().join("out")).unwrap();
        std::fs::create_dir(root.path().join("in")).unwrap();
        symlink(outside.path(), root.path().join("in/out")).unwrap();
        for through in ["out/x", "in/out/x"] {
            let blocked = Part::create(root.path(), &path(through));
            assert!(
                matches!(blocked, Err(SaveError::Blocked { part }) if part == "out"),
                "{through}"
            );
        }
        let victim = outside.path().join("victim");
        std::fs::write(&victim, "untouched").unwrap();
        symlink(&victim, root.path().join("x")).unwrap();
        let mut part = Part::create(root.path(), &path("x")).unwrap();
        part.write(b"new").unwrap();
        part.keep().unwrap();
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "untouched");
        assert!(!root.path().join("x").is_symlink());
        assert_eq!(names(outside.path()), ["victim"]);
    }

    #[test]
    fn what_stands_in_the_way_is_said_and_left_as_it_is() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("file"), "x").unwrap();
        std::fs::create_dir(root.path().join("directory")).unwrap();
        let blocked = Part::create(root.path(), &path("file/x")).err().unwrap();
        assert!(matches!(blocked, SaveError::Blocked { .. }) && !blocked.may_pass());
        let part = Part::create(root.path(), &path("directory")).unwrap();
        assert!(matches!(part.keep(), Err(SaveError::IsDirectory)));
        assert_eq!(names(root.path()), ["directory", "file"]);
        let missing = Part::create(&root.path().join("nowhere"), &path("x")).err().unwrap();
        assert!(missing.to_string().contains("desktop_flow.save_dir"), "{missing}");
    }
}
