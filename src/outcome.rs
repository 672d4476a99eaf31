//! What an exit code or an answer line means.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::process::Signal;

/// What a handler made of a record, or of its whole input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Accepted.
    Done,
    /// Accepted, and a checkpoint is requested for here.
    Checkpoint,
    /// Never to be tried again.
    Reject,
    /// To be tried later, not charged.
    Retry,
    /// To be tried again, and charged.
    Fail,
    /// The handler is at fault, not the record: to be tried for ever.
    Broken,
    /// The worker is to stop.
    Halt,
}

/// The names of the classes, as `--on-exit` takes them.
pub(crate) const CLASSES: [(&str, Class); 7] = [
    ("done", Class::Done),
    ("checkpoint", Class::Checkpoint),
    ("reject", Class::Reject),
    ("retry", Class::Retry),
    ("fail", Class::Fail),
    ("broken", Class::Broken),
    ("halt", Class::Halt),
];

impl Class {
    /// Whether it is a record that is done.
    pub fn is_good(self) -> bool {
        matches!(self, Class::Done | Class::Checkpoint)
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = CLASSES
            .iter()
            .find(|(_, class)| class == self)
            .map_or("", |(name, _)| name);
        f.pad(name)
    }
}

/// The exit code that `KCLPIPE_EXIT_REJECT` tells handlers: `EX_DATAERR`.
pub(crate) const REJECT: u8 = 65;

/// The exit code that `KCLPIPE_EXIT_RETRY` tells handlers: `EX_TEMPFAIL`.
pub(crate) const RETRY: u8 = 75;

/// The exit codes whose class the user changed, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OnExit(pub Vec<(u8, Class)>);

impl OnExit {
    /// The class of a handler's end. The codes are those of `sysexits.h`; 111 is qmail's, 126 and 127
    /// are a shell's.
    pub fn class(&self, ended: Ended) -> Class {
        match ended {
            Ended::Code(code) => self.of_code(code),
            Ended::Signal(signal) if is_request_to_stop(signal) => Class::Retry,
            Ended::Signal(_) | Ended::TimedOut | Ended::InvalidAnswer => Class::Fail,
            Ended::NotStarted => Class::Broken,
        }
    }

    /// The code that the user gave a class, for the handler's environment.
    pub fn code_for(&self, class: Class) -> Option<u8> {
        self.0
            .iter()
            .find(|(_, of)| *of == class)
            .map(|(code, _)| *code)
    }

    fn of_code(&self, code: u8) -> Class {
        if let Some((_, class)) = self.0.iter().find(|(of, _)| *of == code) {
            return *class;
        }
        match code {
            0 => Class::Done,
            REJECT => Class::Reject,
            RETRY | 69 | 71 | 74 | 111 => Class::Retry,
            64 | 77 | 78 | 126 | 127 => Class::Broken,
            _ => Class::Fail,
        }
    }
}

/// The signals by which an operator or the system ends a process, rather than a fault of its own.
fn is_request_to_stop(signal: i32) -> bool {
    [Signal::TERM, Signal::INT, Signal::HUP]
        .iter()
        .any(|stop| stop.as_raw() == signal)
}

/// How a handler ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this code.
    Code(u8),
    /// By a signal, by its number, that kclpipe did not send.
    Signal(i32),
    /// kclpipe stopped it at its time limit.
    TimedOut,
    /// kclpipe stopped it because its answers made no sense.
    InvalidAnswer,
    /// It could not be started.
    NotStarted,
}

impl Ended {
    /// In a word that does not change, for a machine: a code as its number, a signal by its name.
    pub fn label(self) -> String {
        match self {
            Ended::Code(code) => code.to_string(),
            Ended::Signal(signal) => match Signal::from_named_raw(signal) {
                Some(name) => signal_name(name),
                None => format!("signal_{signal}"),
            },
            Ended::TimedOut => "timeout".to_owned(),
            Ended::InvalidAnswer => "invalid_answer".to_owned(),
            Ended::NotStarted => "not_started".to_owned(),
        }
    }
}

