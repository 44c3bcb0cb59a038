//! `deploy/` holds together: dashboards and alerts name only metrics that exist, each alert has its page, files parse,
//! templates name only values that exist. What another program must judge (systemd, Helm) is asked of it where it is
//! installed, and said to be skipped where it is not.

mod files;
mod programs;
mod promql;

use std::collections::{BTreeMap, BTreeSet};

use saphyr::{LoadableYamlNode as _, Yaml};
use serde_json::Value;

use crate::finding::Finding;
use crate::tree::Tree;

pub(crate) use programs::judged;

/// The list of metrics, as `node` writes it from its own.
const METRICS: &str = "docs/operating/metrics.md";
const ALERTS: &str = "deploy/prometheus/alerts.yaml";
const DASHBOARDS: &str = "deploy/grafana/";
const PAGES: &str = "docs/operating/alerts/";
/// What Prometheus itself adds to everything it scrapes.
const OF_PROMETHEUS: [&str; 3] = ["instance", "job", "le"];
const SEVERITIES: [&str; 3] = ["critical", "warning", "info"];
/// How a histogram is told.
const SUFFIXES: [&str; 3] = ["_bucket", "_sum", "_count"];

/// A metric as the page has it: its labels, and their values where these are listed.
#[derive(Debug, Default)]
struct Metric {
    is_histogram: bool,
    labels: BTreeMap<String, BTreeSet<String>>,
}

type Metrics = BTreeMap<String, Metric>;

/// Checks everything under `deploy/` that needs no other program.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let metrics = metrics(tree.pages.get(METRICS).map_or("", String::as_str));
    if metrics.is_empty() {
        return vec![Finding::new(METRICS, 0, "has no metrics")];
    }
    let mut findings = files::check(&tree.deploy);
    match tree.deploy.get(ALERTS) {
        Some(text) => findings.extend(alerts(text, &metrics, &tree.pages)),
        None => findings.push(Finding::new(ALERTS, 0, "is missing")),
    }
    let dashboards = tree.deploy.iter().filter(|(path, _)| path.starts_with(DASHBOARDS));
    for (path, text) in dashboards {
        findings.extend(dashboard(path, text, &metrics));
    }
    findings
}

/// Rows of the page: `| `name` | kind | unit | help | `label`: `value`, `value`; `label`: words |`.
fn metrics(page: &str) -> Metrics {
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    let metric = |line: &str| {
        let cells: Vec<&str> = line.trim().split('|').map(str::trim).collect();
        let ["", name, kind, _, _, labels, ""] = cells.as_slice() else { return None };
        let labels = labels.split(';').filter_map(|label| {
            let mut quoted = label.split('`').skip(1).step_by(2).map(str::to_owned);
            Some((quoted.next()?, quoted.collect()))
        });
        let metric = Metric { is_histogram: *kind == "histogram", labels: labels.collect() };
        Some((name.trim_matches('`').to_owned(), metric))
    };
    rows.filter_map(metric).collect()
}

/// What is wrong with an expression.
fn judge(expression: &str, metrics: &Metrics) -> Vec<String> {
    let names = match promql::names(expression) {
        Ok(names) => names,
        Err(problem) => return vec![format!("{problem} in `{expression}`")],
    };
    let mut problems = Vec::new();
    let mut labels: BTreeSet<&str> = OF_PROMETHEUS.into();
    for named in &names.metrics {
        if named.metric == "up" {
            continue; // Prometheus' own.
        }
        let Some(metric) = known(&named.metric, metrics) else {
            problems.push(format!("there is no metric {}", named.metric));
            continue;
        };
        labels.extend(metric.labels.keys().map(String::as_str));
        for (label, value) in &named.matchers {
            problems.extend(matched(&named.metric, metric, (label, value)));
        }
    }
    let unknown = names.grouped.iter().filter(|label| !labels.contains(label.as_str()));
    problems.extend(unknown.map(|label| format!("nothing in it has a label {label}")));
    problems
}

/// The metric of a series: a histogram is told as three, and only as these.
fn known<'a>(name: &str, metrics: &'a Metrics) -> Option<&'a Metric> {
    let whole = SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix));
    let histogram = whole.and_then(|whole| metrics.get(whole)).filter(|found| found.is_histogram);
    histogram.or_else(|| metrics.get(name).filter(|found| !found.is_histogram))
}

fn matched(name: &str, metric: &Metric, (label, value): (&str, &str)) -> Vec<String> {
    if OF_PROMETHEUS.contains(&label) {
        return Vec::new();
    }
    let Some(values) = metric.labels.get(label) else {
        return vec![format!("{name} has no label {label}")];
    };
    let alternatives = value.split('|').filter(|one| !one.contains('$'));
    let unknown = alternatives.filter(|one| !values.is_empty() && !values.contains(*one));
    unknown.map(|one| format!("{label} of {name} is never {one}")).collect()
}

