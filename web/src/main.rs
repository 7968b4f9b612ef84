//! The page's program: it runs in a browser only. Natively there is nothing to run; tests of the page
//! call the library.

#[cfg(target_arch = "wasm32")]
mod browser;

fn main() {
    #[cfg(target_arch = "wasm32")]
    browser::start();
}
