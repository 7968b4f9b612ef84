//! What a loss of pairs cannot be asked for.

use anyhow::Result;
use kudos_core::objective::{Preference, PreferenceLoss};

use crate::usage::usage;

/// Refuses label smoothing where the loss has no place for it, which would be ignored.
///
/// # Errors
/// A usage error that names the loss and those that smooth.
pub(super) fn smooths(preference: &Preference) -> Result<()> {
    let name = match preference.loss {
        PreferenceLoss::Sigmoid | PreferenceLoss::Robust | PreferenceLoss::SimPo { .. } => {
            return Ok(());
        }
        PreferenceLoss::Hinge => "hinge",
        PreferenceLoss::Ipo => "ipo",
        PreferenceLoss::SigmoidNorm => "sigmoid_norm",
        PreferenceLoss::ApoZero => "apo_zero",
        PreferenceLoss::Orpo => "orpo",
    };
    if preference.label_smoothing == 0.0 {
        return Ok(());
    }
    Err(usage(format!(
        "feedback.preference.label_smoothing does nothing in {name}: leave it out, or take sigmoid, robust or simpo"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_without_smoothing_refuses_it_by_name() {
        let ask = |loss, label_smoothing| {
            smooths(&Preference { loss, label_smoothing, ..Preference::default() })
        };
        let without = [
            (PreferenceLoss::Hinge, "hinge"),
            (PreferenceLoss::Ipo, "ipo"),
            (PreferenceLoss::SigmoidNorm, "sigmoid_norm"),
            (PreferenceLoss::ApoZero, "apo_zero"),
            (PreferenceLoss::Orpo, "orpo"),
        ];
        for (loss, name) in without {
            ask(loss, 0.0).unwrap();
            let error = ask(loss, 0.1).unwrap_err();
            assert!(error.to_string().contains(&format!("in {name}:")), "{error}");
            assert_eq!(crate::usage::exit_code(&error), 2);
        }
        for loss in [PreferenceLoss::Sigmoid, PreferenceLoss::Robust] {
            ask(loss, 0.1).unwrap();
        }
        ask(PreferenceLoss::SimPo { margin: 0.5 }, 0.1).unwrap();
    }
}
