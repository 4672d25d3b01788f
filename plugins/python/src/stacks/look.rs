//! The stacks as the interpreter knows them. All frames are read by calls that run no Python, so that no thread moves
//! meanwhile: what is seen is one moment.

use std::collections::HashMap;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use ruwsgi_sys::process;

use super::{Frame, Stack};

/// So many frames of a thread are told: the newest ones.
const FRAMES: usize = 200;

/// Of every thread that is inside Python, but for the one that asks; oldest thread first, as far as that is known.
pub(super) fn stacks(py: Python<'_>) -> PyResult<Vec<Stack>> {
    let frames = py.import(intern!(py, "sys"))?.call_method0(intern!(py, "_current_frames"))?.cast_into::<PyDict>()?;
    let mut stacks = Vec::new();
    for (ident, frame) in &frames {
        let mut stack = stack(&frame)?;
        stack.frames.reverse();
        stacks.push((ident.extract::<u64>()?, stack));
    }
    // Names may run code of the application: after everything was seen.
    let known = names(py).unwrap_or_default();
    for (ident, stack) in &mut stacks {
        let (name, thread) = known.get(ident).cloned().unwrap_or_default();
        stack.name = if name.is_empty() { format!("thread {ident:#x}") } else { name };
        stack.thread = thread;
    }
    let mut stacks: Vec<Stack> = stacks.into_iter().map(|(_, stack)| stack).collect();
    stacks.sort_by_key(|stack| stack.thread);
    Ok(stacks)
}

/// The newest frame first.
fn stack(newest: &Bound<'_, PyAny>) -> PyResult<Stack> {
    let py = newest.py();
    let mut stack = Stack::default();
    let mut next = Some(newest.clone());
    while let Some(frame) = next {
        if stack.frames.len() < FRAMES {
            let code = frame.getattr(intern!(py, "f_code"))?;
            stack.frames.push(Frame {
                file: text(&code, "co_filename")?,
                // None while a line of no source runs.
                line: frame.getattr(intern!(py, "f_lineno"))?.extract().unwrap_or(0),
                function: text(&code, "co_name")?,
            });
        } else {
            stack.left_out += 1;
        }
        next = Some(frame.getattr(intern!(py, "f_back"))?).filter(|frame| !frame.is_none());
    }
    Ok(stack)
}

fn text(of: &Bound<'_, PyAny>, name: &str) -> PyResult<String> {
    Ok(of.getattr(name)?.str()?.to_string_lossy().into_owned())
}

/// What `threading` knows: name and kernel's number by identifier. It is asked past its lock, which somebody may hold.
fn names(py: Python<'_>) -> PyResult<HashMap<u64, (String, i32)>> {
    let threading = py.import(intern!(py, "threading"))?;
    let active = threading.getattr(intern!(py, "_active"))?.cast_into::<PyDict>()?;
    let main = threading.getattr(intern!(py, "_main_thread")).ok();
    let mut names = HashMap::new();
    for (ident, thread) in &active.copy()? {
        let Ok(ident) = ident.extract::<u64>() else { continue };
        let name = thread.getattr(intern!(py, "_name")).and_then(|name| name.extract::<String>()).unwrap_or_default();
        let number = thread.getattr(intern!(py, "_native_id")).and_then(|id| id.extract::<i32>()).unwrap_or(0);
        // Before 3.13, its number is that of the zygote.
        let is_main = main.as_ref().is_some_and(|main| main.is(&thread));
        names.insert(ident, (name, if is_main { process::id() } else { number }));
    }
    Ok(names)
}
