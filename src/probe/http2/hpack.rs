//! Header fields (HPACK, RFC 7541): written plainly, and read together with how the other side has written them.
//!
//! How fields are written, of which a reader for programs tells nothing, shows the implementation as much as their
//! order does.

mod tables;

use std::collections::VecDeque;
use std::fmt;
use std::sync::LazyLock;
use tables::{HUFFMAN_LENGTHS, STATIC};

/// The size of the dynamic table, which nobody was told to change (RFC 9113 section 6.5.2).
const TABLE: usize = 4096;

/// What an entry counts beside its bytes (section 4.1).
const ENTRY: usize = 32;

/// The symbol that ends a string in the code, and which no string has (section 5.2).
const END_OF_STRING: u16 = 256;

/// The longest code.
const LONGEST: usize = 30;

/// Appends a field, of which nothing is kept nor compressed (section 6.2.2).
pub fn write(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.push(0);
    for text in [name, value] {
        integer(text.len(), out);
        out.extend_from_slice(text);
    }
}

/// The length of a string in seven bits and as many bytes as it takes (section 5.1).
fn integer(number: usize, out: &mut Vec<u8>) {
    let Some(mut rest) = number.checked_sub(0x7f) else {
        return out.push(number as u8);
    };
    out.push(0x7f);
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// What stands in a header block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A header field.
    Field {
        /// Its name.
        name: Vec<u8>,
        /// Its value.
        value: Vec<u8>,
        /// How it is written.
        form: Form,
    },
    /// The dynamic table gets this size.
    TableSize(usize),
}

/// How a field is written (section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As an entry of a table.
    Indexed(usize),
    /// With its own value.
    Literal {
        /// Whether it is to be kept.
        keep: Keep,
        /// Its name.
        name: NameForm,
        /// Its value is compressed.
        huffman: bool,
    },
}

/// What is to become of a field that is written with its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// It is put into the dynamic table.
    Indexed,
    /// It is not.
    Unindexed,
    /// It is not, by anybody.
    Never,
}

/// How a name is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameForm {
    /// As that of an entry.
    Indexed(usize),
    /// By itself.
    Plain,
    /// Compressed.
    Huffman,
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (keep, name, huffman) = match *self {
            Form::Indexed(index) => return write!(f, "entry {index}"),
            Form::Literal { keep, name, huffman } => (keep, name, huffman),
        };
        f.write_str(match keep {
            Keep::Indexed => "kept",
            Keep::Unindexed => "not kept",
            Keep::Never => "never kept",
        })?;
        match name {
            NameForm::Indexed(index) => write!(f, ", name of entry {index}")?,
            NameForm::Plain => f.write_str(", plain name")?,
            NameForm::Huffman => f.write_str(", compressed name")?,
        }
        f.write_str(if huffman { ", compressed value" } else { ", plain value" })
    }
}

/// A block that cannot be read. What is read behind it is not what was meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// Reads the header blocks of one direction, one after the other.
#[derive(Debug)]
pub struct Decoder {
    /// The dynamic table, its newest entry first.
    table: VecDeque<(Vec<u8>, Vec<u8>)>,
    size: usize,
    limit: usize,
    /// So many bytes may still come of what is read: an entry of the table is written in one byte, as often as one
    /// likes.
    room: usize,
}

impl Decoder {
    /// One that reads fields of so many bytes in all.
    pub fn new(room: usize) -> Decoder {
        Decoder { table: VecDeque::new(), size: 0, limit: TABLE, room }
    }

    /// The fields of a block in their order.
    ///
    /// # Errors
    ///
    /// It cannot be read, or is too long.
    pub fn decode(&mut self, block: &[u8]) -> Result<Vec<Item>, Malformed> {
        let (mut items, mut rest) = (Vec::new(), block);
        while let Some(&first) = rest.first() {
            let item = self.item(first, &mut rest).ok_or(Malformed)?;
            if let Item::Field { name, value, .. } = &item {
                self.room = self.room.checked_sub(name.len() + value.len() + ENTRY).ok_or(Malformed)?;
            }
            items.push(item);
        }
        Ok(items)
    }

