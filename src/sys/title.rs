//! What `ps` shows: a process may write its title over the arguments it was started with.

use std::io;

/// Shows `title` instead of the command line, cut to the room that the arguments had. Whoever calls this must not
/// need its arguments from the kernel any more; an interpreter has copied them before any module runs.
pub fn set_command_line(title: &str) -> io::Result<()> {
    let (start, end) = arguments()?;
    let room = end.saturating_sub(start);
    let shown = std::fs::read("/proc/self/cmdline")?;
    if room == 0 || shown.len() != room {
        // valgrind runs a program inside itself: it shows the program's arguments, and its own are there.
        return Ok(());
    }
    let length = title.len().min(room - 1);
    // SAFETY: the kernel laid the arguments of this process there, in its own stack, readable and writable until it
    // ends; `arguments` has just read the bounds. Nothing holds a reference to them: they came before any code ran.
    unsafe {
        let area = start as *mut u8;
        std::ptr::write_bytes(area, 0, room);
        std::ptr::copy_nonoverlapping(title.as_ptr(), area, length);
    }
    Ok(())
}

/// Where the arguments are: fields 48 and 49 of /proc/self/stat, proc(5).
fn arguments() -> io::Result<(usize, usize)> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The second field is the name in parentheses, which may hold anything.
    let mut fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_ascii_whitespace().skip(45);
    let mut next = || fields.next().and_then(|field| field.parse().ok());
    let (Some(start), Some(end)) = (next(), next()) else {
        return Err(io::Error::other("/proc/self/stat has no arg_start"));
    };
    Ok((start, end))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_title_stands_in_the_command_line() {
        // A copy of this test binary's own arguments is not needed any more.
        super::set_command_line("ruwsgi: a title").unwrap();
        let shown = std::fs::read("/proc/self/cmdline").unwrap();
        assert!(shown.starts_with(b"ruwsgi: a title\0"), "{}", shown.escape_ascii());
    }
}
