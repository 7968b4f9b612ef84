//! A policy and its critic learn from the games of a round: several passes, in parts.

use anyhow::Result;
use burn::module::Module;
use kudos_core::model::{Critic, Transformer};
use kudos_core::objective::{Lived, MiniBatch, ValueClip};
use kudos_core::optim::{AdamW, Schedule};
use kudos_core::tuning::{module_from_bytes, module_to_bytes};
use pollster::block_on;

use super::recipe::GamesRecipe;
use super::round::Round;
use crate::batches::mini_batches;
use crate::kept::Kept;
use crate::parallel::Workers;
use crate::session::seed_device;
use crate::supervised::number;

/// Files of a checkpoint.
const POLICY: &str = "policy.safetensors";
const CRITIC: &str = "critic.safetensors";
const POLICY_OPTIMIZER: &str = "policy-optimizer.safetensors";
const CRITIC_OPTIMIZER: &str = "critic-optimizer.safetensors";

/// What learns.
#[derive(Debug)]
pub(super) struct Learner {
    /// On an autodiff device, like the critic.
    pub(super) policy: Transformer,
    pub(super) critic: Critic,
    optimizer: AdamW,
    critic_optimizer: AdamW,
}

/// Sums of named numbers over updates.
#[derive(Debug, Default)]
pub(super) struct Means {
    sums: Vec<(&'static str, f64, usize)>,
}

impl Learner {
    /// A policy, and a critic on a copy of it that expects nothing yet.
    pub(super) fn new(policy: Transformer, trunk: Transformer, recipe: &GamesRecipe) -> Self {
        Self {
            policy,
            critic: Critic::zeroed(trunk),
            optimizer: AdamW::new(recipe.optimizer.adamw),
            critic_optimizer: AdamW::new(recipe.optimizer.adamw),
        }
    }

    /// Goes on where a checkpoint stood.
    ///
    /// # Errors
    /// If it is damaged.
    pub(super) fn resume(&mut self, kept: &Kept, recipe: &GamesRecipe) -> Result<()> {
        let device = self.policy.device().without_autodiff();
        let optimizer = |name: &str| -> Result<AdamW> {
            Ok(AdamW::from_bytes(recipe.optimizer.adamw, &kept.file(name)?, &device)?)
        };
        self.policy = module_from_bytes(self.policy.clone(), &kept.file(POLICY)?)?;
        self.critic = module_from_bytes(self.critic.clone(), &kept.file(CRITIC)?)?;
        self.optimizer = optimizer(POLICY_OPTIMIZER)?;
        self.critic_optimizer = optimizer(CRITIC_OPTIMIZER)?;
        Ok(())
    }

    /// What a checkpoint keeps.
    ///
    /// # Errors
    /// A failing device.
    pub(super) fn files(&self) -> Result<Vec<(&'static str, Vec<u8>)>> {
        Ok(vec![
            (POLICY, block_on(module_to_bytes(&self.policy))?),
            (CRITIC, block_on(module_to_bytes(&self.critic))?),
            (POLICY_OPTIMIZER, block_on(self.optimizer.to_bytes())?),
            (CRITIC_OPTIMIZER, block_on(self.critic_optimizer.to_bytes())?),
        ])
    }

    /// Learns from a round: what the updates showed, means over them.
    ///
    /// # Errors
    /// A failing device.
    pub(super) fn learn(
        &mut self,
        (index, round): (usize, &Round),
        recipe: &GamesRecipe,
    ) -> Result<Vec<(&'static str, f64)>> {
        seed_device(&self.policy.device(), recipe.seed, index);
        let mut means = Means::default();
        for iteration in 0..recipe.ppo.num_iterations {
            let (count, parts) = (round.lived.len(), recipe.ppo.mini_batches);
            for part in mini_batches(recipe.seed, (index, iteration), count, parts) {
                let part: Vec<&Lived> = part.iter().map(|place| &round.lived[*place]).collect();
                let mut batch = MiniBatch::of(&part);
                batch.experiences.sort_by_key(|one| one.prompt.len() + one.completion.len());
                batch.judgements.sort_by_key(|one| one.prompt.len() + one.completion.len());
                self.of_critic(&batch, (index, recipe), &mut means)?;
                if index >= recipe.critic.warmup_rounds {
                    self.of_policy(&batch, (index, recipe), &mut means)?;
                }
            }
        }
        Ok(means.all())
    }

    fn of_policy(
        &mut self,
        batch: &MiniBatch,
        (index, recipe): (usize, &GamesRecipe),
        means: &mut Means,
    ) -> Result<()> {
        let (objective, now) = recipe.ppo.objective();
        let workers = Workers::of(&self.policy.device());
        let size = recipe.micro_batch_size;
        let mut learned = workers.learn(&self.policy, &batch.experiences, &objective.at(now), size);
        let norm = number(learned.gradients.clip(recipe.optimizer.max_grad_norm))?;
        let rate = schedule(recipe).learning_rate(index);
        self.policy = self.optimizer.step(self.policy.clone(), learned.gradients, rate);
        means.add("loss", number(learned.loss)?);
        means.add("grad_norm", norm);
        if let Some(entropy) = learned.entropy {
            means.add("entropy", number(entropy)?);
        }
        if let Some(clipping) = learned.clipping {
            let part = |place| number(clipping.clone().narrow(0, place, 1));
            let tokens = part(4)?.max(1.0);
            means.add("clip_ratio", (part(0)? + part(1)?) / tokens);
        }
        Ok(())
    }

    fn of_critic(
        &mut self,
        batch: &MiniBatch,
        (index, recipe): (usize, &GamesRecipe),
        means: &mut Means,
    ) -> Result<()> {
        let workers = Workers::of(&self.policy.device());
        // Without a clip: what was met alike is learned together, by its mean.
        let clip = ValueClip::Off;
        let size = recipe.micro_batch_size;
        let mut learned = workers.learn_critic(&self.critic, &batch.judgements, clip, size);
        let norm = number(learned.gradients.clip(recipe.optimizer.max_grad_norm))?;
        let schedule = Schedule { peak: recipe.critic.learning_rate, ..schedule(recipe) };
        let rate = schedule.learning_rate(index);
        self.critic = self.critic_optimizer.step(self.critic.clone(), learned.gradients, rate);
        means.add("value_loss", number(learned.loss)?);
        means.add("value_grad_norm", norm);
        Ok(())
    }

    /// The critic for reading only.
    pub(super) fn reading_critic(&self) -> Critic {
        self.critic.valid()
    }
}

/// The learning rate by rounds.
pub(super) fn schedule(recipe: &GamesRecipe) -> Schedule {
    Schedule {
        peak: recipe.optimizer.learning_rate,
        warmup_steps: recipe.optimizer.warmup_steps,
        total_steps: recipe.rounds,
        decay: recipe.optimizer.decay,
    }
}

impl Means {
    fn add(&mut self, name: &'static str, value: f64) {
        match self.sums.iter_mut().find(|(known, ..)| *known == name) {
            Some((_, sum, count)) => {
                *sum += value;
                *count += 1;
            }
            None => self.sums.push((name, value, 1)),
        }
    }

    fn all(self) -> Vec<(&'static str, f64)> {
        self.sums.into_iter().map(|(name, sum, count)| (name, sum / count as f64)).collect()
    }
}
