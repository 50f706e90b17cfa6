//! Secrets in a dotenv file: lines `NAME=value`, as the tools of many languages read them. Read anew for each job, so that
//! a changed file is followed at once.
//!
//! Blank lines and lines that begin with `#` are skipped, `export ` before a name is allowed. In double quotes `\n`, `\r`,
//! `\t`, `\"`, `\\` and `\$` are escapes and a value may go over several lines; in single quotes everything is as it
//! stands. Without quotes a value ends before ` #`. Variables in values are not replaced: a secret is what it is.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::BoxFuture;
use secrecy::SecretString;

use super::provider::{Provider, ProviderError, SecretScope};

/// The largest file, in bytes.
const LARGEST: u64 = 1024 * 1024;
const PATIENCE: Duration = Duration::from_secs(5);

/// A dotenv file as a store of secrets.
pub struct Dotenv {
    path: PathBuf,
}

impl Dotenv {
    /// A store over this file. It need not exist yet, but while it does not, jobs that ask for it wait.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }
}

impl Provider for Dotenv {
    fn kind(&self) -> &'static str {
        "dotenv"
    }

    fn wanted(&self, name: &str, _scope: &SecretScope<'_>) -> String {
        format!("the line {name}=... in {}", self.path.display())
    }

    fn get<'a>(
        &'a self,
        name: &'a str,
        _scope: &'a SecretScope<'a>,
    ) -> BoxFuture<'a, Result<Option<SecretString>, ProviderError>> {
        Box::pin(async move {
            let (path, name) = (self.path.clone(), name.to_owned());
            let reading = tokio::task::spawn_blocking(move || find(&path, &name));
            match tokio::time::timeout(PATIENCE, reading).await {
                Ok(Ok(value)) => value,
                Ok(Err(broken)) => Err(broken.to_string()),
                Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
            }
            .map_err(|what| {
                ProviderError(format!(
                    "the dotenv file {} cannot be used ({what})",
                    self.path.display()
                ))
            })
        })
    }
}

fn find(path: &Path, name: &str) -> Result<Option<SecretString>, String> {
    let about = std::fs::metadata(path).map_err(|error| error.to_string())?;
    // A pipe would never end.
    if !about.is_file() {
        return Err("it is no file".into());
    }
    if about.len() > LARGEST {
        return Err(format!("larger than {LARGEST} bytes"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| error.kind().to_string())?;
    let text = zeroize::Zeroizing::new(text);
    // The last line of a name counts, as in a shell.
    let mut found = None;
    for entry in entries(&text) {
        let (known, value) = entry?;
        if known == name {
            found = Some(value);
        }
    }
    Ok(found)
}

/// Names and values, in the order of the file. An error names the line and shows nothing of it.
fn entries(text: &str) -> impl Iterator<Item = Result<(&str, SecretString), String>> {
    let mut rest = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    let mut line = 1;
    std::iter::from_fn(move || {
        loop {
            let end = rest.find('\n').unwrap_or(rest.len());
            let current = rest[..end].trim();
            if rest.is_empty() {
                return None;
            }
            if current.is_empty() || current.starts_with('#') {
                rest = rest.get(end + 1..).unwrap_or_default();
                line += 1;
                continue;
            }
            let start = rest;
            let result = entry(&mut rest).map_err(|what| format!("line {line}: {what}"));
            line += start[..start.len() - rest.len()].matches('\n').count();
            if result.is_err() {
                rest = "";
            }
            return Some(result);
        }
    })
}

fn entry<'a>(rest: &mut &'a str) -> Result<(&'a str, SecretString), &'static str> {
    let text: &'a str = rest;
    let end = text.find('\n').unwrap_or(text.len());
    let equals = text[..end].find('=').ok_or("there is no `=`")?;
    let name = text[..equals].trim();
    let name = name.strip_prefix("export ").unwrap_or(name).trim();
    if name.is_empty() || name.contains([' ', '\t', '"', '\'']) {
        return Err("before the `=` stands no name");
    }
    let value = text[equals + 1..].trim_start_matches([' ', '\t']);
    match value.chars().next() {
        Some(quote @ ('"' | '\'')) => {
            let (value, after) = quoted(&value[1..], quote)?;
            let end = after.find('\n').unwrap_or(after.len());
            let behind = after[..end].trim();
            if !behind.is_empty() && !behind.starts_with('#') {
                return Err("something stands behind the closing quote");
            }
            *rest = after.get(end + 1..).unwrap_or_default();
            Ok((name, value))
        }
        _ => {
            let end = value.find('\n').unwrap_or(value.len());
            let line = &value[..end];
            let plain = line.find(" #").map_or(line, |at| &line[..at]).trim();
            *rest = value.get(end + 1..).unwrap_or_default();
            Ok((name, plain.into()))
        }
    }
}

/// The value up to the closing quote, and what stands behind it.
fn quoted(text: &str, quote: char) -> Result<(SecretString, &str), &'static str> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, character)) = chars.next() {
        match character {
            c if c == quote => return Ok((value.into(), &text[at + 1..])),
            '\\' if quote == '"' => match chars.next().ok_or("a quote is not closed")?.1 {
                'n' => value.push('\n'),
                'r' => value.push('\r'),
                't' => value.push('\t'),
                c @ ('"' | '\\' | '$') => value.push(c),
                other => value.extend(['\\', other]),
            },
            c => value.push(c),
        }
    }
    Err("a quote is not closed")
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::entries;

    fn read(text: &str) -> Vec<(String, String)> {
        entries(text)
            .map(|entry| entry.map(|(name, value)| (name.to_owned(), value.expose_secret().to_owned())))
            .collect::<Result<_, _>>()
            .unwrap()
    }

    #[test]
    fn lines_are_read_as_other_tools_read_them() {
        let text = "# a comment\n\nA=plain\nexport B = spaced  # comment\nC=\"quo\\\"ted\\n\" # x\nD='as $it \\n stands'\r\n\
                    E=\nF=a#b\nG=\"two\nlines\"\nH=x=y";
        let expected = [
            ("A", "plain"),
            ("B", "spaced"),
            ("C", "quo\"ted\n"),
            ("D", "as $it \\n stands"),
            ("E", ""),
            ("F", "a#b"),
            ("G", "two\nlines"),
            ("H", "x=y"),
        ];
        let expected: Vec<_> = expected.map(|(a, b)| (a.to_owned(), b.to_owned())).into();
        assert_eq!(read(text), expected);
    }

    #[test]
    fn what_is_no_line_is_an_error_with_its_number_and_nothing_of_it() {
        for (text, line) in [
            ("A=1\nno equals s3cret", "line 2"),
            ("A=\"two\nlines\"\n\nB=\"open s3cret", "line 4"),
            ("A='x' s3cret", "line 1"),
            ("=s3cret", "line 1"),
        ] {
            let error = entries(text).find_map(Result::err).unwrap();
            assert!(error.starts_with(line) && !error.contains("s3cret"), "{error}");
        }
    }
}
