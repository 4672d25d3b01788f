//! Which options act while the configuration is read, as uWSGI's immediate ones do: no placeholder in their values is
//! filled in, because there is nothing yet to fill in from. `gather` and `expand` ask.

/// What a name does while it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Reads a file of this format.
    Load(Format),
    /// Reads a file of the format that its name ends with, or else an INI file.
    Config,
    /// Reads a file of the format that its name ends with.
    Include,
    /// Sets an option or a placeholder.
    Set,
    /// Sets a placeholder.
    SetPlaceholder,
    /// Sets a placeholder to the address of a host.
    Resolve,
    /// Makes an option.
    Declare,
    /// Begins a condition or a loop.
    Begin(Block),
    /// Ends it.
    End,
    /// From here on these options are forbidden, or none is.
    Blacklist(bool),
    /// From here on only these options are allowed, or all are.
    Whitelist(bool),
    /// Text before every file from here on.
    InjectBefore,
    /// Text behind it.
    InjectAfter,
    /// The file to try when the start fails.
    Fallback,
    /// Writes a line.
    Print,
    /// Ends the process.
    Exit,
    /// Prints the help.
    Help,
    /// Sends a signal to another instance.
    Stop,
    /// The same.
    Reload,
    /// The same: it pauses, or goes on.
    Pause,
    /// Prints a file as it is appended to the executable.
    Append,
    /// Prints a file.
    Extract,
    /// It acts later; its value stays as it is written.
    Nothing,
}

/// A format of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// uWSGI's own.
    Ini,
    /// YAML 1.2
    Yaml,
    /// JSON
    Json,
    /// XML
    Xml,
}

/// A condition or a loop. A condition is meant as it is or negated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    /// The words of a text.
    Words,
    /// The files that match.
    Glob,
    /// 1 to a number.
    Times,
    /// The lines of a file.
    Lines,
    /// An option was said, perhaps with this value.
    Option(bool),
    /// A variable is set, perhaps to this value.
    Variable(bool),
    /// This is a reload.
    Reload(bool),
    /// The name of this machine.
    Host(bool),
    /// The name of this machine matches.
    HostMatch(bool),
    /// There is such a file or directory.
    Exists(bool),
    /// There is such a file.
    File(bool),
    /// There is such a directory.
    Dir(bool),
    /// A plugin is built in.
    Plugin(bool),
}

/// What this name does while it is read; `None` for those that wait.
pub fn act(name: &str) -> Option<Act> {
    Some(match name {
        "ini" => Act::Load(Format::Ini),
        "yaml" | "yml" => Act::Load(Format::Yaml),
        "json" | "js" => Act::Load(Format::Json),
        "xml" | "xmlconfig" => Act::Load(Format::Xml),
        "config" => Act::Config,
        "include" => Act::Include,
        "set" => Act::Set,
        "set-placeholder" | "set-ph" => Act::SetPlaceholder,
        "resolve" => Act::Resolve,
        "declare-option" => Act::Declare,
        "end" | "endfor" | "end-for" | "endif" | "end-if" => Act::End,
        "blacklist" => Act::Blacklist(true),
        "end-blacklist" => Act::Blacklist(false),
        "whitelist" => Act::Whitelist(true),
        "end-whitelist" => Act::Whitelist(false),
        "inject-before" => Act::InjectBefore,
        "inject-after" => Act::InjectAfter,
        "fallback-config" => Act::Fallback,
        "iprint" => Act::Print,
        "exit" => Act::Exit,
        "help" | "usage" => Act::Help,
        "stop" => Act::Stop,
        "reload" => Act::Reload,
        "pause" | "suspend" | "resume" => Act::Pause,
        "binary-append-data" => Act::Append,
        "extract" => Act::Extract,
        _ if WAIT.contains(&name) => Act::Nothing,
        _ => return block(name).map(Act::Begin),
    })
}

/// Immediate in uWSGI, and of no consequence for what is read next.
const WAIT: &[&str] = &[
    "listen",
    "umask",
    "strict",
    "plugins",
    "plugin",
    "need-plugins",
    "need-plugin",
    "plugins-dir",
    "plugin-dir",
    "autoload",
    "dlopen",
    "immediate-uid",
    "immediate-gid",
    "early-envdir",
    "flock",
    "flock-wait",
    "flock2",
    "flock-wait2",
    "spooler-processes",
    "signal",
    "connect-and-read",
    "print-sym",
    "print-symbol",
    "command-mode",
    "pcre-jit",
    "build-plugin",
    "ini-paste",
    "ini-paste-logged",
    "cflags",
    "dot-h",
    "config-py",
];

fn block(name: &str) -> Option<Block> {
    let yes = !name.starts_with("if-not-");
    Some(match name {
        "for" => Block::Words,
        "for-glob" => Block::Glob,
        "for-times" => Block::Times,
        "for-readline" => Block::Lines,
        "if-opt" | "if-not-opt" => Block::Option(yes),
        "if-env" | "if-not-env" | "ifenv" => Block::Variable(yes),
        "if-reload" | "if-not-reload" => Block::Reload(yes),
        "if-hostname" | "if-not-hostname" => Block::Host(yes),
        "if-hostname-match" | "if-not-hostname-match" => Block::HostMatch(yes),
        "if-exists" | "if-not-exists" | "ifexists" => Block::Exists(yes),
        "if-file" | "if-not-file" => Block::File(yes),
        "if-dir" | "if-not-dir" | "ifdir" | "if-directory" => Block::Dir(yes),
        "if-plugin" | "if-not-plugin" | "ifplugin" => Block::Plugin(yes),
        _ => return None,
    })
}
