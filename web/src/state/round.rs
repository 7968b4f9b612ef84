//! The completions at hand: one, or two of the same prompt side by side.

use kudos_schema::{
    Arm, AskedQuery, EndReason, Message, Picture, PolicyId, Sample, Verdict, Written,
};

use super::asked::SHOWN;
use crate::event::{EngineKind, Mode};

/// Completions of one prompt, and what was said of them.
#[derive(Debug, Clone)]
pub(crate) struct Round {
    /// Two or one.
    pub(crate) mode: Mode,
    /// The task's name.
    pub(crate) task: String,
    /// The conversation, system message first; empty where plain text is continued.
    pub(crate) messages: Vec<Message>,
    /// Plain text to continue.
    pub(crate) text: String,
    /// What is looked at.
    pub(crate) picture: Option<Picture>,
    /// What stood in the prompt field.
    pub(crate) typed: String,
    /// The collector's query that it shows; none where the visitor asked.
    pub(crate) query: Option<AskedQuery>,
    /// The engine that writes the next tokens.
    pub(crate) engine: EngineKind,
    /// In the order shown, left first.
    pub(crate) completions: Vec<Completion>,
    /// Places in `completions` in the order of writing.
    pub(crate) order: Vec<usize>,
    /// When all of them stood there, in milliseconds since 1970.
    pub(crate) shown_ms: Option<f64>,
    /// Reasons picked.
    pub(crate) reasons: Vec<String>,
    /// The remark as typed.
    pub(crate) remark: String,
    /// Places of the texts that were reported.
    pub(crate) reported: Vec<usize>,
    /// The edited text so far, while it is edited.
    pub(crate) edit: Option<String>,
    /// The verdict, once it is a rating.
    pub(crate) judged: Option<Judged>,
}

/// A verdict that became a rating.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Judged {
    /// The rating's id.
    pub(crate) id: String,
    /// When it was given, as RFC 3339.
    pub(crate) created: String,
    /// The verdict.
    pub(crate) verdict: Verdict,
    /// Seconds since both were shown.
    pub(crate) seconds: f64,
}

/// One completion, as far as it is written.
#[derive(Debug, Clone)]
pub(crate) struct Completion {
    /// The policy that writes it, and the distribution drawn from.
    pub(crate) arm: Arm,
    /// A text that is only shown: it was written elsewhere.
    pub(crate) shown: Option<Sample>,
    /// The request that writes it, or wrote it last.
    pub(crate) id: u64,
    /// The seed of its draw.
    pub(crate) seed: u64,
    /// Tokens that the visitor fixed by branching off; they belong to the prompt.
    pub(crate) fixed: Vec<Fixed>,
    /// The prompt as tokens, with the fixed ones.
    pub(crate) prompt_ids: Vec<u32>,
    /// The tokens drawn.
    pub(crate) tokens: Vec<Written>,
    /// Text that only the end completed.
    pub(crate) rest: String,
    /// How far it is.
    pub(crate) stage: Stage,
    /// The devices that drew it, in words, each once.
    pub(crate) backends: Vec<String>,
    /// Seconds of drawing.
    pub(crate) seconds: f64,
    /// Times the device was read.
    pub(crate) reads: u64,
}

/// A token that the visitor fixed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fixed {
    /// The token.
    pub(crate) id: u32,
    /// Its text.
    pub(crate) text: String,
}

/// How far a completion is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Stage {
    /// It waits for its engine.
    #[default]
    Waiting,
    /// It is being written.
    Writing,
    /// It is there.
    Ended(EndReason),
    /// It could not be written.
    Failed,
}

impl Completion {
    /// A completion of which nothing is written.
    pub(crate) fn new(arm: Arm, seed: u64) -> Self {
        Self {
            arm,
            shown: None,
            id: 0,
            seed,
            fixed: Vec::new(),
            prompt_ids: Vec::new(),
            tokens: Vec::new(),
            rest: String::new(),
            stage: Stage::Waiting,
            backends: Vec::new(),
            seconds: 0.0,
            reads: 0,
        }
    }

    /// A text that was written elsewhere, after the prompt of these tokens.
    pub(crate) fn shown(arm: Arm, sample: Sample, prompt_ids: Vec<u32>) -> Self {
        let (seed, stage) = (sample.seed, Stage::Ended(sample.end_reason));
        let backends = vec![SHOWN.to_owned()];
        Self { shown: Some(sample), prompt_ids, stage, backends, ..Self::new(arm, seed) }
    }

    /// SHA-256 of the policy that writes it.
    pub(crate) fn policy(&self) -> &str {
        &self.arm.policy.sha256
    }

