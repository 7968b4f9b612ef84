//! `report.html`: what a run did, on one page that needs nothing else.
//!
//! Style and pictures are part of the file; there is no script and no request to anywhere. Light or
//! dark as the reader's system is. What this leaves out: choosing what to show.

mod chart;
mod scale;

use std::fmt::Write;

use kudos_schema::Estimate;

pub use chart::{Series, curve_svg};
use scale::number;

/// Everything on the page, top to bottom. A part that is empty is left out.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// The heading.
    pub title: String,
    /// A sentence or two below it.
    pub summary: String,
    /// Name and value of the few numbers that matter most.
    pub figures: Vec<(String, String)>,
    /// Metrics on items that were not trained on.
    pub held_out: Vec<HeldOut>,
    /// The learning curves.
    pub curves: Vec<Chart>,
    /// What was written before and after, prompt by prompt.
    pub samples: Vec<SamplePair>,
    /// Name and value of each setting.
    pub configuration: Vec<(String, String)>,
}

/// Curves that share an axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// What is measured, with its unit.
    pub title: String,
    /// The curves.
    pub series: Vec<Series>,
}

/// One metric before and after, on the same items.
#[derive(Debug, Clone, PartialEq)]
pub struct HeldOut {
    /// The metric.
    pub metric: String,
    /// How many items.
    pub n: usize,
    /// Before the run.
    pub before: Estimate,
    /// After it.
    pub after: Estimate,
    /// After minus before, item by item.
    pub difference: Estimate,
    /// Which way is better.
    pub better: Better,
}

/// Which way a metric is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// As of a reward.
    Higher,
    /// As of a loss.
    Lower,
    /// As of a length.
    Neither,
}

/// What two policies wrote for one prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplePair {
    /// The prompt.
    pub prompt: String,
    /// What the data says, if it says anything.
    pub reference: Option<String>,
    /// Before the run.
    pub before: Scored,
    /// After it.
    pub after: Scored,
}

/// A text and what it scored.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    /// The text.
    pub text: String,
    /// None where no reward applies.
    pub reward: Option<f64>,
}

/// Renders the page.
pub fn render(report: &Report) -> String {
    let parts = [
        ("title", escape(&report.title)),
        ("summary", escape(&report.summary)),
        ("chart_style", include_str!("chart.css").to_owned()),
        ("figures", figures(&report.figures)),
        ("held_out", held_out(&report.held_out)),
        ("curves", curves(&report.curves)),
        ("samples", samples(&report.samples)),
        ("configuration", configuration(&report.configuration)),
    ];
    fill(include_str!("page.html"), &parts)
}

/// Text as it may stand in HTML and SVG, between tags or in a quoted attribute. Characters that XML
/// forbids become the replacement character.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(letter),
            letter if letter.is_control() => escaped.push('\u{FFFD}'),
            letter => escaped.push(letter),
        }
    }
    escaped
}

/// Puts parts into a template in one pass, so that a part may contain what looks like a place.
fn fill(template: &str, parts: &[(&str, String)]) -> String {
    let mut pieces = template.split("{{");
    let mut page = pieces.next().expect("a split has a first piece").to_owned();
    for piece in pieces {
        let (name, rest) = piece.split_once("}}").expect("every place in the template is closed");
        let part = parts.iter().find(|(found, _)| *found == name);
        page += &part.expect("every place in the template has a part").1;
        page += rest;
    }
    page
}

fn figures(figures: &[(String, String)]) -> String {
    let tile = |(name, value): &(String, String)| {
        format!("<div class=\"card\"><dt>{}</dt><dd>{}</dd></div>\n", escape(name), escape(value))
    };
    match figures.is_empty() {
        true => String::new(),
        false => wrap("<dl class=\"figures\">\n", figures.iter().map(tile), "</dl>\n"),
    }
}

