//! What kclpipe hands over: to whom, what, and when.

use kclpipe::testing::format::Format;
use kclpipe::testing::handler::{Per, Role};

use super::{Hand, Place};
use crate::draw::Policy;
use crate::handlers::{Child, Frame};
use crate::world::World;

impl World {
    /// A handler is about to start with these records.
    pub(crate) fn judge_start(
        &mut self,
        child: &Child,
        frames: &[Frame],
        attempt: Option<u32>,
        bytes: usize,
    ) {
        self.judge.last_sign = self.now;
        let Role::Handler(slot) = child.role else {
            return;
        };
        if frames.is_empty() {
            return self.breaks("a handler starts without a record");
        }
        if self.now < self.judge.rests[slot].until {
            self.breaks("a handler starts before its delay is over");
        }
        self.judge.hands.push(Hand {
            id: child.id,
            role: child.role,
            places: Vec::new(),
            given: 0,
            answered: 0,
            began: (0, 0),
            fed: 0,
            alive: self.now,
            said: None,
            nonsense: false,
            asked: false,
            reply: None,
            must_stop: None,
            stopped: None,
            run: None,
        });
        self.judge_feed(child.role, frames, bytes);
        let first = self
            .judge
            .hands
            .last()
            .and_then(|hand| hand.places.first().copied());
        let handed = first.map(|place| self.judge.batch[place].handed + 1);
        if attempt.is_some() && attempt != handed {
            self.breaks(format!(
                "KCLPIPE_ATTEMPT is {attempt:?} where {handed:?} is right"
            ));
        }
    }

    /// A handler that has nothing is given a batch, or its first records.
    fn judge_first(&mut self, role: Role, frames: &[Frame]) {
        self.judge_limits();
        self.judge_batch(frames);
        self.judge_size(frames);
        self.note_borders(frames);
        let first = frames.first().and_then(|frame| self.place_of(frame.rec));
        let run = first.and_then(|place| self.judge.batch[place].run);
        let Some(hand) = self.hand(role) else { return };
        (hand.run, hand.said) = (run, None);
        hand.began = (hand.given, hand.answered);
    }

    /// A batch has no more bytes than it may.
    fn judge_size(&mut self, frames: &[Frame]) {
        if let Per::Batch {
            bytes: Some(most), ..
        }
        | Per::Event {
            bytes: Some(most), ..
        } = self.life.per
        {
            let payload: usize = frames
                .iter()
                .map(|frame| self.daemon.records[frame.rec].payload.len())
                .sum();
            if frames.len() > 1 && payload as u64 > most + 2 * frames.len() as u64 {
                self.breaks(format!("{payload} bytes in one batch, of {most}"));
            }
        }
    }

    /// An event is given to one that has none, and that may have more in its life.
    fn judge_event(&mut self, role: Role) {
        let most = self.life.max_records();
        let Some(hand) = self.hand(role) else { return };
        let (has, given) = (hand.places.len(), hand.given);
        if has > 0 {
            self.breaks("an event is given before the one before it is answered");
        }
        if most.is_some_and(|most| given >= most) {
            self.breaks("an event is given to a process that has had all its records");
        }
    }

    fn note_borders(&mut self, frames: &[Frame]) {
        let records = &self.daemon.records;
        let Some(last) = frames.last().map(|frame| frame.rec) else {
            return;
        };
        let cut = records
            .get(last + 1)
            .is_some_and(|next| next.pos.0 == records[last].pos.0);
        if cut && self.life.gives_batches() {
            self.seen.hit("aggregate cut by a border");
        }
    }

    /// A handler is given records.
    pub(crate) fn judge_feed(&mut self, role: Role, frames: &[Frame], bytes: usize) {
        let now = self.now;
        self.judge.last_sign = now;
        let printed = self
            .child(role)
            .and_then(|child| Some(child.says.front()?.at));
        let idle = self.hand(role).is_some_and(|hand| hand.places.is_empty());
        if idle && printed.is_some_and(|at| at <= now) {
            self.breaks("more is given before it is read what the handler has printed");
        }
        if self.life.gives_events() {
            self.judge_event(role);
        }
        if idle && !frames.is_empty() {
            self.judge_first(role, frames);
        }
        if let Some(hand) = self.hand(role) {
            if hand.places.is_empty() {
                (hand.fed, hand.alive) = (0, now);
            }
            hand.fed += bytes as u64;
        }
        if frames.iter().map(|frame| frame.bytes).sum::<u64>() != bytes as u64
            && self.life.format != Format::Raw
        {
            self.breaks("bytes on a handler's stdin that are no record");
        }
        for frame in frames {
            self.judge_given(role, frame);
        }
    }

