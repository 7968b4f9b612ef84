//! Whole actions: what a beam with room for all finds is what comes of looking at every action there is.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Tensor, TensorData};
use kudos_core::model::{Places, Transformer, TransformerConfig, Valued, initialize};
use kudos_core::objective::{Method, ValueLearning};
use kudos_core::rollout::{Coins, Decoding, StopTokens, choose};
use kudos_schema::Sampling;
use pollster::block_on;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

const VOCABULARY: u32 = 7;
const CONTEXT: usize = 8;
const LONGEST: usize = 3;
const STOP: u32 = 2;
/// More than there are.
const ALL: usize = 400;

/// What the heads read by.
#[derive(Debug, Clone, Copy)]
enum Reader {
    Policy,
    Other,
}

/// A model whose probabilities and estimates differ much from token to token.
fn model(reader: Reader) -> Valued {
    let mut coins = ChaCha8Rng::seed_from_u64(3);
    let config = TransformerConfig::llama(VOCABULARY as usize, CONTEXT, 1, 32);
    let mut policy =
        || initialize(Transformer::zeroed(&config, &Device::flex()), &mut coins).map(&mut Larger);
    let (policy, other) = (policy(), policy());
    let mut model = Valued::new(policy, -0.7, &mut coins);
    for (index, head) in model.q.iter_mut().enumerate() {
        head.outer.weight = head.outer.weight.clone().map(|old| {
            let of = |place: usize| ((place * 37 + index * 5) % 23) as f32 / 20.0 - 0.5;
            let [rows, columns] = old.dims();
            let numbers: Vec<f32> = (0..rows * columns).map(of).collect();
            Tensor::from_data(TensorData::new(numbers, [rows, columns]), &old.device())
        });
    }
    match reader {
        Reader::Other => Valued { reader: Some(other), ..model },
        Reader::Policy => model,
    }
}

/// Ten times the weights.
struct Larger;

impl ModuleMapper for Larger {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|tensor| tensor.mul_scalar(10.0))
    }
}

fn learning(support: f64) -> ValueLearning {
    ValueLearning { method: Method::Ilql, support, ..ValueLearning::default() }
}

fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

/// Every action behind a prompt with its log-probability and the worth of its last token.
fn actions(model: &Valued, prompt: &[u32], longest: usize) -> Vec<(Vec<u32>, f64, f64)> {
    let mut all = Vec::new();
    let mut open = vec![(Vec::new(), 0.0, 0.0)];
    for length in 1..=longest {
        let mut longer = Vec::new();
        for (begun, log_prob, _) in open {
            let read = [prompt, &begun].concat();
            let estimates = model.forward(&Places::ends(vec![read]));
            let said = numbers(burn::tensor::activation::log_softmax(estimates.logits, 1));
            let [first, second] = estimates.q.map(numbers);
            for token in 0..VOCABULARY {
                let place = token as usize;
                let action = [begun.as_slice(), &[token]].concat();
                let worth = f64::from(first[place].min(second[place]));
                let one = (action, log_prob + f64::from(said[place]), worth);
                let ended = token == STOP || length == longest;
                if ended { all.push(one) } else { longer.push(one) }
            }
        }
        open = longer;
    }
    all
}

fn decoding<'a>(
    (learning, beta, candidates): (&'a ValueLearning, f64, usize),
    sampling: &'a Sampling,
    stop: &'a StopTokens,
) -> Decoding<'a> {
    Decoding { learning, beta, candidates, sampling, stop, coins: Coins::new(5, 1) }
}

fn sampling(temperature: f64) -> Sampling {
    Sampling { temperature, max_completion_length: LONGEST, ..Sampling::default() }
}

#[test]
fn a_beam_with_room_for_all_finds_the_best_of_all_actions() {
    // The last prompt leaves room for one token.
    let prompts: Vec<Vec<u32>> = vec![vec![1], vec![3, 4, 5], vec![6, 1, 1, 4], vec![5; 7]];
    let stop = StopTokens(vec![STOP]);
    let mut different = 0;
    for (reader, beta, support) in [
        (Reader::Policy, 0.0, 0.0),
        (Reader::Policy, 3.0, 0.0),
        (Reader::Other, 3.0, 0.0),
        (Reader::Other, 50.0, 0.3),
    ] {
        let (model, learning) = (model(reader), learning(support));
        let greedy = sampling(0.0);
        let whole = decoding((&learning, beta, ALL), &greedy, &stop);
        let chosen = block_on(choose(&model, &prompts, &whole)).unwrap();
        let by_token = decoding((&learning, beta, 1), &greedy, &stop);
        different += usize::from(block_on(choose(&model, &prompts, &by_token)).unwrap() != chosen);
        for (prompt, chosen) in prompts.iter().zip(chosen) {
            let all = actions(&model, prompt, LONGEST.min(CONTEXT - prompt.len()));
            let likeliest = all.iter().map(|one| one.1).fold(f64::NEG_INFINITY, f64::max);
            let looked_at = all.iter().filter(|one| one.1 >= likeliest + support.ln());
            let best = looked_at
                .max_by(|one, other| (one.1 + beta * one.2).total_cmp(&(other.1 + beta * other.2)))
                .unwrap();
            assert_eq!(chosen, best.0, "{prompt:?}, beta {beta}, support {support}");
        }
    }
    assert!(different > 0, "token by token the same was chosen everywhere");
}

#[test]
fn whole_actions_are_drawn_as_often_as_their_scores_say() {
    let (model, learning, stop) = (model(Reader::Other), learning(0.0), StopTokens(vec![STOP]));
    let (prompt, count, beta, temperature) = (vec![3, 4], 3000, 1.0, 1.5);
    let drawn_at = sampling(temperature);
    let whole = decoding((&learning, beta, ALL), &drawn_at, &stop);
    let drawn = block_on(choose(&model, &vec![prompt.clone(); count], &whole)).unwrap();
    let all = actions(&model, &prompt, LONGEST);
    let shares: Vec<f64> =
        all.iter().map(|one| ((one.1 + beta * one.2) / temperature).exp()).collect();
    let total: f64 = shares.iter().sum();
    let mut looked_at = 0;
    for (one, share) in all.iter().zip(shares).filter(|(_, share)| *share > 0.02 * total) {
        let expected = share / total;
        let met = drawn.iter().filter(|action| **action == one.0).count() as f64 / count as f64;
        let error = (expected * (1.0 - expected) / count as f64).sqrt();
        assert!((met - expected).abs() < 4.0 * error, "{:?}: {met} for {expected}", one.0);
        looked_at += 1;
    }
    assert!(looked_at > 2);
}

#[test]
fn neighbours_change_no_whole_action() {
    let (model, learning, stop) = (model(Reader::Other), learning(0.1), StopTokens(vec![STOP]));
    let prompts: Vec<Vec<u32>> = (0..VOCABULARY)
        .map(|token| vec![1; 1 + token as usize / 2])
        .zip(0..)
        .map(|(prompt, token)| [prompt, vec![token]].concat())
        .collect();
    let greedy = sampling(0.0);
    let few = decoding((&learning, 2.0, 4), &greedy, &stop);
    let together = block_on(choose(&model, &prompts, &few)).unwrap();
    for (prompt, action) in prompts.iter().zip(together) {
        let alone = block_on(choose(&model, std::slice::from_ref(prompt), &few)).unwrap();
        assert_eq!(alone, [action], "{prompt:?}");
    }
}