fn curves(charts: &[Chart]) -> String {
    let card = |chart: &Chart| {
        let svg = chart::embedded(&chart.title, &chart.series);
        format!("<div class=\"card\"><h3>{}</h3>\n{svg}</div>\n", escape(&chart.title))
    };
    match charts.is_empty() {
        true => String::new(),
        false => wrap(
            "<h2>Learning curves</h2>\n<p class=\"note\">Faint: the values themselves. Bold: their \
             moving mean, where there are enough. Hover for numbers.</p>\n<div class=\"curves\">\n",
            charts.iter().map(card),
            "</div>\n",
        ),
    }
}

fn held_out(rows: &[HeldOut]) -> String {
    match rows.is_empty() {
        true => String::new(),
        false => wrap(
            "<h2>Held-out items</h2>\n<p class=\"note\">Mean over items that were not trained on, \
             with its 95 % bootstrap interval; the difference is taken item by item.</p>\n\
             <div class=\"card scroll\"><table>\n<tr><th>Metric</th><th class=\"number\">Items</th>\
             <th class=\"number\">Before</th><th class=\"number\">After</th>\
             <th class=\"number\">Difference</th><th>Before (gray), after (blue)</th></tr>\n",
            rows.iter().map(held_out_row),
            "</table></div>\n",
        ),
    }
}

fn held_out_row(row: &HeldOut) -> String {
    let cell = |estimate: &Estimate, sign: &str, class: &str| {
        let sign = if estimate.mean > 0.0 { sign } else { "" };
        format!(
            "<td class=\"number\"><span class=\"{class}\">{sign}{}</span><small>{} to {}</small></td>",
            number(estimate.mean, 0.001),
            number(estimate.low, 0.001),
            number(estimate.high, 0.001),
        )
    };
    format!(
        "<tr><td>{}</td><td class=\"number\">{}</td>{}{}{}<td>{}</td></tr>\n",
        escape(&row.metric),
        row.n,
        cell(&row.before, "", ""),
        cell(&row.after, "", ""),
        cell(&row.difference, "+", verdict(row)),
        strip(&row.before, &row.after),
    )
}

/// The class of a difference: colored only where its interval excludes zero.
fn verdict(row: &HeldOut) -> &'static str {
    let (gain, loss) = match row.better {
        Better::Higher => (row.difference.low > 0.0, row.difference.high < 0.0),
        Better::Lower => (row.difference.high < 0.0, row.difference.low > 0.0),
        Better::Neither => (false, false),
    };
    match (gain, loss) {
        (true, _) => "up",
        (false, true) => "down",
        (false, false) => "",
    }
}

/// Both intervals on one axis.
fn strip(before: &Estimate, after: &Estimate) -> String {
    let (low, high) = (before.low.min(after.low), before.high.max(after.high));
    let span = if high > low { high - low } else { 1.0 };
    let x = |value: f64| 6.0 + (value - low) / span * 138.0;
    let interval = |estimate: &Estimate, y: u32, class: &str| {
        format!(
            "<g class=\"{class}\"><line x1=\"{:.1}\" y1=\"{y}\" x2=\"{:.1}\" y2=\"{y}\"/>\
             <circle cx=\"{:.1}\" cy=\"{y}\" r=\"3.5\"/></g>",
            x(estimate.low),
            x(estimate.high),
            x(estimate.mean),
        )
    };
    format!(
        "<svg class=\"strip\" viewBox=\"0 0 150 34\" aria-hidden=\"true\">{}{}</svg>",
        interval(before, 10, "before"),
        interval(after, 24, "after"),
    )
}

fn samples(pairs: &[SamplePair]) -> String {
    match pairs.is_empty() {
        true => String::new(),
        false => wrap("<h2>Samples</h2>\n", pairs.iter().map(sample_pair), ""),
    }
}

fn sample_pair(pair: &SamplePair) -> String {
    let mut html = "<article class=\"card pair\">\n".to_owned();
    let reference = pair.reference.iter().map(|text| ("Reference", text));
    for (name, text) in [("Prompt", &pair.prompt)].into_iter().chain(reference) {
        let text = escape(text);
        let _ = writeln!(html, "<h4>{name}</h4><pre class=\"given\" dir=\"auto\">{text}</pre>");
    }
    html.push_str("<div class=\"sides\">\n");
    for (name, side) in [("Before", &pair.before), ("After", &pair.after)] {
        let reward = side.reward.map(|reward| number(reward, 0.001));
        let reward = reward.map_or(String::new(), |reward| format!(" · reward <b>{reward}</b>"));
        let text = escape(&side.text);
        let _ = writeln!(html, "<div><h4>{name}{reward}</h4><pre dir=\"auto\">{text}</pre></div>");
    }
    html + "</div>\n</article>\n"
}

