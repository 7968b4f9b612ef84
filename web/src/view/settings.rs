//! The panel of settings: sampling, engine, a policy of one's own.

use super::control::{button, labelled, pair, pressed};
use super::status::{gpu_note, wrong_setting};
use crate::event::{EngineChoice, EngineKind, Event, Setting, Shortcuts};
use crate::node::{Handler, Node};
use crate::state::State;
use crate::state::engines::{GPU_GAINS_FROM, Phase};
use crate::words::{bytes, count, fill, number};

/// The inside of the panel.
pub(super) fn inside(state: &State) -> Vec<Node> {
    let words = &state.words().settings;
    let mut nodes = vec![Node::new("h3").text(words.sampling), sampling(state)];
    if let Some(wrong) = state.desk.settings.wrong() {
        let text = wrong_setting(&state.words().errors, wrong);
        nodes.push(Node::new("p").with("class", "wrong").with("id", "wrong-setting").text(text));
    }
    nodes.push(Node::new("h3").text(words.engine));
    nodes.extend(engine(state));
    nodes.push(own(state));
    nodes.push(shortcuts(state));
    nodes.extend(about(state));
    nodes
}

fn sampling(state: &State) -> Node {
    let words = &state.words().settings;
    let settings = &state.desk.settings;
    let longest = settings.longest().to_string();
    let temperature = Field {
        id: "temperature",
        setting: Setting::Temperature,
        label: words.temperature,
        hint: words.temperature_hint.to_owned(),
        value: &settings.temperature,
        most: None,
        typed: |value| Event::SettingTyped(Setting::Temperature, value),
    };
    let top_k = Field {
        id: "top-k",
        setting: Setting::TopK,
        label: words.top_k,
        hint: words.top_k_hint.to_owned(),
        value: &settings.top_k,
        most: None,
        typed: |value| Event::SettingTyped(Setting::TopK, value),
    };
    let top_p = Field {
        id: "top-p",
        setting: Setting::TopP,
        label: words.top_p,
        hint: words.top_p_hint.to_owned(),
        value: &settings.top_p,
        most: Some("1".to_owned()),
        typed: |value| Event::SettingTyped(Setting::TopP, value),
    };
    let length = Field {
        id: "length",
        setting: Setting::Length,
        label: words.length,
        hint: fill(words.length_hint, &[&longest]),
        value: &settings.length,
        most: Some(longest),
        typed: |value| Event::SettingTyped(Setting::Length, value),
    };
    let seed = Field {
        id: "seed",
        setting: Setting::Seed,
        label: words.seed,
        hint: words.seed_hint.to_owned(),
        value: &settings.seed,
        most: None,
        typed: |value| Event::SettingTyped(Setting::Seed, value),
    };
    let fields = [temperature, top_k, top_p, length, seed].map(|field| field.node(state));
    Node::new("div").with("class", "choices").children(fields)
}

/// One number that can be typed.
struct Field<'a> {
    id: &'static str,
    setting: Setting,
    label: &'a str,
    hint: String,
    value: &'a str,
    most: Option<String>,
    typed: fn(String) -> Event,
}

impl Field<'_> {
    fn node(self, state: &State) -> Node {
        let hint = format!("{}-hint", self.id);
        let wrong = state.desk.settings.wrong() == Some(self.setting);
        let mut input = Node::new("input")
            .with("id", self.id)
            .with("type", "number")
            .with("min", "0")
            .with("step", "any")
            .with("autocomplete", "off")
            .with("aria-describedby", hint.clone())
            .with("aria-invalid", if wrong { "true" } else { "false" })
            .with("value", self.value)
            .on("input", Handler::Value(self.typed));
        if let Some(most) = self.most {
            input = input.with("max", most);
        }
        let hint = Node::new("small").with("id", hint).text(self.hint);
        labelled(self.id, self.label, input).child(hint)
    }
}

