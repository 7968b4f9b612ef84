//! Line charts as SVG: a measured value over the steps of a run.
//!
//! Draws the values themselves, faint, and their moving mean, bold. Colors are CSS classes, so that
//! light and dark follow the reader; no script, every number also as a native tooltip. Leaves out
//! logarithmic axes and anything but lines.

use std::fmt::Write;

use super::escape;
use super::scale::{nice_step, number, range, ticks};

const WIDTH: f64 = 520.0;
const HEIGHT: f64 = 240.0;
/// How much larger than its units a chart that stands alone is shown.
const ALONE: f64 = 1.4;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 62.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 34.0;
/// Room for the title of a chart that stands alone, and for a legend.
const TITLE: f64 = 32.0;
const LEGEND: f64 = 22.0;
const LABEL_HEIGHT: f64 = 13.0;

/// More points than this are drawn as means of neighbors: a pixel shows no more.
const MOST_POINTS: usize = 240;
/// From this many points on there is a moving mean.
const FEWEST_SMOOTHED: usize = 30;

/// The style of a chart that stands alone, as in a README. The report's page has the same.
const STYLE: &str = include_str!("chart.css");

/// One curve.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// What it is called in the legend.
    pub name: String,
    /// Step and value, by step. What is not finite is left out.
    pub points: Vec<(f64, f64)>,
}

/// A picture file of curves over steps, for a README: light or dark as the reader's system is.
pub fn curve_svg(title: &str, series: &[Series]) -> String {
    let top = TITLE + legend_height(series);
    let height = HEIGHT + top;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"chart\" viewBox=\"0 0 {WIDTH} {height}\" \
         width=\"{:.0}\" height=\"{:.0}\" role=\"img\" aria-label=\"{title}\">\n\
         <style>{STYLE}</style>\n\
         <rect class=\"surface\" width=\"{WIDTH}\" height=\"{height}\" rx=\"8\"/>\n\
         <text class=\"title\" x=\"16\" y=\"28\">{title}</text>\n\
         {}<g transform=\"translate(0 {top})\">\n{}</g>\n</svg>\n",
        WIDTH * ALONE,
        height * ALONE,
        legend(series, TITLE + 14.0),
        plot(series),
        title = escape(title),
    )
}

/// The same curves as a part of the report's page, which has the title and the style.
pub(super) fn embedded(title: &str, series: &[Series]) -> String {
    let top = legend_height(series);
    let height = HEIGHT + top;
    format!(
        "<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{}\">\n\
         {}<g transform=\"translate(0 {top})\">\n{}</g>\n</svg>\n",
        escape(title),
        legend(series, 14.0),
        plot(series),
    )
}

fn legend_height(series: &[Series]) -> f64 {
    if series.len() > 1 { LEGEND } else { 0.0 }
}

/// A name for each of several curves; a single one is named by the title.
fn legend(series: &[Series], y: f64) -> String {
    let mut svg = String::new();
    let mut x = LEFT;
    for (index, one) in series.iter().enumerate().filter(|_| series.len() > 1) {
        let _ = writeln!(
            svg,
            "<line class=\"mean s{}\" x1=\"{x:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\"/>\
             <text class=\"label\" x=\"{:.1}\" y=\"{y:.1}\">{}</text>",
            index % 4,
            y - 4.0,
            x + 16.0,
            y - 4.0,
            x + 22.0,
            escape(&one.name),
        );
        x += 22.0 + 6.6 * one.name.chars().count() as f64 + 24.0;
    }
    svg
}

fn plot(series: &[Series]) -> String {
    let curves: Vec<Curve> = series.iter().map(Curve::of).collect();
    let Some(frame) = Frame::around(&curves) else {
        return format!(
            "<text class=\"label\" x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"middle\">no values</text>\n",
            WIDTH / 2.0,
            HEIGHT / 2.0
        );
    };
    let mut svg = frame.axes();
    let drawn =
        || curves.iter().enumerate().filter_map(|(i, curve)| Some((i, curve, curve.last()?)));
    let mut heights: Vec<f64> = drawn().map(|(_, _, last)| frame.place(last).1).collect();
    spread(&mut heights);
    for ((index, curve, last), height) in drawn().zip(heights) {
        svg += &curve.draw(&frame, index % 4);
        svg += &end(&frame, last, index % 4, height);
    }
    svg
}

/// What is drawn of a series.
struct Curve {
    values: Vec<(f64, f64)>,
    /// Empty where the values are too few for it.
    mean: Vec<(f64, f64)>,
}

