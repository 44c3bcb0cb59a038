//! What may stand in a node's file, from its types and their comments: the one description of each key, from which the
//! default file, the JSON Schema and the origin of each value are made.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Map, Value};

use super::Config;

/// A key of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Such as `storage.segment_bytes`; `[]` stands for each of a list.
    pub path: String,
    /// `string`, `integer`, `boolean`, or the words that it may be.
    pub kind: String,
    /// What it says, as the comment beside it in the source.
    pub help: String,
    /// What it is when it is left out, as TOML; `None` when it then has no value.
    pub default: Option<String>,
}

/// A key's value and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The key.
    pub path: String,
    /// Its value, as TOML.
    pub value: String,
    /// Whether the file says so; otherwise it is the default.
    pub from_file: bool,
}

/// The JSON Schema of the file.
#[must_use]
pub fn schema() -> Value {
    let mut schema = schemars::schema_for!(Config).to_value();
    if let Some(fields) = schema.as_object_mut() {
        fields.insert("$id".to_owned(), Value::from("synod/config/v1"));
        fields.insert("title".to_owned(), Value::from("A node's file"));
    }
    schema
}

/// Every key, sorted, those without a section first.
#[must_use]
pub fn keys() -> Vec<Key> {
    let schema = schema();
    let defaults = toml::Value::try_from(unset()).expect("an empty file is valid");
    let mut keys = Vec::new();
    walk(&schema, (&schema, Some(&defaults)), "", &mut keys);
    keys.sort_by_key(|key| (key.path.contains('.'), key.path.clone()));
    keys
}

/// The file that says nothing, with the paths as they would stand in it.
fn unset() -> Config {
    toml::from_str("").expect("an empty file is valid")
}

fn walk(
    root: &Value,
    (node, default): (&Value, Option<&toml::Value>),
    at: &str,
    into: &mut Vec<Key>,
) {
    let properties = target(root, node)["properties"].as_object();
    for (name, property) in properties.into_iter().flatten() {
        let path = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
        let default = default.and_then(|table| table.get(name));
        let below = target(root, property);
        if below["properties"].is_object() {
            walk(root, (below, default), &path, into);
            continue;
        }
        let items = target(root, &below["items"]);
        if items["properties"].is_object() {
            walk(root, (items, None), &format!("{path}[]"), into);
        }
        let help = property["description"].as_str().unwrap_or_default().replace('\n', " ");
        let kind = kind(below);
        into.push(Key { path, kind, help, default: default.map(toml::Value::to_string) });
    }
}

/// What a reference means; of `either this or nothing` this.
fn target<'a>(root: &'a Value, node: &'a Value) -> &'a Value {
    if let Some(alternatives) = node["anyOf"].as_array() {
        let some = alternatives.iter().find(|one| one["type"] != "null");
        return some.map_or(node, |some| target(root, some));
    }
    match node["$ref"].as_str().and_then(|reference| reference.strip_prefix('#')) {
        Some(pointer) => root.pointer(pointer).map_or(node, |found| target(root, found)),
        None => node,
    }
}

fn kind(node: &Value) -> String {
    let words: Vec<&str> = ["oneOf", "enum"]
        .into_iter()
        .flat_map(|list| node[list].as_array().into_iter().flatten())
        .filter_map(|word| word.as_str().or_else(|| word["const"].as_str()))
        .collect();
    if !words.is_empty() {
        return words.join(" | ");
    }
    let kinds = match &node["type"] {
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null"),
        kind => kind.as_str(),
    };
    match kinds {
        Some("array") => "list".to_owned(),
        Some(kind) => kind.to_owned(),
        None => "value".to_owned(),
    }
}

/// A file in which every key is told and none is set: each line that could be is commented out with its default.
#[must_use]
pub fn default_file() -> String {
    let mut file = String::from(
        "# A node's file. An empty one is valid: what is left out has the value that is commented out here.\n\
         # Paths are taken from the folder of this file. `synod config check` tells mistakes, `synod config show --origin` what holds.\n",
    );
    let mut section = "";
    let keys = keys();
    for Key { path, kind, help, default } in &keys {
        let (of, name) = path.split_once('.').unwrap_or(("", path));
        // A list of tables is told within its section.
        let (of, name) = if of.ends_with("[]") { ("", path.as_str()) } else { (of, name) };
        if of != section {
            section = of;
            let _ = write!(file, "\n[{section}]\n");
        }
        let _ = writeln!(file, "\n# {help}");
        let _ = match default {
            Some(value) => writeln!(file, "#{name} = {value}"),
            None => writeln!(file, "# {name}: {kind}, not set"),
        };
    }
    file
}

