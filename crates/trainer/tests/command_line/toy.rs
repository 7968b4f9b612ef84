//! What the program is run on: a folder with a toy policy, a data set and a recipe.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use burn::tensor::Device;
use kudos_core::model::hugging_face::StoredAs;
use kudos_core::model::{Transformer, TransformerConfig, initialize};
use kudos_core::text::chat::ChatTemplate;
use kudos_core::text::tokenizer::Tokenizer;
use pollster::block_on;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use trainer::policy::{self, Policy};

/// Optimizer steps of the recipe.
pub(crate) const STEPS: usize = 12;

/// A folder with a toy policy, a data set and a recipe.
pub(crate) struct Toy {
    folder: tempfile::TempDir,
}

impl Toy {
    pub(crate) fn new() -> Self {
        let toy = Self { folder: tempfile::tempdir().unwrap() };
        let words =
            ["red", "green", "blue", "small", "large", "cat", "dog", "house", "runs", "sits"];
        let rows: Vec<String> = (0..60)
            .map(|i| {
                let word = |k: usize| words[(i * 7 + k * 3 + i / 10) % words.len()];
                let prompt = format!("{} {} {} number {i}", word(0), word(1), word(2));
                format!(r#"{{"prompt": "{prompt}", "completion": " {} {}"}}"#, word(3), word(4))
            })
            .collect();
        fs::write(toy.path("rows.jsonl"), rows.join("\n") + "\n").unwrap();
        let corpus: Vec<&str> = rows.iter().map(String::as_str).collect();
        let tokenizer = Tokenizer::train(corpus.iter().copied(), 300).unwrap();
        let config = TransformerConfig::llama(tokenizer.vocab_size(), 64, 1, 32);
        let mut coins = ChaCha8Rng::seed_from_u64(5);
        let model = initialize(Transformer::zeroed(&config, &Device::flex()), &mut coins);
        let policy = Policy { model, tokenizer, template: ChatTemplate::default() };
        fs::create_dir(toy.path("policy")).unwrap();
        let files = block_on(policy.files(StoredAs::F32)).unwrap();
        policy::write(&files, &toy.path("policy")).unwrap();
        fs::write(toy.path("recipe.toml"), toy.recipe()).unwrap();
        toy
    }

    pub(crate) fn recipe(&self) -> String {
        format!(
            "stage = 'reinforce'\nmodel = '{}'\nsteps = {STEPS}\n[data]\ndataset = '{}'\n\
             [batch]\nprompts = 4\nnum_generations = 4\n[optimizer]\nlearning_rate = 0.01\n\
             [sampling]\nmax_completion_length = 12\n[objective]\nbaseline = 'leave_one_out'\n\
             [[reward]]\nkind = 'chrf'\n[[reward]]\nkind = 'length'\ntarget = 3\nweight = 0.5\n\
             [watch]\neval_items = 5\nsave_every = 1\n",
            self.path("policy").display(),
            self.path("rows.jsonl").display()
        )
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trainer"));
        command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    pub(crate) fn reinforce(&self, output: &str, more: &[&str]) -> Output {
        let base =
            ["reinforce", "--config", "recipe.toml", "--device", "flex", "--output-dir", output];
        self.run(&[&base, more].concat())
    }
}
