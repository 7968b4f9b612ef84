//! Ratings in the shapes that other trainers read: rows as TRL names them.
//!
//! A conversation stays a list of messages, plain text a string. Ties, both bad and reports give no
//! row; stars become a reward from 0 (one star) to 1 (five) and a label (liked from four stars on,
//! three stars say nothing). Where somebody weighs raters, a row also has `weight`, `weight_low` and `weight_high`: how far its
//! rater is to be trusted, from 0 to 1, with the 95 % interval.

use serde::Serialize;

use crate::{Estimate, Message, PairChoice, RatedPrompt, Rating, Verdict};

/// The shape of the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportShape {
    /// The [`Rating`] itself.
    Ratings,
    /// `{"prompt","chosen","rejected"}`
    Preference,
    /// `{"prompt","completion","label"}`
    Unpaired,
    /// `{"prompt","completion","reward"}`
    Scalar,
    /// `{"prompt","completion"}`, from edits.
    Sft,
}

impl ExportShape {
    /// Every shape.
    pub const ALL: [Self; 5] =
        [Self::Ratings, Self::Preference, Self::Unpaired, Self::Scalar, Self::Sft];

    /// Its name in file names and addresses.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ratings => "ratings",
            Self::Preference => "preference",
            Self::Unpaired => "unpaired",
            Self::Scalar => "scalar",
            Self::Sft => "sft",
        }
    }
}

/// A conversation or plain text.
#[derive(Serialize)]
#[serde(untagged)]
enum Said {
    Messages(Vec<Message>),
    Text(String),
}

#[derive(Serialize)]
struct Row<'a> {
    prompt: Said,
    #[serde(skip_serializing_if = "Option::is_none")]
    completion: Option<Said>,
    #[serde(skip_serializing_if = "Option::is_none")]
    chosen: Option<Said>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rejected: Option<Said>,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reward: Option<f64>,
    rating: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    weight_low: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    weight_high: Option<f64>,
}

/// The rows that `rating` gives in a shape, one JSON object a line; the column `rating` holds its id. `weight` is that of its
/// rater, where somebody weighs raters; the rating itself has no place for one.
pub fn export_rows(rating: &Rating, shape: ExportShape, weight: Option<Estimate>) -> Vec<String> {
    let row = match shape {
        ExportShape::Ratings => None,
        ExportShape::Preference => preference(rating),
        ExportShape::Unpaired => {
            label(rating).and_then(|label| Some(Row { label: Some(label), ..about_first(rating)? }))
        }
        ExportShape::Scalar => rating
            .grade()
            .and_then(|reward| Some(Row { reward: Some(reward), ..about_first(rating)? })),
        ExportShape::Sft => match &rating.verdict {
            Verdict::Edit(text) => about_first(rating)
                .map(|row| Row { completion: Some(completion(&rating.prompt, text)), ..row }),
            Verdict::Thumbs(_) | Verdict::Stars(_) | Verdict::Pair(_) | Verdict::Report => None,
        },
    };
    let weighed = row.map(|row| Row {
        weight: weight.map(|it| it.mean),
        weight_low: weight.map(|it| it.low),
        weight_high: weight.map(|it| it.high),
        ..row
    });
    let json = match shape {
        ExportShape::Ratings => Some(serde_json::to_string(rating)),
        ExportShape::Preference
        | ExportShape::Unpaired
        | ExportShape::Scalar
        | ExportShape::Sft => weighed.map(|row| serde_json::to_string(&row)),
    };
    json.into_iter().map(|line| line.expect("strings and numbers are JSON")).collect()
}

fn preference(rating: &Rating) -> Option<Row<'_>> {
    let text = |place: usize| rating.samples.get(place).map(|sample| sample.text.as_str());
    let (chosen, rejected) = match &rating.verdict {
        Verdict::Pair(PairChoice::Left) => (text(0)?, text(1)?),
        Verdict::Pair(PairChoice::Right) => (text(1)?, text(0)?),
        Verdict::Edit(edited) if Some(edited.as_str()) != text(0) => (edited.as_str(), text(0)?),
        Verdict::Pair(PairChoice::Tie | PairChoice::BothBad)
        | Verdict::Edit(_)
        | Verdict::Thumbs(_)
        | Verdict::Stars(_)
        | Verdict::Report => return None,
    };
    Some(Row {
        completion: None,
        chosen: Some(completion(&rating.prompt, chosen)),
        rejected: Some(completion(&rating.prompt, rejected)),
        ..about_first(rating)?
    })
}

/// Of a single completion: pairs are rows of their own shape.
fn label(rating: &Rating) -> Option<bool> {
    let grade = rating.grade().filter(|grade| *grade != 0.5);
    grade.map(|grade| grade > 0.5)
}

