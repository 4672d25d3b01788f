//! The classes of octets that the grammars of RFC 9110, 9112 and 3986 speak of, as one table.
//!
//! Used by everything in this folder that looks at single bytes; decides nothing.

/// `tchar` (RFC 9110 5.6.2): methods and field names.
pub(crate) const TOKEN: u8 = 1;
/// What a field value may hold (RFC 9110 5.5): tab, space, visible ASCII and obs-text.
pub(crate) const FIELD: u8 = 2;
/// `unreserved` and `sub-delims` (RFC 3986 2.2, 2.3): what a host name may hold beside percent-escapes.
pub(crate) const NAME: u8 = 4;
/// Visible ASCII without `#`: what a request target may hold here. RFC 3986 allows fewer, but browsers send the rest.
pub(crate) const TARGET: u8 = 8;
/// Not in a target: a control, a space, `#`, or not ASCII.
pub(crate) const STRANGE: u8 = 16;
/// `%`: the path may have to be decoded.
pub(crate) const PERCENT: u8 = 32;
/// `.`: the path may hold dot segments.
pub(crate) const DOT: u8 = 64;
/// `?`: the target has a query.
pub(crate) const QUERY: u8 = 128;

static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        table[at] = class(at as u8);
        at += 1;
    }
    table
}

const fn class(byte: u8) -> u8 {
    let mut class = 0;
    if byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+')
        || matches!(byte, b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~')
    {
        class |= TOKEN;
    }
    if byte == b'\t' || (byte >= b' ' && byte != 0x7f) {
        class |= FIELD;
    }
    if byte.is_ascii_alphanumeric()
        || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'')
        || matches!(byte, b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=')
    {
        class |= NAME;
    }
    class |= if byte.is_ascii_graphic() && byte != b'#' { TARGET } else { STRANGE };
    match byte {
        b'%' => class | PERCENT,
        b'.' => class | DOT,
        b'?' => class | QUERY,
        _ => class,
    }
}

/// Whether a byte belongs to one of the classes.
#[inline]
pub(crate) fn is(byte: u8, class: u8) -> bool {
    CLASSES[byte as usize] & class != 0
}

/// Whether all bytes belong to a class.
#[inline]
pub(crate) fn all(bytes: &[u8], class: u8) -> bool {
    bytes.iter().fold(class, |found, &byte| found & CLASSES[byte as usize]) == class
}

/// The classes of all bytes together.
#[inline]
pub(crate) fn union(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |found, &byte| found | CLASSES[byte as usize])
}

/// `1*tchar`.
#[inline]
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && all(bytes, TOKEN)
}

/// Without optional whitespace (RFC 9110 5.6.3) around.
pub(crate) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// The elements of a comma-separated list (RFC 9110 5.6.1), trimmed; also the empty ones.
pub(crate) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(trim)
}

/// `1*DIGIT` as a number; `None` if it is none, `Some(None)` if it is above 2^63-1, which no file and no counter holds.
pub(crate) fn decimal(digits: &[u8]) -> Option<Option<u64>> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number =
        digits.iter().try_fold(0_u64, |number, digit| number.checked_mul(10)?.checked_add(u64::from(digit - b'0')));
    Some(number.filter(|&number| i64::try_from(number).is_ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_those_of_the_grammar() {
        let members = |class| (0..=255_u8).filter(|&byte| is(byte, class)).count();
        assert_eq!(members(TOKEN), 26 * 2 + 10 + 15);
        assert_eq!(members(FIELD), 1 + 95 + 128);
        assert_eq!(members(NAME), 26 * 2 + 10 + 4 + 11);
        assert_eq!(members(TARGET), 94 - 1);
        assert_eq!(members(TARGET) + members(STRANGE), 256);
    }

    #[test]
    fn lists_are_split_and_trimmed() {
        let elements: Vec<_> = list(b" a,\tb ,, c d").collect();
        assert_eq!(elements, [&b"a"[..], b"b", b"", b"c d"]);
    }

    #[test]
    fn numbers_end_at_63_bits() {
        assert_eq!(decimal(b""), None);
        assert_eq!(decimal(b"+1"), None);
        assert_eq!(decimal(b"0005"), Some(Some(5)));
        assert_eq!(decimal(b"9223372036854775807"), Some(Some(i64::MAX as u64)));
        assert_eq!(decimal(b"9223372036854775808"), Some(None));
        assert_eq!(decimal(b"99999999999999999999999999"), Some(None));
    }
}
