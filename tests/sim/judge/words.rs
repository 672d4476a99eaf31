//! What handlers say.

use kclpipe::testing::handler::{Per, Role};

use super::{Class, Hand, Why};
use crate::handlers::Say;
use crate::script::Word;
use crate::world::World;

impl World {
    /// kclpipe has read a line of a child's.
    pub(crate) fn judge_line(&mut self, role: Role, say: &Say) {
        self.judge.last_sign = self.now;
        let Some((word, n)) = say.word.filter(|_| matches!(role, Role::Handler(_))) else {
            return;
        };
        let Some(hand) = self.hand(role) else { return };
        if hand.stopped.is_some() || hand.must_stop.is_some() {
            return;
        }
        match self.life.per {
            Per::Record => self.hear_record(role, word, n, say.tokened),
            Per::Batch { .. } => self.hear_batch(role, word, n, say.tokened),
            Per::Shard { plain, .. } => self.hear_shard(role, word, n, say.tokened || plain),
            Per::Event { plain, .. } => self.hear_event(role, word, n, (say.tokened, plain)),
        }
    }

    fn hear_record(&mut self, role: Role, word: Word, n: Option<u64>, tokened: bool) {
        let now = self.now;
        let Some(hand) = self.hand(role) else { return };
        match (word, n) {
            (Word::Progress, None) => hand.alive = now,
            (Word::Checkpoint, None) => hand.asked = true,
            _ if !tokened => {}
            (word, n) => {
                hand.said = Some(word);
                hand.nonsense = n.is_some() || matches!(word, Word::Upto | Word::Nonsense);
            }
        }
    }

    fn hear_batch(&mut self, role: Role, word: Word, n: Option<u64>, tokened: bool) {
        let now = self.now;
        let Some(hand) = self.hand(role) else { return };
        match (word, n) {
            (Word::Progress, None) => hand.alive = now,
            (Word::Checkpoint, None) => hand.asked = true,
            (Word::Done | Word::Lowest(..), None) => hand.reply = Some(word),
            _ if !tokened => {}
            (Word::Halt, None) => self.halt(),
            (word, Some(n)) => self.take_answer(role, word, n),
            _ => self.invalid(role),
        }
    }

    fn hear_shard(&mut self, role: Role, word: Word, n: Option<u64>, counts: bool) {
        if !counts {
            return;
        }
        let (now, inflight) = (self.now, self.life.inflight());
        let Some(hand) = self.hand(role) else { return };
        let next = hand.answered + 1;
        match (word, n.or((inflight == 1).then_some(next))) {
            (Word::Nonsense, _) => self.invalid(role),
            (Word::Progress, _) => hand.alive = now,
            (Word::Halt, _) => self.halt(),
            _ if hand.places.is_empty() => self.invalid(role),
            (Word::Upto, Some(n)) if n == next - 1 => self.invalid(role),
            (word, Some(n)) => self.take_answer(role, word, n),
            (_, None) => self.invalid(role),
        }
    }

    fn hear_event(
        &mut self,
        role: Role,
        word: Word,
        n: Option<u64>,
        (tokened, plain): (bool, bool),
    ) {
        // What is no word is log output there.
        if !tokened && (!plain || word == Word::Nonsense) {
            return;
        }
        let now = self.now;
        let Some(hand) = self.hand(role) else { return };
        let began = hand.began.1;
        match (word, n) {
            (Word::Progress, None) => hand.alive = now,
            (Word::Halt, None) => self.halt(),
            _ if hand.places.is_empty() => self.second_answer(role),
            (word, Some(n)) => self.take_answer(role, word, began + n),
            (Word::Upto, None) => self.invalid(role),
            _ if self.is_unread(role) => self.unread_answer(role),
            (Word::Ok | Word::Done, None) => self.event_done(role, false),
            (Word::Checkpoint, None) => self.event_done(role, true),
            (Word::Retry, None) => self.event_failed(role, Class::Retry),
            (Word::Reject, None) => self.event_failed(role, Class::Reject),
            (Word::Fail | Word::Nonsense, None) => {
                self.event_failed(role, Class::Fail);
            }
            (Word::Lowest(sequence_number, place), None) => {
                self.event_failed_from(role, sequence_number, place);
            }
        }
    }

    fn second_answer(&mut self, role: Role) {
        self.seen.hit("a second answer to an event");
        self.invalid(role);
    }

    /// Whether a handler has not read all that it was given; a line feed may be left.
    fn is_unread(&mut self, role: Role) -> bool {
        self.child(role)
            .is_some_and(|child| child.stdin.unread() > 1)
    }

    fn unread_answer(&mut self, role: Role) {
        self.seen.hit("an answer to an event that was not read");
        self.invalid(role);
    }

