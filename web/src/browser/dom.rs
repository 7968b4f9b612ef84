//! Makes a tree of nodes true in the document, with as few changes as it takes.
//!
//! Children are compared by position; one with an id is found again where it moved, so that a field
//! keeps its focus when something appears before it. What was drawn is remembered here: what did not
//! change costs no call into the browser.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::mem;
use std::rc::Rc;

use kudos_page::node::{Child, Handler, Node};
use wasm_bindgen::JsCast;
use wasm_bindgen::closure::Closure;
use web_sys::{Document, Element, Event, Text};

use super::attributes::{find, follow, follow_dialog, write};

const SVG: &str = "http://www.w3.org/2000/svg";

/// What is done when a handler's DOM event comes.
pub(crate) type React = Rc<dyn Fn(Handler, &Event)>;

/// A part of the document that belongs to the page.
pub(crate) struct Canvas {
    mount: Element,
    pen: Pen,
    drawn: Vec<Drawn>,
}

/// What makes new elements.
struct Pen {
    document: Document,
    react: React,
}

/// Where children belong.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Space {
    Html,
    Svg,
}

enum Drawn {
    Text(Text, String),
    Element(DrawnElement),
}

struct DrawnElement {
    element: Element,
    tag: &'static str,
    attributes: Vec<(&'static str, String)>,
    listeners: Vec<Listener>,
    children: Vec<Drawn>,
}

/// One listener of an element; what it does changes with every drawing, the listener stays.
struct Listener {
    name: &'static str,
    handler: Rc<RefCell<Option<Handler>>>,
    /// The browser calls it as long as the element lives.
    _closure: Closure<dyn Fn(Event)>,
}

impl Canvas {
    /// The inside of `mount`, emptied.
    pub(crate) fn new(document: Document, mount: Element, react: React) -> Self {
        mount.set_text_content(None);
        Self { mount, pen: Pen { document, react }, drawn: Vec::new() }
    }

    /// Draws `node`.
    pub(crate) fn draw(&mut self, node: Node) {
        let children = vec![Child::Node(node)];
        self.pen.children(&self.mount, &mut self.drawn, children, Space::Html);
        self.drawn.iter().for_each(Drawn::follow_dialogs);
    }
}

impl Pen {
    fn children(&self, parent: &Element, drawn: &mut Vec<Drawn>, new: Vec<Child>, space: Space) {
        let mut old = VecDeque::from(mem::take(drawn));
        let mut new = VecDeque::from(new);
        while let Some(child) = new.pop_front() {
            let found = match id_of(&child) {
                Some(_) => old.iter().position(|candidate| candidate.is(&child)),
                None => old.front().filter(|candidate| candidate.is(&child)).map(|_| 0),
            };
            if let Some(at) = found {
                old.drain(..at).for_each(Drawn::remove);
                let mut same = old.pop_front().expect("it was found");
                self.patch(&mut same, child, space);
                drawn.push(same);
                continue;
            }
            let made = self.make(child, space);
            insert(parent, made.node(), old.front().map(Drawn::node));
            if old.front().is_some_and(|next| !next.comes_in(&new)) {
                old.pop_front().expect("it is there").remove();
            }
            drawn.push(made);
        }
        old.into_iter().for_each(Drawn::remove);
    }

    fn patch(&self, drawn: &mut Drawn, child: Child, space: Space) {
        match (drawn, child) {
            (Drawn::Text(node, before), Child::Text(text)) => {
                if *before != text {
                    node.set_data(&text);
                    *before = text;
                }
            }
            (Drawn::Element(drawn), Child::Node(node)) => {
                write(&drawn.element, drawn.tag, &drawn.attributes, &node.attributes);
                self.listen(drawn, node.handlers);
                let space = space_of(node.tag, space);
                self.children(&drawn.element, &mut drawn.children, node.children, space);
                drawn.attributes = node.attributes;
                // After the children: a select takes only values that it has.
                follow(&drawn.element, drawn.tag, &drawn.attributes);
            }
            (Drawn::Text(..), Child::Node(_)) | (Drawn::Element(_), Child::Text(_)) => {
                unreachable!("only the same kind is patched");
            }
        }
    }