impl Curve {
    fn of(series: &Series) -> Self {
        let finite = |point: &(f64, f64)| point.0.is_finite() && point.1.is_finite();
        let points: Vec<(f64, f64)> = series.points.iter().copied().filter(finite).collect();
        let smoothed = points.len() >= FEWEST_SMOOTHED;
        let mean = if smoothed { moving_mean(&points, points.len() / 20) } else { Vec::new() };
        Self { values: thinned(&points), mean: thinned(&mean) }
    }

    /// The last value of the bold line.
    fn last(&self) -> Option<(f64, f64)> {
        self.mean.last().or(self.values.last()).copied()
    }

    fn draw(&self, frame: &Frame, color: usize) -> String {
        let mut svg = String::new();
        let (faint, bold) = match self.mean.is_empty() {
            true => (&[][..], &self.values),
            false => (&self.values[..], &self.mean),
        };
        for (class, points) in [("values", faint), ("mean", bold)] {
            if !points.is_empty() {
                let line = frame.line(points);
                let _ = writeln!(svg, "<path class=\"{class} s{color}\" d=\"{line}\"/>");
            }
        }
        for point in bold {
            let (x, y) = frame.place(*point);
            let (step, value) = (number(point.0, 1.0), number(point.1, frame.y_step / 20.0));
            let _ = writeln!(
                svg,
                "<circle class=\"touch\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"7\">\
                 <title>step {step}: {value}</title></circle>",
            );
        }
        svg
    }
}

/// The end of a curve and the value there, written at `height`.
fn end(frame: &Frame, last: (f64, f64), color: usize, height: f64) -> String {
    let (x, y) = frame.place(last);
    format!(
        "<circle class=\"end s{color}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/>\
         <text class=\"value\" x=\"{:.1}\" y=\"{:.1}\">{}</text>\n",
        x + 9.0,
        height + 4.0,
        number(last.1, frame.y_step / 20.0),
    )
}

/// Where values lie on the picture.
struct Frame {
    x: (f64, f64),
    y: (f64, f64),
    x_step: f64,
    y_step: f64,
}

impl Frame {
    fn around(curves: &[Curve]) -> Option<Self> {
        let points = || curves.iter().flat_map(|curve| &curve.values);
        let x = range(points().map(|point| point.0))?;
        let (low, high) = range(points().map(|point| point.1))?;
        let margin = (high - low) * 0.06;
        let y = (low - margin, high + margin);
        Some(Self { x, y, x_step: nice_step(x.1 - x.0).max(1.0), y_step: nice_step(y.1 - y.0) })
    }

    fn place(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let across = (x - self.x.0) / (self.x.1 - self.x.0);
        let up = (y - self.y.0) / (self.y.1 - self.y.0);
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        (LEFT + across * (right - LEFT), bottom - up * (bottom - TOP))
    }

    fn line(&self, points: &[(f64, f64)]) -> String {
        let mut line = String::new();
        for (index, point) in points.iter().enumerate() {
            let (x, y) = self.place(*point);
            let _ = write!(line, "{}{x:.1} {y:.1}", if index == 0 { "M" } else { "L" });
        }
        line
    }

    fn axes(&self) -> String {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        let mut svg = String::new();
        for tick in ticks(self.y, self.y_step) {
            let (_, y) = self.place((self.x.0, tick));
            let _ = writeln!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\"/>\
                 <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 8.0,
                y + 4.0,
                number(tick, self.y_step),
            );
        }
        let _ = writeln!(
            svg,
            "<line class=\"axis\" x1=\"{LEFT}\" y1=\"{bottom}\" x2=\"{right}\" y2=\"{bottom}\"/>"
        );
        for tick in ticks(self.x, self.x_step) {
            let (x, _) = self.place((tick, self.y.0));
            let _ = writeln!(
                svg,
                "<text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                bottom + 17.0,
                number(tick, self.x_step),
            );
        }
        let _ = writeln!(
            svg,
            "<text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\">step</text>",
            right + 22.0,
            bottom + 17.0
        );
        svg
    }
}

/// The mean of each value and its neighbors, `reach` to each side as far as there are any.
fn moving_mean(points: &[(f64, f64)], reach: usize) -> Vec<(f64, f64)> {
    let around = |index: usize| {
        let near = &points[index.saturating_sub(reach)..points.len().min(index + reach + 1)];
        (points[index].0, near.iter().map(|point| point.1).sum::<f64>() / near.len() as f64)
    };
    (0..points.len()).map(around).collect()
}

/// Moves the heights of labels apart, so that none covers another; the order stays.
fn spread(heights: &mut [f64]) {
    let mut order: Vec<usize> = (0..heights.len()).collect();
    order.sort_by(|left, right| heights[*left].total_cmp(&heights[*right]));
    for pair in order.windows(2) {
        heights[pair[1]] = heights[pair[1]].max(heights[pair[0]] + LABEL_HEIGHT);
    }
    let below = order.last().map_or(0.0, |last| (heights[*last] - (HEIGHT - BOTTOM)).max(0.0));
    heights.iter_mut().for_each(|height| *height -= below);
}

