//! What the page does to the document beside drawing itself: focus, language, announcements, files.

use js_sys::Array;
use kudos_page::event::Locale;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{Blob, BlobPropertyBag, Document, HtmlAnchorElement, HtmlElement, Url, Window};

use super::trouble::words;

/// The live region of index.html: outside of what is drawn, so that drawing never speaks.
const ANNOUNCER: &str = "announcer";

/// The window.
pub(crate) fn window() -> Window {
    web_sys::window().expect("the page runs in a window, not in a worker")
}

/// The document.
pub(crate) fn document() -> Document {
    window().document().expect("a window has a document")
}

/// Says `text` to screen readers.
pub(crate) fn announce(text: &str) {
    let Some(region) = document().get_element_by_id(ANNOUNCER) else { return };
    // The same words twice in a row are a change only if the text differs.
    let again = region.text_content().is_some_and(|before| before == text);
    region.set_text_content(Some(&if again { format!("{text}\u{a0}") } else { text.to_owned() }));
}

/// Puts the focus on the element of this id.
pub(crate) fn focus(id: &str) {
    let element = document().get_element_by_id(id);
    if let Some(element) = element.and_then(|element| element.dyn_into::<HtmlElement>().ok()) {
        // An element that takes no focus leaves it where it is.
        drop(element.focus());
    }
}

/// Tells browser and screen readers the language, and names the tab.
pub(crate) fn set_language(locale: Locale, title: &str) {
    let document = document();
    let language = match locale {
        Locale::English => "en",
        Locale::Chinese => "zh-Hans",
    };
    if let Some(root) = document.document_element()
        && root.get_attribute("lang").as_deref() != Some(language)
    {
        drop(root.set_attribute("lang", language));
    }
    if document.title() != title {
        document.set_title(title);
    }
}

/// Hands the visitor a file.
pub(crate) fn save_file(name: &str, text: &str) {
    if let Err(error) = offer(name, text) {
        web_sys::console::error_2(
            &JsValue::from_str("cannot save the file"),
            &words(&error).into(),
        );
    }
}

fn offer(name: &str, text: &str) -> Result<(), JsValue> {
    let kind = BlobPropertyBag::new();
    kind.set_type("application/x-ndjson");
    let parts = Array::of1(&JsValue::from_str(text));
    let blob = Blob::new_with_str_sequence_and_options(&parts, &kind)?;
    let url = Url::create_object_url_with_blob(&blob)?;
    let link: HtmlAnchorElement = document().create_element("a")?.unchecked_into();
    link.set_href(&url);
    link.set_download(name);
    link.click();
    // Safari reads the file after the click: let it.
    let revoke = wasm_bindgen::closure::Closure::once_into_js(move || {
        drop(Url::revoke_object_url(&url));
    });
    window()
        .set_timeout_with_callback_and_timeout_and_arguments_0(revoke.unchecked_ref(), 60_000)?;
    Ok(())
}
