//! How it looks: figures as rows of text, and the frame of the terminal. Thin: what is shown is decided elsewhere.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line as Text;
use ratatui::widgets::{Clear, Paragraph};

use super::figures::{Figures, Line};
use super::state::State;

/// The columns of workers.
pub const COLUMNS: [&str; 13] =
    ["WID", "PID", "STATUS", "BUSY", "REQ", "REQ/S", "LOAD", "AVG", "EXC", "HARA", "SPAWN", "AGE", "RSS"];
const WIDTHS: [usize; 13] = [4, 8, 7, 5, 10, 8, 5, 8, 6, 5, 6, 7, 8];

const HELP: &str = " i id     r requests   s requests/s   l load     sort; the same key again
 t time   m memory     e exceptions   a age      turns it round
 c        idle cores, too
 arrows, page up and down, home, end             scroll
 p space  stop, go on
 h ?      this help
 q Esc Ctrl-C  leave";

/// A row: a worker, or a request below it.
pub struct Row {
    pub cells: Vec<String>,
    pub request: Option<String>,
    mood: Mood,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mood {
    Plain,
    Busy,
    Asleep,
    Old,
}

/// The lines above the table.
pub fn summary(address: &str, figures: &Figures) -> Vec<String> {
    let what = if figures.version.is_empty() { "instance".to_owned() } else { figures.version.clone() };
    let statuses: Vec<String> = ["idle", "busy", "cheap", "pause"]
        .iter()
        .filter_map(|status| {
            Some(figures.count(status)).filter(|count| *count > 0).map(|count| format!("{count} {status}"))
        })
        .collect();
    let sockets = figures.sockets.iter().map(|socket| {
        let queue = if socket.most > 0 { format!(" {}/{}", socket.queue, socket.most) } else { String::new() };
        format!("{} ({}){queue}", socket.name, socket.protocol)
    });
    let mut lines = vec![
        format!("{address}: {what} (pid {})", figures.pid),
        format!(
            "requests {} ({:.1}/s)  exceptions {}  harakiri {}  sent {}/s",
            figures.requests,
            figures.rate,
            figures.exceptions,
            figures.harakiris,
            bytes(figures.sent_rate as u64)
        ),
        format!(
            "workers {} ({})  cores {}/{} busy  memory {}  listen queue {} ({} errors)",
            figures.workers.len(),
            statuses.join(", "),
            figures.busy,
            figures.cores,
            bytes(figures.rss),
            figures.queue,
            figures.queue_errors
        ),
    ];
    let sockets: Vec<String> = sockets.collect();
    if !sockets.is_empty() {
        lines.push(format!("sockets {}", sockets.join("  ")));
    }
    lines
}

/// The rows of all workers (or vassals), each with its requests. `cores`: with idle ones.
pub fn rows(figures: &Figures, requests: bool) -> Vec<Row> {
    let mut rows = Vec::new();
    for vassal in &figures.vassals {
        let state = if vassal.ready { "ready" } else { "starting" };
        let text = format!("vassal {} (pid {}) {state}, {} respawns", vassal.id, vassal.pid, vassal.respawns);
        rows.push(Row { cells: Vec::new(), request: Some(text), mood: Mood::Plain });
    }
    for worker in &figures.workers {
        let mood = match worker.status.as_str() {
            "busy" => Mood::Busy,
            "cheap" | "pause" => Mood::Asleep,
            _ => Mood::Plain,
        };
        rows.push(Row { cells: cells(worker), request: None, mood });
        for it in worker.running.iter().filter(|_| requests) {
            let age = it.age_s.map_or_else(|| "?".to_owned(), time);
            let text = format!("     core {}: {} {} from {} since {age}", it.core, it.method, it.uri, it.client);
            let mood = if it.age_s.is_some_and(|age_s| age_s >= 10) { Mood::Old } else { Mood::Plain };
            rows.push(Row { cells: Vec::new(), request: Some(text), mood });
        }
    }
    rows
}

fn cells(worker: &Line) -> Vec<String> {
    vec![
        worker.id.to_string(),
        worker.pid.to_string(),
        worker.status.clone(),
        format!("{}/{}", worker.busy, worker.cores),
        worker.requests.to_string(),
        format!("{:.1}", worker.rate),
        format!("{:.0}%", worker.load * 100.0),
        format!("{:.1}ms", worker.average_ms),
        worker.exceptions.to_string(),
        worker.harakiris.to_string(),
        worker.respawns.to_string(),
        time(worker.age_s),
        // uWSGI tells it under memory-report only.
        if worker.rss > 0 { bytes(worker.rss) } else { "-".to_owned() },
    ]
}

/// `512B`, `1.5M`
fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "K", "M", "G", "T"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{count}B") } else { format!("{value:.1}{}", UNITS[unit]) }
}