/// Means of neighbors, so many that at most `MOST_POINTS` are left.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let each = points.len().div_ceil(MOST_POINTS).max(1);
    let mean = |near: &[(f64, f64)]| {
        let n = near.len() as f64;
        let sum = near.iter().fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
        (sum.0 / n, sum.1 / n)
    };
    points.chunks(each).map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(name: &str, n: u32, value: impl Fn(f64) -> f64) -> Series {
        let points = (1..=n).map(|step| (f64::from(step), value(f64::from(step)))).collect();
        Series { name: name.into(), points }
    }

    #[test]
    fn a_moving_mean_is_that_of_the_neighbors_there_are() {
        let points: Vec<(f64, f64)> = (0..6).map(|x| (f64::from(x), f64::from(x * x))).collect();
        let mean: Vec<f64> = moving_mean(&points, 1).iter().map(|point| point.1).collect();
        let thirds = [0.0 + 1.0 + 4.0, 1.0 + 4.0 + 9.0, 4.0 + 9.0 + 16.0, 9.0 + 16.0 + 25.0];
        assert_eq!(mean[0], (0.0 + 1.0) / 2.0);
        assert_eq!(mean[1..5], thirds.map(|sum| sum / 3.0));
        assert_eq!(mean[5], (16.0 + 25.0) / 2.0);
    }

    #[test]
    fn labels_do_not_cover_each_other() {
        let bottom = HEIGHT - BOTTOM;
        for heights in [[50.0, 52.0, 51.0], [bottom, bottom, bottom], [20.0, 100.0, 60.0]] {
            let mut apart = heights;
            spread(&mut apart);
            let mut sorted = apart;
            sorted.sort_by(f64::total_cmp);
            assert!(sorted.windows(2).all(|pair| pair[1] - pair[0] >= LABEL_HEIGHT - 1e-9));
            assert!(sorted[2] <= bottom.max(heights[2]), "{apart:?}");
            assert!(apart[0] < apart[1], "{apart:?}");
        }
        let mut far = [20.0, 100.0, 60.0];
        spread(&mut far);
        assert_eq!(far, [20.0, 100.0, 60.0]);
    }

    #[test]
    fn thinning_keeps_the_mean_and_few_points() {
        let points: Vec<(f64, f64)> = (0..4800).map(|x| (f64::from(x), f64::from(x % 7))).collect();
        let thin = thinned(&points);
        assert!(thin.len() <= MOST_POINTS);
        let mean = |points: &[(f64, f64)]| {
            points.iter().map(|point| point.1).sum::<f64>() / points.len() as f64
        };
        assert!((mean(&thin) - mean(&points)).abs() < 1e-9);
        assert_eq!(thinned(&points[..200]), points[..200]);
    }

    #[test]
    fn every_point_lies_inside_the_frame() {
        for value in [|x: f64| x.sin(), |_| 0.0, |_| -3.0, |x| 1e-9 * x, |x| 1e9 * x] {
            let curve = Curve::of(&series("a", 500, value));
            let frame = Frame::around(std::slice::from_ref(&curve)).unwrap();
            for point in curve.values.iter().chain(&curve.mean) {
                let (x, y) = frame.place(*point);
                assert!((LEFT..=WIDTH - RIGHT).contains(&x), "{x}");
                assert!((TOP..=HEIGHT - BOTTOM).contains(&y), "{y}");
            }
        }
    }

    #[test]
    fn odd_series_draw_no_broken_number() {
        let check = |points: Vec<(f64, f64)>, drawn: &str| {
            let svg = curve_svg("a", &[Series { name: "a".into(), points }]);
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            assert!(svg.contains(drawn), "{svg}");
        };
        check(vec![], "no values");
        check(vec![(1.0, f64::NAN), (2.0, f64::INFINITY)], "no values");
        check(vec![(1.0, 0.5)], "step 1: 0.5");
        check(vec![(1.0, 0.5), (2.0, f64::NAN), (3.0, 0.5)], "step 3: 0.5");
    }

    #[test]
    fn names_are_escaped_and_several_curves_have_a_legend() {
        let two = [series("before & <after>", 3, |x| x), series("b", 3, |x| -x)];
        let svg = curve_svg("a \"b\" <c>", &two);
        assert!(
            svg.contains("before &amp; &lt;after&gt;") && svg.contains("a &quot;b&quot; &lt;c&gt;")
        );
        assert!(!curve_svg("a", &two[..1]).contains("after"));
    }
}