impl From<ExitStatus> for Ended {
    fn from(status: ExitStatus) -> Ended {
        match (status.code(), status.signal()) {
            (Some(code), _) => Ended::Code(code as u8),
            (None, signal) => Ended::Signal(signal.unwrap_or_default()),
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ended::Code(code) => write!(f, "exit code {code}"),
            Ended::Signal(signal) => match Signal::from_named_raw(*signal) {
                Some(name) => write!(f, "signal {signal} ({})", signal_name(name)),
                None => write!(f, "signal {signal}"),
            },
            Ended::TimedOut => f.write_str("time limit"),
            Ended::InvalidAnswer => f.write_str("an answer that makes no sense"),
            Ended::NotStarted => f.write_str("not started"),
        }
    }
}

/// The signals that a command line may name, and that a report is likely to.
pub const SIGNALS: [(&str, Signal); 14] = [
    ("HUP", Signal::HUP),
    ("INT", Signal::INT),
    ("QUIT", Signal::QUIT),
    ("ILL", Signal::ILL),
    ("ABRT", Signal::ABORT),
    ("FPE", Signal::FPE),
    ("KILL", Signal::KILL),
    ("USR1", Signal::USR1),
    ("SEGV", Signal::SEGV),
    ("USR2", Signal::USR2),
    ("PIPE", Signal::PIPE),
    ("ALRM", Signal::ALARM),
    ("TERM", Signal::TERM),
    ("BUS", Signal::BUS),
];

fn signal_name(signal: Signal) -> String {
    match SIGNALS.iter().find(|(_, known)| *known == signal) {
        Some((name, _)) => format!("SIG{name}"),
        None => format!("{signal:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_exit_code_has_its_class() {
        let table = OnExit::default();
        for (codes, class) in [
            (&[0][..], Class::Done),
            (&[65], Class::Reject),
            (&[75, 69, 71, 74, 111], Class::Retry),
            (&[64, 77, 78, 126, 127], Class::Broken),
            (&[1, 2, 3, 66, 70, 99, 100, 125, 128, 137, 255], Class::Fail),
        ] {
            for code in codes {
                assert_eq!(table.class(Ended::Code(*code)), class, "code {code}");
            }
        }
        for (signals, class) in [
            (&[15, 2, 1][..], Class::Retry),
            (&[9, 11, 6, 13], Class::Fail),
        ] {
            for signal in signals {
                assert_eq!(
                    table.class(Ended::Signal(*signal)),
                    class,
                    "signal {signal}"
                );
            }
        }
        assert_eq!(table.class(Ended::TimedOut), Class::Fail);
        assert_eq!(table.class(Ended::NotStarted), Class::Broken);
    }

    #[test]
    fn each_end_has_a_word_for_machines() {
        for (ended, label) in [
            (Ended::Code(0), "0"),
            (Ended::Code(255), "255"),
            (Ended::Signal(9), "SIGKILL"),
            (Ended::Signal(40), "signal_40"),
            (Ended::TimedOut, "timeout"),
            (Ended::InvalidAnswer, "invalid_answer"),
            (Ended::NotStarted, "not_started"),
        ] {
            assert_eq!(ended.label(), label);
        }
    }

    #[test]
    fn on_exit_comes_before_the_table() {
        let table = OnExit(vec![
            (99, Class::Checkpoint),
            (1, Class::Halt),
            (0, Class::Fail),
        ]);
        assert_eq!(table.class(Ended::Code(99)), Class::Checkpoint);
        assert_eq!(table.class(Ended::Code(0)), Class::Fail);
        assert_eq!(
            (table.code_for(Class::Halt), table.code_for(Class::Reject)),
            (Some(1), None)
        );
    }

    #[test]
    fn an_end_is_named_in_words() {
        let said = [
            Ended::Code(3),
            Ended::Signal(9),
            Ended::Signal(34),
            Ended::TimedOut,
        ]
        .map(|e| e.to_string());
        assert_eq!(
            said,
            [
                "exit code 3",
                "signal 9 (SIGKILL)",
                "signal 34",
                "time limit"
            ]
        );
    }
}
