//! Bytes as people compare them.

use std::fmt::Write;

/// Two lower-case hexadecimal digits a byte.
///
/// ```
/// assert_eq!(kudos_schema::hexadecimal(&[0, 26, 255]), "001aff");
/// ```
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut digits, byte| {
        write!(digits, "{byte:02x}").expect("a string takes everything");
        digits
    })
}
