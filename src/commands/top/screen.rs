//! The terminal: keys come from one thread, looks at the instance from another, and each makes the screen be drawn. It is
//! as it was before when this ends.

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TermionBackend;
use ratatui::termion::event::Key as Pressed;
use ratatui::termion::input::TermRead;
use ratatui::termion::raw::IntoRawMode;
use ratatui::termion::screen::IntoAlternateScreen;
use ruwsgi_core::exit;

use super::super::place::Place;
use super::figures::{Figures, Seen};
use super::state::{Key, State};
use super::{look, view};

/// What makes the screen another one.
enum Happening {
    Key(Key),
    Seen(Result<Figures, String>),
    /// Nobody can press keys any more.
    Closed,
}

/// Shows it until the one who looks has seen enough.
pub fn run(place: Place, interval: Duration, mut state: State) -> io::Result<u8> {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Err(io::Error::other("top shows it in a terminal, and this is none: --once writes it"));
    }
    // An address that tells nothing is told before the screen is taken.
    let first = look(&place)?;
    let shown = place.shown.clone();
    state.look(Ok(Figures::between(None, &first)));
    let out = io::stdout().into_raw_mode()?.into_alternate_screen()?;
    let mut terminal = Terminal::new(TermionBackend::new(out))?;
    terminal.hide_cursor()?;
    let (sender, happenings) = mpsc::channel();
    let keys = sender.clone();
    thread::Builder::new().name("keys".to_owned()).spawn(move || read_keys(&keys))?;
    thread::Builder::new().name("looks".to_owned()).spawn(move || keep_looking(&place, interval, first, &sender))?;
    terminal.draw(|frame| view::draw(frame, &shown, &mut state))?;
    for happening in happenings {
        let goes_on = match happening {
            Happening::Key(key) => state.press(key),
            Happening::Seen(found) => {
                state.look(found);
                true
            }
            Happening::Closed => false,
        };
        if !goes_on {
            break;
        }
        terminal.draw(|frame| view::draw(frame, &shown, &mut state))?;
    }
    terminal.show_cursor()?;
    terminal.backend_mut().flush()?;
    Ok(exit::DONE)
}

fn read_keys(sender: &Sender<Happening>) {
    for pressed in io::stdin().keys() {
        let key = match pressed {
            Ok(Pressed::Char(letter)) => Key::Char(letter),
            Ok(Pressed::Up) => Key::Up,
            Ok(Pressed::Down) => Key::Down,
            Ok(Pressed::PageUp) => Key::PageUp,
            Ok(Pressed::PageDown) => Key::PageDown,
            Ok(Pressed::Home) => Key::Home,
            Ok(Pressed::End) => Key::End,
            Ok(Pressed::Esc | Pressed::Ctrl('c')) => Key::Quit,
            Ok(_) => continue,
            Err(_) => break,
        };
        if sender.send(Happening::Key(key)).is_err() {
            return;
        }
    }
    let _ = sender.send(Happening::Closed);
}

fn keep_looking(place: &Place, interval: Duration, first: Seen, sender: &Sender<Happening>) {
    let mut before = first;
    loop {
        thread::park_timeout(interval);
        let found = look(place).map_err(|error| error.to_string()).map(|now| {
            let figures = Figures::between(Some(&before), &now);
            before = now;
            figures
        });
        if sender.send(Happening::Seen(found)).is_err() {
            return;
        }
    }
}
