//! Attributes and live properties of an element: what is written when the page changes its mind, and
//! what must follow the page even where the visitor changed it.

use js_sys::Reflect;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{Element, HtmlDialogElement};

use super::pictures;

/// Attributes as a node has them.
pub(crate) type Attributes = [(&'static str, String)];

/// The value of an attribute.
pub(crate) fn find<'a>(attributes: &'a Attributes, name: &str) -> Option<&'a str> {
    attributes.iter().find(|(found, _)| *found == name).map(|(_, value)| value.as_str())
}

/// Makes the attributes of `element`, which were `before`, those of `after`.
pub(crate) fn write(element: &Element, tag: &str, before: &Attributes, after: &Attributes) {
    if before == after {
        return;
    }
    for (name, value) in after {
        if find(before, name) != Some(value) && !is_live(tag, name, after) {
            set(element, name, value);
        }
    }
    for (name, _) in before {
        if find(after, name).is_none() && !is_live(tag, name, before) {
            drop(element.remove_attribute(name));
        }
    }
}

fn set(element: &Element, name: &str, value: &str) {
    if name == "style" {
        // The Content-Security-Policy refuses style attributes, but not the object model.
        let style = Reflect::get(element, &"style".into());
        let written =
            style.and_then(|style| Reflect::set(&style, &"cssText".into(), &value.into()));
        written.expect("every element has a style");
        return;
    }
    if name == "data-pixels" {
        pictures::paint(element, value);
        return;
    }
    element.set_attribute(name, value).expect("the view uses names that HTML knows");
}

/// Whether the attribute stands for a property that the visitor changes too.
fn is_live(tag: &str, name: &str, attributes: &Attributes) -> bool {
    match (tag, name) {
        ("textarea" | "select", "value") | ("option", "selected") | ("dialog", "open") => true,
        ("input", "value") => !is_switch(attributes),
        ("input", "checked") => true,
        (_, _) => false,
    }
}

/// Whether an input is on or off, so that its value is only a name.
fn is_switch(attributes: &Attributes) -> bool {
    matches!(find(attributes, "type"), Some("checkbox" | "radio"))
}

/// Makes the live properties of `element` what the page says, touching only what differs: a value
/// written anew would move the caret and break what an input method composes.
pub(crate) fn follow(element: &Element, tag: &str, attributes: &Attributes) {
    match tag {
        "input" if is_switch(attributes) => {
            let checked = JsValue::from_bool(find(attributes, "checked").is_some());
            set_property(element, "checked", &checked);
        }
        "input" | "textarea" | "select" => {
            if let Some(value) = find(attributes, "value") {
                set_property(element, "value", &JsValue::from_str(value));
            }
        }
        // Choosing one gives up the others.
        "option" if find(attributes, "selected").is_some() => {
            set_property(element, "selected", &JsValue::TRUE);
        }
        _ => {}
    }
}

fn set_property(element: &Element, name: &str, wanted: &JsValue) {
    let name = JsValue::from_str(name);
    if Reflect::get(element, &name).ok().as_ref() != Some(wanted) {
        Reflect::set(element, &name, wanted).expect("the element has this property");
    }
}

/// Opens or closes a dialog as its `open` attribute says: modal, so that the browser keeps the focus
/// inside. It must be in the document.
pub(crate) fn follow_dialog(element: &Element, attributes: &Attributes) {
    let Some(dialog) = element.dyn_ref::<HtmlDialogElement>() else { return };
    match (find(attributes, "open"), dialog.open()) {
        (Some(_), false) => dialog.show_modal().expect("the dialog is in the document and closed"),
        (None, true) => dialog.close(),
        (Some(_), true) | (None, false) => {}
    }
}
