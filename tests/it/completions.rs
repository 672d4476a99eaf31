//! Completions in the shells that are installed, typed at a terminal as a user types them.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::harness::{are_here, skipped};

/// What is typed before a TAB, and what the line is then.
const TYPED: [(&str, &str); 19] = [
    ("kclpipe --checkpoint-e", "kclpipe --checkpoint-every "),
    ("kclpipe --per ba", "kclpipe --per batch "),
    ("kclpipe --per=ba", "kclpipe --per=batch "),
    (
        "kclpipe --on-failure de",
        "kclpipe --on-failure dead-letter ",
    ),
    ("kclpipe --log-level wa", "kclpipe --log-level warn "),
    ("kclpipe --stop-signal TE", "kclpipe --stop-signal TERM "),
    (
        "kclpipe --on-exit 99=ch",
        "kclpipe --on-exit 99=checkpoint ",
    ),
    ("kclpipe --log-file rec", "kclpipe --log-file records.txt "),
    (
        "kclpipe --metrics-dir met",
        "kclpipe --metrics-dir metrics/",
    ),
    ("kclpipe @uni", "kclpipe @unique.args "),
    ("kclpipe @met", "kclpipe @metrics/"),
    ("kclpipe repl", "kclpipe replay "),
    ("kclpipe replay rec", "kclpipe replay records.txt "),
    (
        "kclpipe replay --inject thr",
        "kclpipe replay --inject throttle ",
    ),
    ("kclpipe check th", "kclpipe check this.properties "),
    ("kclpipe completions z", "kclpipe completions zsh "),
    ("kclpipe -- ./onl", "kclpipe -- ./only-handler "),
    (
        "kclpipe replay r.txt -- kclpipe --checkpoint-m",
        "kclpipe replay r.txt -- kclpipe --checkpoint-manual ",
    ),
    (
        "kclpipe replay r.txt -- kclpipe --per shard -- ./onl",
        "kclpipe replay r.txt -- kclpipe --per shard -- ./only-handler ",
    ),
];

/// What a shell prints around the line that it has, for its echo is full of other things.
const AROUND: [char; 2] = ['\u{2}', '\u{3}'];

/// The longest wait for an answer; a shell needs a fraction of a second.
const PATIENCE: Duration = Duration::from_secs(60);

/// A shell at a terminal.
struct Terminal {
    shell: Child,
    screen: File,
    /// What it has printed and nobody has looked at.
    printed: String,
}

