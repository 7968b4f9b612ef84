//! What a step tells the journal.

use kudos_core::objective::ImportanceReport;
use kudos_core::reward::Mix;
use kudos_schema::EndReason;

use super::collect::Rewarded;
use super::update::Updated;
use crate::journal::SampleRow;

/// Completions of a step that go to samples.jsonl.
const SAMPLES_A_STEP: usize = 2;

/// The mean reward, and what else the journal takes of the rewards.
pub(crate) fn of_rewards(
    rewards: &Mix,
    rewarded: &Rewarded<'_>,
    flat: f64,
) -> (f64, Vec<(String, f64)>) {
    let totals: Vec<f64> = rewarded.totals.iter().map(|total| f64::from(*total)).collect();
    let lengths: Vec<f64> =
        rewarded.rollout.completions.iter().map(|ids| ids.len() as f64).collect();
    let clipped = rewarded.rollout.end_reasons.iter().map(|reason| match reason {
        EndReason::Stop => 0.0,
        EndReason::Length | EndReason::Interrupted => 1.0,
    });
    let mut others = vec![
        ("reward_std".to_owned(), deviation(&totals)),
        ("frac_reward_zero_std".to_owned(), flat),
        ("groups/resampled".to_owned(), rewarded.resampled as f64),
        ("completions/mean_length".to_owned(), mean(&lengths)),
        ("completions/clipped_ratio".to_owned(), mean(&clipped.collect::<Vec<_>>())),
    ];
    for (column, name) in rewards.names().iter().enumerate() {
        let values: Vec<f64> =
            rewarded.parts.iter().filter_map(|row| row[column]).map(f64::from).collect();
        if !values.is_empty() {
            others.push((format!("rewards/{name}/mean"), mean(&values)));
        }
    }
    (mean(&totals), others)
}

/// What the journal takes of the updates.
pub(super) fn of_updates(
    updated: &Updated,
    importance: Option<&ImportanceReport>,
) -> Vec<(String, f64)> {
    let mut all = vec![("loss", updated.loss), ("grad_norm", updated.grad_norm)];
    if let Some(held) = updated.held {
        all.extend([
            ("clip_ratio", held.low + held.high),
            ("clip_ratio/low_mean", held.low),
            ("clip_ratio/high_mean", held.high),
            ("approx_kl", held.moved_nats),
            ("ratio/frac_above_100", held.far),
        ]);
    }
    if let Some(taught) = updated.critic {
        all.extend([
            ("value_loss", taught.loss),
            ("value_clip_ratio", taught.clip_ratio),
            ("value_grad_norm", taught.grad_norm),
            ("explained_variance", taught.explained_variance),
        ]);
    }
    if let Some(report) = importance {
        all.extend([
            ("sampling/importance_sampling_ratio/min", report.ratio_min),
            ("sampling/importance_sampling_ratio/mean", report.ratio_mean),
            ("sampling/importance_sampling_ratio/max", report.ratio_max),
            ("rollout_corr/kl", report.kl_nats),
            ("rollout_corr/eff_sample_size", report.effective_share),
        ]);
    }
    all.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The first completion of the first prompts.
pub(crate) fn sample_rows(rewarded: &Rewarded<'_>, step: usize, group: usize) -> Vec<SampleRow> {
    let items = rewarded.items.iter().take(SAMPLES_A_STEP).enumerate();
    items
        .map(|(place, item)| {
            let row = place * group;
            SampleRow {
                step: step as u64,
                prompt: item.0.prompt.text(),
                completion: rewarded.texts[row].clone(),
                reference: item.0.references.first().cloned(),
                reward: Some(f64::from(rewarded.totals[row])),
                end_reason: rewarded.rollout.end_reasons[row],
            }
        })
        .collect()
}

pub(super) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Standard deviation over the batch (ddof 0).
fn deviation(values: &[f64]) -> f64 {
    let center = mean(values);
    mean(&values.iter().map(|value| (value - center).powi(2)).collect::<Vec<_>>()).sqrt()
}
