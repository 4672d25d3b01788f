//! What the key of a `%(...)` stands for: the first value of a name, or a small calculation. `expand` calls it.

use bstr::{BStr, BString, ByteSlice};

/// A name is its first value. With blanks it is calculated from left to right, without precedence: numbers and names,
/// `+ - * /`, `++` and `--` behind a value; what stands beside each other is joined. A name without a value is empty.
pub fn calculate<'a>(key: &BStr, first: impl Fn(&[u8]) -> Option<&'a BString>) -> Option<BString> {
    if !key.contains(&b' ') {
        return first(key).cloned();
    }
    let (mut sum, mut operator): (Option<BString>, Option<&[u8]>) = (None, None);
    for token in key.split_str(" ").filter(|token| !token.is_empty()) {
        match token {
            b"+" | b"-" | b"*" | b"/" => operator = Some(token),
            b"++" | b"--" => {
                let step = if token == b"++" { 1 } else { -1 };
                sum = sum.map(|text| number(&text).wrapping_add(step).to_string().into());
                operator = None;
            }
            _ => {
                let value = if is_number(token) { token.into() } else { first(token).cloned().unwrap_or_default() };
                let left = sum.unwrap_or_default();
                sum = Some(match operator.take() {
                    None => [left, value].concat().into(),
                    Some(operator) => apply(number(&left), operator, number(&value)).to_string().into(),
                });
            }
        }
    }
    sum
}

fn is_number(token: &[u8]) -> bool {
    let digits = token.strip_prefix(b"-").unwrap_or(token);
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

fn apply(left: i64, operator: &[u8], right: i64) -> i64 {
    match operator {
        b"+" => left.wrapping_add(right),
        b"-" => left.wrapping_sub(right),
        b"*" => left.wrapping_mul(right),
        _ if right == 0 => 0,
        _ => left.wrapping_div(right),
    }
}

/// As `strtoll` reads it: what begins like a number, 0 otherwise, and the nearest one that fits.
fn number(text: &[u8]) -> i64 {
    let text = text.trim_ascii_start();
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        _ => (false, text),
    };
    let digits = digits.iter().take_while(|byte| byte.is_ascii_digit()).map(|digit| i64::from(digit - b'0'));
    digits.fold(0i64, |sum, digit| {
        let ten = sum.saturating_mul(10);
        if negative { ten.saturating_sub(digit) } else { ten.saturating_add(digit) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_calculated_from_left_to_right() {
        let (c, x) = (BString::from("7"), BString::from("x1"));
        let first = |name: &[u8]| match name {
            b"c" => Some(&c),
            b"x" => Some(&x),
            _ => None,
        };
        let told = [
            ("c", "7"),
            ("c + 2", "9"),
            ("c - 10", "-3"),
            ("c * c", "49"),
            ("c / 2", "3"),
            ("1 + 2 * 3", "9"),
            ("c / 0", "0"),
            ("c 2", "72"),
            ("c x", "7x1"),
            ("c ++", "8"),
            ("c --", "6"),
            ("c  +  1", "8"),
            ("nope + 1", "1"),
            ("nope x", "x1"),
            ("c + x", "7"),
            ("-3 + 5", "2"),
            ("+ 5", "5"),
            ("9223372036854775807 + 1", "-9223372036854775808"),
            ("99999999999999999999 + 0", "9223372036854775807"),
        ];
        for (key, result) in told {
            assert_eq!(calculate(key.into(), first), Some(result.into()), "{key}");
        }
        assert_eq!(calculate("nope".into(), first), None);
        assert_eq!(calculate(" ".into(), first), None);
    }
}
