//! Drawings as text: axes, bands, lines and bars. Knows nothing of histories.

use super::escape;
use std::fmt::Write as _;

/// A drawing with the time from left to right.
pub(super) struct Drawing {
    text: String,
    height: f64,
    time_max: u64,
    value_max: f64,
}

const WIDTH: f64 = 1000.0;
const LEFT: f64 = 70.0;
const BOTTOM: f64 = 22.0;
const TOP: f64 = 20.0;

impl Drawing {
    /// An empty one with its axes; times in nanoseconds.
    pub(super) fn new(
        title: &str,
        height: f64,
        time_max: u64,
        (value_max, unit): (f64, &str),
    ) -> Drawing {
        let (time_max, value_max) =
            (time_max.max(1), if value_max > 0.0 { value_max } else { 1.0 });
        let mut drawing = Drawing { text: String::new(), height, time_max, value_max };
        let _ = write!(
            drawing.text,
            "<svg viewBox=\"0 0 {WIDTH} {height}\" font-size=\"11\" fill=\"currentColor\" role=\"img\" aria-label=\"{0}\">\
             <text x=\"{LEFT}\" y=\"12\">{0}</text>",
            escape(title)
        );
        if !unit.is_empty() {
            for part in [0.0, 0.5, 1.0] {
                let y = drawing.y(value_max * part);
                let _ = write!(
                    drawing.text,
                    "<line x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"currentColor\" stroke-opacity=\".15\"/>\
                     <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{:.0} {unit}</text>",
                    LEFT - 4.0,
                    y + 4.0,
                    value_max * part
                );
            }
        }
        drawing.seconds();
        drawing
    }

    fn seconds(&mut self) {
        for part in 0..=5u64 {
            let time = self.time_max / 5 * part;
            let (x, y) = (self.x(time), self.height - 6.0);
            let seconds = time as f64 / 1e9;
            let _ = write!(
                self.text,
                "<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{seconds:.1} s</text>"
            );
        }
    }

    fn x(&self, time: u64) -> f64 {
        LEFT + (WIDTH - LEFT - 10.0) * time.min(self.time_max) as f64 / self.time_max as f64
    }

    fn y(&self, value: f64) -> f64 {
        let room = self.height - TOP - BOTTOM;
        self.height - BOTTOM - room * (value / self.value_max).clamp(0.0, 1.0)
    }

    /// A band over the whole height, with a name that is shown where one points.
    pub(super) fn band(&mut self, from: u64, to: u64, name: &str) {
        let (left, right) = (self.x(from), self.x(to));
        let _ = write!(
            self.text,
            "<rect x=\"{left:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"#d1242f\" fill-opacity=\".13\"><title>{}</title></rect>",
            (right - left).max(1.0),
            self.height - TOP - BOTTOM,
            escape(name)
        );
    }

    /// A line through these points.
    pub(super) fn line(&mut self, points: &[(u64, f64)], colour: &str) {
        let mut path = String::new();
        for (time, value) in points {
            let _ = write!(path, "{:.1},{:.1} ", self.x(*time), self.y(*value));
        }
        let _ = write!(
            self.text,
            "<polyline points=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.4\"/>"
        );
    }

    /// A bar at a row counted from the top, with a text in it.
    pub(super) fn bar(&mut self, row: usize, (from, to): (u64, u64), colour: &str, text: &str) {
        let (left, right) = (self.x(from), self.x(to));
        let y = TOP + row as f64 * ROW;
        let _ = write!(
            self.text,
            "<rect x=\"{left:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{colour}\"><title>{}</title></rect>",
            (right - left).max(1.0),
            ROW - 3.0,
            escape(text)
        );
    }

    /// A name to the left of a row.
    pub(super) fn label(&mut self, row: usize, text: &str) {
        let y = TOP + row as f64 * ROW + 11.0;
        let _ = write!(
            self.text,
            "<text x=\"{:.1}\" y=\"{y:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 4.0,
            escape(text)
        );
    }

    /// A legend of colours to the right of the title.
    pub(super) fn legend(&mut self, names: &[(&str, &str)]) {
        for (at, (name, colour)) in names.iter().enumerate() {
            let x = 420.0 + at as f64 * 110.0;
            let _ = write!(
                self.text,
                "<rect x=\"{x}\" y=\"4\" width=\"9\" height=\"9\" fill=\"{colour}\"/><text x=\"{}\" y=\"12\">{}</text>",
                x + 13.0,
                escape(name)
            );
        }
    }

    /// The drawing as it stands in a page.
    pub(super) fn finish(mut self) -> String {
        self.text.push_str("</svg>");
        self.text
    }
}

/// Height of a row.
pub(super) const ROW: f64 = 17.0;

/// Height of a drawing with so many rows.
pub(super) fn height_of_rows(rows: usize) -> f64 {
    TOP + BOTTOM + rows as f64 * ROW
}
