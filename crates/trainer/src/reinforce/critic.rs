//! The critic in training: what it expects, what it learns, what a checkpoint keeps of it.

use anyhow::Result;
use burn::module::Module;
use kudos_core::model::hugging_face::{read_critic, write_critic};
use kudos_core::model::{Critic, Transformer};
use kudos_core::objective::{Judgement, ValueClip};
use kudos_core::optim::{AdamW, Schedule};
use pollster::block_on;

use super::REFERENCE_BATCH;
use crate::parallel::Workers;
use crate::recipe::{Recipe, TrunkUse};
use crate::session::{Beside, Resumed};
use crate::supervised::{number, schedule};

/// Its weights in a checkpoint.
const WEIGHTS: &str = "critic.safetensors";
/// Its optimizer there.
const OPTIMIZER: &str = "critic_optimizer.safetensors";

/// A critic with what its training needs.
pub(super) struct Apprentice {
    critic: Critic,
    optimizer: AdamW,
    schedule: Schedule,
    clip: ValueClip,
    trunk: TrunkUse,
    max_grad_norm: f64,
    micro_batch_size: usize,
}

/// What an update showed.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Judged {
    pub(super) loss: f64,
    pub(super) grad_norm: f64,
    /// Tokens that the clip held.
    pub(super) held: f64,
    pub(super) tokens: f64,
}

impl Apprentice {
    /// A critic that expects nothing yet, on a copy of the starting policy that nobody else holds.
    pub(super) fn new(trunk: Transformer, recipe: &Recipe) -> Self {
        let critic = &recipe.critic;
        Self {
            critic: learning(Critic::zeroed(trunk), critic.trunk),
            optimizer: AdamW::new(recipe.optimizer.adamw),
            schedule: Schedule { peak: critic.learning_rate, ..schedule(recipe) },
            clip: critic.value_clip,
            trunk: critic.trunk,
            max_grad_norm: recipe.optimizer.max_grad_norm,
            micro_batch_size: recipe.batch.micro_batch_size,
        }
    }

    /// Goes on where a checkpoint stood.
    ///
    /// # Errors
    /// If the checkpoint is damaged.
    pub(super) fn resume(&mut self, resumed: &Resumed, recipe: &Recipe) -> Result<()> {
        let critic = read_critic(&self.critic.trunk, &resumed.beside(WEIGHTS)?)?;
        let (bytes, device) = (resumed.beside(OPTIMIZER)?, critic.trunk.device());
        self.optimizer = AdamW::from_bytes(recipe.optimizer.adamw, &bytes, &device)?;
        self.critic = learning(critic, self.trunk);
        Ok(())
    }

    /// What a checkpoint keeps.
    ///
    /// # Errors
    /// If the device does not return it.
    pub(super) fn beside(&self) -> Result<Beside> {
        let weights = block_on(write_critic(&self.critic))?;
        Ok(vec![(WEIGHTS, weights), (OPTIMIZER, block_on(self.optimizer.to_bytes())?)])
    }

    /// What it expects at every token.
    ///
    /// # Errors
    /// A failing device.
    pub(super) fn expectations(&self, pairs: &[(&[u32], &[u32])]) -> Result<Vec<Vec<f32>>> {
        let reading = self.critic.valid();
        Workers::of(&reading.trunk.device()).expectations(&reading, pairs, REFERENCE_BATCH)
    }

    /// One update.
    ///
    /// # Errors
    /// A failing device.
    pub(super) fn learn(&mut self, judgements: &[Judgement], step: usize) -> Result<Judged> {
        let workers = Workers::of(&self.critic.trunk.device());
        let mut learned =
            workers.learn_critic(&self.critic, judgements, self.clip, self.micro_batch_size);
        let grad_norm = number(learned.gradients.clip(self.max_grad_norm))?;
        let rate = self.schedule.learning_rate(step);
        self.critic = self.optimizer.step(self.critic.clone(), learned.gradients, rate);
        let count = |place| number(learned.held.clone().narrow(0, place, 1));
        Ok(Judged { loss: number(learned.loss)?, grad_norm, held: count(0)?, tokens: count(1)? })
    }
}

/// With the parts frozen that do not learn.
fn learning(critic: Critic, trunk: TrunkUse) -> Critic {
    match trunk {
        TrunkUse::Tuned => critic,
        TrunkUse::Frozen => Critic { trunk: critic.trunk.no_grad(), ..critic },
    }
}

impl Judged {
    /// With what another update showed.
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            loss: self.loss + other.loss,
            grad_norm: self.grad_norm + other.grad_norm,
            held: self.held + other.held,
            tokens: self.tokens + other.tokens,
        }
    }
}
