//! The `marshal` format, as far as code objects need it, and its canonical form.
//!
//! Source: `Python/marshal.c` of Python, versions 4 (Python 3.4) and 5 (Python 3.14), which are
//! alike but for slices. Only what the compiler can put into a code object is known here:
//! lists, dictionaries and mutable sets are refused, and so are the forms that older versions
//! wrote.
//!
//! A mark is bit 7 of the byte that begins an object. Marked objects are numbered in the order in
//! which they *begin*, and a reference names such a number. [`read`] makes a graph of the text,
//! [`write`] a text of the graph; neither recurses.

use std::collections::HashMap;

use kiln_digest::{Digest, Hasher};

use super::{read, write};

/// The bit of a marked object.
pub(super) const MARK: u8 = 0x80;

/// The first bytes of objects.
pub(super) mod kind {
    pub(in super::super) const NONE: u8 = b'N';
    pub(in super::super) const TRUE: u8 = b'T';
    pub(in super::super) const FALSE: u8 = b'F';
    pub(in super::super) const ELLIPSIS: u8 = b'.';
    pub(in super::super) const INT: u8 = b'i';
    pub(in super::super) const LONG: u8 = b'l';
    pub(in super::super) const FLOAT: u8 = b'g';
    pub(in super::super) const COMPLEX: u8 = b'y';
    pub(in super::super) const BYTES: u8 = b's';
    pub(in super::super) const TEXT: u8 = b'u';
    pub(in super::super) const INTERNED_TEXT: u8 = b't';
    pub(in super::super) const ASCII: u8 = b'a';
    pub(in super::super) const INTERNED_ASCII: u8 = b'A';
    pub(in super::super) const SHORT_ASCII: u8 = b'z';
    pub(in super::super) const SHORT_INTERNED_ASCII: u8 = b'Z';
    pub(in super::super) const TUPLE: u8 = b'(';
    pub(in super::super) const SMALL_TUPLE: u8 = b')';
    pub(in super::super) const FROZENSET: u8 = b'>';
    pub(in super::super) const SLICE: u8 = b':';
    pub(in super::super) const CODE: u8 = b'c';
    pub(in super::super) const REFERENCE: u8 = b'r';
}

/// The most levels of objects in objects; that of Python itself.
const MAX_DEPTH: usize = 2000;

/// The most levels of tuples in an element of a `frozenset`. Python's grammar allows 200
/// parentheses.
const MAX_ELEMENT_DEPTH: usize = 250;

/// Why bytes are no code object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// They end too early.
    #[error("the data end in an object")]
    Truncated,
    /// Something follows.
    #[error("bytes follow the code object")]
    TrailingBytes,
    /// An object that a compiler does not make.
    #[error("an object of kind {} stands where none can", char::from(*.0).escape_default())]
    Kind(u8),
    /// A reference to nothing that stands before it.
    #[error("a reference leads nowhere")]
    Reference,
    /// Too many objects in objects.
    #[error("objects are nested too deeply")]
    Depth,
    /// An element of a `frozenset` that cannot be one.
    #[error("a set has an element that cannot be one")]
    Element,
}

/// The fields of a code object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CodeLayout {
    /// Python 3.8 to 3.10.
    Until310,
    /// Python 3.11 and later.
    Since311,
}

impl CodeLayout {
    /// Numbers of four bytes at the beginning.
    pub(super) const fn numbers(self) -> usize {
        match self {
            // argcount, posonlyargcount, kwonlyargcount, nlocals, stacksize, flags
            Self::Until310 => 6,
            // without nlocals
            Self::Since311 => 5,
        }
    }

    /// Objects after them, up to the number of the first line. Both have eight: code, consts,
    /// names, varnames, freevars, cellvars, filename, name; or code, consts, names,
    /// localsplusnames, localspluskinds, filename, name, qualname.
    pub(super) const OBJECTS_BEFORE_LINE: usize = 8;

    /// All objects: the table of lines, and since 3.11 that of exceptions.
    pub(super) const fn objects(self) -> usize {
        match self {
            Self::Until310 => Self::OBJECTS_BEFORE_LINE + 1,
            Self::Since311 => Self::OBJECTS_BEFORE_LINE + 2,
        }
    }
}

/// The number of an object in its [`Graph`].
pub(super) type Id = u32;

