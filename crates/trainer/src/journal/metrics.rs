//! The lines of `metrics.jsonl` and `timing.jsonl`: a step and its numbers, in the order given.
//!
//! Written by hand, since the order matters and a map of serde_json sorts its keys.

use std::fmt;
use std::path::Path;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::JournalError;
use crate::store::read_text;

/// One line of `metrics.jsonl` or `timing.jsonl`.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricsRow {
    /// The optimizer step.
    pub step: u64,
    /// Name and value, in the order written.
    pub values: Vec<(String, f64)>,
}

/// Reads `metrics.jsonl` or `timing.jsonl`, but for a last line that is still being written.
///
/// # Errors
/// The file cannot be read, or a line is not one of metrics: its number is named.
pub fn read_metrics(path: &Path) -> Result<Vec<MetricsRow>, JournalError> {
    let text = read_text(path)?;
    let complete = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    complete
        .enumerate()
        .map(|(index, line)| {
            serde_json::from_str(line).map_err(|source| JournalError::Line {
                path: path.to_owned(),
                line: index + 1,
                source,
            })
        })
        .collect()
}

/// The curve of one metric: step and value, where the metric was written.
pub fn series(rows: &[MetricsRow], name: &str) -> Vec<(f64, f64)> {
    let value_of = |row: &MetricsRow| Some(row.values.iter().find(|(found, _)| found == name)?.1);
    rows.iter().filter_map(|row| Some((row.step as f64, value_of(row)?))).collect()
}

/// The line of a step, with its end.
///
/// # Errors
/// A value is not finite or a name is given twice.
pub(super) fn line<N: AsRef<str>>(step: u64, values: &[(N, f64)]) -> Result<String, JournalError> {
    let mut text = format!("{{\"step\":{step}");
    for (index, (name, value)) in values.iter().enumerate() {
        let name = name.as_ref();
        if !value.is_finite() {
            return Err(JournalError::NotFinite { step, name: name.into(), value: *value });
        }
        if name == "step" || values[..index].iter().any(|(other, _)| other.as_ref() == name) {
            return Err(JournalError::RepeatedName { step, name: name.into() });
        }
        let key = serde_json::to_string(name).expect("a text is JSON");
        let number = serde_json::to_string(value).expect("a finite number is JSON");
        text += &format!(",{key}:{number}");
    }
    Ok(text + "}\n")
}

impl<'de> Deserialize<'de> for MetricsRow {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(RowVisitor)
    }
}

struct RowVisitor;

impl<'de> Visitor<'de> for RowVisitor {
    type Value = MetricsRow;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object of `step` and numbers")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<MetricsRow, A::Error> {
        let (mut step, mut values) = (None, Vec::new());
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                "step" => step = Some(map.next_value()?),
                _ => values.push((name, map.next_value()?)),
            }
        }
        Ok(MetricsRow { step: step.ok_or_else(|| A::Error::missing_field("step"))?, values })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::super::METRICS;
    use super::*;

    #[test]
    fn metrics_read_back_as_the_same_numbers_in_the_same_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(METRICS);
        let values = [0.1 + 0.2, -0.0, f64::MAX, f64::MIN_POSITIVE, 5e-324, 1.0, f64::from(0.1f32)];
        let names = ["z", "a/\"quoted\"", "rewards/f1/mean", "é", "m", "num_tokens", "kl"];
        let written: Vec<(String, f64)> = names.map(String::from).into_iter().zip(values).collect();
        fs::write(&path, line(u64::MAX, &written).unwrap()).unwrap();
        let read = read_metrics(&path).unwrap();
        assert_eq!(read, [MetricsRow { step: u64::MAX, values: written.clone() }]);
        assert!(read[0].values[1].1.is_sign_negative());
    }

    #[test]
    fn every_finite_number_reads_back_as_itself() {
        let mut draws = ChaCha8Rng::seed_from_u64(1);
        let values: Vec<(String, f64)> = (0..20_000)
            .map(|index| (index.to_string(), f64::from_bits(draws.next_u64())))
            .filter(|(_, value)| value.is_finite())
            .collect();
        for pair in values.chunks(100) {
            let read: MetricsRow = serde_json::from_str(&line(1, pair).unwrap()).unwrap();
            assert_eq!(read.values, pair);
        }
    }

    #[test]
    fn a_line_is_an_object_with_the_step_first() {
        let text = line(12, &[("reward", 0.5), ("num_tokens", 3e6)]).unwrap();
        assert_eq!(text, "{\"step\":12,\"reward\":0.5,\"num_tokens\":3000000.0}\n");
    }

    #[test]
    fn a_foreign_line_is_named_by_its_number_and_an_unfinished_one_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(METRICS);
        let check = |second: &str| {
            fs::write(&path, format!("{{\"step\":1}}\n{second}\n")).unwrap();
            let error = read_metrics(&path).unwrap_err();
            assert!(error.to_string().contains("line 2"), "{error}");
        };
        ["", "[]", "{}", r#"{"step":2,"kl":null}"#, r#"{"step":2,"kl":"#]
            .into_iter()
            .for_each(check);
        fs::write(&path, "{\"step\":1,\"kl\":0.5}\n{\"step\":2,\"k").unwrap();
        let rows = read_metrics(&path).unwrap();
        assert_eq!(series(&rows, "kl"), [(1.0, 0.5)]);
        assert_eq!(series(&rows, "reward"), []);
    }
}
