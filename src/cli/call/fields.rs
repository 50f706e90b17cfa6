//! The fields of a task as a shell gives them: `NAME=TEXT`, `NAME:=JSON` and `NAME=@FILE` go in, a job's variables come
//! out. A dot in the name leads into an object: `inputs.InvoiceId=42`.

use serde_json::{Map, Value};

use crate::connector::desktop_flow;
use crate::spelling::nearest;

/// Bytes of a file that a field is read from.
const LARGEST_FILE: u64 = 4 * 1024 * 1024;

/// Reads all of them.
///
/// # Errors
/// The first that cannot be understood, and what to write instead.
pub(super) fn variables(typed: &[String]) -> Result<Map<String, Value>, String> {
    let mut variables = Map::new();
    for field in typed {
        let (path, value) = read(field)?;
        put(&mut variables, path, value)?;
    }
    let known = desktop_flow::fields();
    for name in variables.keys() {
        if !known.contains(&name.as_str()) {
            let hint = nearest(name, known.iter().copied())
                .map(|near| format!("; did you mean `{near}`?"))
                .unwrap_or_else(|| format!(": there are {}", known.join(", ")));
            return Err(format!("no operation has a field `{name}`{hint}"));
        }
    }
    Ok(variables)
}

fn read(field: &str) -> Result<(&str, Value), String> {
    let Some((name, value)) = field.split_once('=') else {
        return Err(format!(
            "`{field}` is no field: write NAME=TEXT, NAME:=JSON or NAME=@FILE"
        ));
    };
    if let Some(name) = name.strip_suffix(':') {
        let value = serde_json::from_str(value).map_err(|error| {
            format!("{name}:=… is not JSON ({error}): a text needs quotes there, or write {name}=TEXT")
        })?;
        return Ok((name, value));
    }
    match value.strip_prefix('@') {
        Some(path) => Ok((name, file(name, path)?.into())),
        None => Ok((name, value.into())),
    }
}

fn file(name: &str, path: &str) -> Result<String, String> {
    let told = |error: std::io::Error| format!("{name}=@{path} cannot be read: {error}");
    let length = std::fs::metadata(path).map_err(told)?.len();
    if length > LARGEST_FILE {
        return Err(format!("{name}=@{path} has {length} bytes; {LARGEST_FILE} are taken"));
    }
    std::fs::read_to_string(path).map_err(told)
}

fn put(variables: &mut Map<String, Value>, path: &str, value: Value) -> Result<(), String> {
    let mut at = variables;
    let mut parts = path.split('.').peekable();
    while let Some(part) = parts.next() {
        if part.is_empty() {
            return Err(format!("`{path}` is no name of a field"));
        }
        if parts.peek().is_none() {
            return match at.insert(part.to_owned(), value) {
                None => Ok(()),
                Some(_) => Err(format!("`{path}` is given twice")),
            };
        }
        let inner = at.entry(part).or_insert_with(|| Map::new().into());
        at = inner
            .as_object_mut()
            .ok_or_else(|| format!("`{path}`: what stands before the last dot is given as a value, too"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(typed: &[&str]) -> Result<Value, String> {
        let typed: Vec<String> = typed.iter().map(|text| (*text).to_owned()).collect();
        variables(&typed).map(Value::Object)
    }

    #[test]
    fn texts_json_and_inner_fields() {
        assert_eq!(
            read(&[
                "workflowName=Book = invoice",
                "inputs.InvoiceId=42",
                "inputs.Amount:=12.5",
                "inputs.Lines:=[1, 2]",
                "top:=5",
                "filter=",
            ]),
            Ok(json!({"workflowName": "Book = invoice", "top": 5, "filter": "",
                      "inputs": {"InvoiceId": "42", "Amount": 12.5, "Lines": [1, 2]}}))
        );
    }

    #[test]
    fn a_field_may_stand_in_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("inputs.json");
        std::fs::write(&path, "{\"A\": 1}").unwrap();
        assert_eq!(
            read(&[&format!("inputs=@{}", path.display())]),
            Ok(json!({"inputs": "{\"A\": 1}"}))
        );
        assert!(
            read(&["inputs=@/nowhere/at/all"])
                .unwrap_err()
                .contains("cannot be read")
        );
    }

    #[test]
    fn what_is_wrong_is_told_with_what_to_write() {
        for (typed, said) in [
            (&["workflowId"][..], "NAME=TEXT"),
            (&["top:=x"], "is not JSON"),
            (&["workflowname=x"], "did you mean `workflowName`?"),
            (&["zzz=1"], "no operation has a field `zzz`: there are "),
            (&["top=1", "top=2"], "is given twice"),
            (&["inputs=x", "inputs.A=1"], "given as a value, too"),
            (&["inputs..A=1"], "is no name of a field"),
            (&["=1"], "is no name of a field"),
        ] {
            let error = read(typed).unwrap_err();
            assert!(error.contains(said), "{typed:?}: {error}");
        }
    }
}
