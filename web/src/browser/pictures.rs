//! Pictures on canvases: painted as the page has them, drawn on with a pointer, read from files that are chosen or dropped.

use js_sys::Reflect;
use kudos_page::event::{Event, Pen, PenMove};
use kudos_schema::{CHANNELS, Picture};
use wasm_bindgen::{Clamped, JsCast, JsValue};
use wasm_bindgen_futures::spawn_local;
use web_sys::{
    CanvasRenderingContext2d, DragEvent, Element, File, HtmlCanvasElement, HtmlInputElement,
    ImageBitmap, ImageData, PointerEvent,
};

use super::page::Page;
use super::screen::{document, window};
use super::waiting::settled;

/// Makes a canvas show the pixels that these hexadecimal digits are.
pub(crate) fn paint(element: &Element, digits: &str) {
    let Some(canvas) = element.dyn_ref::<HtmlCanvasElement>() else { return };
    let json = format!(r#"{{"size":{},"pixels":"{digits}"}}"#, canvas.width());
    let Ok(picture) = serde_json::from_str::<Picture>(&json) else { return };
    let opaque = picture.pixels.chunks_exact(CHANNELS).flat_map(|pixel| [pixel, &[255]].concat());
    let opaque: Vec<u8> = opaque.collect();
    let data = ImageData::new_with_u8_clamped_array(Clamped(&opaque), canvas.width());
    // A browser without canvases shows an empty place: the picture is only shown there.
    if let (Some(context), Ok(data)) = (context(canvas), data) {
        drop(context.put_image_data(&data, 0.0, 0.0));
    }
}

fn context(canvas: &HtmlCanvasElement) -> Option<CanvasRenderingContext2d> {
    canvas.get_context("2d").ok()??.dyn_into().ok()
}

/// What a pointer does over a canvas.
pub(crate) fn draw(page: &Page, event: &web_sys::Event, pen: Pen) {
    let event: &PointerEvent = event.unchecked_ref();
    let target = event.target().and_then(|target| target.dyn_into::<Element>().ok());
    let Some(canvas) = target else { return };
    // A pointer that only passes over it draws nothing, and is most of what there is to hear.
    if pen == Pen::Moves && event.buttons() == 0 {
        return;
    }
    let place = canvas.get_bounding_client_rect();
    let x = (f64::from(event.client_x()) - place.left()) / place.width();
    let y = (f64::from(event.client_y()) - place.top()) / place.height();
    page.send_of_visitor(Event::PenMoved(PenMove { x, y, pen }));
}

/// Takes the picture of a file that was chosen or dropped; what is still dragged may be dropped.
pub(crate) fn take(page: &Page, event: &web_sys::Event, size: usize) {
    let file = match event.dyn_ref::<DragEvent>() {
        Some(dragged) => dropped(dragged),
        None => chosen(event),
    };
    let Some(file) = file else { return };
    let page = page.clone();
    spawn_local(async move {
        let picture = read(&file, size).await.ok();
        page.send_of_visitor(Event::PictureCame(picture));
    });
}

fn dropped(event: &DragEvent) -> Option<File> {
    // The browser would leave the page for the file.
    event.prevent_default();
    let transfer = event.data_transfer().filter(|_| event.type_() == "drop")?;
    transfer.files()?.get(0)
}

fn chosen(event: &web_sys::Event) -> Option<File> {
    let input = event.target()?.dyn_into::<HtmlInputElement>().ok()?;
    let file = input.files()?.get(0);
    // The same file, chosen again, is a change again.
    input.set_value("");
    file
}

/// A picture file at this many pixels a side, on white; one that is not square is scaled to one.
async fn read(file: &File, size: usize) -> Result<Picture, JsValue> {
    let bitmap = settled(window().create_image_bitmap_with_blob(file)?).await?;
    let bitmap: ImageBitmap = bitmap.dyn_into()?;
    let canvas: HtmlCanvasElement = document().create_element("canvas")?.dyn_into()?;
    let side = u32::try_from(size).unwrap_or(u32::MAX);
    canvas.set_width(side);
    canvas.set_height(side);
    let context = context(&canvas).ok_or(JsValue::NULL)?;
    let side = f64::from(side);
    context.set_fill_style_str("#fff");
    context.fill_rect(0.0, 0.0, side, side);
    // Averages many pixels into one, where the browser knows how.
    drop(Reflect::set(&context, &"imageSmoothingQuality".into(), &"high".into()));
    context.draw_image_with_image_bitmap_and_dw_and_dh(&bitmap, 0.0, 0.0, side, side)?;
    let data = context.get_image_data(0.0, 0.0, side, side)?.data().0;
    let pixels = data.chunks_exact(4).flat_map(|pixel| pixel[..CHANNELS].to_vec()).collect();
    Ok(Picture { size, pixels })
}
