//! Marshalled text → graph of objects.

use super::marshal::{CodeLayout, Fault, Graph, Id, MARK, Object, kind};

/// An object whose objects are being read.
struct Open<'a> {
    /// Its number among the marked objects.
    mark: Option<usize>,
    shape: Shape<'a>,
    objects: Vec<Id>,
    /// How many objects it has.
    count: usize,
}

enum Shape<'a> {
    Tuple,
    Frozenset,
    Slice,
    Code {
        numbers: &'a [u8],
        first_line: &'a [u8],
    },
}

/// What the beginning of an object said.
enum Begun<'a> {
    Whole(Object<'a>),
    Reference(Id),
    Holder(Shape<'a>, usize),
}

struct Reader<'a> {
    rest: &'a [u8],
    layout: CodeLayout,
    graph: Graph<'a>,
    /// Marked objects by number; `None` while they are being read, since nothing can hold itself.
    marked: Vec<Option<Id>>,
}

/// Reads one object that is all of `bytes`.
pub(super) fn graph(
    bytes: &[u8],
    layout: CodeLayout,
    max_depth: usize,
) -> Result<Graph<'_>, Fault> {
    let mut reader = Reader {
        rest: bytes,
        layout,
        graph: Graph::default(),
        marked: Vec::new(),
    };
    let mut open: Vec<Open<'_>> = Vec::new();
    loop {
        let (begun, mark) = reader.begin()?;
        let mut finished = match begun {
            Begun::Reference(id) => id,
            Begun::Whole(object) => {
                let id = reader.graph.add(object);
                reader.finish(id, mark)
            }
            Begun::Holder(shape, count) => {
                if open.len() == max_depth {
                    return Err(Fault::Depth);
                }
                // What a count promises may not be there: holders in holders would reserve the
                // length of the text for each level.
                let objects = Vec::with_capacity(count.min(64));
                let holder = Open {
                    mark,
                    shape,
                    objects,
                    count,
                };
                if count > 0 {
                    open.push(holder);
                    continue;
                }
                reader.close(holder)?
            }
        };
        // Give it to what holds it, which it may complete, and so on outwards.
        loop {
            let Some(mut holder) = open.pop() else {
                return if reader.rest.is_empty() {
                    Ok(reader.graph)
                } else {
                    Err(Fault::TrailingBytes)
                };
            };
            holder.objects.push(finished);
            if let Shape::Code { first_line, .. } = &mut holder.shape
                && holder.objects.len() == CodeLayout::OBJECTS_BEFORE_LINE
            {
                *first_line = reader.take(4)?;
            }
            if holder.objects.len() < holder.count {
                open.push(holder);
                break;
            }
            finished = reader.close(holder)?;
        }
    }
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Fault> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Fault::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Fault> {
        let (&byte, rest) = self.rest.split_first().ok_or(Fault::Truncated)?;
        self.rest = rest;
        Ok(byte)
    }

    /// A length or a number of four bytes; negative ones are too large for anything.
    fn number(&mut self) -> Result<usize, Fault> {
        let bytes = self.take(4)?.try_into().map_err(|_| Fault::Truncated)?;
        usize::try_from(u32::from_le_bytes(bytes)).map_err(|_| Fault::Truncated)
    }

    /// Reads an object up to the first one that it holds, and marks it.
    fn begin(&mut self) -> Result<(Begun<'a>, Option<usize>), Fault> {
        let start = self.rest;
        let first = self.byte()?;
        let kind = first & !MARK;
        let mark = (first & MARK != 0).then(|| {
            self.marked.push(None);
            self.marked.len() - 1
        });
        let begun = match kind {
            // CPython ignores a mark here without counting it, and never writes one.
            kind::NONE | kind::TRUE | kind::FALSE | kind::ELLIPSIS if mark.is_none() => {
                Begun::Whole(Object::Singleton(kind))
            }
            kind::INT => self.plain(kind, start, 4)?,
            kind::FLOAT => self.plain(kind, start, 8)?,
            kind::COMPLEX => self.plain(kind, start, 16)?,
            kind::LONG => {
                // The sign is that of the count of digits, each of two bytes.
                let bytes = self.take(4)?.try_into().map_err(|_| Fault::Truncated)?;
                let digits = i32::from_le_bytes(bytes).unsigned_abs() as usize;
                self.plain(kind, start, digits.checked_mul(2).ok_or(Fault::Truncated)?)?
            }
            kind::BYTES => {
                let length = self.number()?;
                self.plain(kind, start, length)?
            }
            kind::TEXT | kind::INTERNED_TEXT | kind::ASCII | kind::INTERNED_ASCII => {
                let length = self.number()?;
                Begun::Whole(Object::Text(self.take(length)?))
            }
            kind::SHORT_ASCII | kind::SHORT_INTERNED_ASCII => {
                let length = self.byte()?.into();
                Begun::Whole(Object::Text(self.take(length)?))
            }
            kind::SMALL_TUPLE => Begun::Holder(Shape::Tuple, self.byte()?.into()),
            kind::TUPLE => Begun::Holder(Shape::Tuple, self.number()?),
            kind::FROZENSET => Begun::Holder(Shape::Frozenset, self.number()?),
            kind::SLICE => Begun::Holder(Shape::Slice, 3),
            kind::CODE => {
                let shape = Shape::Code {
                    numbers: self.take(4 * self.layout.numbers())?,
                    first_line: &[],
                };
                Begun::Holder(shape, self.layout.objects())
            }
            kind::REFERENCE if mark.is_none() => {
                let number = self.number()?;
                let id = self.marked.get(number).copied().flatten();
                Begun::Reference(id.ok_or(Fault::Reference)?)
            }
            _ => return Err(Fault::Kind(kind)),
        };
        Ok((begun, mark))
    }

    /// A number or bytes of `kind`, which began at `start`, with `length` more bytes to come.
    fn plain(&mut self, kind: u8, start: &'a [u8], length: usize) -> Result<Begun<'a>, Fault> {
        self.take(length)?;
        let all = &start[1..start.len() - self.rest.len()];
        Ok(Begun::Whole(Object::Plain(kind, all)))
    }

    fn close(&mut self, holder: Open<'a>) -> Result<Id, Fault> {
        let objects = holder.objects;
        let id = match holder.shape {
            Shape::Tuple => self.graph.add(Object::Tuple(objects)),
            Shape::Frozenset => self.graph.add_set(objects)?,
            Shape::Slice => self.graph.add(Object::Slice(objects)),
            Shape::Code {
                numbers,
                first_line,
            } => self.graph.add(Object::Code {
                numbers,
                first_line,
                objects,
            }),
        };
        Ok(self.finish(id, holder.mark))
    }

    fn finish(&mut self, id: Id, mark: Option<usize>) -> Id {
        if let Some(mark) = mark {
            self.marked[mark] = Some(id);
        }
        id
    }
}