/// Each alert: its expression, its severity, its page; and no page without an alert.
fn alerts(text: &str, metrics: &Metrics, pages: &BTreeMap<String, String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut named = BTreeSet::new();
    for rule in rules(text) {
        let field = |name: &str| rule.as_mapping_get(name).and_then(Yaml::as_str).unwrap_or("");
        let (name, expression) = (field("alert"), field("expr").trim());
        let mut wrong =
            |what: String| findings.push(Finding::new(ALERTS, 0, format!("{name}: {what}")));
        if !named.insert(name.to_owned()) || !name.starts_with("Synod") {
            wrong("a name of its own that begins with Synod".to_owned());
        }
        judge(expression, metrics).into_iter().for_each(&mut wrong);
        let within = |part: &str, name: &str| {
            let part = rule.as_mapping_get(part)?;
            part.as_mapping_get(name).and_then(Yaml::as_str).map(str::to_owned)
        };
        if !SEVERITIES.contains(&within("labels", "severity").unwrap_or_default().as_str()) {
            wrong(format!("severity is one of {SEVERITIES:?}"));
        }
        let page = format!("{PAGES}{name}.md");
        if within("annotations", "runbook").as_deref() != Some(page.as_str()) {
            wrong(format!("annotations.runbook is {page}"));
        }
        let is_there = pages.get(&page).is_some_and(|text| {
            text.starts_with(&format!("# {name}\n")) && text.contains(expression)
        });
        if !is_there {
            wrong(format!("{page} must be there, with its name as title and its expression"));
        }
    }
    if named.is_empty() {
        findings.push(Finding::new(ALERTS, 0, "has no alerts"));
    }
    let pages = pages.keys().filter_map(|path| path.strip_prefix(PAGES)?.strip_suffix(".md"));
    for page in pages.filter(|page| !named.contains(*page)) {
        findings.push(Finding::new(&format!("{PAGES}{page}.md"), 0, "there is no such alert"));
    }
    findings
}

fn rules(text: &str) -> Vec<Yaml<'_>> {
    let documents = Yaml::load_from_str(text).unwrap_or_default();
    let groups = documents.first().and_then(|document| document.as_mapping_get("groups"));
    let groups = groups.and_then(Yaml::as_sequence).cloned().unwrap_or_default();
    let rules = groups.iter().filter_map(|group| group.as_mapping_get("rules")?.as_sequence());
    rules.flatten().cloned().collect()
}

fn dashboard(path: &str, text: &str, metrics: &Metrics) -> Vec<Finding> {
    let board: Value = match serde_json::from_str(text) {
        Ok(board) => board,
        Err(error) => return vec![Finding::new(path, error.line(), error.to_string())],
    };
    let mut expressions = Vec::new();
    collect(&board, &mut expressions);
    if expressions.is_empty() {
        return vec![Finding::new(path, 0, "shows nothing")];
    }
    let problems = expressions.iter().flat_map(|expression| judge(expression, metrics));
    problems.map(|problem| Finding::new(path, 0, problem)).collect()
}

/// Every `expr` of panels, and every `label_values` of variables.
fn collect<'a>(value: &'a Value, into: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let text = value.as_str();
                let is_query = name == "query" && text.is_some_and(|text| text.contains('('));
                match text {
                    Some(text) if name == "expr" || is_query => into.push(text),
                    _ => collect(value, into),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, into)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "| Metric | Kind |\n| `a_total` | counter | 1 | Says. | `kind`: `x`, `y`; `peer`: the nodes |\n\
                        | `b_seconds` | histogram | seconds | Says. |  |\n";

    fn judged(expression: &str) -> Vec<String> {
        judge(expression, &metrics(PAGE))
    }

    #[test]
    fn expressions_over_what_exists_pass() {
        for good in [
            "sum by (kind) (rate(a_total{kind=~\"x|y\",peer=\"7\",job=\"synod\"}[5m])) > 0",
            "histogram_quantile(0.9, sum by (le) (rate(b_seconds_bucket[5m])))",
            "up == 0",
        ] {
            assert_eq!(judged(good), Vec::<String>::new(), "{good}");
        }
    }

    #[test]
    fn names_labels_and_values_that_do_not_exist_are_caught() {
        for (bad, what) in [
            ("rate(a_totals[5m])", "there is no metric a_totals"),
            ("b_seconds > 1", "there is no metric b_seconds"),
            ("rate(a_total_bucket[5m])", "there is no metric a_total_bucket"),
            ("a_total{kind=\"z\"}", "kind of a_total is never z"),
            ("a_total{lane=\"x\"}", "a_total has no label lane"),
            ("sum by (lane) (a_total)", "nothing in it has a label lane"),
        ] {
            assert_eq!(judged(bad), [what.to_owned()], "{bad}");
        }
    }

    fn rule(name: &str) -> String {
        format!(
            "groups:\n  - name: g\n    rules:\n      - alert: {name}\n        expr: a_total > 1\n        labels:\n          \
             severity: info\n        annotations:\n          runbook: {PAGES}{name}.md\n"
        )
    }

    #[test]
    fn an_alert_without_its_page_and_a_page_without_its_alert_are_caught() {
        let page = |name: &str| (format!("{PAGES}{name}.md"), format!("# {name}\n\na_total > 1\n"));
        let metrics = metrics(PAGE);
        let whole = BTreeMap::from([page("SynodA")]);
        assert_eq!(alerts(&rule("SynodA"), &metrics, &whole), Vec::new());
        assert_eq!(alerts(&rule("SynodB"), &metrics, &whole).len(), 2);
        let stale =
            BTreeMap::from([(format!("{PAGES}SynodA.md"), "# SynodA\n\na > 2\n".to_owned())]);
        assert_eq!(alerts(&rule("SynodA"), &metrics, &stale).len(), 1);
        let loud = rule("SynodA").replace("severity: info", "severity: loud");
        assert_eq!(alerts(&loud, &metrics, &whole).len(), 1);
        assert_eq!(alerts("groups: []\n", &metrics, &BTreeMap::new()).len(), 1);
    }

    #[test]
    fn a_panel_over_nothing_is_caught() {
        let board = r#"{"panels":[{"targets":[{"expr":"a_total"},{"expr":"gone"}]}],"v":[{"query":"label_values(gone, kind)"}]}"#;
        assert_eq!(dashboard("d.json", board, &metrics(PAGE)).len(), 3);
        assert_eq!(dashboard("d.json", "{", &metrics(PAGE)).len(), 1);
    }
}