    /// Whether it is still to be written.
    pub(crate) fn is_open(&self) -> bool {
        match self.stage {
            Stage::Waiting | Stage::Writing => true,
            Stage::Ended(_) | Stage::Failed => false,
        }
    }

    /// Everything that follows the prompt as it was typed: the fixed beginning, then what was drawn.
    pub(crate) fn whole(&self) -> String {
        self.fixed_text() + &self.drawn()
    }

    /// The fixed beginning.
    pub(crate) fn fixed_text(&self) -> String {
        self.fixed.iter().map(|fixed| fixed.text.as_str()).collect()
    }

    /// The text drawn.
    pub(crate) fn drawn(&self) -> String {
        if let Some(sample) = &self.shown {
            return sample.text.clone();
        }
        let drawn: String = self.tokens.iter().map(|token| token.text.as_str()).collect();
        drawn + &self.rest
    }

    /// Why it ended, once it did.
    pub(crate) fn ended(&self) -> Option<EndReason> {
        match self.stage {
            Stage::Ended(reason) => Some(reason),
            Stage::Waiting | Stage::Writing | Stage::Failed => None,
        }
    }

    /// As a sample of a rating.
    pub(crate) fn sample(&self, reason: EndReason) -> Sample {
        if let Some(sample) = &self.shown {
            return sample.clone();
        }
        Sample {
            text: self.drawn(),
            token_ids: self.tokens.iter().map(|token| token.id).collect(),
            logprobs_drawn: self.tokens.iter().map(|token| token.logprob_drawn).collect(),
            logprobs_full: self.tokens.iter().map(|token| token.logprob_full).collect(),
            end_reason: reason,
            sampling: self.arm.sampling.clone(),
            seed: self.seed,
        }
    }
}

impl Round {
    /// Completions of which nothing is said, to be written in the order shown.
    pub(crate) fn new(task: String, completions: Vec<Completion>, engine: EngineKind) -> Self {
        Self {
            mode: if completions.len() == 2 { Mode::Pair } else { Mode::Single },
            task,
            messages: Vec::new(),
            text: String::new(),
            picture: None,
            typed: String::new(),
            query: None,
            engine,
            order: (0..completions.len()).collect(),
            completions,
            shown_ms: None,
            reasons: Vec::new(),
            remark: String::new(),
            reported: Vec::new(),
            edit: None,
            judged: None,
        }
    }

    /// Whether something is still to be written.
    pub(crate) fn is_busy(&self) -> bool {
        self.completions.iter().any(Completion::is_open)
    }

    /// Whether there is something to judge: every text is there and has a token.
    pub(crate) fn is_ratable(&self) -> bool {
        let there = |completion: &Completion| {
            let tokens = completion.shown.is_some() || !completion.tokens.is_empty();
            completion.ended().is_some() && tokens && !completion.prompt_ids.is_empty()
        };
        !self.completions.is_empty() && self.completions.iter().all(there)
    }

    /// The completion that a request writes.
    pub(crate) fn written_by(&mut self, id: u64) -> Option<&mut Completion> {
        self.completions
            .iter_mut()
            .find(|completion| completion.id == id && completion.stage == Stage::Writing)
    }

    /// The policy that wrote the first text, and that of the second where it is another.
    pub(crate) fn policies(&self) -> Option<(&PolicyId, Option<&PolicyId>)> {
        let mut policies = self.completions.iter().map(|completion| &completion.arm.policy);
        let first = policies.next()?;
        Some((first, policies.next().filter(|rival| *rival != first)))
    }

    /// Every device that drew a token of it, in words.
    pub(crate) fn backend(&self) -> String {
        let mut names: Vec<&str> = Vec::new();
        for name in self.completions.iter().flat_map(|completion| &completion.backends) {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        names.join(" + ")
    }

    /// What the visitor said last in the conversation, and the reply that goes on in it: the winner,
    /// or the left one where none won.
    pub(crate) fn turns(&self) -> Option<[Message; 2]> {
        use kudos_schema::PairChoice;
        let place = match self.judged.as_ref().map(|judged| &judged.verdict) {
            Some(Verdict::Pair(PairChoice::Right)) => 1,
            Some(
                Verdict::Pair(PairChoice::Left | PairChoice::Tie | PairChoice::BothBad)
                | Verdict::Thumbs(_)
                | Verdict::Stars(_)
                | Verdict::Edit(_)
                | Verdict::Report,
            )
            | None => 0,
        };
        let reply = self.completions.get(place)?.whole();
        let asked = self.messages.last()?;
        (!reply.trim().is_empty()).then(|| [asked.clone(), Message::new("assistant", reply)])
    }
}