/// An object. Bytes are views of the text that was read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Object<'a> {
    /// One of those that exist once: never marked.
    Singleton(u8),
    /// A number or bytes: its kind, and what follows.
    Plain(u8, &'a [u8]),
    /// Text, in UTF-8 with surrogates.
    Text(&'a [u8]),
    Tuple(Vec<Id>),
    /// Sorted.
    Frozenset(Vec<Id>),
    Slice(Vec<Id>),
    Code {
        numbers: &'a [u8],
        first_line: &'a [u8],
        objects: Vec<Id>,
    },
}

impl Object<'_> {
    /// What it holds, in the order in which it is written.
    pub(super) fn objects(&self) -> &[Id] {
        match self {
            Self::Singleton(_) | Self::Plain(..) | Self::Text(_) => &[],
            Self::Tuple(objects)
            | Self::Frozenset(objects)
            | Self::Slice(objects)
            | Self::Code { objects, .. } => objects,
        }
    }
}

/// Objects; each comes after those that it holds, so the last one is the whole.
///
/// Equal objects are one, but for code objects, and for floating-point numbers, of which one may
/// differ from itself.
#[derive(Debug, Default)]
pub(super) struct Graph<'a> {
    objects: Vec<Object<'a>>,
    equal: HashMap<Object<'a>, Id>,
    fingerprints: HashMap<Id, Digest>,
}

impl<'a> Graph<'a> {
    pub(super) fn objects(&self) -> &[Object<'a>] {
        &self.objects
    }

    pub(super) fn get(&self, id: Id) -> &Object<'a> {
        &self.objects[id as usize]
    }

    /// Adds an object whose objects are there.
    pub(super) fn add(&mut self, object: Object<'a>) -> Id {
        // Fewer than bytes, of which there are fewer than 2^32.
        let next = Id::try_from(self.objects.len()).unwrap_or(Id::MAX);
        let is_itself = matches!(
            object,
            Object::Code { .. } | Object::Plain(kind::FLOAT | kind::COMPLEX, _)
        );
        if !is_itself {
            let id = *self.equal.entry(object.clone()).or_insert(next);
            if id != next {
                return id;
            }
        }
        self.objects.push(object);
        next
    }

    /// Adds a `frozenset` of `elements`.
    pub(super) fn add_set(&mut self, elements: Vec<Id>) -> Result<Id, Fault> {
        let mut keyed = elements
            .into_iter()
            .map(|element| Ok((self.fingerprint(element, 0)?, element)))
            .collect::<Result<Vec<_>, Fault>>()?;
        keyed.sort_unstable();
        let sorted = keyed.into_iter().map(|(_, element)| element).collect();
        Ok(self.add(Object::Frozenset(sorted)))
    }

    /// A digest of what an element of a set is, whichever number it has.
    fn fingerprint(&mut self, id: Id, depth: usize) -> Result<Digest, Fault> {
        if let Some(&digest) = self.fingerprints.get(&id) {
            return Ok(digest);
        }
        if depth > MAX_ELEMENT_DEPTH {
            return Err(Fault::Depth);
        }
        let mut hasher = Hasher::new();
        match self.get(id) {
            Object::Singleton(kind) => hasher.update(&[*kind]),
            Object::Plain(kind, rest) => {
                hasher.update(&[*kind]);
                hasher.update(rest);
            }
            Object::Text(text) => {
                hasher.update(&[kind::TEXT]);
                hasher.update(text);
            }
            Object::Tuple(objects) => {
                hasher.update(&[kind::TUPLE]);
                for object in objects.clone() {
                    hasher.update(self.fingerprint(object, depth + 1)?.as_bytes());
                }
            }
            Object::Frozenset(_) | Object::Slice(_) | Object::Code { .. } => {
                return Err(Fault::Element);
            }
        }
        let digest = hasher.finish();
        self.fingerprints.insert(id, digest);
        Ok(digest)
    }
}

/// The canonical form of a marshalled code object.
pub(super) fn canonical_marshal(bytes: &[u8], layout: CodeLayout) -> Result<Vec<u8>, Fault> {
    let graph = read::graph(bytes, layout, MAX_DEPTH)?;
    match graph.objects().last() {
        Some(Object::Code { .. }) => Ok(write::text(&graph, bytes.len())),
        _ => Err(Fault::Kind(bytes.first().map_or(0, |byte| byte & !MARK))),
    }
}
