//! What options do that act while they are read.

use bstr::{BStr, BString, ByteSlice};

use super::{Ending, Gather};
use crate::attached;
use crate::directive::{Directive, Origin};
use crate::known::known;
use crate::logic::Logic;
use crate::report::Problem;
use crate::resource;
use crate::words::{Act, Block, Format, act};

/// How deep options of `declare-option` may stand for each other.
const DEEPEST: usize = 32;

/// How often they may be used: beyond it they stand for each other.
const MOST_OFTEN: usize = 100_000;

impl Gather<'_> {
    /// Does what a directive asks for.
    pub(super) fn act(&mut self, act: Act, directive: &Directive) {
        let empty = BString::default();
        let value = directive.value.as_ref().unwrap_or(&empty).as_bstr();
        let result = match act {
            Act::Load(format) => self.load(value, format, directive),
            Act::Config => self.load(value, by_suffix(value).unwrap_or(Format::Ini), directive),
            Act::Include => {
                self.include(directive);
                Ok(())
            }
            Act::Set => self.set(value, &directive.origin),
            Act::SetPlaceholder => self.set_placeholder(value, directive),
            Act::Resolve => self.resolve(value, directive),
            Act::Declare => {
                self.declare(directive);
                Ok(())
            }
            Act::Begin(block) => self.begin(block, directive),
            Act::Blacklist(on) => {
                self.forbidden.blacklist(on.then_some(value));
                Ok(())
            }
            Act::Whitelist(on) => {
                self.forbidden.whitelist(on.then_some(value));
                Ok(())
            }
            Act::InjectBefore => self.inject(value, directive, true),
            Act::InjectAfter => self.inject(value, directive, false),
            Act::Fallback => {
                self.fallback = Some(value.into());
                Ok(())
            }
            Act::Print => {
                self.printed.push(value.into());
                Ok(())
            }
            Act::Exit | Act::Help | Act::Stop | Act::Reload | Act::Pause | Act::Append | Act::Extract
                if self.conditional =>
            {
                Ok(())
            }
            Act::Exit => self.end(Ending::Exit(exit_code(value))),
            Act::Help => self.end(Ending::Help),
            Act::Stop => self.end(Ending::Stop(self.path(value))),
            Act::Reload => self.end(Ending::Reload(self.path(value))),
            Act::Pause => self.end(Ending::Pause(self.path(value))),
            Act::Append => self.text(value).and_then(|text| self.end(Ending::Print(attached::append(&text)))),
            Act::Extract => self.text(value).and_then(|text| self.end(Ending::Print(text.to_vec()))),
            Act::End | Act::Nothing => Ok(()),
        };
        if let Err(problem) = result {
            self.complain(Problem::error(problem).about(directive));
        }
    }

    fn end(&mut self, ending: Ending) -> Result<(), String> {
        self.ending = Some(ending);
        Ok(())
    }

    fn path(&self, name: &BStr) -> std::path::PathBuf {
        self.source.cwd.join(name.to_path_lossy())
    }

    fn text(&self, name: &BStr) -> Result<std::sync::Arc<[u8]>, String> {
        resource::read(&self.source.cwd, name).map_err(|reason| format!("cannot read {name}: {reason}"))
    }

    fn begin(&mut self, block: Block, directive: &Directive) -> Result<(), String> {
        if let Some((_, begin)) = &self.logic {
            return Err(format!("it stands inside of {} ({}); blocks do not nest", begin.name, begin.origin));
        }
        let argument = directive.value.clone().unwrap_or_default();
        if let Block::Option(_) = block {
            // Asked for, so it need not be an option.
            self.placeholders.insert(argument.split_str("=").next().unwrap_or_default().into());
        }
        self.logic = Some((Logic { block, argument }, directive.clone()));
        Ok(())
    }

    fn set(&mut self, value: &BStr, origin: &Origin) -> Result<(), String> {
        let (name, value) = pair(value)?;
        let said = Directive { name: name.to_string(), value: Some(value.into()), origin: origin.written().clone() };
        if !self.is_forbidden(&said) {
            // What a block says is said as often as the block wants: so is what that sets.
            self.record(&said);
        }
        Ok(())
    }

    fn set_placeholder(&mut self, value: &BStr, directive: &Directive) -> Result<(), String> {
        let (name, value) = pair(value)?;
        let text = name.to_string();
        if known(&text).is_some() || self.declared.has(&text) {
            return Err(format!("{text} is an option and can be no placeholder"));
        }
        self.placeholders.insert(name.into());
        self.record(&Directive { name: text, value: Some(value.into()), origin: directive.origin.written().clone() });
        // uWSGI does not fill in what such a placeholder holds.
        if let Some(record) = self.records.last_mut() {
            record.done = true;
        }
        Ok(())
    }

    fn resolve(&mut self, value: &BStr, directive: &Directive) -> Result<(), String> {
        let (name, host) = pair(value)?;
        if !self.here {
            self.placeholders.insert(name.into());
            return Ok(());
        }
        let host = host.to_str_lossy();
        let failed = |why: String| format!("{host} can't be resolved: {why}");
        let found =
            std::net::ToSocketAddrs::to_socket_addrs(&(&*host, 0)).map_err(|error| failed(error.to_string()))?;
        let address = found.filter(std::net::SocketAddr::is_ipv4).map(|found| found.ip().to_string()).next();
        let address = address.ok_or_else(|| failed("it has no IPv4 address".into()))?;
        let told: BString = [name.as_bytes(), b"=", address.as_bytes()].concat().into();
        self.set_placeholder(told.as_bstr(), directive)
    }

    /// Reads a file of the format that its name ends with.
    pub(super) fn include(&mut self, directive: &Directive) {
        let value = directive.value.clone().unwrap_or_default();
        let result =
            by_suffix(value.as_bstr()).and_then(|format| self.load_by_suffix(value.as_bstr(), format, directive));
        if let Err(problem) = result {
            self.complain(Problem::error(problem).about(directive));
        }
    }

    /// A new option.
    pub(super) fn declare(&mut self, directive: &Directive) {
        let value = directive.value.clone().unwrap_or_default();
        match self.declared.add(value.as_bstr()) {
            Ok(()) => {
                let name = value.split_once_str("=").map(|(name, _)| name.into());
                self.placeholders.extend(name);
            }
            Err(problem) => self.complain(Problem::error(problem).about(directive)),
        }
    }

    /// Says what a declared option stands for: at once, or for the record at `late`. uWSGI does it without a record.
    pub(super) fn stand_for(&mut self, directive: &Directive, late: Option<usize>) {
        self.stood += 1;
        if self.depth >= DEEPEST || self.stood > MOST_OFTEN {
            self.astray = true;
            return self.complain(Problem::error("it stands for itself").about(directive));
        }
        self.depth += 1;
        let value = directive.value.clone().unwrap_or_default();
        for (name, value) in self.declared.stands_for(&directive.name, value.as_bstr()) {
            if self.is_over() {
                break;
            }
            let at = Box::new(directive.origin.clone());
            let origin = Origin::Declared { by: directive.name.clone(), at };
            let said = Directive { name, value: Some(value), origin };
            if self.declared.has(&said.name) {
                self.stand_for(&said, late);
            } else if let Some(act) = act(&said.name).filter(|act| *act != Act::Nothing) {
                self.act(act, &said);
            } else if said.name == "inherit" {
                self.include(&said);
            } else if self.derived.len() + self.derived_late.len() < super::MOST_RECORDS {
                match late {
                    Some(index) => self.derived_late.push((index, said)),
                    None => self.derived.push(said),
                }
            } else {
                self.astray = true;
                self.complain(Problem::error("it stands for too much").about(directive));
            }
        }
        self.depth -= 1;
    }
}