    fn event_done(&mut self, role: Role, checkpoint_request: bool) {
        let records = self.hand(role).map_or(0, |hand| hand.places.len());
        self.answered(role, records, checkpoint_request);
    }

    /// The event failed, and it says not where.
    fn event_failed(&mut self, role: Role, class: Class) {
        let Some(hand) = self.give_up_event(role) else {
            return;
        };
        self.seen.hit("an event that failed without a name");
        if hand.given - hand.began.0 == 1 {
            self.found(&hand);
            self.settle(hand.places[0], class);
        } else {
            self.unnamed(&hand, class);
        }
    }

    /// The records of the event before this one are done; one that it has not is none.
    fn event_failed_from(&mut self, role: Role, sequence_number: u64, place: Option<u64>) {
        let Some(hand) = self.hand(role).cloned() else {
            return;
        };
        let Some(records) = self.named_by(&hand, sequence_number, place) else {
            return self.event_failed(role, Class::Fail);
        };
        self.seen.hit("a reply that lists a record");
        self.answered(role, records, false);
        let Some(hand) = self.give_up_event(role) else {
            return;
        };
        self.found(&hand);
        self.settle(hand.places[0], Class::Fail);
        self.come_back(&hand.places[1..], None);
    }

    /// How many records come before the one that a reply names; `None` if the handler has it not.
    pub(super) fn named_by(
        &self,
        hand: &Hand,
        sequence_number: u64,
        place: Option<u64>,
    ) -> Option<usize> {
        let is_named = |index: &usize| {
            let pos = self.daemon.records[self.judge.batch[*index].rec].pos;
            pos.0 == sequence_number && place.is_none_or(|place| pos.1 == place)
        };
        hand.places.iter().position(is_named)
    }

    /// Nothing of its event is the handler's any more, as it was until then.
    fn give_up_event(&mut self, role: Role) -> Option<Hand> {
        self.unrest(role);
        let hand = self.hand(role)?;
        let before = hand.clone();
        hand.places.clear();
        hand.answered = hand.given;
        Some(before)
    }

    /// Where all of an event is answered, a handler's batch is done.
    fn end_event(&mut self, role: Role) {
        let over = self.hand(role).is_some_and(|hand| hand.places.is_empty());
        if self.life.gives_events() && over {
            self.note_batch_done();
        }
    }

    fn invalid(&mut self, role: Role) {
        self.seen.hit("invalid answer");
        if let Some(hand) = self.hand(role) {
            hand.must_stop = Some(Why::Invalid);
        }
    }

    /// An answer about record `n`.
    fn take_answer(&mut self, role: Role, word: Word, n: u64) {
        let now = self.now;
        let Some(hand) = self.hand(role) else { return };
        if word == Word::Nonsense {
            return self.invalid(role);
        }
        let (answered, open) = (hand.answered, hand.places.len() as u64);
        if word == Word::Upto && n == answered {
            hand.said = Some(word);
            return;
        }
        if n <= answered || n > answered + open {
            return self.invalid(role);
        }
        (hand.alive, hand.said) = (now, Some(word));
        let records = (n - answered) as usize;
        if self.life.gives_events() && records as u64 == open && self.is_unread(role) {
            return self.unread_answer(role);
        }
        match word {
            Word::Upto | Word::Checkpoint => self.answered(role, records, word == Word::Checkpoint),
            _ if records > 1 => self.invalid(role),
            Word::Ok => self.answered(role, 1, false),
            Word::Retry => self.answered_badly(role, Class::Retry),
            Word::Reject => self.answered_badly(role, Class::Reject),
            Word::Fail => self.answered_badly(role, Class::Fail),
            Word::Progress | Word::Halt | Word::Nonsense | Word::Done | Word::Lowest(..) => {
                self.invalid(role);
            }
        }
    }

    fn answered(&mut self, role: Role, records: usize, checkpoint_request: bool) {
        let Some(hand) = self.hand(role) else { return };
        let places: Vec<usize> = hand.places.drain(..records).collect();
        hand.answered += records as u64;
        let hand = hand.clone();
        self.cleared_by(&hand, records);
        self.unrest(role);
        for (index, place) in places.iter().enumerate() {
            if checkpoint_request && index + 1 == records {
                self.checkpoint_request(*place);
            }
            self.done(*place);
        }
        self.end_event(role);
    }

    fn answered_badly(&mut self, role: Role, class: Class) {
        let Some(hand) = self.hand(role) else { return };
        let place = hand.places.remove(0);
        hand.answered += 1;
        let more = !hand.places.is_empty();
        let hand = hand.clone();
        self.found(&hand);
        let until = self.settle(place, class);
        let again = until.is_some() || self.judge.halted;
        if again && more {
            self.rest_as(role, until);
            if let Some(hand) = self.hand(role) {
                hand.must_stop = Some(Why::OutOfOrder);
            }
        } else {
            self.end_event(role);
        }
    }
}
