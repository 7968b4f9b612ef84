//! What an update may use of the outer world: the clock, fresh random bytes.

use js_sys::Date;
use kudos_page::event::Surroundings;

use super::screen::window;

/// This moment, with fresh random bytes.
pub(crate) fn surroundings() -> Surroundings {
    let mut random = [0; 48];
    let crypto = window().crypto().expect("every browser that runs wasm has crypto");
    crypto.get_random_values_with_u8_array(&mut random).expect("48 bytes are within the quota");
    let now = Date::new_0();
    Surroundings { now_ms: now.get_time(), now: now.to_iso_string().into(), random }
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> f64 {
    Date::now()
}
