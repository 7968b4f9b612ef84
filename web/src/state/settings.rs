//! Sampling settings as they are typed, and as they are used.

use kudos_schema::{MAX_TOKENS, PolicyManifest, Sampling};

use crate::event::Setting;

/// The first seed that is too large: JSON readers in browsers are exact only below it, and a pair
/// needs the seed that follows too.
pub(crate) const SEEDS: u64 = (1 << 53) - 1;

/// What stands in the fields.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    /// 0 = greedy.
    pub(crate) temperature: String,
    /// 0 = all.
    pub(crate) top_k: String,
    /// 1 = all.
    pub(crate) top_p: String,
    /// Longest completion in tokens.
    pub(crate) length: String,
    /// Empty = a fresh one each time.
    pub(crate) seed: String,
    /// How the policy is meant to be sampled; min-p and the repetition penalty are used as they are.
    meant: Sampling,
    /// The longest completion that the policy's context and a rating allow.
    longest: usize,
}

impl Settings {
    /// As the policy is meant to be sampled.
    pub(crate) fn of(manifest: &PolicyManifest) -> Self {
        let meant = match manifest.sampling.validate() {
            Ok(()) => manifest.sampling.clone(),
            Err(_) => Sampling::default(),
        };
        let longest = manifest.context_length.clamp(1, MAX_TOKENS);
        Self {
            temperature: meant.temperature.to_string(),
            top_k: meant.top_k.to_string(),
            top_p: meant.top_p.to_string(),
            length: meant.max_completion_length.min(longest).to_string(),
            seed: String::new(),
            meant,
            longest,
        }
    }

    /// The longest completion that can be asked for.
    pub(crate) fn longest(&self) -> usize {
        self.longest.max(1)
    }

    /// The field of a setting.
    pub(crate) fn field(&mut self, setting: Setting) -> &mut String {
        match setting {
            Setting::Temperature => &mut self.temperature,
            Setting::TopK => &mut self.top_k,
            Setting::TopP => &mut self.top_p,
            Setting::Length => &mut self.length,
            Setting::Seed => &mut self.seed,
        }
    }

    /// The distribution to draw from, or the first field that cannot be used.
    pub(crate) fn sampling(&self) -> Result<Sampling, Setting> {
        let in_range = |text: &str, from: f64, to: f64| {
            decimal(text.trim()).filter(|value| *value >= from && *value <= to)
        };
        let temperature = in_range(&self.temperature, 0.0, 100.0).ok_or(Setting::Temperature)?;
        let top_p = in_range(&self.top_p, 0.0, 1.0).filter(|value| *value > 0.0);
        let length = self.length.trim().parse().ok();
        let length = length.filter(|length| (1..=self.longest()).contains(length));
        Ok(Sampling {
            temperature,
            top_k: self.top_k.trim().parse().map_err(|_| Setting::TopK)?,
            top_p: top_p.ok_or(Setting::TopP)?,
            max_completion_length: length.ok_or(Setting::Length)?,
            ..self.meant.clone()
        })
    }

    /// The typed seed; none where the field is empty.
    pub(crate) fn seed(&self) -> Result<Option<u64>, Setting> {
        match self.seed.trim() {
            "" => Ok(None),
            text => {
                let seed = text.parse().ok().filter(|seed| *seed < SEEDS);
                seed.map(Some).ok_or(Setting::Seed)
            }
        }
    }

    /// The first field that cannot be used.
    pub(crate) fn wrong(&self) -> Option<Setting> {
        self.sampling().err().or_else(|| self.seed().err())
    }
}

/// A number of plain digits with at most one point, as the fields hold them; no sign, no exponent. The
/// standard library's tables for every other number would be a fifteenth of the page.
fn decimal(text: &str) -> Option<f64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !whole.bytes().chain(fraction.bytes()).all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    // Fifteen digits and the power of ten are exact, so that their quotient is the nearest number.
    let whole = whole.trim_start_matches('0');
    let fraction = &fraction[..fraction.len().min(15_usize.checked_sub(whole.len())?)];
    let digits = format!("0{whole}{fraction}");
    let number: u64 =
        digits.parse().ok().filter(|_| text.contains(|l: char| l.is_ascii_digit()))?;
    Some(number as f64 / 10_u64.pow(fraction.len() as u32) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_the_nearest_numbers() {
        for text in ["0.7", "1", "100", "0.95", ".5", "2.", "007.25", "0.123456789012345"] {
            assert_eq!(decimal(text), text.parse().ok(), "{text}");
        }
        assert_eq!(decimal("0.3333333333333333"), Some(0.333333333333333), "fifteen digits count");
        for text in ["", ".", "-1", "1e3", "1,5", "nan", "1.2.3", "1234567890123456"] {
            assert_eq!(decimal(text), None, "{text}");
        }
    }
}