    fn make(&self, child: Child, space: Space) -> Drawn {
        let node = match child {
            Child::Text(text) => return Drawn::Text(self.document.create_text_node(&text), text),
            Child::Node(node) => node,
        };
        let space = space_of(node.tag, space);
        let element = match space {
            Space::Html => self.document.create_element(node.tag),
            Space::Svg => self.document.create_element_ns(Some(SVG), node.tag),
        };
        let element = element.expect("the view uses tags that HTML knows");
        let mut drawn = Drawn::Element(DrawnElement {
            element,
            tag: node.tag,
            attributes: Vec::new(),
            listeners: Vec::new(),
            children: Vec::new(),
        });
        self.patch(&mut drawn, Child::Node(node), space);
        drawn
    }

    fn listen(&self, drawn: &mut DrawnElement, handlers: Vec<(&'static str, Handler)>) {
        for listener in &drawn.listeners {
            *listener.handler.borrow_mut() = None;
        }
        for (name, handler) in handlers {
            match drawn.listeners.iter().find(|listener| listener.name == name) {
                Some(listener) => *listener.handler.borrow_mut() = Some(handler),
                None => drawn.listeners.push(self.listener(&drawn.element, name, handler)),
            }
        }
    }

    fn listener(&self, element: &Element, name: &'static str, handler: Handler) -> Listener {
        let handler = Rc::new(RefCell::new(Some(handler)));
        let (current, react) = (Rc::clone(&handler), Rc::clone(&self.react));
        let closure = Closure::<dyn Fn(Event)>::new(move |event: Event| {
            let handler = current.borrow().clone();
            if let Some(handler) = handler {
                react(handler, &event);
            }
        });
        let callback = closure.as_ref().unchecked_ref();
        element.add_event_listener_with_callback(name, callback).expect("any name is allowed");
        Listener { name, handler, _closure: closure }
    }
}

impl Drawn {
    fn node(&self) -> &web_sys::Node {
        match self {
            Self::Text(node, _) => node,
            Self::Element(drawn) => &drawn.element,
        }
    }

    fn id(&self) -> Option<&str> {
        match self {
            Self::Text(..) => None,
            Self::Element(drawn) => find(&drawn.attributes, "id"),
        }
    }

    /// Whether `child` is another state of it.
    fn is(&self, child: &Child) -> bool {
        match (self, child) {
            (Self::Text(..), Child::Text(_)) => true,
            (Self::Element(drawn), Child::Node(node)) => {
                drawn.tag == node.tag && self.id() == id_of(child)
            }
            (Self::Text(..), Child::Node(_)) | (Self::Element(_), Child::Text(_)) => false,
        }
    }

    /// Whether one of `children` has its id.
    fn comes_in(&self, children: &VecDeque<Child>) -> bool {
        self.id().is_some() && children.iter().any(|child| self.is(child))
    }

    fn remove(self) {
        match self {
            Self::Text(node, _) => node.remove(),
            Self::Element(drawn) => drawn.element.remove(),
        }
    }

    fn follow_dialogs(&self) {
        let Self::Element(drawn) = self else { return };
        if drawn.tag == "dialog" {
            follow_dialog(&drawn.element, &drawn.attributes);
        }
        drawn.children.iter().for_each(Self::follow_dialogs);
    }
}

/// Puts `node` before `next`, else at the end: translators and other extensions move what was drawn, and
/// then the end is the best place there is.
fn insert(parent: &Element, node: &web_sys::Node, next: Option<&web_sys::Node>) {
    let next = next.filter(|next| next.parent_node().as_ref() == Some(parent));
    parent.insert_before(node, next).expect("elements take children");
}

fn id_of(child: &Child) -> Option<&str> {
    match child {
        Child::Node(node) => find(&node.attributes, "id"),
        Child::Text(_) => None,
    }
}

fn space_of(tag: &str, outer: Space) -> Space {
    if tag == "svg" { Space::Svg } else { outer }
}
