//! Which records of a read are for no handler: judged before anything is kept for them.

use std::rc::Rc;

use crate::filter::Filter;
use crate::format::Payloads;
use crate::handler::Settings;
use crate::record::{Batch, Record};

/// The user's filter, with what it takes to see payloads.
#[derive(Debug)]
pub(super) struct Filtering {
    settings: Rc<Settings>,
    payloads: Payloads,
}

impl Filtering {
    pub(super) fn new(settings: &Rc<Settings>) -> Filtering {
        Filtering {
            settings: Rc::clone(settings),
            payloads: Payloads::new(settings.decompress),
        }
    }

    /// For each record of a batch whether it is filtered; nothing where none is.
    pub(super) fn filtered(&mut self, batch: &Batch) -> Vec<bool> {
        let settings = Rc::clone(&self.settings);
        let Some(filter) = &settings.filter else {
            return Vec::new();
        };
        let mut memory = String::new();
        let filtered = (0..batch.len()).map(|index| {
            let record = batch.record(index, &mut memory);
            // One that cannot be read is an error where it is handed over.
            record.is_ok_and(|record| !self.passes(filter, &record))
        });
        let filtered: Vec<bool> = filtered.collect();
        let count = filtered.iter().filter(|filtered| **filtered).count();
        log::debug!("{count} of {} records are filtered", filtered.len());
        filtered
    }

    fn passes(&mut self, filter: &Filter, record: &Record<'_>) -> bool {
        let key = record.header.partition_key;
        if !filter.needs_payload() {
            return filter.passes(key, None);
        }
        match self.payloads.payload(record) {
            Ok(payload) => filter.passes(key, payload.ok()),
            // The daemon broke the protocol, which is an error where the record is handed over.
            Err(_) => true,
        }
    }
}
