//! One table a family: what each stored tensor is called and which parameters it holds.
//!
//! Several of ours side by side make GPT-2's fused projection; Llama and BERT store matrices as `[output, input]`.

use crate::model::{FeedForwardKind, Positions, TransformerConfig};

/// One stored tensor and where it lives in the model.
pub(super) struct Entry {
    /// Its name in the file.
    pub(super) name: String,
    /// Parameters side by side along the last dimension.
    pub(super) parts: Vec<String>,
    /// Stored as `[output, input]`.
    pub(super) transposed: bool,
    /// Zero where the file lacks it: Qwen2 has no bias at the output of attention.
    pub(super) zero_if_missing: bool,
}

impl Entry {
    /// The names it goes by: some published files leave out the leading `transformer.` of GPT-2 or put `bert.` before.
    pub(super) fn names(&self) -> Vec<String> {
        let short = self.name.strip_prefix("transformer.").unwrap_or(&self.name);
        vec![self.name.clone(), short.to_owned(), format!("bert.{}", self.name)]
    }

    /// Its shape in the file, from those of its parts.
    pub(super) fn shape<'a>(&self, parts: impl Iterator<Item = &'a [usize]>) -> Vec<usize> {
        let parts: Vec<&[usize]> = parts.collect();
        let mut shape = parts[0].to_vec();
        *shape.last_mut().expect("parameters have a dimension") =
            parts.iter().map(|shape| shape[shape.len() - 1]).sum();
        if self.transposed {
            shape.reverse();
        }
        shape
    }
}

/// Tensors that files hold although nothing here needs them: masks, tables of positions, the tied head,
/// and what BERT was pretrained with.
pub(super) fn implied(name: &str) -> bool {
    let tables = [".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq", "position_ids"];
    let heads = ["lm_head.weight", "pooler.", "bert.pooler.", "cls."];
    tables.iter().any(|table| name.ends_with(table))
        || heads.iter().any(|head| name.starts_with(head))
}

/// The table of the family that `config` belongs to.
pub(super) fn entries(config: &TransformerConfig) -> Vec<Entry> {
    let mut entries = match config.positions {
        Positions::Learned => gpt2_entries(config),
        Positions::Rotary { .. } => llama_entries(config),
    };
    if config.vision.is_some() {
        entries.extend(eye_entries());
    }
    entries
}

/// Eyes, whichever family they are of: PyTorch's layout under names of our own.
fn eye_entries() -> Vec<Entry> {
    let mut table = Table::default();
    for layer in 0..3 {
        for part in ["weight", "bias"] {
            let place = format!("convolutions.{layer}.{part}");
            table.row(&format!("vision.{place}"), &[&format!("eyes.{place}")]);
        }
    }
    table.matrix("vision.output.weight", "eyes.output.weight");
    table.row("vision.output.bias", &["eyes.output.bias"]);
    table.row("vision.places", &["eyes.places"]);
    table.rows
}

fn gpt2_entries(config: &TransformerConfig) -> Vec<Entry> {
    let mut table = Table::default();
    table.row("transformer.wte.weight", &["token_embedding.weight"]);
    table.row("transformer.wpe.weight", &["position_embedding.weight"]);
    for layer in 0..config.n_layers {
        let (theirs, ours) = (format!("transformer.h.{layer}"), format!("blocks.{layer}"));
        let row = |table: &mut Table, name: &str, parts: &[&str]| {
            let parts: Vec<String> = parts.iter().map(|part| format!("{ours}.{part}")).collect();
            let name = format!("{theirs}.{name}");
            table.rows.push(Entry { name, parts, transposed: false, zero_if_missing: false });
        };
        row(&mut table, "ln_1.weight", &["attention_norm.Layer.gamma"]);
        row(&mut table, "ln_1.bias", &["attention_norm.Layer.beta"]);
        for kind in ["weight", "bias"] {
            let fused = ["query", "key", "value"].map(|part| format!("attention.{part}.{kind}"));
            let fused: Vec<&str> = fused.iter().map(String::as_str).collect();
            row(&mut table, &format!("attn.c_attn.{kind}"), &fused);
            row(&mut table, &format!("attn.c_proj.{kind}"), &[&format!("attention.output.{kind}")]);
            row(&mut table, &format!("mlp.c_fc.{kind}"), &[&format!("feed_forward.up.{kind}")]);
            row(&mut table, &format!("mlp.c_proj.{kind}"), &[&format!("feed_forward.down.{kind}")]);
        }
        row(&mut table, "ln_2.weight", &["feed_forward_norm.Layer.gamma"]);
        row(&mut table, "ln_2.bias", &["feed_forward_norm.Layer.beta"]);
    }
    table.row("transformer.ln_f.weight", &["norm.Layer.gamma"]);
    table.row("transformer.ln_f.bias", &["norm.Layer.beta"]);
    table.head(config);
    table.rows
}

