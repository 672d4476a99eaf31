//! What handlers say.

use kclpipe::testing::handler::{Per, Role};

use super::{Class, Why};
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
            Per::Shard { plain, .. } | Per::Event { plain, .. } => {
                self.hear_shard(role, word, n, say.tokened || plain)
            }
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
        match word {
            Word::Upto | Word::Checkpoint => self.answered(role, records, word == Word::Checkpoint),
            _ if records > 1 => self.invalid(role),
            Word::Ok => self.answered(role, 1, false),
            Word::Retry => self.answered_badly(role, Class::Retry),
            Word::Reject => self.answered_badly(role, Class::Reject),
            Word::Fail => self.answered_badly(role, Class::Fail),
            Word::Progress | Word::Halt | Word::Nonsense => self.invalid(role),
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
        }
    }
}
