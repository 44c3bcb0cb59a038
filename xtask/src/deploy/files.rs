//! The files of `deploy/` by themselves: YAML parses, templates name only values that exist, the image runs as nobody.

use std::collections::BTreeMap;

use saphyr::{LoadableYamlNode as _, Yaml};

use crate::finding::Finding;

const CHART: &str = "deploy/helm/synod/";
const VALUES: &str = "deploy/helm/synod/values.yaml";
const IMAGE: &str = "deploy/container/Containerfile";
const STATEFUL_SET: &str = "deploy/helm/synod/templates/statefulset.yaml";

/// Texts that a file must contain, and why.
const DEMANDED: [(&str, &str, &str); 12] = [
    (STATEFUL_SET, "podManagementPolicy: Parallel", "nodes find each other only when all start"),
    (STATEFUL_SET, "startupProbe:", "a node that catches up is not killed"),
    (STATEFUL_SET, "readinessProbe:", "clients are sent to who serves"),
    (STATEFUL_SET, "livenessProbe:", "who hangs is started again"),
    (STATEFUL_SET, "preStop:", "links and leaderships move before the end"),
    (STATEFUL_SET, "runAsNonRoot: true", "nobody needs root"),
    (
        "deploy/helm/synod/templates/services.yaml",
        "publishNotReadyAddresses: true",
        "nodes must find each other before they are ready",
    ),
    ("deploy/helm/synod/templates/disruption.yaml", "maxUnavailable: 1", "a quorum stays"),
    ("deploy/systemd/synod.service", "Type=notify", "systemd waits until the node serves"),
    ("deploy/systemd/synod.service", "LoadCredential=", "the node key is a credential"),
    (IMAGE, "USER ", "nobody needs root"),
    (IMAGE, " AS build", "the toolchain stays behind"),
];

/// Checks each file for itself.
pub(super) fn check(files: &BTreeMap<String, String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text, why) in DEMANDED {
        if !files.get(path).is_some_and(|file| file.contains(text)) {
            findings.push(Finding::new(path, 0, format!("must say `{text}`: {why}")));
        }
    }
    let values = files.get(VALUES).map_or("", String::as_str);
    for (path, text) in files.iter().filter(|(path, _)| is_yaml(path)) {
        let is_template = path.starts_with(&format!("{CHART}templates/"));
        let plain = if is_template { blanked(text) } else { text.clone() };
        if let Err(error) = Yaml::load_from_str(&plain) {
            findings.push(Finding::new(path, error.marker().line(), error.to_string()));
        }
        if is_template {
            findings.extend(template(path, text, values));
        }
    }
    findings
}

fn is_yaml(path: &str) -> bool {
    path.ends_with(".yaml") || path.ends_with(".yml")
}

/// A template as a document of one of its outcomes: lines that only steer are gone, values are a word.
fn blanked(template: &str) -> String {
    let steers = |line: &&str| !(line.trim().starts_with("{{") && line.trim().ends_with("}}"));
    let blank = |line: &str| {
        let mut parts = line.split("{{");
        let mut plain = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            plain.push('x');
            plain.push_str(part.split_once("}}").map_or("", |(_, after)| after));
        }
        plain
    };
    template.lines().filter(steers).map(|line| blank(line) + "\n").collect()
}

/// Brackets that close, and values that exist.
fn template(path: &str, text: &str, values: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let documents = Yaml::load_from_str(values).unwrap_or_default();
    for (at, line) in text.lines().enumerate() {
        let mut wrong = |what: String| findings.push(Finding::new(path, at + 1, what));
        if line.matches("{{").count() != line.matches("}}").count() {
            wrong("a bracket that does not close".to_owned());
        }
        for named in line.split(".Values.").skip(1) {
            let end = named.find(|c: char| !c.is_ascii_alphanumeric() && c != '.');
            let named = &named[..end.unwrap_or(named.len())];
            let found = named
                .split('.')
                .try_fold(documents.first(), |at, key| Some(at?.as_mapping_get(key)))
                .flatten();
            if found.is_none() {
                wrong(format!("values.yaml has no `{named}`"));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str =
        "{{- if .Values.on }}\na: {{ .Values.b.c | quote }}\nd: [{{ x }}, {{ y }}]\n{{- end }}\n";

    #[test]
    fn a_template_is_a_document_once_its_steering_is_gone() {
        assert_eq!(blanked(TEMPLATE), "a: x\nd: [x, x]\n");
        assert_eq!(template("t", TEMPLATE, "on: true\nb:\n  c: 1\n"), Vec::new());
    }

    #[test]
    fn values_that_do_not_exist_and_open_brackets_are_caught() {
        assert_eq!(template("t", TEMPLATE, "on: true\nb: {}\n").len(), 1);
        assert_eq!(template("t", "a: {{ x }\n", "").len(), 1);
    }

    #[test]
    fn what_does_not_parse_and_what_is_missing_is_caught() {
        let broken = BTreeMap::from([("deploy/x.yaml".to_owned(), "a: [1\nb: }\n".to_owned())]);
        let findings = check(&broken);
        assert_eq!(findings.len(), DEMANDED.len() + 1, "{findings:?}");
    }
}
