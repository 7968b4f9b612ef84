//! Work on the CPU device by several threads, part by part, results in order.
//!
//! The CPU device spreads large matrix products over its cores but little else. A batch falls into
//! independent parts, so each thread takes one, and keeps to itself: a product that one worker spread
//! would wait for the others. A GPU gets all its work from one thread. Results depend on the number of
//! workers only by the rounding of sums, never by which thread is faster.

use std::sync::OnceLock;
use std::thread;

use anyhow::Result;
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use kudos_core::learn::{
    Criticized, Learned, expectations, features, learn, learn_critic, learn_lessons, learn_scores,
    log_probs, scores,
};
use kudos_core::model::{Critic, Scorer, Transformer, Trunk};
use kudos_core::objective::{Distil, Experience, Judgement, Lesson, Objective, ValueClip};
use kudos_core::optim::Gradients;
use kudos_core::rollout::{GenerateError, Generation, Mixture, Rollout, generate, generate_mixed};
use kudos_core::tuning::{has_dropout, unpack_base};
use pollster::block_on;
use rayon::{ThreadPool, ThreadPoolBuilder};

/// Logits that a worker holds at once where completions are judged: 64 MiB, and what is computed of them.
pub const LOGITS: usize = 1 << 24;

/// How many threads share a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Workers(usize);

impl Workers {
    /// One for each thread of the CPU device, one for any other device.
    pub fn of(device: &Device) -> Self {
        Self(if is_cpu(device) { crate::device::flex_threads() } else { 1 })
    }

    /// How many.
    pub fn count(self) -> usize {
        self.0
    }

    /// Cuts `items` into one part a worker, as equal as can be.
    fn cut<T>(self, items: &[T]) -> Vec<(usize, &[T])> {
        let size = items.len().div_ceil(self.0).max(1);
        items.chunks(size).enumerate().map(|(index, part)| (index * size, part)).collect()
    }

    /// The gradient of a batch. Every worker tracks leaves of its own: burn 0.22.1 locks up when two
    /// threads go backward through graphs that share a leaf. With dropout one thread does it all, since
    /// the device has one generator, and the order of its draws must not depend on who is faster.
    pub fn learn(
        self,
        model: &Transformer,
        experiences: &[Experience],
        objective: &dyn Objective,
        micro_batch_size: usize,
    ) -> Learned {
        let workers = if has_dropout(model) { 1 } else { self.0 };
        let parts = interleaved(experiences, workers);
        let work: Vec<_> =
            parts.into_iter().map(|part| (model.clone().fork(&model.device()), part)).collect();
        let learned = run(&work, |(model, part)| learn(model, part, objective, micro_batch_size));
        learned.into_iter().reduce(Learned::plus).expect("a batch has experience")
    }

    /// As [`Self::learn`], from what a teacher says.
    pub fn learn_lessons(
        self,
        student: &Transformer,
        lessons: &[Lesson],
        distil: &Distil,
        micro_batch_size: usize,
    ) -> (Gradients, Tensor<1>) {
        let workers = if has_dropout(student) { 1 } else { self.0 };
        let parts = interleaved(lessons, workers);
        let work: Vec<_> =
            parts.into_iter().map(|part| (student.clone().fork(&student.device()), part)).collect();
        let learned =
            run(&work, |(student, part)| learn_lessons(student, part, distil, micro_batch_size));
        let plus = |(gradients, loss): (Gradients, Tensor<1>), (more, other)| {
            (gradients.plus(more), loss + other)
        };
        learned.into_iter().reduce(plus).expect("a batch has lessons")
    }

    /// One completion for each prompt; coins as if all were drawn together.
    ///
    /// # Errors
    /// What [`generate`] reports.
    pub fn generate(
        self,
        model: &Transformer,
        prompts: &[Vec<u32>],
        generation: &Generation<'_>,
    ) -> Result<Rollout, GenerateError> {
        // A packed base is unpacked once for all tokens.
        let model = &unpack_base(model.clone());
        self.drawn(prompts, generation, |part, own| block_on(generate(model, part, own)))
    }

