//! Numbers on the command line.

/// A whole number from 1 on.
///
/// # Errors
/// What was expected.
pub fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 1..) => Ok(number),
        _ => Err("expected a whole number, 1 or more".to_owned()),
    }
}