/// A row about the first sample.
fn about_first(rating: &Rating) -> Option<Row<'_>> {
    let sample = rating.samples.first()?;
    let prompt = match rating.prompt.messages.as_slice() {
        [] => Said::Text(rating.prompt.text.clone()),
        messages => Said::Messages(messages.to_vec()),
    };
    Some(Row {
        prompt,
        completion: Some(completion(&rating.prompt, &sample.text)),
        chosen: None,
        rejected: None,
        label: None,
        reward: None,
        rating: &rating.id,
        weight: None,
        weight_low: None,
        weight_high: None,
    })
}

/// What followed the prompt: a reply with the beginning that the rater fixed, or plain text.
fn completion(prompt: &RatedPrompt, text: &str) -> Said {
    if prompt.messages.is_empty() {
        return Said::Text(text.to_owned());
    }
    Said::Messages(vec![Message::new("assistant", format!("{}{text}", prompt.text))])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rating(verdict: &str, samples: usize) -> Rating {
        let sample = |text: &str| {
            format!(
                r#"{{"text":"{text}","token_ids":[5],"logprobs_drawn":[-1.0],"logprobs_full":[-1.0],
                "end_reason":"stop","sampling":{{}},"seed":1}}"#
            )
        };
        let samples = ["good", "bad"][..samples].iter().map(|text| sample(text));
        let text = format!(
            r#"{{"version":1,"id":"i","created":"t","page_version":"0","policy":{{"name":"p","sha256":"0"}},
            "backend":"cpu","task":"dialogue","prompt":{{"messages":[{{"role":"user","content":"Hi"}}],
            "token_ids":[1]}},"samples":[{}],"verdict":{verdict},"seconds":1.0,"rater":"r","consent":"1",
            "locale":"en"}}"#,
            samples.collect::<Vec<_>>().join(",")
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn each_verdict_gives_the_rows_that_it_means() {
        let check = |verdict: &str, samples, shape, expected: Option<&str>| {
            let rows = export_rows(&rating(verdict, samples), shape, None);
            match expected {
                None => assert!(rows.is_empty(), "{verdict}: {rows:?}"),
                Some(expected) => {
                    assert_eq!(rows.len(), 1, "{verdict}");
                    assert!(rows[0].contains(expected), "{}", rows[0]);
                }
            }
        };
        let pair = |value: &str| format!(r#"{{"pair":"{value}"}}"#);
        let stars = |value: u8| format!(r#"{{"stars":{value}}}"#);
        let edit = |text: &str| format!(r#"{{"edit":"{text}"}}"#);
        let chosen =
            |text: &str| format!(r#""chosen":[{{"role":"assistant","content":"{text}"}}]"#);
        check(&pair("left"), 2, ExportShape::Preference, Some(&chosen("good")));
        check(&pair("right"), 2, ExportShape::Preference, Some(&chosen("bad")));
        check(&pair("tie"), 2, ExportShape::Preference, None);
        check(&pair("both_bad"), 2, ExportShape::Preference, None);
        check(&pair("left"), 2, ExportShape::Unpaired, None);
        check(&stars(1), 1, ExportShape::Scalar, Some(r#""reward":0.0"#));
        check(&stars(4), 1, ExportShape::Scalar, Some(r#""reward":0.75"#));
        check(&stars(5), 1, ExportShape::Unpaired, Some(r#""label":true"#));
        check(&stars(3), 1, ExportShape::Unpaired, None);
        check(r#"{"thumbs":"down"}"#, 1, ExportShape::Unpaired, Some("false"));
        check(r#"{"thumbs":"up"}"#, 1, ExportShape::Scalar, Some("1.0"));
        check(&edit("best"), 1, ExportShape::Sft, Some("best"));
        check(&edit("best"), 1, ExportShape::Preference, Some(&chosen("best")));
        check(&edit("good"), 1, ExportShape::Preference, None);
        check(r#""report""#, 1, ExportShape::Scalar, None);
        check(&pair("tie"), 2, ExportShape::Ratings, Some(r#""pair":"tie""#));
    }

    #[test]
    fn plain_text_stays_plain() {
        let mut rating = rating(r#"{"stars":5}"#, 1);
        rating.prompt.messages.clear();
        rating.prompt.text = "Once".into();
        let row = &export_rows(&rating, ExportShape::Scalar, None)[0];
        assert_eq!(row, r#"{"prompt":"Once","completion":"good","reward":1.0,"rating":"i"}"#);
    }

    #[test]
    fn a_weight_stands_beside_the_reward_and_not_in_the_rating() {
        let weight = Some(Estimate { mean: 0.5, low: 0.25, high: 0.75 });
        let rating = rating(r#"{"stars":5}"#, 1);
        let row = &export_rows(&rating, ExportShape::Scalar, weight)[0];
        let end = r#""reward":1.0,"rating":"i","weight":0.5,"weight_low":0.25,"weight_high":0.75}"#;
        assert!(row.ends_with(end), "{row}");
        let raw = export_rows(&rating, ExportShape::Ratings, weight);
        assert_eq!(raw, export_rows(&rating, ExportShape::Ratings, None));
    }
}
