//! Versions of the KCL, of which each generation's daemon knows other keys.

use std::fmt;
use std::str::FromStr;

/// A version of the KCL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u16, pub u16, pub u16);

impl Version {
    /// The newest versions of the three generations that the table of keys was taken from.
    pub const TAKEN_FROM: [Version; 3] = [Version(3, 5, 1), Version(2, 5, 4), Version(1, 15, 3)];

    /// Of each generation the newest that kclpipe's own tests run.
    pub const TESTED: [Version; 3] = [Version(3, 1, 3), Version(2, 5, 4), Version(1, 15, 3)];

    /// Whether the daemon has version 2 of the AWS SDK for its credentials, and so takes their key in any
    /// case (`KinesisClientLibConfigurator.processKey`).
    pub(super) fn has_sdk_2(self) -> bool {
        self >= Version(2, 7, 0)
    }

    /// The generation: 1, 2 or 3.
    pub fn generation(self) -> u16 {
        self.0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Version(major, minor, patch) = self;
        write!(out, "{major}.{minor}.{patch}")
    }
}

impl FromStr for Version {
    type Err = String;

    /// A version, as 3.1.3, or a generation alone, which stands for the version of it that is tested.
    fn from_str(text: &str) -> Result<Version, String> {
        let wrong = || "write 1, 2 or 3, or a version as 3.1.3".to_owned();
        let parts: Result<Vec<u16>, _> = text.split('.').map(str::parse).collect();
        match parts.map_err(|_| wrong())?[..] {
            [generation] => {
                let known = Version::TESTED.into_iter();
                let mut known = known.filter(|version| version.generation() == generation);
                known.next().ok_or_else(wrong)
            }
            [major @ 1..=3, minor, patch] => Ok(Version(major, minor, patch)),
            _ => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_is_the_version_that_is_tested() {
        assert_eq!("3".parse(), Ok(Version(3, 1, 3)));
        assert_eq!("1".parse(), Ok(Version(1, 15, 3)));
        assert_eq!("3.1.3".parse(), Ok(Version(3, 1, 3)));
        assert_eq!(Version(2, 5, 4).to_string(), "2.5.4");
        for bad in ["", "4", "0", "3.1", "4.0.0", "3.x.1", "3.1.3.1", "-3"] {
            assert!(bad.parse::<Version>().is_err(), "{bad}");
        }
        assert!(Version(3, 1, 3) < Version(3, 1, 10));
    }
}