impl Terminal {
    /// Starts a shell in `folder`, where kclpipe is, too.
    fn start(shell: &[&str], folder: &Path) -> Terminal {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&ours).expect("granted");
        unlockpt(&ours).expect("unlocked");
        let name = ptsname(&ours, Vec::new()).expect("its name");
        let name = name.to_str().expect("text").to_owned();
        let theirs = || -> Stdio {
            let mut options = OpenOptions::new();
            let file = options.read(true).write(true).open(&name);
            file.expect("its other end").into()
        };
        let path = std::env::var("PATH").expect("a PATH");
        let shell = Command::new(shell[0])
            .args(&shell[1..])
            .current_dir(folder)
            .env_clear()
            .env("HOME", folder)
            .env("PATH", format!("{}:{path}", folder.display()))
            .env("TERM", "dumb")
            .stdin(theirs())
            .stdout(theirs())
            .stderr(theirs())
            .spawn()
            .expect("the shell starts");
        Terminal {
            shell,
            screen: File::from(ours),
            printed: String::new(),
        }
    }

    fn type_in(&mut self, text: &str) {
        self.screen.write_all(text.as_bytes()).expect("typed");
    }

    /// What comes next between the two signs.
    fn line(&mut self) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some((_, rest)) = self.printed.split_once(AROUND[0])
                && let Some((line, rest)) = rest.split_once(AROUND[1])
            {
                let (line, rest) = (line.to_owned(), rest.to_owned());
                self.printed = rest;
                return line;
            }
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no line in {:?}", self.printed);
            self.read(left);
        }
    }

    fn read(&mut self, patience: Duration) {
        let patience = Timespec {
            tv_sec: i64::try_from(patience.as_secs()).expect("a short time"),
            tv_nsec: patience.subsec_nanos().into(),
        };
        let mut screen = [PollFd::new(&self.screen, PollFlags::IN)];
        if poll(&mut screen, Some(&patience)).expect("polled") > 0 {
            let mut bytes = [0; 4096];
            let read = self
                .screen
                .read(&mut bytes)
                .unwrap_or_else(|e| panic!("{e}: the shell is gone after {:?}", self.printed));
            self.printed
                .push_str(&String::from_utf8_lossy(&bytes[..read]));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

/// A folder with kclpipe, its completion script for `shell`, and what may be completed.
fn folder(shell: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let program = env!("CARGO_BIN_EXE_kclpipe");
    symlink(program, folder.path().join("kclpipe")).expect("linked");
    let script = Command::new(program)
        .args(["completions", shell])
        .output()
        .expect("kclpipe starts");
    fs::write(folder.path().join("script"), script.stdout).expect("written");
    for name in [
        "unique.args",
        "records.txt",
        "this.properties",
        "only-handler",
    ] {
        fs::write(folder.path().join(name), "").expect("written");
    }
    fs::create_dir(folder.path().join("metrics")).expect("made");
    let executable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(folder.path().join("only-handler"), executable).expect("allowed");
    folder
}

/// Types each line and a TAB, and compares what the shell makes of it. `set_up` ends with a line that shows
/// one, and Ctrl-T shows the line and clears it: no other keys begin with it, for which a shell would wait.
fn completes(shell: &[&str], set_up: &str) {
    let folder = folder(shell[0]);
    let mut terminal = Terminal::start(shell, folder.path());
    terminal.type_in(set_up);
    terminal.line();
    for (typed, expected) in TYPED {
        terminal.type_in(&format!("{typed}\t\u{14}"));
        assert_eq!(terminal.line(), expected, "{typed} in {shell:?}");
    }
}

#[test]
fn bash_completes_what_is_typed() {
    if !are_here("completions in bash", &["bash"]) {
        return;
    }
    let set_up = "source ./script\n\
                  show() { printf '\\x02%s\\x03' \"$READLINE_LINE\"; READLINE_LINE=; }\n\
                  bind 'set enable-bracketed-paste off'; bind -x '\"\\C-t\": show'\n\
                  show\n";
    completes(&["bash", "--norc", "--noprofile", "-i"], set_up);
}

#[test]
fn bash_with_its_own_completions_completes_what_is_typed() {
    let file = "/usr/share/bash-completion/bash_completion";
    if !are_here("completions in bash", &["bash"]) {
        return;
    }
    if !Path::new(file).exists() {
        return skipped("completions in bash", "bash-completion");
    }
    let set_up = format!(
        "source {file}; source ./script\n\
         show() {{ printf '\\x02%s\\x03' \"$READLINE_LINE\"; READLINE_LINE=; }}\n\
         bind 'set enable-bracketed-paste off'; bind -x '\"\\C-t\": show'\n\
         show\n"
    );
    completes(&["bash", "--norc", "--noprofile", "-i"], &set_up);
}

#[test]
fn zsh_completes_what_is_typed() {
    if !are_here("completions in zsh", &["zsh"]) {
        return;
    }
    let set_up = "autoload -Uz compinit; compinit -u -D; source ./script\n\
                  show() { printf '\\x02%s\\x03' \"$BUFFER\"; BUFFER= }\n\
                  zle -N show; bindkey '^T' show\n\
                  show\n";
    completes(&["zsh", "-f", "-i"], set_up);
}

#[test]
fn fish_completes_what_is_typed() {
    if !are_here("completions in fish", &["fish"]) {
        return;
    }
    let folder = folder("fish");
    let path = std::env::var("PATH").expect("a PATH");
    let path = format!("{}:{path}", folder.path().display());
    for (typed, expected) in TYPED {
        let output = Command::new("fish")
            .args(["--no-config", "-c"])
            .arg(format!("source ./script; complete -C '{typed}'"))
            .current_dir(folder.path())
            .env("HOME", folder.path())
            .env("PATH", &path)
            .output()
            .expect("fish starts");
        let offered = String::from_utf8(output.stdout).expect("UTF-8");
        let words: Vec<&str> = offered
            .lines()
            .filter_map(|line| line.split('\t').next())
            .collect();
        let word = expected.trim_end().rsplit(' ').next().expect("a word");
        assert_eq!(words, [word], "{typed}");
    }
}
