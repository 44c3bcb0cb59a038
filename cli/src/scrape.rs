//! A node's metrics as numbers, and what two scrapes say about the time between them.

use std::collections::BTreeMap;

/// One scrape: series, with their labels as they are written, and their values.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Scrape(BTreeMap<String, f64>);

impl Scrape {
    /// Reads Prometheus' text form. Lines that are none are passed over.
    pub(crate) fn parse(text: &str) -> Scrape {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let series = lines.filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        Scrape(series.collect())
    }

    /// The sum of a metric over all its labels; `None` when there is no such series.
    pub(crate) fn sum(&self, metric: &str) -> Option<f64> {
        let values = self.of(metric).map(|(_, value)| value);
        values.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
    }

    fn of<'a>(&'a self, metric: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        let from = self.0.range(metric.to_owned()..);
        let near = from.take_while(move |(name, _)| name.starts_with(metric));
        near.filter_map(move |(name, value)| {
            let labels = &name[metric.len()..];
            (labels.is_empty() || labels.starts_with('{')).then_some((labels, *value))
        })
    }

    /// How much a counter grew since `before`, a second. A process that began anew counts from zero.
    pub(crate) fn rate(&self, before: &Scrape, metric: &str, seconds: f64) -> Option<f64> {
        let now = self.sum(metric)?;
        let grown = now - before.sum(metric).unwrap_or(0.0);
        Some(if grown < 0.0 { now } else { grown } / seconds)
    }

    /// The quantile of what fell into a histogram since `before`: the upper bound of its bucket. `None` when
    /// nothing did, or it lies beyond the last bucket.
    pub(crate) fn quantile(&self, before: &Scrape, histogram: &str, quantile: f64) -> Option<f64> {
        let metric = format!("{histogram}_bucket");
        let mut buckets: Vec<(f64, f64)> = Vec::new();
        for (labels, value) in self.of(&metric) {
            let Some(bound) = bound(labels) else { continue };
            let earlier = before.0.get(&format!("{metric}{labels}")).copied().unwrap_or(0.0);
            let grown = if value < earlier { value } else { value - earlier };
            match buckets.iter_mut().find(|(known, _)| *known == bound) {
                Some((_, count)) => *count += grown,
                None => buckets.push((bound, grown)),
            }
        }
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        let all = buckets.last().map_or(0.0, |(_, count)| *count);
        let reached = buckets.iter().find(|(_, count)| all > 0.0 && *count >= all * quantile);
        reached.map(|(bound, _)| *bound).filter(|bound| bound.is_finite())
    }
}

/// `le` among labels.
fn bound(labels: &str) -> Option<f64> {
    let text = labels.split("le=\"").nth(1)?.split('"').next()?;
    if text == "+Inf" { Some(f64::INFINITY) } else { text.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scrape(a: u32, fast: u32, all: u32) -> Scrape {
        Scrape::parse(&format!(
            "# HELP a_total x\na_total{{k=\"x\"}} {a}\na_total{{k=\"y\"}} 1\na_totals 9\n\
             h_bucket{{le=\"0.01\"}} {fast}\nh_bucket{{le=\"0.1\"}} {all}\nh_bucket{{le=\"+Inf\"}} {all}\nb 2.5\n"
        ))
    }

    #[test]
    fn sums_are_over_labels_and_not_over_names_that_begin_alike() {
        let scrape = scrape(4, 0, 0);
        assert_eq!(scrape.sum("a_total"), Some(5.0));
        assert_eq!(scrape.sum("b"), Some(2.5));
        assert_eq!(scrape.sum("a"), None);
    }

    #[test]
    fn rates_are_of_the_time_between_and_start_anew_with_the_process() {
        assert_eq!(scrape(24, 0, 0).rate(&scrape(4, 0, 0), "a_total", 2.0), Some(10.0));
        assert_eq!(scrape(3, 0, 0).rate(&scrape(24, 0, 0), "a_total", 2.0), Some(2.0));
        assert_eq!(scrape(3, 0, 0).rate(&Scrape::default(), "c_total", 2.0), None);
    }

    #[test]
    fn quantiles_are_of_what_fell_in_between() {
        let (before, after) = (scrape(0, 10, 10), scrape(0, 10, 20));
        assert_eq!(after.quantile(&before, "h", 0.99), Some(0.1), "all new ones are slow");
        assert_eq!(after.quantile(&Scrape::default(), "h", 0.5), Some(0.01));
        assert_eq!(after.quantile(&after, "h", 0.99), None);
    }
}
