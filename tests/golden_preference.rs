//! Losses of whole completions against plain torch: values and gradients
//! (`tests/golden/preference.py`).

use kudos_core::objective::{
    Judged, Label, Linearized, Pair, Preference, PreferenceLoss, RewardFit, Side, Unpaired,
    VerdictOn, Weighted,
};
use serde_json::Value;

fn golden() -> Value {
    serde_json::from_str(include_str!("golden/preference.json")).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    serde_json::from_value(value.clone()).unwrap()
}

fn table(value: &Value) -> Vec<Vec<f64>> {
    serde_json::from_value(value.clone()).unwrap()
}

fn check(case: &Value, found: &Linearized) {
    let near = |a: f64, b: f64| (a - b).abs() <= 1e-12 * b.abs().max(1.0);
    let value = case["value"].as_f64().unwrap();
    assert!(near(found.loss, value), "{case}: {found:?}");
    let gradient = numbers(&case["gradient"]);
    assert_eq!(found.slopes.len(), gradient.len());
    for (slope, expected) in found.slopes.iter().zip(gradient) {
        assert!(near(*slope, expected), "{case}: {found:?}");
    }
}

#[test]
fn preference_losses_and_slopes_are_torchs() {
    let golden = golden();
    let part = |key: &str| table(&golden["pairs"][key]);
    let (policy, reference, tokens) = (part("policy"), part("reference"), part("tokens"));
    let weights = numbers(&golden["pairs"]["weights"]);
    let pairs: Vec<Pair> = weights
        .into_iter()
        .enumerate()
        .map(|(row, weight)| {
            let side = |place: usize| Side {
                policy: policy[row][place],
                reference: reference[row][place],
                tokens: tokens[row][place] as usize,
            };
            Pair { chosen: side(0), rejected: side(1), weight }
        })
        .collect();
    for case in golden["preference"].as_array().unwrap() {
        let loss = match case["loss"].as_str().unwrap() {
            "sigmoid" => PreferenceLoss::Sigmoid,
            "hinge" => PreferenceLoss::Hinge,
            "ipo" => PreferenceLoss::Ipo,
            "robust" => PreferenceLoss::Robust,
            "sigmoid_norm" => PreferenceLoss::SigmoidNorm,
            "apo_zero" => PreferenceLoss::ApoZero,
            "simpo" => PreferenceLoss::SimPo { margin: case["margin"].as_f64().unwrap() },
            "orpo" => PreferenceLoss::Orpo,
            other => panic!("loss {other}"),
        };
        let number = |key: &str| case[key].as_f64().unwrap_or(0.0);
        let preference = Preference {
            loss,
            beta: number("beta"),
            label_smoothing: number("label_smoothing"),
            rpo_alpha: number("rpo_alpha"),
        };
        check(case, &preference.linearize(&pairs));
    }
}

#[test]
fn kto_is_torchs() {
    let golden = golden();
    let judged = &golden["judged"];
    let good: Vec<bool> = serde_json::from_value(judged["good"].clone()).unwrap();
    let rows = numbers(&judged["log_ratio"]).into_iter().zip(numbers(&judged["weights"])).zip(good);
    let batch: Vec<Judged> = rows
        .map(|((log_ratio, weight), good)| Judged {
            log_ratio,
            weight,
            label: if good { Label::Good } else { Label::Bad },
        })
        .collect();
    for case in golden["kto"].as_array().unwrap() {
        let number = |key: &str| case[key].as_f64().unwrap();
        let unpaired = Unpaired {
            beta: number("beta"),
            desirable_weight: number("desirable_weight"),
            undesirable_weight: number("undesirable_weight"),
        };
        check(case, &unpaired.linearize(&batch, &numbers(&case["others"])));
    }
}

#[test]
fn reward_model_losses_and_slopes_are_torchs() {
    let golden = golden();
    let data = &golden["verdicts"];
    let rows = table(&data["verdicts"]).into_iter().zip(numbers(&data["weights"]));
    let verdicts: Vec<Weighted> = rows
        .map(|(row, weight)| {
            let (first, share) = (row[0] as usize, row[2]);
            let verdict = if row[1] < 0.0 {
                VerdictOn::Grade { place: first, share }
            } else {
                VerdictOn::Pair { first, second: row[1] as usize, share }
            };
            Weighted { verdict, weight }
        })
        .collect();
    for case in golden["reward"].as_array().unwrap() {
        let number = |key: &str| case[key].as_f64().unwrap();
        let fit =
            RewardFit { margin: number("margin"), label_smoothing: number("label_smoothing") };
        check(case, &fit.linearize(&numbers(&data["scores"]), &verdicts));
    }
}
