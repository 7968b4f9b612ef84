//! What PEFT calls the projections of a block, and which of ours each holds.

use crate::model::{Positions, TransformerConfig};
use crate::tuning::Target;

/// A projection of a Hugging Face model.
#[derive(Debug, Clone)]
pub(super) struct Module {
    /// Its path in the model.
    pub(super) path: String,
    /// The end of the path by which `target_modules` names it.
    pub(super) short: &'static str,
    /// Ours, side by side along the outputs, with the number of outputs of each.
    pub(super) parts: Vec<(Target, usize)>,
}

/// The projections of block `layer`.
pub(super) fn modules(config: &TransformerConfig, layer: usize) -> Vec<Module> {
    let d_queries = config.n_heads * config.d_head;
    let d_keys = config.n_kv_heads * config.d_head;
    let (d_model, d_ff) = (config.d_model, config.d_ff);
    let module = |folder: &str, short: &'static str, parts: &[(Target, usize)]| Module {
        path: format!("{folder}{short}"),
        short,
        parts: parts.to_vec(),
    };
    match config.positions {
        Positions::Learned => {
            let block = format!("transformer.h.{layer}.");
            let fused =
                [(Target::Query, d_queries), (Target::Key, d_keys), (Target::Value, d_keys)];
            vec![
                module(&block, "attn.c_attn", &fused),
                module(&block, "attn.c_proj", &[(Target::Output, d_model)]),
                module(&block, "mlp.c_fc", &[(Target::Up, d_ff)]),
                module(&block, "mlp.c_proj", &[(Target::Down, d_model)]),
            ]
        }
        Positions::Rotary { .. } => {
            let attention = format!("model.layers.{layer}.self_attn.");
            let feed_forward = format!("model.layers.{layer}.mlp.");
            vec![
                module(&attention, "q_proj", &[(Target::Query, d_queries)]),
                module(&attention, "k_proj", &[(Target::Key, d_keys)]),
                module(&attention, "v_proj", &[(Target::Value, d_keys)]),
                module(&attention, "o_proj", &[(Target::Output, d_model)]),
                module(&feed_forward, "gate_proj", &[(Target::Gate, d_ff)]),
                module(&feed_forward, "up_proj", &[(Target::Up, d_ff)]),
                module(&feed_forward, "down_proj", &[(Target::Down, d_model)]),
            ]
        }
    }
}
