//! Votes drawn again with replacement, counted: how often those of each group were drawn.
//!
//! Each vote is drawn Poisson(1) times, so a group of n votes is drawn Poisson(n) times: the time
//! depends on the number of groups and not on that of votes. Source: Hanley and MacGibbon 2006.

use std::collections::BTreeMap;

use rand::Rng;

/// Probabilities less than this, relative to the largest, are none.
const NEGLIGIBLE: f64 = 1e-18;

/// Groups of votes, and how often each may be drawn.
#[derive(Debug)]
pub(super) struct Resampler {
    /// Which of `tables` is a group's. `[groups]`
    table: Vec<usize>,
    tables: Vec<Table>,
}

/// A Poisson distribution.
#[derive(Debug)]
struct Table {
    /// The least number drawn.
    least: u32,
    /// Probability that what is drawn is at most `least`, `least + 1`, ...; the last is 1.
    cumulated: Vec<f64>,
}

impl Resampler {
    /// For groups of these many votes.
    pub(super) fn new(votes: impl Iterator<Item = u32>) -> Self {
        let mut places = BTreeMap::new();
        let mut tables = Vec::new();
        let table = votes.map(|votes| {
            *places.entry(votes).or_insert_with(|| {
                tables.push(Table::poisson(votes));
                tables.len() - 1
            })
        });
        let table = table.collect();
        Self { table, tables }
    }

    /// How often votes of a group are drawn.
    pub(super) fn draw(&self, group: usize, coins: &mut impl Rng) -> u32 {
        let table = &self.tables[self.table[group]];
        // 53 bits: every value is exact and below one.
        let coin = (coins.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        table.least + table.cumulated.partition_point(|below| *below <= coin) as u32
    }
}

impl Table {
    /// With this mean.
    fn poisson(mean: u32) -> Self {
        let rate = f64::from(mean);
        // From the most probable number down and up, relative to its probability.
        let mut below = vec![1.0];
        while let Some(number) = mean.checked_sub(below.len() as u32) {
            let next = below[below.len() - 1] * (f64::from(number) + 1.0) / rate;
            if next < NEGLIGIBLE {
                break;
            }
            below.push(next);
        }
        let least = mean + 1 - below.len() as u32;
        let mut shares: Vec<f64> = below.into_iter().rev().collect();
        let (mut next, mut number) = (1.0, rate);
        while next >= NEGLIGIBLE {
            number += 1.0;
            next *= rate / number;
            shares.push(next);
        }
        let all: f64 = shares.iter().sum();
        let mut sum = 0.0;
        let add = |share: f64| {
            sum += share;
            sum / all
        };
        let mut cumulated: Vec<f64> = shares.into_iter().map(add).collect();
        if let Some(last) = cumulated.last_mut() {
            *last = 1.0;
        }
        Self { least, cumulated }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// `P(at most k)` by scipy 1.17.1, `scipy.stats.poisson.cdf(k, mean)`.
    #[test]
    fn tables_are_poisson_distributions() {
        let check = |mean: u32, most: u32, probability: f64| {
            let table = Table::poisson(mean);
            let found = table.cumulated[(most - table.least) as usize];
            assert!((found - probability).abs() < 1e-12, "{mean}, {most}: {found}");
        };
        check(1, 0, 0.36787944117144233);
        check(1, 3, 0.9810118431238462);
        check(130, 110, 0.040849523160058514);
        check(130, 130, 0.5233034565906112);
        check(5000, 5100, 0.922037665459379);
    }

    #[test]
    fn draws_have_the_mean_and_the_variance_of_the_group() {
        let resampler = Resampler::new([1, 40, 1].into_iter());
        let mut coins = ChaCha8Rng::seed_from_u64(1);
        for (group, mean) in [(0, 1.0), (1, 40.0)] {
            let n = 40_000.0;
            let drawn = (0..n as u32).map(|_| f64::from(resampler.draw(group, &mut coins)));
            let (sum, squares) = drawn.fold((0.0, 0.0), |(sum, squares), drawn| {
                (sum + drawn, squares + (drawn - mean) * (drawn - mean))
            });
            // Four standard errors: of a mean sqrt(m / n), of a variance sqrt((2 m^2 + m) / n).
            assert!((sum / n - mean).abs() < 4.0 * (mean / n).sqrt());
            let error = ((2.0 * mean * mean + mean) / n).sqrt();
            assert!((squares / n - mean).abs() < 4.0 * error, "{}", squares / n);
        }
    }
}
