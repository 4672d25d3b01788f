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

/// Whether all bytes are of [`FIELD`], eight at a time: values are long, and mostly plain.
#[inline]
pub(crate) fn is_field(bytes: &[u8]) -> bool {
    let (eights, rest) = bytes.as_chunks::<8>();
    let plain = eights.iter().fold(true, |plain, eight| plain & is_visible(u64::from_le_bytes(*eight)));
    (plain || all(bytes, FIELD)) && all(rest, FIELD)
}

/// No byte of the word is a control: neither below a space (tabs neither) nor DEL.
#[inline]
fn is_visible(word: u64) -> bool {
    const EACH: u64 = u64::from_le_bytes([1; 8]);
    const HIGH: u64 = EACH << 7;
    // A byte below 0x20 borrows from its high bit; one that equals DEL becomes 0, and does, too.
    let below = word.wrapping_sub(EACH * 0x20) & !word;
    let other = word ^ (EACH * 0x7f);
    let delete = other.wrapping_sub(EACH) & !other;
    (below | delete) & HIGH == 0
}

/// Whether a name holds an underscore. Names are short: a search that is made for long texts costs more to begin.
#[inline]
pub(crate) fn has_underscore(name: &[u8]) -> bool {
    const EACH: u64 = u64::from_le_bytes([1; 8]);
    let (eights, rest) = name.as_chunks::<8>();
    let found = eights.iter().fold(0, |found, eight| {
        // What is an underscore becomes 0, and borrows from its high bit.
        let other = u64::from_le_bytes(*eight) ^ (EACH * 0x5f);
        found | (other.wrapping_sub(EACH) & !other & (EACH << 7))
    });
    found != 0 || rest.contains(&b'_')
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
#[inline]
pub(crate) fn decimal(digits: &[u8]) -> Option<Option<u64>> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = |digit: &u8| u64::from(digit - b'0');
    // So many digits always fit.
    if digits.len() <= 18 {
        return Some(Some(digits.iter().fold(0, |number, digit| number * 10 + value(digit))));
    }
    let number = digits.iter().try_fold(0_u64, |number, digit| number.checked_mul(10)?.checked_add(value(digit)));
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
    fn values_are_checked_eight_at_a_time_as_one_by_one() {
        for byte in 0..=255_u8 {
            for at in 0..17 {
                let mut value = *b"text/html; q=0.75";
                value[at] = byte;
                assert_eq!(is_field(&value), all(&value, FIELD), "{}", value.escape_ascii());
                assert_eq!(is_field(&value[at..]), all(&value[at..], FIELD));
            }
        }
        assert!(is_field(b"") && is_field(b"a\tb \x80\xff0123456789"));
    }

    #[test]
    fn underscores_are_found_wherever_they_are() {
        assert!(!has_underscore(b"") && !has_underscore(b"X-Forwarded-For^`\x5e\xdf\x60"));
        for at in 0..20 {
            let mut name = *b"abcdefghijklmnopqrst";
            name[at] = b'_';
            assert!(has_underscore(&name) && has_underscore(&name[at..]));
            assert!(!has_underscore(&name[at + 1..]) && !has_underscore(&name[..at]));
        }
    }

    #[test]
    fn numbers_end_at_63_bits() {
        assert_eq!(decimal(b""), None);
        assert_eq!(decimal(b"+1"), None);
        assert_eq!(decimal(b"0005"), Some(Some(5)));
        assert_eq!(decimal(b"999999999999999999"), Some(Some(999_999_999_999_999_999)));
        assert_eq!(decimal(b"99999999999999999:"), None);
        assert_eq!(decimal(b"9223372036854775807"), Some(Some(i64::MAX as u64)));
        assert_eq!(decimal(b"9223372036854775808"), Some(None));
        assert_eq!(decimal(b"99999999999999999999999999"), Some(None));
    }
}
