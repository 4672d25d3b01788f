//! What requests say again and again: comparing it, and finding what was made of it.

/// So many places: 2 to the power of this.
const PLACES_BITS: u32 = 8;
/// The longest value that is kept, in bytes: a place is two cache lines.
const BYTES: usize = 119;

/// What was made of values that come and go: the ports and the browsers of some dozens of clients, the hosts of a site.
/// A value has one place, which follows from its bytes, and pushes another out of it.
pub struct Recent<T>(Box<[Place<T>]>);

struct Place<T> {
    made: Option<T>,
    length: u8,
    bytes: [u8; BYTES],
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self((0..1 << PLACES_BITS).map(|_| Place { made: None, length: 0, bytes: [0; BYTES] }).collect())
    }
}

impl<T> Recent<T> {
    /// What was made of `bytes`, if it is still here.
    #[must_use]
    pub fn get(&self, bytes: &[u8]) -> Option<&T> {
        let place = &self.0[hash(bytes, PLACES_BITS)];
        place.made.as_ref().filter(|_| same(&place.bytes[..place.length as usize], bytes))
    }

    /// Keeps what was made of `bytes`, unless they are many.
    pub fn keep(&mut self, bytes: &[u8], made: T) {
        let place = &mut self.0[hash(bytes, PLACES_BITS)];
        if let Some(room) = place.bytes.get_mut(..bytes.len()) {
            room.copy_from_slice(bytes);
            place.length = bytes.len() as u8;
            place.made = Some(made);
        }
    }
}

/// `left == right`, in steps of words. What a request says has just been copied, and processors hand what they are about
/// to store on to a load of as much or less, but not to one of more: the comparison of the C library, which loads whole
/// vectors, waits for the store each time.
#[inline]
#[must_use]
pub fn same(left: &[u8], right: &[u8]) -> bool {
    if left.len() != right.len() {
        return false;
    }
    if let (Some(left_end), Some(right_end)) = (left.last_chunk::<8>(), right.last_chunk::<8>()) {
        // The last eight bytes may have been among those before.
        let (left, right) = (left.as_chunks::<8>().0, right.as_chunks::<8>().0);
        let equal = |(left, right): (&[u8; 8], &[u8; 8])| u64::from_ne_bytes(*left) == u64::from_ne_bytes(*right);
        return equal((left_end, right_end)) && left.iter().zip(right).all(equal);
    }
    left.iter().zip(right).all(|(left, right)| left == right)
}

/// A place of 2 to the power of `bits`, from the ends and the length of a text: whoever makes texts that share their
/// places makes them slow, nothing more.
#[inline]
#[must_use]
pub fn hash(text: &[u8], bits: u32) -> usize {
    let ends = match (text.first_chunk(), text.last_chunk()) {
        (Some(first), Some(last)) => u64::from_le_bytes(*first) ^ u64::from_le_bytes(*last).rotate_left(29),
        _ => text.iter().fold(0, |ends, byte| ends << 8 | u64::from(*byte)),
    };
    ((ends ^ text.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - bits)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_the_same_is_found_to_be() {
        let text: Vec<u8> = (0..40).collect();
        for length in 0..=text.len() {
            assert!(same(&text[..length], &text.clone()[..length]));
            for at in 0..length {
                let mut other = text[..length].to_vec();
                other[at] ^= 1;
                assert!(!same(&text[..length], &other), "{length} {at}");
            }
            assert!(!same(&text, &text[..length]) || length == text.len());
        }
    }

    #[test]
    fn a_value_is_found_until_another_takes_its_place() {
        let mut recent = Recent::default();
        let values: Vec<Vec<u8>> = (0..1000).map(|number| format!("{number}").repeat(number % 50 + 1).into()).collect();
        for (number, value) in values.iter().enumerate() {
            assert_eq!(recent.get(value), None);
            recent.keep(value, number);
            assert_eq!(recent.get(value), (value.len() <= BYTES).then_some(&number));
        }
        let kept = values.iter().filter(|value| recent.get(value).is_some()).count();
        assert!((100..=1 << PLACES_BITS).contains(&kept), "{kept}");
    }

    #[test]
    fn the_ports_of_some_dozens_of_clients_share_few_places() {
        let mut recent = Recent::default();
        let ports: Vec<String> = (0..64).map(|client| format!("{}", 40_000 + 2 * client)).collect();
        for port in &ports {
            recent.keep(port.as_bytes(), ());
        }
        let kept = ports.iter().filter(|port| recent.get(port.as_bytes()).is_some()).count();
        assert!(kept > 48, "{kept} of 64");
    }
}
