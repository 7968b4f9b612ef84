//! What raters who do not do their work can do to a ranking, with and without protection.
//!
//! 20 policies, 100 raters: 70 vote by the strengths (and err as Bradley and Terry's model says), 20
//! at random, 10 always the opposite of what they think. The clean ranking is that of the 70 alone. The
//! distance of two rankings is Kendall's: the share of pairs that they order differently. The spread
//! is that of the strengths, the clean one's being 1. Protected is who weighs each rater's votes.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

const POLICIES: u32 = 20;
const RATERS: u32 = 100;
/// The raters below this number are honest.
const HONEST: u32 = 70;
/// Those from there to below this number vote at random.
const RANDOM: u32 = 90;
const SEEDS: u64 = 20;

fn coin(coins: &mut ChaCha8Rng) -> f64 {
    f64::from(coins.next_u32()) / (f64::from(u32::MAX) + 1.0)
}

/// Votes of all raters, 50 of each who is honest and `bad` of each who is not; the strengths are
/// evenly spaced from -1 to 1.
fn votes(bad: usize, coins: &mut ChaCha8Rng) -> Vec<Vote> {
    let strength = |policy: u32| 2.0 * f64::from(policy) / f64::from(POLICIES - 1) - 1.0;
    let of = |rater| std::iter::repeat_n(rater, if rater < HONEST { 50 } else { bad });
    let vote = |rater| {
        let left = coins.next_u32() % POLICIES;
        let right = (left + 1 + coins.next_u32() % (POLICIES - 1)) % POLICIES;
        let chance = 1.0 / (1.0 + (strength(right) - strength(left)).exp());
        let prefers_left = coin(coins) < chance;
        let says_left = match rater {
            0..HONEST => prefers_left,
            HONEST..RANDOM => coin(coins) < 0.5,
            _ => !prefers_left,
        };
        let outcome = if says_left { Outcome::Left } else { Outcome::Right };
        Vote { rater, left, right, outcome }
    };
    (0..RATERS).flat_map(of).map(vote).collect()
}

/// What protects a ranking.
#[derive(Debug, Clone, Copy)]
enum Protection {
    Nothing,
    CrowdBt(Otherwise),
    /// Twenty items whose answer is known, which honest raters answer right in 90 of 100.
    Gold,
}

/// What each rater's votes count.
fn weigh(votes: &[Vote], protection: Protection, coins: &mut ChaCha8Rng) -> Vec<f64> {
    let raters: Vec<Reliability> = match protection {
        Protection::Nothing => return vec![1.0; RATERS as usize],
        Protection::CrowdBt(otherwise) => {
            let found = CrowdBt { otherwise, ..CrowdBt::default() }.fit(votes);
            let judged = |rater| votes.iter().filter(|vote| vote.rater as usize == rater).count();
            let rater =
                |rater| Reliability { value: found.reliability(rater), judgements: judged(rater) };
            (0..RATERS as usize).map(rater).collect()
        }
        Protection::Gold => {
            let chance = |rater| match rater {
                0..HONEST => 0.9,
                HONEST..RANDOM => 0.5,
                _ => 0.1,
            };
            let rater = |rater| {
                let gold_right = (0..20).filter(|_| coin(coins) < chance(rater)).count();
                Tested { gold: 20, gold_right, ..Tested::default() }.reliability(0.5)
            };
            (0..RATERS).map(rater).collect()
        }
    };
    weights(&raters).iter().map(|weight| weight.mean).collect()
}

fn kendall(former: &[f64], latter: &[f64]) -> f64 {
    let n = former.len();
    let pairs = (0..n).flat_map(|one| (0..one).map(move |other| (one, other)));
    let differ = |&(one, other): &(usize, usize)| {
        (former[one] > former[other]) != (latter[one] > latter[other])
    };
    pairs.filter(differ).count() as f64 / (n * (n - 1) / 2) as f64
}

/// Mean and largest distance from the clean ranking and mean spread, over seeds.
fn measure(bad: usize, protection: Protection) -> [f64; 3] {
    let model = BradleyTerry::default();
    let [mut mean, mut largest, mut spread] = [0.0; 3];
    for seed in 0..SEEDS {
        let mut coins = ChaCha8Rng::seed_from_u64(seed);
        let votes = votes(bad, &mut coins);
        let honest: Vec<Vote> = votes.iter().filter(|vote| vote.rater < HONEST).copied().collect();
        let clean = model.fit(&Comparisons::new(&honest)).strengths;
        let weights = weigh(&votes, protection, &mut coins);
        let found = model.fit(&Comparisons::weighted(&votes, &weights)).strengths;
        let distance = kendall(&clean, &found);
        mean += distance / SEEDS as f64;
        largest = f64::max(largest, distance);
        let squares = |strengths: &[f64]| strengths.iter().map(|it| it * it).sum::<f64>();
        spread += (squares(&found) / squares(&clean)).sqrt() / SEEDS as f64;
    }
    [mean, largest, spread]
}

