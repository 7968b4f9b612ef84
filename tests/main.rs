//! Integration tests of the workspace, one binary so that it links once.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod adapters;
mod architecture;
mod conformance;
mod corpus;
mod damaged;
mod generation;
mod golden_best_of;
mod golden_converted;
mod golden_critic;
mod golden_distil;
mod golden_encoder;
mod golden_game_credit;
mod golden_games;
mod golden_gguf;
mod golden_model;
mod golden_objective;
mod golden_objectives;
mod golden_online_dpo;
mod golden_packed;
mod golden_preference;
mod golden_qwen2;
mod golden_self_play;
mod golden_self_play_steps;
mod golden_trajectories;
mod golden_tuning;
mod golden_value;
mod golden_value_steps;
mod golden_vision;
mod learning;
mod page_looks;
mod page_writes;
mod shipped_policy;
mod stored_weights;
mod torch_models;
mod tuning;
