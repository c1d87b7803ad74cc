//! The contents of a file, cheap to copy.

use std::sync::{Arc, LazyLock};

const CHUNK: usize = 4096;

static ZERO: LazyLock<Arc<[u8; CHUNK]>> = LazyLock::new(|| Arc::new([0; CHUNK]));

/// Bytes in chunks that copies share until one of them writes. A reboot, and a disk made from
/// another, copy a file by counting references.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bytes {
    /// As many as `len` needs. What the last one has beyond `len` is zero.
    chunks: Vec<Arc<[u8; CHUNK]>>,
    len: usize,
}

impl Bytes {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Reads from `at` until the end or until `out` is full, and says how many bytes there were.
    pub(crate) fn read(&self, at: usize, out: &mut [u8]) -> usize {
        let count = self.len.saturating_sub(at).min(out.len());
        for piece in pieces(at, count) {
            let chunk = &self.chunks[piece.chunk];
            out[piece.from..piece.from + piece.len].copy_from_slice(&chunk[piece.at..piece.at + piece.len]);
        }
        count
    }

    /// Writes, with zeros up to `at` if the end was before it.
    pub(crate) fn write(&mut self, at: usize, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        if at + data.len() > self.len {
            self.resize(at + data.len());
        }
        for piece in pieces(at, data.len()) {
            let chunk = Arc::make_mut(&mut self.chunks[piece.chunk]);
            chunk[piece.at..piece.at + piece.len].copy_from_slice(&data[piece.from..piece.from + piece.len]);
        }
    }

    /// Cuts off the end, or adds zeros.
    pub(crate) fn resize(&mut self, len: usize) {
        self.chunks.resize_with(len.div_ceil(CHUNK), || Arc::clone(&ZERO));
        let used = len % CHUNK;
        if len < self.len
            && used > 0
            && let Some(last) = self.chunks.last_mut()
        {
            Arc::make_mut(last)[used..].fill(0);
        }
        self.len = len;
    }

    pub(crate) fn flip(&mut self, at: usize, bit: u8) {
        if at < self.len {
            let mut byte = [0];
            self.read(at, &mut byte);
            self.write(at, &[byte[0] ^ (1 << (bit % 8))]);
        }
    }

    pub(crate) fn to_vec(&self) -> Vec<u8> {
        let mut all = vec![0; self.len];
        self.read(0, &mut all);
        all
    }
}

impl From<&[u8]> for Bytes {
    fn from(data: &[u8]) -> Bytes {
        let mut bytes = Bytes::default();
        bytes.write(0, data);
        bytes
    }
}

/// A part of a range that lies in one chunk.
struct Piece {
    chunk: usize,
    /// Where it begins in the chunk.
    at: usize,
    /// Where it begins in the range.
    from: usize,
    len: usize,
}

fn pieces(start: usize, count: usize) -> impl Iterator<Item = Piece> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let at = (start + from) % CHUNK;
        let len = (count - from).min(CHUNK - at);
        let piece = Piece {
            chunk: (start + from) / CHUNK,
            at,
            from,
            len,
        };
        from += len;
        (len > 0).then_some(piece)
    })
}