/// The stated bounds of the protected ranking: 2 % of pairs on average, 4 % at most, and the
/// differences of strengths between 0.7 and 1.1 of the clean ones.
fn within_bounds([mean, largest, spread]: [f64; 3]) -> bool {
    mean < 0.02 && largest < 0.04 && (0.7..1.1).contains(&spread)
}

#[test]
fn protected_rankings_stay_near_the_clean_one_and_others_do_not() {
    let protections = [
        Protection::CrowdBt(Otherwise::Opposite),
        Protection::CrowdBt(Otherwise::Side),
        Protection::Gold,
    ];
    // Everybody votes as often; or the careless, being quicker, four times as often.
    for bad in [50, 200] {
        for protection in protections {
            let found = measure(bad, protection);
            assert!(within_bounds(found), "{bad}, {protection:?}: {found:?}");
        }
    }
    let [mean, largest, spread] = measure(50, Protection::Nothing);
    assert!(mean > 0.04 && largest > 0.06 && spread < 0.6, "{mean}, {largest}, {spread}");
    let [mean, largest, spread] = measure(200, Protection::Nothing);
    assert!(mean > 0.15 && largest > 0.25 && spread < 0.2, "{mean}, {largest}, {spread}");
}

/// Labels of 1,000 items by 50 raters, five an item: honest raters are right in 85 of 100.
fn labels(truth: &[u32], coins: &mut ChaCha8Rng) -> Vec<Label> {
    let mut labels = Vec::new();
    for (item, truth) in truth.iter().enumerate() {
        for place in 0..5 {
            // One rater of each ten.
            let rater = (coins.next_u32() % 10) + 10 * place;
            let right = match rater % 10 {
                0..7 => coin(coins) < 0.85,
                7..9 => coin(coins) < 0.5,
                _ => coin(coins) < 0.15,
            };
            let class = if right { *truth } else { 1 - truth };
            labels.push(Label { rater, item: item as u32, class });
        }
    }
    labels
}

#[test]
fn dawid_and_skene_find_the_classes_that_a_majority_misses() {
    let (mut by_model, mut by_majority, mut held) = (0, 0, 0);
    for seed in 0..SEEDS {
        let mut coins = ChaCha8Rng::seed_from_u64(seed);
        let truth: Vec<u32> = (0..1000).map(|_| coins.next_u32() % 2).collect();
        let labels = labels(&truth, &mut coins);
        let found = dawid_skene(&labels);
        for (item, truth) in truth.iter().enumerate() {
            let own = labels.iter().skip(5 * item).take(5);
            let majority = own.filter(|label| label.class == 1).count() > 2;
            by_majority += usize::from(majority != (*truth == 1));
            by_model += usize::from((found.posteriors[2 * item + 1] > 0.5) != (*truth == 1));
        }
        // Youden's J of who is right in 85, 50 and 15 of 100.
        for rater in 0..50 {
            let truth = [0.7, 0.0, -0.7][[0, 0, 0, 0, 0, 0, 0, 1, 1, 2][rater % 10]];
            let found = found.reliability(rater);
            held += usize::from(found.low <= truth && truth <= found.high);
        }
    }
    let share = |count: usize, all: usize| count as f64 / (all as f64 * SEEDS as f64);
    let [model, majority] = [by_model, by_majority].map(|count| share(count, 1000));
    assert!(model < 0.07 && majority > 0.12, "{model}, {majority}");
    // Less than 95 %: an interval takes the classes as known, which they are not with five labels.
    assert!(share(held, 50) > 0.85, "{}", share(held, 50));
}

/// 40 raters with 100 votes each on 10 policies, who follow the scores to one share of four.
#[test]
fn intervals_of_the_share_followed_hold_it() {
    const FOLLOWED: [f64; 10] = [0.9, 0.9, 0.9, 0.9, 0.75, 0.75, 0.75, 0.5, 0.5, 0.25];
    let mut held = 0.0;
    for seed in 0..SEEDS {
        let mut coins = ChaCha8Rng::seed_from_u64(seed);
        let vote = |place: u32| {
            let (left, rater) = (coins.next_u32() % 10, place % 40);
            let right = (left + 1 + coins.next_u32() % 9) % 10;
            let far = f64::from(right) - f64::from(left);
            let better = coin(&mut coins) < 1.0 / (1.0 + (far / 3.0).exp());
            let follows = coin(&mut coins) < FOLLOWED[rater as usize % 10];
            let outcome = if better == follows { Outcome::Left } else { Outcome::Right };
            Vote { rater, left, right, outcome }
        };
        let found = CrowdBt::default().fit(&(0..4000).map(vote).collect::<Vec<_>>());
        for (rater, share) in found.followed.iter().enumerate() {
            let truth = FOLLOWED[rater % 10];
            held += f64::from(share.low <= truth && truth <= share.high) / 40.0;
        }
    }
    let share = held / SEEDS as f64;
    assert!(share > 0.9, "{share}");
}