    fn item(&mut self, first: u8, rest: &mut &[u8]) -> Option<Item> {
        let (keep, bits) = match first {
            0x80.. => {
                let index = number(rest, 7)?;
                let (name, value) = self.entry(index)?;
                let (name, value) = (name.to_vec(), value.to_vec());
                return Some(Item::Field { name, value, form: Form::Indexed(index) });
            }
            0x40.. => (Keep::Indexed, 6),
            0x20.. => {
                let size = number(rest, 5)?;
                // No more than what was allowed (section 6.3).
                self.limit = (size <= TABLE).then_some(size)?;
                self.evict();
                return Some(Item::TableSize(size));
            }
            0x10.. => (Keep::Never, 4),
            _ => (Keep::Unindexed, 4),
        };
        let (name, name_form) = match number(rest, bits)? {
            0 => {
                let (name, huffman) = string(rest)?;
                (name, if huffman { NameForm::Huffman } else { NameForm::Plain })
            }
            index => (self.entry(index)?.0.to_vec(), NameForm::Indexed(index)),
        };
        let (value, huffman) = string(rest)?;
        if keep == Keep::Indexed {
            self.size += name.len() + value.len() + ENTRY;
            self.table.push_front((name.clone(), value.clone()));
            self.evict();
        }
        Some(Item::Field { name, value, form: Form::Literal { keep, name: name_form, huffman } })
    }

    /// An entry of the two tables, which count on from one (section 2.3.3).
    fn entry(&self, index: usize) -> Option<(&[u8], &[u8])> {
        let at = index.checked_sub(1)?;
        match STATIC.get(at) {
            Some((name, value)) => Some((name.as_bytes(), value.as_bytes())),
            None => self.table.get(at - STATIC.len()).map(|(name, value)| (&**name, &**value)),
        }
    }

    fn evict(&mut self) {
        while self.size > self.limit
            && let Some((name, value)) = self.table.pop_back()
        {
            self.size -= name.len() + value.len() + ENTRY;
        }
    }
}

/// A number that begins in the last bits of the next byte (section 5.1), below 2^28.
fn number(rest: &mut &[u8], bits: u32) -> Option<usize> {
    let mask = (1_usize << bits) - 1;
    let (&first, mut behind) = rest.split_first()?;
    let mut number = usize::from(first) & mask;
    if number == mask {
        let mut shift = 0;
        loop {
            let (&byte, then) = behind.split_first()?;
            behind = then;
            number = number.checked_add(usize::from(byte & 0x7f) << shift)?;
            if byte & 0x80 == 0 {
                break;
            }
            shift += 7;
            if shift > 21 {
                return None;
            }
        }
    }
    *rest = behind;
    Some(number)
}

/// A string behind its length, and whether it is compressed (section 5.2).
fn string(rest: &mut &[u8]) -> Option<(Vec<u8>, bool)> {
    let is_huffman = rest.first()? & 0x80 != 0;
    let length = number(rest, 7)?;
    let (text, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    Some((if is_huffman { huffman(text)? } else { text.to_vec() }, is_huffman))
}

/// The code of appendix B. It is canonical: codes of one length count on in the order of their symbols, from where
/// the shorter ones end.
struct Code {
    /// For each length: the first code, how many there are, and where their symbols stand.
    lengths: [(u32, u32, usize); LONGEST + 1],
    symbols: Vec<u16>,
}

static CODE: LazyLock<Code> = LazyLock::new(|| {
    let mut code = Code { lengths: [(0, 0, 0); LONGEST + 1], symbols: Vec::new() };
    let mut next = 0;
    for (length, entry) in code.lengths.iter_mut().enumerate() {
        next <<= 1;
        let begin = code.symbols.len();
        let of_length = (0..=END_OF_STRING).zip(HUFFMAN_LENGTHS).filter(|(_, of)| usize::from(*of) == length);
        code.symbols.extend(of_length.map(|(symbol, _)| symbol));
        let count = (code.symbols.len() - begin) as u32;
        *entry = (next, count, begin);
        next += count;
    }
    code
});

fn huffman(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let (mut code, mut length) = (0_u32, 0_usize);
    for bit in text.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1)) {
        code = code << 1 | u32::from(bit);
        length += 1;
        // (each way of so many bits is a symbol's)
        let &(first, count, begin) = CODE.lengths.get(length)?;
        if let Some(at) = code.checked_sub(first).filter(|at| *at < count) {
            let symbol = *CODE.symbols.get(begin + at as usize)?;
            // The end of a string may stand nowhere.
            out.push(u8::try_from(symbol).ok()?);
            (code, length) = (0, 0);
        }
    }
    // It is filled up with ones, to the end of its last byte.
    (length < 8 && code == (1 << length) - 1).then_some(out)
}

#[cfg(test)]
mod tests;
