//! Damage with a fixed start.

/// xorshift64*: the same numbers on every machine.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new() -> Random {
        Random(0x9e37_79b9_7f4a_7c15)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end.max(1)
    }

    /// One of `inputs`, changed in one to three places.
    pub(crate) fn damaged(&mut self, inputs: &[Vec<u8>]) -> Vec<u8> {
        let mut input = inputs[self.below(inputs.len())].clone();
        for _ in 0..=self.below(3) {
            let position = self.below(input.len());
            match self.below(7) {
                0 if !input.is_empty() => input[position] ^= 1 << self.below(8),
                1 if !input.is_empty() => input[position] = [0, 0x20, 0x25, 0x7f, 0x80, 0xff][self.below(6)],
                2 => drop(input.drain(position..(position + 1 + self.below(4)).min(input.len()))),
                3 => input.truncate(position),
                4 => {
                    let end = (position + 1 + self.below(24)).min(input.len());
                    let copy = input[position..end].to_vec();
                    input.splice(position..position, copy);
                }
                5 => {
                    let other = &inputs[self.below(inputs.len())];
                    let start = self.below(other.len());
                    let end = (start + 1 + self.below(32)).min(other.len());
                    input.splice(position..position, other[start..end].iter().copied());
                }
                _ => input.insert(position, b" \t\r\n\0,;=:\"\\%&#"[self.below(14)]),
            }
        }
        input
    }
}
