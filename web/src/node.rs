//! What the page looks like, as plain data: a tree that `dom` makes true in the browser and that tests
//! read without one.

use crate::event::{Event, Pen};

/// An element.
#[derive(Debug, Clone)]
pub struct Node {
    /// Tag name; `svg` and what is inside it live in their own namespace.
    pub tag: &'static str,
    /// Attributes, in order. `value` and `checked` are set as properties.
    pub attributes: Vec<(&'static str, String)>,
    /// What happens on DOM events.
    pub handlers: Vec<(&'static str, Handler)>,
    /// What is inside.
    pub children: Vec<Child>,
}

/// What is inside an element.
#[derive(Debug, Clone)]
pub enum Child {
    /// An element.
    Node(Node),
    /// Text.
    Text(String),
}

/// What a DOM event becomes.
#[derive(Debug, Clone)]
pub enum Handler {
    /// This event.
    Send(Event),
    /// An event made of the element's value: for `input` and `change`.
    Value(fn(String) -> Event),
    /// The file chosen in an `<input type="file">`, as [`Event::OwnBundle`].
    File,
    /// A picture chosen in an `<input type="file">` or dropped, at this many pixels a side, as [`Event::PictureCame`].
    Picture(usize),
    /// What a pointer does over the element, as [`Event::PenMoved`].
    Pen(Pen),
    /// This event, and the browser's own reaction is prevented: for `submit`.
    Instead(Event),
}

impl Node {
    /// An empty element.
    pub fn new(tag: &'static str) -> Self {
        Self { tag, attributes: Vec::new(), handlers: Vec::new(), children: Vec::new() }
    }

    /// With an attribute.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.attributes.push((name, value.into()));
        self
    }

    /// With an attribute that stands there or does not, such as `disabled`.
    pub fn when(self, name: &'static str, present: Option<()>) -> Self {
        match present {
            Some(()) => self.with(name, ""),
            None => self,
        }
    }

    /// With a reaction to a DOM event.
    pub fn on(mut self, name: &'static str, handler: Handler) -> Self {
        self.handlers.push((name, handler));
        self
    }

    /// With text inside.
    pub fn text(mut self, text: impl Into<String>) -> Self {
        self.children.push(Child::Text(text.into()));
        self
    }

    /// With an element inside.
    pub fn child(mut self, node: Node) -> Self {
        self.children.push(Child::Node(node));
        self
    }

    /// With elements inside.
    pub fn children(mut self, nodes: impl IntoIterator<Item = Node>) -> Self {
        self.children.extend(nodes.into_iter().map(Child::Node));
        self
    }
}
