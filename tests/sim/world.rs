//! What everything in a life shares: the time, the dice, and what has been seen.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kclpipe::testing::clock::Clock;

use crate::coverage::Coverage;
use crate::daemon::Daemon;
use crate::draw::Draw;
use crate::handlers::Child;
use crate::judge::Judge;
use crate::slots::HostSlot;

/// So often may one moment be asked for before that is a loop without an end.
const LOOKS: u32 = 100_000;

/// The time of day at which a life begins.
const EPOCH: u64 = 1_700_000_000_000;

/// Random numbers that depend on what they are for and on nothing else: to change one thing of a life leaves
/// the dice of all others as they were.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dice(pub u64);

/// Random numbers for one purpose.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rng(u64);

impl Dice {
    /// For the purpose of this name and these numbers.
    pub(crate) fn rng(self, name: &str, numbers: &[u64]) -> Rng {
        let bytes = name.bytes().map(u64::from);
        let parts = bytes.chain(numbers.iter().copied());
        Rng(parts.fold(mix(self.0), |state, part| mix(state ^ mix(part))))
    }
}

/// One step of splitmix64.
fn mix(state: u64) -> u64 {
    let z = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = mix(self.0);
        self.0
    }

    /// A number below `n`.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    /// A number of this range, both ends included.
    pub(crate) fn within(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to - from + 1)
    }

    /// Whether one chance of `percent` in a hundred comes true.
    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of these.
    pub(crate) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize].clone()
    }

    /// A duration of at most so many milliseconds, as one of these says.
    pub(crate) fn up_to(&mut self, most: &[u64]) -> Duration {
        let most = self.pick(most);
        self.millis(0, most)
    }

    /// A duration of so many milliseconds.
    pub(crate) fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(self.within(from, to))
    }
}

/// A life, as far as it has come.
pub(crate) struct World {
    pub(crate) now: Duration,
    pub(crate) dice: Dice,
    pub(crate) life: Draw,
    pub(crate) daemon: Daemon,
    pub(crate) children: Vec<Child>,
    pub(crate) host_slot: HostSlot,
    pub(crate) judge: Judge,
    pub(crate) seen: Coverage,
    /// How often kclpipe did something that others can see, in this session.
    pub(crate) effects: u64,
    /// Where batches ended whose borders are a function of the records, by their first records.
    pub(crate) batches: BTreeMap<usize, usize>,
    /// How often a handler has had trouble with each record.
    pub(crate) tries: Vec<u64>,
    /// The process is gone: nothing that it does counts any more.
    pub(crate) killed: bool,
    /// The rule that was broken first.
    pub(crate) broken: Option<String>,
    /// What happened, where somebody will read it.
    transcript: Option<Vec<String>>,
}

/// The world, as all of its inhabitants have it.
#[derive(Clone)]
pub(crate) struct Shared {
    world: Rc<RefCell<World>>,
    base: Instant,
    looks: Rc<Cell<(Duration, u32)>>,
}

impl World {
    pub(crate) fn new(life: Draw, told: bool) -> World {
        let dice = Dice(life.seed);
        World {
            now: Duration::ZERO,
            dice,
            daemon: Daemon::new(&life, dice),
            children: Vec::new(),
            host_slot: HostSlot::None,
            judge: Judge::default(),
            seen: Coverage::default(),
            effects: 0,
            batches: BTreeMap::new(),
            tries: vec![0; life.records],
            killed: false,
            broken: None,
            transcript: told.then(Vec::new),
            life,
        }
    }

    /// Notes a line of the transcript.
    pub(crate) fn tell(&mut self, mark: char, text: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.transcript {
            lines.push(format!(
                "{:>12.3} {mark} {}",
                self.now.as_secs_f64(),
                text()
            ));
        }
    }

    /// A rule is broken: the life ends here.
    pub(crate) fn breaks(&mut self, rule: impl Display) {
        if self.killed {
            return;
        }
        let rule = rule.to_string();
        self.tell('!', || rule.clone());
        self.broken.get_or_insert(rule);
        self.killed = true;
    }

    /// kclpipe did something that others can see. It may die of it; whether it still lives.
    pub(crate) fn effect(&mut self) -> bool {
        self.effects += 1;
        if self.daemon.kills_at() == Some(self.effects) && !self.killed {
            self.tell('*', || "SIGKILL to kclpipe".to_owned());
            self.killed = true;
            self.seen.hit("SIGKILL");
        }
        !self.killed
    }

    pub(crate) fn transcript(self) -> Vec<String> {
        self.transcript.unwrap_or_default()
    }
}

impl Shared {
    pub(crate) fn new(world: World) -> Shared {
        Shared {
            world: Rc::new(RefCell::new(world)),
            base: Instant::now(),
            looks: Rc::default(),
        }
    }

    /// Does something to the world.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut World) -> T) -> T {
        act(&mut self.world.borrow_mut())
    }

    pub(crate) fn instant(&self, time: Duration) -> Instant {
        self.base + time
    }

    pub(crate) fn time(&self, instant: Instant) -> Duration {
        instant.saturating_duration_since(self.base)
    }

    /// The world, once nobody else has it.
    pub(crate) fn into_world(self) -> Option<World> {
        Some(Rc::try_unwrap(self.world).ok()?.into_inner())
    }
}

impl Clock for Shared {
    fn now(&self) -> Instant {
        let now = self.with(|world| world.now);
        let (at, looks) = self.looks.get();
        let looks = if at == now { looks + 1 } else { 0 };
        self.looks.set((now, looks));
        assert!(
            looks < LOOKS,
            "a hot loop: the time is asked for again and again, and nobody sleeps"
        );
        self.instant(now)
    }

    fn time_of_day(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(EPOCH) + self.with(|world| world.now)
    }
}

/// The time of day in milliseconds, at a time of the life.
pub(crate) fn stamp(time: Duration) -> i64 {
    (EPOCH + time.as_millis() as u64) as i64
}
