//! Conditions and loops: which times a line inside a block is said, and what `%(_)` is each time.
//!
//! `gather` asks for every line between the two ends, because uWSGI does: a condition may come true in the middle of its
//! block.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use bstr::{BStr, BString, ByteSlice};

use crate::magic;
use crate::plugin;
use crate::resource;
use crate::source::Source;
use crate::words::Block;

/// An open block.
#[derive(Clone, Debug)]
pub struct Logic {
    /// What it is.
    pub block: Block,
    /// What it was given.
    pub argument: BString,
}

/// The times that a line is said.
#[derive(Debug, PartialEq, Eq)]
pub enum Times {
    /// Once as it stands, or not at all.
    Plain(bool),
    /// Once for each item, which is what `%(_)` stands for.
    Each(Vec<BString>),
    /// Once for each number from 1 on.
    Count(u32),
    /// It depends on the machine, which is not looked at: perhaps, with this item, if it is known.
    Perhaps(Option<BString>),
}

/// What a block is evaluated with.
pub struct Scene<'a> {
    /// The environment and the current directory.
    pub source: &'a Source,
    /// Whether the machine may be looked at.
    pub here: bool,
    /// The first value of an option so far.
    pub first: &'a dyn Fn(&BStr) -> Option<BString>,
    /// The plugins that were named so far.
    pub plugins: &'a [String],
}

impl Logic {
    /// A block in which nothing is said.
    pub fn nothing() -> Self {
        Self { block: Block::Words, argument: BString::default() }
    }

    /// How often the next line is said. An error is the reason, in words.
    pub fn times(&self, scene: &Scene<'_>) -> Result<Times, String> {
        let argument = self.argument.as_bstr();
        if !scene.here && self.block.is_of_the_machine() {
            return Ok(Times::Perhaps(match self.block {
                Block::Variable(_) => argument.split_once_str("=").map(|(_, value)| value.into()),
                Block::Glob | Block::Lines => None,
                _ => Some(self.argument.clone()),
            }));
        }
        let path = || scene.source.cwd.join(Path::new(std::ffi::OsStr::from_bytes(argument)));
        let taken = |taken: bool| if taken { Times::Each(vec![self.argument.clone()]) } else { Times::Plain(false) };
        Ok(match self.block {
            Block::Words => {
                Times::Each(argument.split_str(" ").filter(|word| !word.is_empty()).map(Into::into).collect())
            }
            Block::Glob => Times::Each(glob(&scene.source.cwd, argument)?),
            Block::Times => Times::Count(leading_number(argument)),
            Block::Lines => Times::Each(lines(scene.source, argument)?),
            Block::Option(wanted) => compare(argument, wanted, scene.first),
            Block::Variable(wanted) => compare(argument, wanted, |name| scene.source.variable(name).map(Into::into)),
            Block::Reload(wanted) => Times::Plain(scene.source.reloading == wanted),
            Block::Host(wanted) => taken((argument == magic::host()) == wanted),
            Block::HostMatch(wanted) => taken(matches_host(argument)? == wanted),
            Block::Exists(wanted) => taken(path().exists() == wanted),
            // A directory is no file; whatever else can be opened is.
            Block::File(wanted) => taken((path().exists() && !path().is_dir()) == wanted),
            Block::Dir(wanted) => taken(path().is_dir() == wanted),
            Block::Plugin(wanted) => {
                let name = argument.to_str_lossy();
                taken((plugin::is_built_in(&name) || scene.plugins.iter().any(|one| *one == name)) == wanted)
            }
        })
    }
}

impl Block {
    fn is_of_the_machine(self) -> bool {
        !matches!(self, Self::Words | Self::Times | Self::Option(_) | Self::Plugin(_))
    }
}

/// `name`, or `name=value`. What was found is the item; where nothing was found, and that is what is wanted, there is
/// none.
fn compare(argument: &BStr, wanted: bool, find: impl Fn(&BStr) -> Option<BString>) -> Times {
    let (name, value) = match argument.split_once_str("=") {
        Some((name, value)) => (name.as_bstr(), Some(value)),
        None => (argument, None),
    };
    let found = find(name);
    let holds = found.as_ref().is_some_and(|found| value.is_none_or(|value| found == value));
    match found {
        _ if holds != wanted => Times::Plain(false),
        Some(found) => Times::Each(vec![found]),
        None => Times::Plain(true),
    }
}

/// The names that match, in order; the pattern itself where none does. A directory ends with a slash.
fn glob(cwd: &Path, pattern: &BStr) -> Result<Vec<BString>, String> {
    let wrong = |why: String| format!("{pattern:?} is no pattern of names: {why}");
    let text = pattern.to_str().map_err(|_| wrong("it is not UTF-8".into()))?;
    let absolute = text.starts_with('/');
    let here = cwd.to_str().ok_or_else(|| wrong("the current directory is not UTF-8".into()))?;
    let whole = if absolute { text.to_owned() } else { format!("{}/{text}", ::glob::Pattern::escape(here)) };
    let options = ::glob::MatchOptions {
        require_literal_separator: true,
        require_literal_leading_dot: true,
        ..Default::default()
    };
    let found = ::glob::glob_with(&whole, options).map_err(|error| wrong(error.msg.into()))?;
    let name = |path: PathBuf| {
        let shown = if absolute { path.as_path() } else { path.strip_prefix(cwd).unwrap_or(&path) };
        let mut name = BString::from(shown.as_os_str().as_bytes());
        if path.is_dir() {
            name.push(b'/');
        }
        name
    };
    let found: Vec<BString> = found.filter_map(Result::ok).map(name).collect();
    Ok(if found.is_empty() { vec![pattern.into()] } else { found })
}

/// uWSGI reads into a buffer of 1,024 bytes: what is longer becomes several lines.
const LONGEST_LINE: usize = 1023;

fn lines(source: &Source, name: &BStr) -> Result<Vec<BString>, String> {
    let text = resource::read(&source.cwd, name).map_err(|reason| format!("cannot read {name}: {reason}"))?;
    let chomp = |line: &[u8]| line.strip_suffix(b"\n").unwrap_or(line).trim_end_with(|mark| mark == '\r').into();
    Ok(text.lines_with_terminator().flat_map(|line| line.chunks(LONGEST_LINE)).map(chomp).collect())
}

fn matches_host(pattern: &BStr) -> Result<bool, String> {
    let text = pattern.to_str().map_err(|_| format!("{pattern:?} is not UTF-8"))?;
    let regex = regex_lite::Regex::new(text).map_err(|error| format!("{text:?} is no regular expression: {error}"))?;
    Ok(magic::host().to_str().is_ok_and(|host| regex.is_match(host)))
}

/// As `atoi` reads it; nothing happens a negative number of times.
fn leading_number(text: &BStr) -> u32 {
    let text = text.trim_ascii_start();
    let digits = text.strip_prefix(b"+").unwrap_or(text).iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0u32, |sum, digit| sum.saturating_mul(10).saturating_add(u32::from(digit - b'0')))
}
