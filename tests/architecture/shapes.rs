//! I4: every public tensor names its shape.
//!
//! A public function (also a trait's) whose signature has a `Tensor<`, and a public field, enum variant, tuple struct or
//! type alias that is one, carry a shape such as `[B, T, D]` in their doc comment. The scanner reads lines as rustfmt leaves
//! them; it does not check that there are as many shapes as tensors, nor that they are right.

use super::source::{Source, indentation};

const TENSOR: &str = "Tensor<";

/// Each public tensor without a shape, as `path:line: what`.
pub(super) fn shapeless_tensors(source: &Source) -> Vec<String> {
    let mut docs = String::new();
    let mut container = Container::None;
    let mut complaints = Vec::new();
    let lines = source.product_lines();
    let mut index = 0;
    while let Some(&(number, line)) = lines.get(index) {
        let code = line.trim();
        index += 1;
        if let Some(doc) = code.strip_prefix("///") {
            docs.push_str(doc);
            docs.push('\n');
            continue;
        }
        if code.starts_with("#[") {
            index += lines_until(&lines[index - 1..], |line| line.ends_with(']')) - 1;
            continue;
        }
        container = container.after(line);
        if container.publishes(code) {
            // The parameters of a function end with commas, a field ends with its own.
            let ends: &[char] = match function_name(code) {
                Some(_) => &['{', ';', '}'],
                None => &['{', ';', '}', ','],
            };
            let length = lines_until(&lines[index - 1..], |line| line.ends_with(ends));
            let item = &lines[index - 1..index - 1 + length];
            if item.iter().any(|(_, line)| line.contains(TENSOR)) && !has_shape(&docs) {
                complaints
                    .push(format!("{}:{number}: no shape in the doc of `{code}`", source.path));
            }
        }
        docs.clear();
    }
    complaints
}

/// What the lines stand in, as far as it decides which of them are public.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Container {
    None,
    /// A public trait or enum, with the line that ends it: all inside is public.
    AllPublic(String),
}

impl Container {
    fn after(self, line: &str) -> Self {
        match self {
            Self::AllPublic(end) if line == end => Self::None,
            Self::AllPublic(end) => Self::AllPublic(end),
            Self::None => {
                let code = line.trim_start();
                let opens = code.starts_with("pub trait ") || code.starts_with("pub enum ");
                if opens && code.ends_with('{') {
                    Self::AllPublic(format!("{}}}", indentation(line)))
                } else {
                    Self::None
                }
            }
        }
    }

    /// Whether an item that a reader of the docs sees begins on this line.
    fn publishes(&self, code: &str) -> bool {
        match self {
            Self::None => code.starts_with("pub ") && !opens_a_block_of_items(code),
            Self::AllPublic(_) => {
                function_name(code).is_some()
                    || code.starts_with(|first: char| first.is_alphabetic())
            }
        }
    }
}

fn opens_a_block_of_items(code: &str) -> bool {
    ["pub struct ", "pub enum ", "pub trait ", "pub mod ", "pub union "]
        .iter()
        .any(|keyword| code.starts_with(keyword) && code.ends_with('{'))
}

/// The name of the function that begins on this line.
pub(super) fn function_name(code: &str) -> Option<&str> {
    let (before, after) = code.split_once("fn ")?;
    let qualifiers = ["pub", "pub(crate)", "pub(super)", "const", "async", "unsafe", "default"];
    let qualified = before.split_whitespace().all(|word| qualifiers.contains(&word));
    (qualified && (before.is_empty() || before.ends_with(' ')))
        .then(|| after.split(['(', '<']).next().unwrap_or(after))
}

/// How many lines up to and with the first whose end is reached; all if none is.
fn lines_until(lines: &[(usize, &str)], is_end: impl Fn(&str) -> bool) -> usize {
    lines.iter().position(|(_, line)| is_end(line)).map_or(lines.len(), |index| index + 1)
}