/// `59s`, `3m20s`, `2h05m`, `4d03h`
fn time(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h{:02}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// Draws everything.
pub fn draw(frame: &mut Frame<'_>, address: &str, state: &mut State) {
    let lines = summary(address, &state.figures);
    let areas = Layout::vertical([Constraint::Length(lines.len() as u16), Constraint::Min(1), Constraint::Length(1)]);
    let [top, middle, bottom] = areas.areas(frame.area());
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let text = lines
        .into_iter()
        .enumerate()
        .map(|(index, line)| Text::styled(line, if index == 0 { bold } else { Style::new() }));
    frame.render_widget(Paragraph::new(text.collect::<Vec<_>>()), top);
    table(frame, middle, state);
    frame.render_widget(Paragraph::new(last(state)), bottom);
    if state.help {
        help(frame, middle);
    }
}

fn table(frame: &mut Frame<'_>, area: Rect, state: &mut State) {
    let reversed = Style::new().add_modifier(Modifier::REVERSED);
    let rows = rows(&state.figures, true);
    let idle = idle_cores(&state.figures, state.cores);
    let all: Vec<Row> = rows.into_iter().chain(idle).collect();
    state.room = usize::from(area.height.saturating_sub(1)).max(1);
    state.scroll = state.scroll.min(all.len().saturating_sub(state.room));
    let [head, body] = Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(area);
    frame.buffer_mut().set_style(head, reversed);
    // Straight into the cells: a table would work its columns out anew for each row.
    let mut write = |y: u16, text: &str, style: Style| {
        frame.buffer_mut().set_stringn(area.x, y, text, usize::from(area.width), style);
    };
    if head.height > 0 {
        write(head.y, &padded(&COLUMNS.map(str::to_owned)), reversed);
    }
    for (index, row) in all.into_iter().skip(state.scroll).take(usize::from(body.height)).enumerate() {
        let style = match row.mood {
            Mood::Plain => Style::new(),
            Mood::Busy => Style::new().fg(Color::Green),
            Mood::Asleep => Style::new().fg(Color::DarkGray),
            Mood::Old => Style::new().fg(Color::Red),
        };
        write(body.y + index as u16, &row.request.unwrap_or_else(|| padded(&row.cells)), style);
    }
}

/// Cells in the widths of their columns.
fn padded(cells: &[String]) -> String {
    let cells = cells.iter().zip(WIDTHS).map(|(cell, width)| format!("{cell:>width$}"));
    cells.collect::<Vec<_>>().join(" ")
}

/// One row a worker for the cores that have nothing to do.
fn idle_cores(figures: &Figures, wanted: bool) -> Vec<Row> {
    let idle = figures.workers.iter().filter(|worker| wanted && worker.busy < worker.cores && worker.pid > 0);
    let text = |worker: &Line| {
        format!("     worker {}: {} of {} cores idle", worker.id, worker.cores - worker.busy, worker.cores)
    };
    idle.map(|worker| Row { cells: Vec::new(), request: Some(text(worker)), mood: Mood::Asleep }).collect()
}

fn last(state: &State) -> Text<'static> {
    if let Some(why) = &state.trouble {
        return Text::styled(format!("not reachable: {why}"), Style::new().fg(Color::Red));
    }
    let frozen = if state.frozen { "stopped (p goes on)  " } else { "" };
    let turned = if state.reversed { ", turned round" } else { "" };
    let waiting = if state.seen { "" } else { "waiting for the first answer  " };
    Text::from(format!("{waiting}{frozen}sorted by {}{turned}  h help  q leave", state.order.name()))
}

