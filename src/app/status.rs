//! A look at the shards of this machine.

use std::io::{self, IsTerminal, Write};
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};

use super::{complain, print};
use crate::clean;
use crate::exit;
use crate::http::{self, Bounds};
use crate::status::directory::Directory;
use crate::status::page::Page;
use crate::status::table::{Style, cut, table};
use crate::status::{Settings, Shard};

/// What the server bears: a browser, a scraper, a few probes, and some more.
const BOUNDS: Bounds = Bounds {
    connections: 32,
    body: 0,
    patience: Some(Duration::from_secs(10)),
};

/// Clears a terminal, and goes to its top.
const CLEAR: &str = "\x1b[H\x1b[2J\x1b[3J";

/// Looks once, again and again, or for whoever asks by HTTP.
///
/// # Errors
/// The output cannot be written.
pub(super) fn run(settings: &Settings) -> Result<exit::Status> {
    // That it can be read is worth knowing before anything listens or watches.
    if let Err(e) = Directory::read(&settings.directory, SystemTime::now()) {
        return Ok(complain(&e, exit::Status::Unreadable));
    }
    if let Some(address) = settings.listen {
        let listened = TcpListener::bind(address)
            .with_context(|| format!("cannot listen on {address} (--listen)"));
        return Ok(match listened.and_then(|on| listen(settings, &on)) {
            Ok(()) => exit::Status::Fine,
            Err(e) => complain(&e, exit::Status::Unavailable),
        });
    }
    let Some(every) = settings.watch else {
        return look(settings, false);
    };
    loop {
        if look(settings, io::stdout().is_terminal())? == exit::Status::Unreadable {
            return Ok(exit::Status::Unreadable);
        }
        std::thread::sleep(every);
    }
}

fn listen(settings: &Settings, listener: &TcpListener) -> Result<()> {
    let address = listener.local_addr()?;
    let _ = writeln!(io::stderr(), "kclpipe: serving http://{address}/");
    let site = Page {
        directory: settings.directory.clone(),
        limits: settings.limits.clone(),
        address,
    };
    http::serve(listener, BOUNDS, site);
    Ok(())
}

/// One look; `afresh` clears the terminal before.
fn look(settings: &Settings, afresh: bool) -> Result<exit::Status> {
    let now = SystemTime::now();
    let directory = match Directory::read(&settings.directory, now) {
        Ok(directory) => directory,
        Err(e) => return Ok(complain(&e, exit::Status::Unreadable)),
    };
    for path in &directory.unreadable {
        let name = path.display().to_string();
        let name = clean::line(&name);
        let _ = writeln!(
            io::stderr(),
            "kclpipe: '{name}' is no file of a kclpipe's; ignored"
        );
    }
    let shards = Shard::sorted(directory.files, now);
    let text = if settings.json {
        serde_json::to_string(&shards)? + "\n"
    } else {
        table(&shards, style())
    };
    // In one write with the table, so that a terminal does not flicker.
    print(&match afresh {
        true => CLEAR.to_owned() + &cut(&text, height()),
        false => text,
    })?;
    if shards.is_empty() && !settings.json {
        say_why_empty(&settings.directory);
    }
    let broken = settings.limits.broken(&shards);
    for why in &broken {
        let _ = writeln!(io::stderr(), "kclpipe: {why}");
    }
    Ok(if broken.is_empty() {
        exit::Status::Fine
    } else {
        exit::Status::Failing
    })
}

fn say_why_empty(directory: &Path) {
    let _ = writeln!(
        io::stderr(),
        "kclpipe: no shard: nothing is leased here, or kclpipe does not run with --metrics-dir {}",
        directory.display()
    );
}

/// Colours and a width only for a person: <https://no-color.org>.
fn style() -> Style {
    let is_terminal = io::stdout().is_terminal();
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    Style {
        colored: is_terminal && !is_set("NO_COLOR") && !is_dumb,
        width: is_terminal.then(width).flatten(),
    }
}

fn width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// How many lines the terminal has; all there are where it does not say.
fn height() -> usize {
    let size = rustix::termios::tcgetwinsize(io::stdout());
    let lines = size.map_or(0, |size| usize::from(size.ws_row));
    if lines > 0 { lines } else { usize::MAX }
}
