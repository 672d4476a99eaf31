//! Networks of addresses, such as `10.0.0.0/24`.

use std::net::Ipv6Addr;

/// The addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Network {
    address: Address,
    /// How many bits of its end are not looked at.
    free: u32,
}

/// An address as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Address {
    /// How many bits it has: 32 or 128.
    bits: u32,
    number: u128,
}

impl Network {
    /// Reads `ADDRESS/BITS`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn read(text: &str) -> Result<Network, &'static str> {
        let (address, length) = text
            .split_once('/')
            .ok_or("a network is an address, '/' and a number of bits")?;
        let address = Address::read(address).ok_or("the address before '/' is none")?;
        let length: u32 = length
            .parse()
            .map_err(|_| "what comes after '/' is no number of bits")?;
        if length >= address.bits {
            return Err("that is no network but one address: write it without '/', as text");
        }
        if length == 0 && address.bits == 128 {
            return Err("AWS takes this network for all addresses of IPv4, too: write exists");
        }
        Ok(Network {
            address,
            free: address.bits - length,
        })
    }

    /// Whether this text is an address of the network.
    pub(super) fn has(&self, text: &[u8]) -> bool {
        let address = str::from_utf8(text).ok().and_then(Address::read);
        address.is_some_and(|address| {
            let [ours, its] = [self.address, address].map(|of| of.number >> self.free);
            address.bits == self.address.bits && ours == its
        })
    }
}

impl Address {
    fn read(text: &str) -> Option<Address> {
        Address::read_v4(text).or_else(|| {
            let address: Ipv6Addr = text.parse().ok()?;
            Some(Address {
                bits: 128,
                number: address.to_bits(),
            })
        })
    }

    /// With zeros before a part, which AWS reads and the standard library does not.
    fn read_v4(text: &str) -> Option<Address> {
        let mut parts = text.split('.');
        let number = (0..4).try_fold(0, |number: u128, _| {
            let part = parts.next()?;
            let is_number = part.bytes().all(|byte| byte.is_ascii_digit());
            let part = Some(part).filter(|_| is_number)?.parse::<u8>().ok()?;
            Some(number << 8 | u128::from(part))
        })?;
        parts
            .next()
            .is_none()
            .then_some(Address { bits: 32, number })
    }
}