fn llama_entries(config: &TransformerConfig) -> Vec<Entry> {
    let mut table = Table::default();
    table.row("model.embed_tokens.weight", &["token_embedding.weight"]);
    for layer in 0..config.n_layers {
        let (theirs, ours) = (format!("model.layers.{layer}"), format!("blocks.{layer}"));
        let mut linear = |name: &str, part: &str, bias: bool| {
            table.matrix(&format!("{theirs}.{name}.weight"), &format!("{ours}.{part}.weight"));
            if bias {
                let part = format!("{ours}.{part}.bias");
                table.row(&format!("{theirs}.{name}.bias"), &[&part]);
            }
        };
        for (name, part) in [("q", "query"), ("k", "key"), ("v", "value"), ("o", "output")] {
            let part = format!("attention.{part}");
            linear(&format!("self_attn.{name}_proj"), &part, config.attention_bias);
        }
        if config.feed_forward == FeedForwardKind::SwiGlu {
            linear("mlp.gate_proj", "feed_forward.gate", config.feed_forward_bias);
        }
        linear("mlp.up_proj", "feed_forward.up", config.feed_forward_bias);
        linear("mlp.down_proj", "feed_forward.down", config.feed_forward_bias);
        let norms = [
            ("input_layernorm", "attention_norm"),
            ("post_attention_layernorm", "feed_forward_norm"),
        ];
        for (name, part) in norms {
            let part = format!("{ours}.{part}.Rms.gamma");
            table.row(&format!("{theirs}.{name}.weight"), &[&part]);
        }
    }
    table.row("model.norm.weight", &["norm.Rms.gamma"]);
    table.head(config);
    table.rows
}

/// The table of a critic, as the family's model for the classification of tokens has it.
#[cfg(feature = "train")]
pub(super) fn critic_entries(config: &TransformerConfig) -> Vec<Entry> {
    let mut table = Table { rows: entries(config) };
    let parts = table.rows.iter_mut().flat_map(|entry| &mut entry.parts);
    parts.for_each(|part| part.insert_str(0, "trunk."));
    let head = match config.positions {
        Positions::Learned => "classifier",
        Positions::Rotary { .. } => "score",
    };
    table.matrix(&format!("{head}.weight"), "head.weight");
    table.row(&format!("{head}.bias"), &["head.bias"]);
    table.rows
}

/// The table of the BERT family, which has no output head.
#[cfg(feature = "train")]
pub(super) fn bert_entries(n_layers: usize) -> Vec<Entry> {
    let mut table = Table::default();
    let norm = |table: &mut Table, theirs: &str, ours: &str| {
        table.row(&format!("{theirs}.LayerNorm.weight"), &[&format!("{ours}.Layer.gamma")]);
        table.row(&format!("{theirs}.LayerNorm.bias"), &[&format!("{ours}.Layer.beta")]);
    };
    for (theirs, ours) in [("word", "token"), ("position", "position"), ("token_type", "segment")] {
        let name = format!("embeddings.{theirs}_embeddings.weight");
        table.row(&name, &[&format!("{ours}_embedding.weight")]);
    }
    norm(&mut table, "embeddings", "embedding_norm");
    for layer in 0..n_layers {
        let (theirs, ours) = (format!("encoder.layer.{layer}"), format!("blocks.{layer}"));
        for (name, part) in [
            ("attention.self.query", "attention.query"),
            ("attention.self.key", "attention.key"),
            ("attention.self.value", "attention.value"),
            ("attention.output.dense", "attention.output"),
            ("intermediate.dense", "up"),
            ("output.dense", "down"),
        ] {
            table.matrix(&format!("{theirs}.{name}.weight"), &format!("{ours}.{part}.weight"));
            table.row(&format!("{theirs}.{name}.bias"), &[&format!("{ours}.{part}.bias")]);
        }
        let attention = format!("{theirs}.attention.output");
        norm(&mut table, &attention, &format!("{ours}.attention_norm"));
        norm(&mut table, &format!("{theirs}.output"), &format!("{ours}.output_norm"));
    }
    table.rows
}

#[derive(Default)]
struct Table {
    rows: Vec<Entry>,
}

impl Table {
    fn row(&mut self, name: &str, parts: &[&str]) {
        let parts = parts.iter().map(|part| (*part).to_owned()).collect();
        let (name, zero_if_missing) = (name.to_owned(), name.ends_with("self_attn.o_proj.bias"));
        self.rows.push(Entry { name, parts, transposed: false, zero_if_missing });
    }

    fn matrix(&mut self, name: &str, part: &str) {
        let parts = vec![part.to_owned()];
        let name = name.to_owned();
        self.rows.push(Entry { name, parts, transposed: true, zero_if_missing: false });
    }

    fn head(&mut self, config: &TransformerConfig) {
        if !config.tied_head {
            self.matrix("lm_head.weight", "head.weight");
        }
    }
}
