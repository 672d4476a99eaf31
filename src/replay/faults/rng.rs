//! Rng that can be had again: the same seed gives the same numbers, in every version of kclpipe.
//!
//! A library of random numbers may change them from one version to the next, and a seed that somebody wrote
//! down would then mean another run; hence ten lines of our own.

use std::time::Duration;

/// A source of numbers that look random: SplitMix64 (Steele, Lea and Flood, 2014).
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The source of that `seed` for one purpose; other purposes have numbers that do not depend on how many
    /// were drawn here.
    pub fn new(seed: u64, purpose: u64) -> Rng {
        let mut apart = Rng(purpose);
        Rng(seed ^ apart.draw())
    }

    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 up to 1, which is never reached.
    pub fn fraction(&mut self) -> f64 {
        (self.draw() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Whether something happens that does so at this rate.
    pub fn hits(&mut self, rate: f64) -> bool {
        self.fraction() < rate
    }

    /// One of `all`.
    pub fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[(self.fraction() * all.len() as f64) as usize]
    }

    /// A whole number from 1 to `most`.
    pub fn from_one_to(&mut self, most: usize) -> usize {
        1 + (self.fraction() * most as f64) as usize
    }

    /// A time up to `longest`.
    pub fn up_to(&mut self, longest: Duration) -> Duration {
        longest.mul_f64(self.fraction())
    }
}

/// A seed that nobody chose, short enough to be typed.
pub(crate) fn any_seed() -> u64 {
    crate::random::number() % 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers_and_each_purpose_its_own() {
        let draw = |seed, purpose| {
            let mut rng = Rng::new(seed, purpose);
            [(); 4].map(|()| rng.draw())
        };
        assert_eq!(draw(1, 2), draw(1, 2));
        assert_ne!(draw(1, 2), draw(1, 3));
        assert_ne!(draw(1, 2), draw(2, 2));
    }

    /// The first numbers of the published generator with the seed 1234567.
    #[test]
    fn the_numbers_are_those_of_the_generator() {
        let mut rng = Rng(1_234_567);
        assert_eq!(
            [rng.draw(), rng.draw()],
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]
        );
    }

    #[test]
    fn a_rate_is_about_kept() {
        let mut rng = Rng::new(7, 0);
        let hits = (0..10_000).filter(|_| rng.hits(0.1)).count();
        assert!((900..1100).contains(&hits), "{hits}");
        assert!(!rng.hits(0.0) && rng.hits(1.0));
    }
}