/// Every value that holds for the file `text`, taken from the folder `base`, and where it comes from.
///
/// # Errors
/// As [`Config::parse`].
pub fn origins(text: &str, base: &Path) -> Result<Vec<Origin>, String> {
    let config = Config::parse(text, base)?;
    let holds = toml::Value::try_from(&config).map_err(|error| error.to_string())?;
    let file: toml::Table = text.parse().map_err(|error: toml::de::Error| error.to_string())?;
    let said = toml::Value::Table(file);
    let origin = |key: Key| {
        let value = at(&holds, &key.path)?.to_string();
        let from_file = at(&said, &key.path).is_some();
        Some(Origin { path: key.path, value, from_file })
    };
    Ok(keys().into_iter().filter_map(origin).collect())
}

/// The keys whose values differ, sorted. A list is one value.
pub(crate) fn changed(before: &Config, after: &Config) -> Vec<String> {
    let values = |config: &Config| toml::Value::try_from(config).expect("it came from a file");
    let (before, after) = (values(before), values(after));
    let differs = |path: &String| at(&before, path) != at(&after, path);
    let mut changed: Vec<String> = keys().into_iter().map(|key| key.path).filter(differs).collect();
    changed.sort();
    changed
}

fn at<'a>(table: &'a toml::Value, path: &str) -> Option<&'a toml::Value> {
    path.split('.').try_fold(table, |table, name| table.get(name))
}

impl Key {
    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let Self { path, kind, help, default } = self;
        let mut fields = Map::new();
        for (name, value) in [("key", path), ("kind", kind), ("help", help)] {
            fields.insert(name.to_owned(), Value::from(value.as_str()));
        }
        fields.insert("default".to_owned(), default.as_deref().into());
        Value::Object(fields)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The default file with every line that is commented out put in.
    fn put_in(file: &str) -> String {
        let line = |line: &str| match line.strip_prefix('#') {
            Some(set) if !set.starts_with(' ') => format!("{set}\n"),
            _ => format!("{line}\n"),
        };
        file.lines().map(line).collect()
    }

    #[test]
    fn every_key_is_documented() {
        let keys = keys();
        assert!(keys.len() > 50, "the description is whole: {}", keys.len());
        let paths: BTreeSet<&str> = keys.iter().map(|key| key.path.as_str()).collect();
        assert_eq!(paths.len(), keys.len(), "a key is told once");
        for known in
            ["data", "listen.client", "storage.engine", "limits.read.user.burst", "push.apns.key"]
        {
            assert!(paths.contains(known), "{known} is told: {paths:?}");
        }
        for Key { path, kind, help, .. } in &keys {
            assert!(help.len() > 3, "{path} has a comment in the source");
            assert_ne!(kind, "value", "{path} has a kind");
        }
    }

    #[test]
    fn the_default_file_is_an_empty_one_and_tells_what_an_empty_one_means() {
        let base = Path::new("/etc/synod");
        let of = |text: &str| {
            let config = Config::parse(text, base).unwrap_or_else(|why| panic!("{why}\n{text}"));
            toml::to_string(&config).expect("TOML")
        };
        let file = default_file();
        assert_eq!(of(&file), of(""), "as it is printed");
        assert_eq!(of(&put_in(&file)), of(""), "with every default put in");
    }

    #[test]
    fn where_a_value_comes_from_is_told() {
        let text = "data = \"d\"\n[storage]\nsegment_bytes = 2097152\n";
        let origins = origins(text, Path::new("/etc/synod")).expect("a valid file");
        let of = |path: &str| {
            let found = origins.iter().find(|origin| origin.path == path);
            let found = found.unwrap_or_else(|| panic!("{path} is told"));
            (found.value.as_str(), found.from_file)
        };
        assert_eq!(of("data"), ("\"/etc/synod/d\"", true));
        assert_eq!(of("storage.segment_bytes"), ("2097152", true));
        assert_eq!(of("storage.engine"), ("\"fjall\"", false));
        assert!(!of("limits.sends.burst").1);
    }

    #[test]
    fn the_schema_refuses_what_the_node_refuses() {
        let schema = schema();
        assert_eq!(schema["additionalProperties"], Value::Bool(false));
        let tables = schema["$defs"].as_object().expect("definitions");
        for (name, table) in tables.iter().filter(|(_, table)| table["properties"].is_object()) {
            assert_eq!(table["additionalProperties"], Value::Bool(false), "{name}");
        }
    }

    #[test]
    fn the_operators_file_is_the_one_that_is_printed() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operating/node.toml");
        if std::env::var_os("SYNOD_REWRITE").is_some() {
            std::fs::write(&path, default_file()).expect("the folder of documents can be written");
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(kept == default_file(), "write it: SYNOD_REWRITE=1 cargo test -p node describe");
    }
}
