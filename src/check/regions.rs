//! The regions of AWS: how their names look, and those that are known.

/// The regions that the AWS SDK of KCL 3.1.3 knows. There may be newer ones.
const KNOWN: [&str; 45] = [
    "af-south-1",
    "ap-east-1",
    "ap-east-2",
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-south-1",
    "ap-south-2",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-southeast-3",
    "ap-southeast-4",
    "ap-southeast-5",
    "ap-southeast-6",
    "ap-southeast-7",
    "ca-central-1",
    "ca-west-1",
    "cn-north-1",
    "cn-northwest-1",
    "eu-central-1",
    "eu-central-2",
    "eu-isoe-west-1",
    "eu-north-1",
    "eu-south-1",
    "eu-south-2",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "eusc-de-east-1",
    "il-central-1",
    "me-central-1",
    "me-south-1",
    "mx-central-1",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-gov-east-1",
    "us-gov-west-1",
    "us-iso-east-1",
    "us-iso-west-1",
    "us-isob-east-1",
    "us-isof-east-1",
    "us-isof-south-1",
    "us-west-1",
    "us-west-2",
];

/// What a text is as the name of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Region {
    /// There is one of this name.
    Known,
    /// One could have this name; none is known that has.
    Unknown,
    /// None is called so, but it can be a part of a host's name: local services take it.
    Odd,
    /// The SDK can make no address of it (`EndpointUtils`).
    Impossible,
}

impl Region {
    /// Judges a text.
    pub(super) fn of(text: &str) -> Region {
        // The SDK has names of its own for the endpoints that are validated by FIPS 140.
        let name = text.strip_prefix("fips-").unwrap_or(text);
        let name = name.strip_suffix("-fips").unwrap_or(name);
        match () {
            () if KNOWN.contains(&name) => Region::Known,
            () if is_region(name) => Region::Unknown,
            () if is_host(text) => Region::Odd,
            () => Region::Impossible,
        }
    }
}

/// Words of letters, two at least, and a number, with hyphens between.
fn is_region(name: &str) -> bool {
    let Some((words, number)) = name.rsplit_once('-') else {
        return false;
    };
    let is_word = |word: &str| word.len() >= 2 && word.bytes().all(|b| b.is_ascii_lowercase());
    let number =
        !number.is_empty() && number.len() <= 2 && number.bytes().all(|b| b.is_ascii_digit());
    number && words.contains('-') && words.split('-').all(is_word)
}

/// Labels as in the name of a host.
fn is_host(text: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    text.split('.').all(is_label)
}

/// The known region that looks most like an unknown one, if any is near.
pub(super) fn nearest(text: &str) -> Option<&'static str> {
    let text = text.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    let text = text.to_lowercase().replace([' ', '_', '.'], "-");
    let distance = |region: &&str| strsim::osa_distance(&text, region);
    let near = KNOWN.into_iter().min_by_key(distance)?;
    (distance(&near) <= 2).then_some(near)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_are_told_by_their_shape_and_their_names() {
        for (text, region) in [
            ("eu-central-1", Region::Known),
            ("us-gov-west-1", Region::Known),
            ("fips-us-east-1", Region::Known),
            ("eu-cental-1", Region::Unknown),
            ("xx-middle-12", Region::Unknown),
            ("local", Region::Odd),
            ("EU-WEST-1", Region::Odd),
            ("eu-west", Region::Odd),
            ("eu central 1", Region::Impossible),
            ("eu_west_1", Region::Impossible),
            ("\"eu-west-1\"", Region::Impossible),
            ("-eu", Region::Impossible),
            ("", Region::Impossible),
        ] {
            assert_eq!(Region::of(text), region, "{text:?}");
        }
        for (text, near) in [
            ("eu-cental-1", Some("eu-central-1")),
            ("\"EU_WEST_1\"", Some("eu-west-1")),
            ("nowhere", None),
        ] {
            assert_eq!(nearest(text), near, "{text}");
        }
    }
}