fn configuration(settings: &[(String, String)]) -> String {
    let row = |(name, value): &(String, String)| {
        format!("<div><dt>{}</dt><dd>{}</dd></div>\n", escape(name), escape(value))
    };
    match settings.is_empty() {
        true => String::new(),
        false => wrap(
            "<h2>Configuration</h2>\n<div class=\"card\"><dl class=\"settings\">\n",
            settings.iter().map(row),
            "</dl></div>\n",
        ),
    }
}

fn wrap(before: &str, parts: impl Iterator<Item = String>, after: &str) -> String {
    let parts: String = parts.collect();
    format!("{before}{parts}{after}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "<script>alert(1)</script>\" onload='x' & {{title}} \u{0}";

    fn estimate(low: f64, high: f64) -> Estimate {
        Estimate { mean: (low + high) / 2.0, low, high }
    }

    fn row(low: f64, high: f64, better: Better) -> HeldOut {
        HeldOut {
            metric: HOSTILE.into(),
            n: 300,
            before: estimate(0.1, 0.2),
            after: estimate(0.3, 0.4),
            difference: estimate(low, high),
            better,
        }
    }

    fn hostile() -> Report {
        let scored = || Scored { text: HOSTILE.into(), reward: Some(-0.5) };
        Report {
            title: HOSTILE.into(),
            summary: HOSTILE.into(),
            figures: vec![(HOSTILE.into(), HOSTILE.into())],
            held_out: vec![row(0.1, 0.2, Better::Higher)],
            curves: vec![Chart {
                title: HOSTILE.into(),
                series: vec![
                    Series { name: HOSTILE.into(), points: vec![(1.0, 2.0)] },
                    Series { name: HOSTILE.into(), points: vec![] },
                ],
            }],
            samples: vec![SamplePair {
                prompt: HOSTILE.into(),
                reference: Some(HOSTILE.into()),
                before: scored(),
                after: scored(),
            }],
            configuration: vec![(HOSTILE.into(), HOSTILE.into())],
        }
    }

    #[test]
    fn what_people_and_models_wrote_stays_text() {
        let page = render(&hostile());
        assert!(!page.contains("<script") && !page.contains("onload='") && !page.contains('\u{0}'));
        let escaped =
            "&lt;script&gt;alert(1)&lt;/script&gt;&quot; onload=&#39;x&#39; &amp; {{title}}";
        // Title and heading, summary, figure (2), metric, chart heading and label, two legends,
        // prompt, reference, before, after, setting (2).
        assert_eq!(page.matches(escaped).count(), 16);
    }

    #[test]
    fn the_page_needs_nothing_from_elsewhere() {
        let page = render(&hostile());
        for outside in ["http:", "https:", "src=", "href=", "url(", "@import", "<link", "<script"] {
            assert!(!page.contains(outside), "{outside}");
        }
    }

    #[test]
    fn an_empty_part_leaves_no_heading() {
        let page = render(&Report { title: "a".into(), ..Report::default() });
        assert!(!page.contains("<h2>") && !page.contains("{{"));
    }

    #[test]
    fn only_a_difference_beyond_its_interval_is_a_verdict() {
        let check = |low, high, better, expected| {
            assert_eq!(verdict(&row(low, high, better)), expected, "{low} {high} {better:?}");
        };
        check(0.1, 0.2, Better::Higher, "up");
        check(0.1, 0.2, Better::Lower, "down");
        check(0.1, 0.2, Better::Neither, "");
        check(-0.2, -0.1, Better::Higher, "down");
        check(-0.2, -0.1, Better::Lower, "up");
        check(-0.1, 0.2, Better::Higher, "");
        check(-0.1, 0.2, Better::Lower, "");
        check(0.0, 0.2, Better::Higher, "");
    }
}
