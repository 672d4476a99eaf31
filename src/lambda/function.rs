//! The loop around the conversation: the function's process, the calls, the events, the time.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::AsFd;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, anyhow};
use rustix::io::ioctl_fionbio;
use rustix::process::Signal;

use super::answer::Answer;
use super::call::{self, Call};
use super::conversation::{Caller, Conversation, Output};
use super::events::{Brought, Events};
use super::site::{Api, Asked, BOUNDS};
use super::{Settings, environment, say};
use crate::due::Due;
use crate::exit;
use crate::http::{self, Client, Response};
use crate::outcome::Ended;
use crate::process::{Happening, Processes, Stop};

/// The only child.
const FUNCTION: usize = 0;

/// How the function is stopped. It has nothing in its hands then; on Lambda it would be killed at once.
const STOP: Stop = Stop {
    signal: Signal::TERM,
    timeout: Duration::from_secs(2),
};

/// Serves a function, from its start to its end: events come from `input`, and answers go to `output`.
///
/// # Errors
/// The system failed us, or an answer cannot be written.
pub(crate) fn run(
    settings: &Settings,
    input: &File,
    output: &mut dyn Write,
) -> Result<exit::Lambda> {
    let (asked, calls) = channel();
    let (bell, ringer) = io::pipe().context("no pipe for the bell")?;
    // A bell that nobody has heard yet needs no second ring, and a caller must not wait to ring it.
    ioctl_fionbio(&ringer, true)?;
    let address = match listen(asked, ringer) {
        Ok(address) => address,
        Err(e) => return Ok(broken(&e)),
    };
    let mut processes = Processes::new(Some(input.as_fd()), true)?;
    processes.rung_by(bell)?;
    let mut variables = settings.environment.clone();
    variables.push(environment::of_api(&address));
    if let Err(e) = processes.start_beside(FUNCTION, &settings.command, &variables) {
        return Ok(broken(&anyhow!(
            "the function '{}' cannot be started: {}",
            settings.command.program.display(),
            settings.command.explain(&e)
        )));
    }
    let exit = Function {
        settings,
        processes: &mut processes,
        calls,
        events: Events::new(input),
        output,
        conversation: Conversation::new(settings.timeout, call::new_id, Instant::now()),
        callers: BTreeMap::new(),
        callers_so_far: 0,
        exit: exit::Lambda::Failed,
    }
    .run();
    processes.end_orphans();
    exit
}

/// Serves the API from a thread of its own; where.
fn listen(asked: Sender<Asked>, bell: io::PipeWriter) -> Result<String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .context("no port of 127.0.0.1 can be listened on")?;
    let address = listener.local_addr()?;
    let api = Api {
        address,
        asked,
        bell,
    };
    thread::Builder::new().spawn(move || http::serve(&listener, BOUNDS, api))?;
    Ok(address.to_string())
}

fn broken(why: &anyhow::Error) -> exit::Lambda {
    say(&format!("{why:#}"));
    exit::Lambda::Broken
}

/// All that takes part.
struct Function<'a, 'fd> {
    settings: &'a Settings,
    processes: &'a mut Processes<'fd>,
    calls: Receiver<Asked>,
    events: Events<&'a File>,
    output: &'a mut dyn Write,
    conversation: Conversation,
    /// Who waits for a response, and where that goes.
    callers: BTreeMap<Caller, (Client, Sender<Response>)>,
    callers_so_far: Caller,
    exit: exit::Lambda,
}

impl Function<'_, '_> {
    fn run(mut self) -> Result<exit::Lambda> {
        while self.processes.any_running() {
            self.take_events()?;
            let now = Instant::now();
            let due = self.conversation.due(now);
            if let Due::Now(()) = due {
                let outputs = self.conversation.time_is_up();
                self.follow(outputs)?;
            }
            let reads = self.conversation.wants_event();
            let happened = self.processes.wait(reads, due.wake(now))?;
            happened.into_iter().try_for_each(|what| self.take(what))?;
        }
        Ok(self.exit)
    }