    fn judge_given(&mut self, role: Role, frame: &Frame) {
        let Some(place) = self.place_of(frame.rec) else {
            return self.breaks(format!(
                "record {} is handed over, which is not under way",
                frame.rec
            ));
        };
        if let Some(why) = self.forbids(role, place) {
            self.breaks(format!("record {} is handed over {why}", frame.rec));
        }
        let pos = self.daemon.records[frame.rec].pos;
        if self.life.takes_replies() && frame.id != Some(pos) {
            self.breaks(format!("record {} has eventID {:?}", frame.rec, frame.id));
        }
        let handed = self.judge.batch[place].handed;
        if frame.attempt.is_some_and(|attempt| attempt != handed + 1) {
            self.breaks(format!(
                "record {} has attempt {:?}, after {handed}",
                frame.rec, frame.attempt
            ));
        }
        let inflight = self.life.inflight();
        let Some(hand) = self.hand(role) else { return };
        hand.places.push(place);
        hand.given += 1;
        let (id, given, has) = (hand.id, hand.given, hand.places.len());
        if has > inflight {
            self.breaks(format!("{has} records in one handler, of {inflight}"));
        }
        if frame.n.is_some_and(|n| n != given) {
            self.breaks(format!(
                "record {} has n {:?}, not {given}",
                frame.rec, frame.n
            ));
        }
        if let Per::Shard {
            max_records: Some(most),
            ..
        } = self.life.per
            && given > most
        {
            self.breaks(format!("{given} records for one handler, of {most}"));
        }
        if self.judge.batch[place].alone && self.judge.batch[place].handed > 0 {
            self.seen.hit("suspect given alone");
        }
        self.judge.batch[place].out = Some(id);
    }

    /// Where a record is: it may have come twice.
    fn place_of(&self, rec: usize) -> Option<usize> {
        let mut places = self.judge.batch.iter();
        let waits = |place: &Place| place.out.is_none() && !place.done && place.letter.is_none();
        let place = places.position(|place| place.rec == rec && waits(place));
        place.or_else(|| self.judge.batch.iter().position(|place| place.rec == rec))
    }

    /// Why a record may not be handed over to this handler now.
    fn forbids(&mut self, role: Role, place: usize) -> Option<&'static str> {
        let now = self.now;
        let hand = self.hand(role)?;
        let (id, others, ended) = (
            hand.id,
            hand.places.clone(),
            hand.stopped.is_some() || hand.must_stop.is_some(),
        );
        let judge = &self.judge;
        let this = &judge.batch[place];
        let key = |place: &Place| {
            if self.life.jobs == 1 {
                0
            } else {
                self.daemon.records[place.rec].key
            }
        };
        let before = judge.batch[..place]
            .iter()
            .filter(|before| key(before) == key(this));
        let blocked = match self.life.policy {
            Policy::File => judge.batch.iter().any(|place| place.letter.is_some()),
            Policy::Command => judge.letter_fails,
            _ => false,
        };
        let elsewhere = judge
            .batch
            .iter()
            .any(|other| key(other) == key(this) && other.out.is_some_and(|holder| holder != id));
        let out_of_order = before.clone().any(|before| {
            !before.done
                && before.letter.is_none()
                && before.out != Some(id)
                && !self.is_unfit(before.rec)
        });
        [
            (this.done, "though it is done"),
            (this.letter.is_some(), "though its letter waits"),
            (this.out.is_some(), "though another handler has it"),
            (now < this.retry_at, "before its delay is over"),
            (elsewhere, "while another handler has one of its key"),
            (out_of_order, "before an older one of its key"),
            (
                judge.finishing || judge.halted || judge.withdrawn,
                "though the work has ended",
            ),
            (now < judge.paused_until, "though kclpipe was asked to stop"),
            (blocked, "though a letter cannot be got rid of"),
            (
                now < judge.broken_until && this.handed == 0,
                "though the handler was found broken",
            ),
            (
                this.goes_alone() && !others.is_empty(),
                "with others, though it goes alone",
            ),
            (
                others.iter().any(|other| judge.batch[*other].goes_alone()),
                "beside one that goes alone",
            ),
            (ended, "to a handler that is being stopped"),
        ]
        .into_iter()
        .find(|(forbidden, _)| *forbidden)
        .map(|(_, why)| why)
    }

    pub(crate) fn judge_not_started(&mut self, role: Role) {
        match role {
            Role::Handler(_) => {
                let Some(hand) = self.take_hand(role) else {
                    return;
                };
                self.broken(&hand.places);
            }
            Role::DeadLetter => self.letter_command_failed(),
            Role::Hook => self.hook_failed(),
        }
    }

    pub(super) fn take_hand(&mut self, role: Role) -> Option<Hand> {
        let place = self.judge.hands.iter().position(|hand| hand.role == role)?;
        Some(self.judge.hands.remove(place))
    }
}