fn help(frame: &mut Frame<'_>, area: Rect) {
    let (width, height) = (area.width.min(76), area.height.min(HELP.lines().count() as u16));
    let area = Rect { x: area.x, y: area.y, width, height };
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(HELP).style(Style::new().add_modifier(Modifier::REVERSED)), area);
}

#[cfg(test)]
mod tests {
    use super::super::figures::Running;
    use super::super::state::{Key, Order};
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    fn screen(state: &mut State, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, "127.0.0.1:1717", state)).unwrap();
        let buffer = terminal.backend().buffer().clone();
        let cell = |x, y| buffer.cell((x, y)).map_or(" ", |cell| cell.symbol()).to_owned();
        (0..height).map(|y| (0..width).map(|x| cell(x, y)).collect::<String>().trim_end().to_owned()).collect()
    }

    fn state(workers: u64) -> State {
        let running =
            Running { core: 1, method: "GET".into(), uri: "/slow".into(), client: "::1".into(), age_s: Some(75) };
        let worker = |id| Line {
            id,
            pid: 40 + id as i64,
            status: "busy".into(),
            busy: 1,
            cores: 2,
            requests: 12,
            ..Line::default()
        };
        let mut workers: Vec<Line> = (1..=workers).map(worker).collect();
        workers[0].running.push(running);
        let mut state = State::new(Order::Id, false);
        state.look(Ok(Figures { version: "2.0.31".into(), pid: 39, workers, cores: 2, busy: 1, ..Figures::default() }));
        state
    }

    #[test]
    fn workers_and_their_requests_are_shown() {
        let lines = screen(&mut state(1), 110, 8);
        assert_eq!(lines[0], "127.0.0.1:1717: 2.0.31 (pid 39)");
        assert!(lines[2].starts_with("workers 1 (1 busy)  cores 1/2 busy"), "{}", lines[2]);
        assert!(lines[3].contains(" WID      PID  STATUS  BUSY"), "{}", lines[3]);
        assert!(lines[4].contains("1       41    busy   1/2         12"), "{}", lines[4]);
        assert_eq!(lines[5], "     core 1: GET /slow from ::1 since 1m15s");
        assert_eq!(lines[7], "sorted by id  h help  q leave");
    }

    #[test]
    fn a_long_list_scrolls_and_small_windows_hold() {
        let mut state = state(64);
        screen(&mut state, 100, 20);
        state.press(Key::End);
        let lines = screen(&mut state, 100, 20);
        assert!(lines[18].contains(" 64 "), "{}", lines[18]);
        state.press(Key::PageUp);
        assert!(!screen(&mut state, 100, 20)[18].contains(" 64 "));
        state.press(Key::Char('h'));
        assert!(screen(&mut state, 100, 20).iter().any(|line| line.contains("requests/s")));
        for size in [(1, 1), (5, 3), (200, 2), (3, 60)] {
            screen(&mut state, size.0, size.1);
        }
    }

    #[test]
    fn sizes_and_times_are_short() {
        assert_eq!([bytes(0), bytes(1023), bytes(1536), bytes(3 << 30)], ["0B", "1023B", "1.5K", "3.0G"]);
        assert_eq!([time(59), time(200), time(7_500), time(356_400)], ["59s", "3m20s", "2h05m", "4d03h"]);
    }
}