    /// Takes events that are read already.
    fn take_events(&mut self) -> Result<()> {
        while self.conversation.wants_event()
            && let Some(event) = self.events.take()
        {
            self.forget_who_left();
            let outputs = self.conversation.event(event, Instant::now());
            self.follow(outputs)?;
        }
        Ok(())
    }

    fn take(&mut self, happened: Happening) -> Result<()> {
        let outputs = match happened {
            Happening::Input => return self.read(),
            Happening::Rung => return self.take_calls(),
            Happening::Signal(_) => self.conversation.stop(),
            Happening::Ended { status, .. } => {
                let how = Ended::from(status).to_string();
                self.conversation.died(&how)
            }
            // It has no pipes of ours.
            Happening::Line { .. } | Happening::Fed { .. } => Vec::new(),
        };
        self.follow(outputs)
    }

    fn read(&mut self) -> Result<()> {
        let brought = self
            .events
            .read()
            .context("cannot read the events on stdin")?;
        let Brought::End { torn } = brought else {
            return self.take_events();
        };
        if torn {
            say("the events on stdin end within a line, which is dropped");
        }
        let outputs = self.conversation.input_ended();
        self.follow(outputs)
    }

    fn take_calls(&mut self) -> Result<()> {
        while let Ok(asked) = self.calls.try_recv() {
            self.forget_who_left();
            self.callers_so_far += 1;
            let caller = self.callers_so_far;
            self.callers.insert(caller, (asked.client, asked.reply));
            let outputs = self.call(caller, asked.call);
            self.follow(outputs)?;
        }
        Ok(())
    }

    fn call(&mut self, caller: Caller, call: Call) -> Vec<Output> {
        let (talk, now) = (&mut self.conversation, Instant::now());
        match call {
            Call::Next => talk.next(caller, now),
            Call::Respond { id, body } => talk.respond(caller, &id, body, now),
            Call::Fail { id, words } => talk.fail(caller, &id, &words, now),
            Call::Unreadable { id, why } => talk.unreadable(caller, &id, why, now),
            Call::InitFailed { words } => talk.init_failed(caller, &words),
        }
    }

    /// An event for a caller that has gone would be nobody's, and another call would be refused for its sake.
    fn forget_who_left(&mut self) {
        let before = self.callers.len();
        self.callers.retain(|_, (client, _)| !client.is_gone());
        // Only who asks for an event waits between two calls.
        if self.callers.len() < before {
            self.conversation.left();
        }
    }

    fn follow(&mut self, outputs: Vec<Output>) -> Result<()> {
        outputs
            .into_iter()
            .try_for_each(|output| self.do_one(output))
    }

    fn do_one(&mut self, output: Output) -> Result<()> {
        match output {
            Output::Give { to, id, event } => {
                let (arn, timeout) = (&self.settings.arn, self.settings.timeout);
                self.reply(to, call::event(id, event, arn, timeout, SystemTime::now()));
            }
            Output::Accept(to) => self.reply(to, call::accepted()),
            Output::Refuse(to, why) => self.reply(to, call::refused(why)),
            Output::Answer(answer) => return self.write(&answer),
            Output::Say(text) => say(&text),
            Output::End(exit) => {
                self.exit = exit;
                self.processes.stop(FUNCTION, STOP);
            }
        }
        Ok(())
    }

    fn reply(&mut self, to: Caller, response: Response) {
        if let Some((_, reply)) = self.callers.remove(&to) {
            // Its thread may be gone with its connection.
            let _ = reply.send(response);
        }
    }

    fn write(&mut self, answer: &Answer) -> Result<()> {
        let line = answer.line(self.settings.token.as_deref());
        self.output
            .write_all(&line)
            .context("cannot write an answer to stdout")
    }
}