    /// As [`Self::generate`], from a mixture of two policies.
    ///
    /// # Errors
    /// What [`generate_mixed`] reports.
    pub fn generate_mixed(
        self,
        mixture: &Mixture<'_>,
        prompts: &[Vec<u32>],
        generation: &Generation<'_>,
    ) -> Result<Rollout, GenerateError> {
        self.drawn(prompts, generation, |part, own| block_on(generate_mixed(mixture, part, own)))
    }

    /// What `draw` makes of each worker's prompts, which keep their places among all.
    fn drawn(
        self,
        prompts: &[Vec<u32>],
        generation: &Generation<'_>,
        draw: impl Fn(&[Vec<u32>], &Generation<'_>) -> Result<Rollout, GenerateError> + Sync,
    ) -> Result<Rollout, GenerateError> {
        let parts = self.cut(prompts);
        let rollouts = run(&parts, |(first, part)| {
            let first_index = generation.first_index + first;
            draw(part, &Generation { first_index, ..generation.clone() })
        });
        let mut all = Rollout::default();
        for rollout in rollouts {
            all.append(rollout?);
        }
        Ok(all)
    }

    /// Log-probabilities of completions, on the host; fewer together than `micro_batch_size` where their
    /// logits would be more than [`LOGITS`].
    ///
    /// # Errors
    /// If the device fails.
    pub fn log_probs(
        self,
        model: &Transformer,
        pairs: &[(&[u32], &[u32])],
        temperature: f64,
        micro_batch_size: usize,
    ) -> Result<Vec<Vec<f32>>> {
        let parts = self.cut(pairs);
        let longest = pairs.iter().map(|(_, completion)| completion.len()).max().unwrap_or(1);
        let most = LOGITS / (longest.max(1) * model.config().vocab_size);
        let together = micro_batch_size.min(most).max(1);
        let scored =
            run(&parts, |(_, part)| block_on(log_probs(model, part, temperature, together)));
        let scored: Result<Vec<_>, String> = scored.into_iter().collect();
        Ok(scored.map_err(anyhow::Error::msg)?.concat())
    }

    /// What a critic expects at every token of completions, on the host.
    ///
    /// # Errors
    /// If the device fails.
    pub fn expectations(
        self,
        critic: &Critic,
        pairs: &[(&[u32], &[u32])],
        micro_batch_size: usize,
    ) -> Result<Vec<Vec<f32>>> {
        let parts = self.cut(pairs);
        let said = run(&parts, |(_, part)| block_on(expectations(critic, part, micro_batch_size)));
        let said: Result<Vec<_>, String> = said.into_iter().collect();
        Ok(said.map_err(anyhow::Error::msg)?.concat())
    }

    /// The gradient of a critic; see [`Self::learn`].
    pub fn learn_critic(
        self,
        critic: &Critic,
        judgements: &[Judgement],
        clip: ValueClip,
        micro_batch_size: usize,
    ) -> Criticized {
        let workers = if has_dropout(&critic.trunk) { 1 } else { self.0 };
        let parts = interleaved(judgements, workers);
        let device = critic.trunk.device();
        let work: Vec<_> =
            parts.into_iter().map(|part| (critic.clone().fork(&device), part)).collect();
        let learned =
            run(&work, |(critic, part)| learn_critic(critic, part, clip, micro_batch_size));
        learned.into_iter().reduce(Criticized::plus).expect("a batch has judgements")
    }

    /// Scores of texts, on the host.
    ///
    /// # Errors
    /// If the device fails.
    pub fn scores(
        self,
        model: &Scorer,
        texts: &[&[u32]],
        micro_batch_size: usize,
    ) -> Result<Vec<f64>> {
        let one = |part: &[&[u32]]| block_on(scores(model, part, micro_batch_size));
        let scores = self.of_each_text(texts, one)?;
        Ok(scores.into_iter().map(f64::from).collect())
    }

    /// What a trunk makes of texts, on the host.
    ///
    /// # Errors
    /// If the device fails.
    pub fn features(
        self,
        trunk: &Trunk,
        texts: &[&[u32]],
        micro_batch_size: usize,
    ) -> Result<Vec<Vec<f32>>> {
        self.of_each_text(texts, |part| block_on(features(trunk, part, micro_batch_size)))
    }

    /// What `work` gives for each text, texts of like lengths together.
    fn of_each_text<T: Default + Clone + Send>(
        self,
        texts: &[&[u32]],
        work: impl Fn(&[&[u32]]) -> Result<Vec<T>, String> + Sync,
    ) -> Result<Vec<T>> {
        let order = by_length(texts);
        let sorted: Vec<&[u32]> = order.iter().map(|place| texts[*place]).collect();
        // Interleaved, as in `learn`.
        let parts: Vec<Vec<&[u32]>> = (0..self.0.min(sorted.len()))
            .map(|worker| sorted.iter().skip(worker).step_by(self.0).copied().collect())
            .collect();
        let done: Result<Vec<Vec<T>>, String> =
            run(&parts, |part| work(part)).into_iter().collect();
        let mut all = vec![T::default(); texts.len()];
        for (worker, part) in done.map_err(anyhow::Error::msg)?.into_iter().enumerate() {
            let places = order.iter().skip(worker).step_by(self.0);
            places.zip(part).for_each(|(place, value)| all[*place] = value);
        }
        Ok(all)
    }

    /// The gradient of a loss that has these slopes by the texts' scores; see [`Self::learn`].
    pub fn learn_scores(
        self,
        model: &Scorer,
        texts: &[&[u32]],
        slopes: &[f64],
        micro_batch_size: usize,
    ) -> Gradients {
        let workers = if model.trunk.dropout() > 0.0 { 1 } else { self.0 };
        let device = model.trunk.device();
        // Interleaved, as in `learn`.
        let order = by_length(texts);
        let work: Vec<_> = (0..workers.min(texts.len()))
            .map(|worker| {
                let own = order.iter().skip(worker).step_by(workers);
                let own = own.map(|place| (texts[*place], slopes[*place]));
                let (texts, slopes): (Vec<&[u32]>, Vec<f64>) = own.unzip();
                (model.clone().fork(&device), texts, slopes)
            })
            .collect();
        let gradients = run(&work, |(model, texts, slopes)| {
            learn_scores(model, texts, slopes, micro_batch_size)
        });
        gradients.into_iter().reduce(Gradients::plus).expect("a batch has texts")
    }
}

/// One part a worker, interleaved, so that workers get sequences of like lengths when these are sorted.
fn interleaved<T: Clone>(all: &[T], workers: usize) -> Vec<Vec<T>> {
    let parts = 0..workers.min(all.len());
    parts.map(|worker| all.iter().skip(worker).step_by(workers).cloned().collect()).collect()
}

/// The places of texts, shortest first, so that micro-batches are padded little.
fn by_length(texts: &[&[u32]]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..texts.len()).collect();
    order.sort_by_key(|place| texts[*place].len());
    order
}

