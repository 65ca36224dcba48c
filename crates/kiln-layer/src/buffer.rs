//! Byte buffers that are used again and again.

use std::ops::Deref;

/// Bytes that can grow without being zeroed each time, which `Vec::resize` would do.
#[derive(Default)]
pub(crate) struct Buffer {
    /// All of it is initialised; what is beyond `len` is left over from earlier uses.
    bytes: Vec<u8>,
    len: usize,
}

impl Buffer {
    /// Makes an empty buffer hold at least `room` bytes. What is not used costs no memory: fresh
    /// pages are mapped when they are touched.
    pub(crate) fn reserve(&mut self, room: usize) {
        if self.len == 0 && self.bytes.len() < room {
            self.bytes = vec![0; room];
        }
    }

    /// Appends `count` bytes of any content, to be overwritten.
    pub(crate) fn grow(&mut self, count: usize) -> &mut [u8] {
        self.reserve(count);
        let start = self.len;
        self.len += count;
        if self.bytes.len() < self.len {
            self.bytes.resize(self.len, 0);
        }
        &mut self.bytes[start..self.len]
    }

    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        self.grow(bytes.len()).copy_from_slice(bytes);
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// How much memory it holds.
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}
