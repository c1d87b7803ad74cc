use std::collections::VecDeque;

/// Numbers that look random and repeat themselves: `SplitMix64`, which is small, fast, and the same on
/// every machine. See <https://prng.di.unimi.it/splitmix64.c>.
#[derive(Clone, Debug)]
pub(super) enum Chance {
    Seeded(u64),
    /// Draws two bytes a number, and zeros once it is spent.
    Taped(VecDeque<u8>),
}

impl Chance {
    pub(super) fn new(seed: u64) -> Chance {
        Chance::Seeded(seed)
    }

    /// Draws these bytes. One that changes changes what is drawn from it and little else, which is
    /// what a fuzzer needs.
    pub(super) fn taped(bytes: &[u8]) -> Chance {
        Chance::Taped(bytes.iter().copied().collect())
    }

    /// Whether the bytes have come to their end.
    pub(super) fn is_spent(&self) -> bool {
        matches!(self, Chance::Taped(bytes) if bytes.is_empty())
    }

    pub(super) fn next(&mut self) -> u64 {
        let state = match self {
            Chance::Seeded(state) => state,
            Chance::Taped(bytes) => {
                let mut byte = || bytes.pop_front().unwrap_or_default();
                return u64::from(u16::from_le_bytes([byte(), byte()]));
            }
        };
        *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not 0.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// True so many times in a hundred.
    pub(super) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of these.
    pub(super) fn one_of<T: Copy>(&mut self, first: T, others: &[T]) -> T {
        let at = self.below(others.len() as u64 + 1);
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        others.get(at).copied().unwrap_or(first)
    }

    /// Another source, which this one's seed decides.
    pub(super) fn branch(&mut self) -> Chance {
        Chance::new(self.next())
    }
}