fn engine(state: &State) -> Vec<Node> {
    let words = &state.words().settings;
    let one = |choice: EngineChoice, id: &'static str, text: &str| {
        let chosen = (state.memory.engine == choice).then_some(());
        pressed(button(id, text, Event::EngineChosen(choice)), chosen)
    };
    let choice = Node::new("div")
        .with("class", "joined")
        .with("role", "group")
        .with("aria-label", words.engine)
        .children([
            one(EngineChoice::Measured, "engine-measured", words.measured),
            one(EngineChoice::Cpu, "engine-cpu", words.cpu),
            one(EngineChoice::Gpu, "engine-gpu", words.gpu),
        ]);
    let speed = |kind: EngineKind, text: &str| {
        let engine = state.engines.get(kind);
        let speed = match engine.phase {
            Phase::Able => fill(state.words().status.speed, &[&number(engine.tokens_per_second)]),
            Phase::Off | Phase::Starting | Phase::Idle | Phase::Loading | Phase::Probing => {
                words.not_measured.to_owned()
            }
        };
        Node::new("li").text(fill(text, &[&speed]))
    };
    let mut nodes = vec![choice, Node::new("p").with("class", "hint").text(words.engine_hint)];
    nodes.extend(
        notes(state).into_iter().map(|note| Node::new("p").with("class", "note").text(note)),
    );
    nodes.push(Node::new("p").text(words.speeds));
    nodes.push(Node::new("ul").children([
        speed(EngineKind::Cpu, words.speed_cpu),
        speed(EngineKind::Gpu, words.speed_gpu),
    ]));
    let adapter = state.known_adapter();
    nodes.extend(
        adapter.map(|adapter| {
            Node::new("p").text(fill(state.words().status.adapter, &[&adapter.name]))
        }),
    );
    nodes
}

/// Why the GPU is not used.
fn notes(state: &State) -> Vec<String> {
    let words = &state.words().gpu;
    if let Some(note) = gpu_note(state) {
        return vec![note];
    }
    if !state.has_webgpu {
        return vec![words.no_webgpu.to_owned()];
    }
    if state.known_adapter().is_none() {
        return vec![words.no_adapter.to_owned()];
    }
    let parameters = state.bundle.manifest.as_ref().map(|manifest| manifest.parameters);
    if let Some((needed, offered)) = state.gpu_shortage() {
        return vec![fill(words.too_small, &[&bytes(needed), &bytes(offered)])];
    }
    match state.memory.engine {
        EngineChoice::Measured
            if parameters.is_some_and(|parameters| parameters < GPU_GAINS_FROM) =>
        {
            vec![words.small_policy.to_owned()]
        }
        EngineChoice::Measured | EngineChoice::Cpu | EngineChoice::Gpu => Vec::new(),
    }
}

fn own(state: &State) -> Node {
    let words = &state.words().settings;
    let input = Node::new("input")
        .with("id", "own-bundle")
        .with("type", "file")
        .with("aria-describedby", "own-hint")
        .on("change", Handler::File);
    let hint = Node::new("small").with("id", "own-hint").text(words.own_hint);
    labelled("own-bundle", words.own, input).child(hint)
}

fn shortcuts(state: &State) -> Node {
    let words = &state.words().settings;
    let checked = match state.memory.shortcuts {
        Shortcuts::On => Some(()),
        Shortcuts::Off => None,
    };
    let input = Node::new("input")
        .with("id", "shortcuts")
        .with("type", "checkbox")
        .when("checked", checked)
        .on("change", Handler::Send(Event::ShortcutsToggled));
    let label = Node::new("label").with("for", "shortcuts").text(words.shortcuts);
    Node::new("div").with("class", "check").child(input).child(label)
}

/// What the policy says of itself.
fn about(state: &State) -> Vec<Node> {
    let words = &state.words().settings;
    let Some(manifest) = &state.bundle.manifest else { return Vec::new() };
    let list = Node::new("dl")
        .children(pair(state.words().desk.policy, &manifest.name))
        .children(pair(words.parameters, count(manifest.parameters)))
        .children(pair(words.architecture, &manifest.architecture))
        .children(pair(words.license, &manifest.license))
        .children(pair(words.hash, &state.bundle.sha256));
    let recipe = Node::new("details")
        .child(Node::new("summary").text(words.recipe))
        .child(Node::new("pre").with("tabindex", "0").text(&manifest.recipe));
    vec![
        Node::new("h3").text(words.about),
        Node::new("p").with("lang", "en").text(&manifest.summary),
        list,
        recipe,
    ]
}
