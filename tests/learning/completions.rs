//! Gradients of losses that take completions one by one: KTO, and Nash-MD over every completion there is.

use super::*;
use kudos_core::objective::{Contest, Judged, Label, Linearized, Unpaired, nash_md};

/// A prompt with a completion.
type Row<'a> = (&'a [u32], &'a [u32]);

/// What a loss says of completions with these log-probabilities: its value and slopes are those of a whole model.
fn check_linearized(
    what: &str,
    (model, rows): (&Transformer, &[Row<'_>]),
    linearize: &dyn Fn(&[f64]) -> Linearized,
) {
    for size in [64, 3] {
        check_slopes(what, model, &|model| {
            let Linearized { loss, slopes } = linearize(&sums(model, rows));
            let experiences = Linear::experiences(rows, &slopes);
            (loss, learn(model, &experiences, &Linear { temperature: 1.0 }, size).gradients)
        });
    }
}

#[test]
fn the_gradient_of_kto_is_its_finite_difference_in_any_micro_batches() {
    let (rollout, _) = rollout();
    let rows = rollout.prompts.iter().zip(&rollout.completions);
    let rows: Vec<Row<'_>> = rows.map(|(p, c)| (p.as_slice(), c.as_slice())).collect();
    let kto = Unpaired { beta: 0.3, desirable_weight: 0.8, undesirable_weight: 1.5 };
    for config in configs() {
        let model = model(&config, &Device::flex().autodiff());
        let start = sums(&model, &rows);
        // From -3 to 3 nats off the reference, on both sides of z, which is not differentiated.
        let off = |row: usize| ((row * 5) % 13) as f64 / 2.0 - 3.0;
        check_linearized("KTO", (&model, &rows), &|policy| {
            let judged = policy.iter().zip(&start).enumerate().map(|(row, (now, start))| Judged {
                log_ratio: now - start + off(row),
                label: if row % 3 == 0 { Label::Good } else { Label::Bad },
                weight: 0.5 + (row % 4) as f64 / 2.0,
            });
            kto.linearize(&judged.collect::<Vec<_>>(), &[0.9, -0.4, 1.6])
        });
    }
}

/// Tokens so few that every completion of two can be counted.
const FEW: usize = 6;

#[test]
fn the_slopes_of_nash_md_are_the_gradient_of_the_expectation_over_every_completion() {
    let prompt = [1, 4, 2];
    let all: Vec<[u32; 2]> = (0..(FEW * FEW) as u32).map(|n| [n / 6, n % 6]).collect();
    let rows: Vec<Row<'_>> = all.iter().map(|two| (&prompt[..], &two[..])).collect();
    let (beta, share) = (0.2, 0.25);
    for config in configs() {
        let config = TransformerConfig { vocab_size: FEW, ..config };
        let model = model(&config, &Device::flex().autodiff());
        let start = sums(&model, &rows);
        let reference: Vec<f64> = (0..all.len()).map(|row| -3.0 - (row % 5) as f64 / 3.0).collect();
        // The opponent stays what it was when the step began.
        let both = start.iter().zip(&reference);
        let mixed: Vec<f64> = both.map(|(p, r)| ((1.0 - share) * p + share * r).exp()).collect();
        let total: f64 = mixed.iter().sum();
        // Preferences go in circles, so that no reward explains them.
        let preferred = |one: usize, other: usize| [0.5, 0.9, 0.2][(FEW + one % 3 - other % 3) % 3];
        let wins = |one: usize| -> f64 {
            mixed.iter().enumerate().map(|(other, q)| q / total * preferred(one, other)).sum()
        };
        check_linearized("Nash-MD", (&model, &rows), &|policy| {
            let contests = policy.iter().zip(&reference).enumerate().map(|(row, (p, r))| Contest {
                side: Side { policy: *p, reference: *r, tokens: 2 },
                wins: wins(row),
            });
            let of_means = nash_md(&contests.collect::<Vec<_>>(), beta);
            // Each completion as often as it is drawn, in place of once.
            let often = policy.iter().map(|p| all.len() as f64 * p.exp());
            let slopes: Vec<f64> = of_means.slopes.iter().zip(often).map(|(s, n)| s * n).collect();
            Linearized { loss: slopes.iter().sum(), slopes }
        });
    }
}
