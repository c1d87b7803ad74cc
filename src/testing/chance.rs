use std::collections::VecDeque;

/// Numbers that look random and repeat themselves.
#[derive(Clone, Debug)]
pub(super) enum Chance {
    Seeded(tillite_simdisk::Chance),
    /// Draws two bytes a number, and zeros once it is spent.
    Taped(VecDeque<u8>),
}

impl Chance {
    pub(super) fn new(seed: u64) -> Chance {
        Chance::Seeded(tillite_simdisk::Chance::seeded(seed))
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
        match self {
            Chance::Seeded(seeded) => seeded.draw(),
            Chance::Taped(bytes) => {
                let mut byte = || bytes.pop_front().unwrap_or_default();
                u64::from(u16::from_le_bytes([byte(), byte()]))
            }
        }
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