/// Whether the text has a shape: `[...]` of single letters, numbers, words in lower case and arithmetic, at least
/// one of the former two.
fn has_shape(docs: &str) -> bool {
    docs.split('[').skip(1).filter_map(|rest| rest.split_once(']')).any(|(inside, _)| {
        let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
        let mut words = inside.split(|letter| !is_word(letter)).filter(|word| !word.is_empty());
        let is_dimension = |word: &str| {
            let mut letters = word.chars();
            let first = letters.next();
            let is_letter = first.is_some_and(|it| it.is_ascii_alphabetic()) && word.len() == 1;
            is_letter || word.chars().all(|letter| letter.is_ascii_digit())
        };
        let is_lower = |word: &str| !word.chars().any(|letter| letter.is_ascii_uppercase());
        let punctuation = inside.chars().all(|it| is_word(it) || ", .+-*/()'".contains(it));
        punctuation
            && words.clone().any(is_dimension)
            && words.all(|word| is_dimension(word) || is_lower(word))
    })
}

#[test]
fn a_shape_is_dimensions_in_brackets_not_a_link() {
    let check = |docs: &str, expected| assert_eq!(has_shape(docs), expected, "{docs}");
    check("Advantage of each token. [B, T]", true);
    check("Rows, [B, H, T, D / H].", true);
    check("Loss in nats, [1]", true);
    check("`[n_layers, B, T]`", true);
    check("[..., V]", true);
    check("Flat. `[n]`", true);
    check("no shape", false);
    check("See [Rollout] and [`Tensor`].", false);
    check("[out, in]", false);
    check("half [B, T", false);
}

#[test]
fn a_public_tensor_without_a_shape_is_found() {
    let check = |text: &str, expected: &[usize]| {
        let complaints = shapeless_tensors(&Source::new("a.rs", text));
        let begins =
            |(line, complaint): (&usize, &String)| complaint.starts_with(&format!("a.rs:{line}:"));
        assert_eq!(complaints.len(), expected.len(), "{text}\n{complaints:?}");
        assert!(expected.iter().zip(&complaints).all(begins), "{text}\n{complaints:?}");
    };
    check("/// Logits. [B, V]\npub fn forward(x: Tensor<2>) -> Tensor<2> {\n", &[]);
    check("/// Logits.\npub fn forward(x: Tensor<2>) -> Tensor<2> {\n", &[2]);
    check("/// Logits.\npub fn forward(\n    x: Tensor<2, Int>,\n    y: u8,\n) -> u8 {\n}\n", &[2]);
    check("/// [B]\n#[must_use]\npub fn f() -> Tensor<1> {\n", &[]);
    check(
        "/// [B]\n#[expect(\n    lint,\n    reason = \"why\"\n)]\npub fn f() -> Tensor<1> {\n",
        &[],
    );
    check("fn private() -> Tensor<1> {\n", &[]);
    check("pub(crate) fn inner() -> Tensor<1> {\n", &[]);
    check("/// [B]\nfn private() {}\npub fn f() -> Tensor<1> {\n", &[3]);
    check(
        "pub struct A {\n    /// Mask.\n    pub mask: Tensor<2>,\n    /// [B]\n    pub b: Tensor<1>,\n}\n",
        &[3],
    );
    check("pub struct A {\n    hidden: Tensor<2>,\n    pub n: usize,\n}\n", &[]);
    check("pub struct A {\n    /// x\n    pub a: Option<Param<Tensor<2>>>,\n}\n", &[3]);
    check("/// x\npub struct Weights(pub Tensor<2>);\n", &[2]);
    check("/// x\npub type Weights = Tensor<2>;\n", &[2]);
    check(
        "pub trait Policy {\n    /// x\n    fn forward(&self) -> Tensor<3>;\n}\nfn f() -> Tensor<1> {}\n",
        &[3],
    );
    check(
        "pub enum Mask {\n    /// x\n    Some(Tensor<2>),\n    /// [B, T]\n    Other(Tensor<2>),\n}\n",
        &[3],
    );
    check("#[cfg(test)]\nmod tests {\n    pub fn f() -> Tensor<1> {\n    }\n}\n", &[]);
}
