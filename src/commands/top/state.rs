//! What the one who looks has asked for: a pure function of the keys that were pressed.

use super::figures::{Figures, Line};

/// What the workers are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Id,
    Requests,
    Rate,
    Load,
    Time,
    Memory,
    Exceptions,
    Age,
}

impl Order {
    /// As they are called on the command line, in the order of the keys.
    pub const NAMES: [&str; 8] = ["id", "requests", "rate", "load", "time", "memory", "exceptions", "age"];
    const ALL: [(char, Self); 8] = [
        ('i', Self::Id),
        ('r', Self::Requests),
        ('s', Self::Rate),
        ('l', Self::Load),
        ('t', Self::Time),
        ('m', Self::Memory),
        ('e', Self::Exceptions),
        ('a', Self::Age),
    ];

    /// By its name.
    pub fn parse(name: &str) -> Result<Self, String> {
        let found = Self::NAMES.iter().position(|known| *known == name);
        found.map(|index| Self::ALL[index].1).ok_or_else(|| format!("one of {}", Self::NAMES.join(", ")))
    }

    /// What it is called.
    pub fn name(self) -> &'static str {
        let found = Self::ALL.iter().position(|(_, order)| *order == self);
        found.map_or("", |index| Self::NAMES[index])
    }

    /// Sorts: numbers from the top, identifiers from the bottom; equal ones by their identifier.
    pub fn sort(self, lines: &mut [Line], reversed: bool) {
        lines.sort_by(|one, other| {
            let ids = one.id.cmp(&other.id);
            let order = match self {
                Self::Id => ids,
                Self::Requests => other.requests.cmp(&one.requests),
                Self::Rate => other.rate.total_cmp(&one.rate),
                Self::Load => other.load.total_cmp(&one.load).then(other.busy.cmp(&one.busy)),
                Self::Time => other.average_ms.total_cmp(&one.average_ms),
                Self::Memory => other.rss.cmp(&one.rss),
                Self::Exceptions => other.exceptions.cmp(&one.exceptions),
                Self::Age => other.age_s.cmp(&one.age_s),
            };
            let order = if reversed { order.reverse() } else { order };
            order.then(ids)
        });
    }
}

/// A key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    Char(char),
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
    Quit,
}

/// What is to be shown.
#[derive(Clone, Debug)]
pub struct State {
    pub order: Order,
    pub reversed: bool,
    /// Idle cores are shown, too.
    pub cores: bool,
    pub help: bool,
    /// What is shown stays.
    pub frozen: bool,
    /// So many rows are above the window.
    pub scroll: usize,
    /// The rows that the window has, as it was drawn last.
    pub room: usize,
    pub figures: Figures,
    /// Why nothing newer is known.
    pub trouble: Option<String>,
    /// Something has come.
    pub seen: bool,
}

impl State {
    pub fn new(order: Order, cores: bool) -> Self {
        Self {
            order,
            reversed: false,
            cores,
            help: false,
            frozen: false,
            scroll: 0,
            room: 1,
            figures: Figures::default(),
            trouble: None,
            seen: false,
        }
    }

    /// What a look at the instance has given.
    pub fn look(&mut self, found: Result<Figures, String>) {
        if self.frozen {
            return;
        }
        match found {
            Ok(figures) => {
                (self.figures, self.trouble, self.seen) = (figures, None, true);
                self.order.sort(&mut self.figures.workers, self.reversed);
            }
            Err(why) => self.trouble = Some(why),
        }
    }

    /// `false`: that was all.
    pub fn press(&mut self, key: Key) -> bool {
        let page = self.room.saturating_sub(1).max(1);
        match key {
            Key::Quit | Key::Char('q') => return false,
            Key::Char('h' | '?') => self.help = !self.help,
            Key::Char('p' | ' ') => self.frozen = !self.frozen,
            Key::Char('c') => self.cores = !self.cores,
            Key::Up | Key::Char('k') => self.scroll = self.scroll.saturating_sub(1),
            Key::Down | Key::Char('j') => self.scroll = self.scroll.saturating_add(1),
            Key::PageUp => self.scroll = self.scroll.saturating_sub(page),
            Key::PageDown => self.scroll = self.scroll.saturating_add(page),
            Key::Home => self.scroll = 0,
            // Drawing knows how many rows there are.
            Key::End => self.scroll = usize::MAX,
            Key::Char(letter) => self.sort_by(letter),
        }
        true
    }

    fn sort_by(&mut self, letter: char) {
        let Some((_, order)) = Order::ALL.iter().find(|(known, _)| *known == letter) else { return };
        // The same once more turns it round.
        self.reversed = self.order == *order && !self.reversed;
        self.order = *order;
        self.scroll = 0;
        self.order.sort(&mut self.figures.workers, self.reversed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(id: u64, rss: u64) -> Line {
        Line { id, rss, ..Line::default() }
    }

    fn ids(state: &State) -> Vec<u64> {
        state.figures.workers.iter().map(|line| line.id).collect()
    }

    #[test]
    fn keys_sort_and_turn_round() {
        let mut state = State::new(Order::Id, false);
        let workers = vec![line(2, 9), line(1, 5), line(3, 9)];
        state.look(Ok(Figures { workers: workers.clone(), ..Figures::default() }));
        assert_eq!(ids(&state), [1, 2, 3]);
        assert!(state.press(Key::Char('m')));
        assert_eq!(ids(&state), [2, 3, 1]);
        state.press(Key::Char('m'));
        assert_eq!(ids(&state), [1, 2, 3]);
        state.press(Key::Char('i'));
        state.press(Key::Char('p'));
        state.look(Ok(Figures::default()));
        assert_eq!(ids(&state), [1, 2, 3], "frozen");
        assert!(!state.press(Key::Char('q')));
    }

    #[test]
    fn every_order_has_a_name_and_a_key() {
        for (index, name) in Order::NAMES.iter().enumerate() {
            let order = Order::parse(name).unwrap();
            assert_eq!((order, order.name()), (Order::ALL[index].1, *name));
        }
        assert!(Order::parse("color").is_err());
    }

    #[test]
    fn trouble_leaves_what_was_seen_last() {
        let mut state = State::new(Order::Id, false);
        state.look(Ok(Figures { workers: vec![line(1, 1)], ..Figures::default() }));
        state.look(Err("refused".to_owned()));
        assert_eq!((ids(&state), state.trouble.as_deref()), (vec![1], Some("refused")));
        state.look(Ok(Figures::default()));
        assert_eq!(state.trouble, None);
    }
}
