//! Which records of a read are for no handler: judged before anything is kept for them.
//!
//! A read may hold far more than its size shows, where payloads are compressed, and patterns may be many. So it is
//! judged in several turns, and taken in when all of it is: a window has to see it whole.

use std::rc::Rc;

use super::dispatch::Turn;
use crate::filter::Filter;
use crate::format::Payloads;
use crate::handler::{Read, Settings};
use crate::record::Record;

/// The user's filter, with what it takes to see payloads.
#[derive(Debug)]
pub(super) struct Filtering {
    settings: Rc<Settings>,
    payloads: Payloads,
    judging: Option<Judged>,
}

/// What the daemon read, as far as it is judged.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) read: Read,
    /// For each record whether it is filtered; nothing where there is no filter.
    pub(super) filtered: Vec<bool>,
}

impl Filtering {
    pub(super) fn new(settings: &Rc<Settings>) -> Filtering {
        Filtering {
            settings: Rc::clone(settings),
            payloads: Payloads::new(settings.decompress),
            judging: None,
        }
    }

    /// Takes a read that is to be judged; the one before it has been.
    pub(super) fn begin(&mut self, read: Read) {
        debug_assert!(self.judging.is_none(), "there is no room for two");
        self.judging = Some(Judged {
            read,
            filtered: Vec::new(),
        });
    }

    /// Whether a read is not judged to its end.
    pub(super) fn is_judging(&self) -> bool {
        self.judging.is_some()
    }

    /// The read is ours no more.
    pub(super) fn withdraw(&mut self) {
        self.judging = None;
    }

    /// Goes on judging for this turn; the read, once all of it is judged.
    pub(super) fn judge(&mut self, turn: &mut Turn) -> Option<Judged> {
        let mut judged = self.judging.take()?;
        let settings = Rc::clone(&self.settings);
        if let Some(filter) = &settings.filter
            && !self.judge_records(filter, &mut judged, turn)
        {
            self.judging = Some(judged);
            return None;
        }
        Some(judged)
    }

    /// Judges one record after the other; whether that was the last.
    fn judge_records(&mut self, filter: &Filter, judged: &mut Judged, turn: &mut Turn) -> bool {
        let Judged { read, filtered } = judged;
        let mut memory = String::new();
        for place in filtered.len()..read.batch.len() {
            if turn.has_enough() {
                return false;
            }
            let record = read.batch.record(place, &mut memory);
            // One that cannot be read is an error where it is handed over.
            filtered.push(record.is_ok_and(|record| !self.passes(filter, &record, turn)));
        }
        let count = filtered.iter().filter(|filtered| **filtered).count();
        log::debug!("{count} of {} records are filtered", filtered.len());
        true
    }

    fn passes(&mut self, filter: &Filter, record: &Record<'_>, turn: &mut Turn) -> bool {
        let key = record.header.partition_key;
        if !filter.needs_payload() {
            return filter.passes(key, None);
        }
        let passes = match self.payloads.payload(record) {
            Ok(payload) => filter.passes(key, payload.ok()),
            // The daemon broke the protocol, which is an error where the record is handed over.
            Err(_) => true,
        };
        // Each pattern may go through all of it.
        turn.bytes += self.payloads.size() * filter.pattern_count() as u64;
        passes
    }
}
