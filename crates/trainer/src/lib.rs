//! The command line of Kudos: what was typed becomes a plan, a plan becomes a run.

pub mod args;
pub mod batches;
pub mod bench;
pub mod best_of;
pub mod bootstrap;
pub mod compress;
pub mod convert;
pub mod data;
pub mod device;
pub mod devices;
pub mod distil;
mod drive;
pub mod evaluate;
pub mod export;
pub mod feedback;
pub mod forecast;
pub mod games;
mod host;
pub mod interrupt;
pub mod journal;
mod kept;
pub mod likeness;
pub mod memory;
pub mod open_device;
pub mod output;
pub mod parallel;
pub mod pictures;
pub mod plan;
pub mod png;
pub mod policy;
pub mod progress;
pub mod q_learn;
pub mod rated;
pub mod recipe;
pub mod reinforce;
pub mod reinforce_games;
pub mod report;
pub mod reward_model;
pub mod sample;
pub mod score;
pub mod self_play;
pub mod self_test;
pub mod session;
mod side_by_side;
pub mod store;
pub mod summary;
pub mod supervised;
pub mod tuned;
pub mod usage;
mod variation;

use anyhow::Result;

use args::{Cli, RunArgs, Verb};
use interrupt::Interrupt;
use plan::Plan;
use recipe::Stage;

/// Does what was asked.
///
/// # Errors
/// Usage errors ([`usage::exit_code`] 2) and failed runs (1).
pub fn run(cli: &Cli) -> Result<()> {
    match &cli.verb {
        None => train(&cli.run, None),
        Some(Verb::Pretrain(args)) => train(args, Some(Stage::Pretrain)),
        Some(Verb::Sft(args)) => train(args, Some(Stage::Sft)),
        Some(Verb::Reinforce(args)) => train(args, Some(Stage::Reinforce)),
        Some(Verb::OffPolicy(args)) => train(args, Some(Stage::OffPolicy)),
        Some(Verb::Dpo(args)) => train(args, Some(Stage::Dpo)),
        Some(Verb::Kto(args)) => train(args, Some(Stage::Kto)),
        Some(Verb::SelfPlay(args)) => train(args, Some(Stage::SelfPlay)),
        Some(Verb::Reward(args)) => train(args, Some(Stage::Reward)),
        Some(Verb::Plan(args)) => forecast::run(args),
        Some(Verb::Distill(args)) => distil::run(args),
        Some(Verb::QLearn(args)) => q_learn::run(args),
        Some(Verb::ReinforceGames(args)) => reinforce_games::run(args),
        Some(Verb::Games(args)) => games::run(args),
        Some(Verb::Eval(args)) => evaluate::run(args),
        Some(Verb::Judge(args)) => reward_model::judge(args),
        Some(Verb::Sample(args)) => sample::run(args),
        Some(Verb::Export(args)) => export::run(args),
        Some(Verb::Convert(args)) => convert::run(args),
        Some(Verb::Compress(args)) => compress::run(args),
        Some(Verb::Feedback(verb)) => feedback::run(verb),
        Some(Verb::Score(args)) => score::print(&args.score),
        Some(Verb::Devices(args)) => open_device::list(args),
        Some(Verb::Bench(args)) => {
            let selected = open_device::open(&args.device)?;
            let row = bench::run(args.mode, &selected.device, args.seconds);
            output::result(&serde_json::to_string(&row)?);
            Ok(())
        }
    }
}

fn train(args: &RunArgs, stage: Option<Stage>) -> Result<()> {
    let interrupt = Interrupt::install()?;
    let plan = Plan::new(args, stage, interrupt)?;
    let selected = open_device::open(&args.device)?;
    plan.fits(&selected)?;
    match plan.recipe.stage {
        Stage::Pretrain | Stage::Sft => supervised::run(&plan, &selected),
        Stage::Reinforce => reinforce::run(&plan, &selected),
        Stage::OffPolicy | Stage::Dpo | Stage::Kto => rated::run(&plan, &selected),
        Stage::SelfPlay => self_play::run(&plan, &selected),
        Stage::Reward => reward_model::run(&plan, &selected),
        Stage::Distill => distil::run_plan(&plan, &selected),
    }
}