/// Whether tensors of `device` live in main memory.
pub(crate) fn is_cpu(device: &Device) -> bool {
    *device == Device::flex() || *device == Device::flex().autodiff()
}

/// Does the work of every part on a thread of its own; a single part has the whole device.
fn run<T: Sync, R: Send>(parts: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    if let [part] = parts {
        return vec![work(part)];
    }
    let work = &work;
    thread::scope(|scope| {
        let pools = pools(parts.len()).iter().zip(parts);
        let start = |(pool, part): (&'static ThreadPool, _)| {
            scope.spawn(move || pool.install(|| work(part)))
        };
        let handles: Vec<_> = pools.map(start).collect();
        let join = |handle: thread::ScopedJoinHandle<'_, R>| {
            // A worker's panic is this program's panic: there is nothing to save.
            handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        handles.into_iter().map(join).collect()
    })
}

/// Pools of one thread each, at least `count`, kept for the whole program with what they allocated.
fn pools(count: usize) -> &'static [ThreadPool] {
    static POOLS: OnceLock<Vec<ThreadPool>> = OnceLock::new();
    let alone = || ThreadPoolBuilder::new().num_threads(1).build().expect("the system has threads");
    let pools = POOLS.get_or_init(|| (0..crate::device::flex_threads()).map(|_| alone()).collect());
    assert!(count <= pools.len(), "one part a thread of the CPU device");
    pools
}