/// As `atoi` reads it; the system keeps one byte.
fn exit_code(value: &BStr) -> u8 {
    let digits = value.trim_ascii_start().iter().copied().take_while(u8::is_ascii_digit);
    digits.fold(0u8, |sum, digit| sum.wrapping_mul(10).wrapping_add(digit - b'0'))
}

fn pair(value: &BStr) -> Result<(&BStr, &BStr), String> {
    let split = value.split_once_str("=").map(|(name, value)| (name.as_bstr(), value.as_bstr()));
    split.ok_or_else(|| format!("{value:?} is not of the form name=value"))
}

/// uWSGI goes by the end of a name, so `app.ini:section` and `app.conf` are nothing that it knows.
pub(super) fn by_suffix(name: &BStr) -> Result<Format, String> {
    const SUFFIXES: [(&str, Format); 6] = [
        (".ini", Format::Ini),
        (".xml", Format::Xml),
        (".yaml", Format::Yaml),
        (".yml", Format::Yaml),
        (".json", Format::Json),
        (".js", Format::Json),
    ];
    if let Some((_, format)) = SUFFIXES.iter().find(|(suffix, _)| name.ends_with(suffix.as_bytes())) {
        return Ok(*format);
    }
    let with_section = name.rsplit_once_str(":").map(|(file, _)| file);
    let hint = match with_section {
        Some(file) if file.ends_with(b".ini") => format!(": say --ini {name}"),
        _ if name.ends_with(b".lua") => ": configurations in Lua are not read".to_owned(),
        _ if name.ends_with(b".db") => ": configurations in a database are not read".to_owned(),
        _ => format!(": say --ini {name} if it is an INI file"),
    };
    Err(format!("unable to load configuration from {name}{hint}"))
}
