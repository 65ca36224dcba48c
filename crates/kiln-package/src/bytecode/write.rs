//! Graph of objects → marshalled text.

use super::marshal::{Graph, Id, MARK, Object, kind};

/// What is still to be written.
enum Rest<'a> {
    Object(Id),
    Bytes(&'a [u8]),
}

/// The last object of `graph` as text, of about `length` bytes.
pub(super) fn text(graph: &Graph<'_>, length: usize) -> Vec<u8> {
    let owners = owners(graph);
    // Numbers of marked objects that are written.
    let mut numbers: Vec<Option<u32>> = vec![None; graph.objects().len()];
    let mut marked: u32 = 0;
    let mut out = Vec::with_capacity(length);
    let mut rest = Vec::new();
    if let Some(last) = graph.objects().len().checked_sub(1) {
        rest.push(Rest::Object(Id::try_from(last).unwrap_or(Id::MAX)));
    }
    while let Some(next) = rest.pop() {
        let id = match next {
            Rest::Object(id) => id,
            Rest::Bytes(bytes) => {
                out.extend_from_slice(bytes);
                continue;
            }
        };
        if let Some(number) = numbers[id as usize] {
            out.push(kind::REFERENCE);
            out.extend(number.to_le_bytes());
            continue;
        }
        let object = graph.get(id);
        let is_singleton = matches!(object, Object::Singleton(_));
        let mark = if owners[id as usize] > 1 && !is_singleton {
            numbers[id as usize] = Some(marked);
            marked += 1;
            MARK
        } else {
            0
        };
        begin(object, mark, &mut out);
        let mut later = object.objects().iter().rev().map(|&id| Rest::Object(id));
        match object {
            Object::Code {
                first_line,
                objects,
                ..
            } => {
                // The number of the first line stands among the objects.
                let after_line = objects.len() - super::marshal::CodeLayout::OBJECTS_BEFORE_LINE;
                rest.extend(later.by_ref().take(after_line));
                rest.push(Rest::Bytes(first_line));
                rest.extend(later);
            }
            _ => rest.extend(later),
        }
    }
    out
}

/// How many places hold each object.
fn owners(graph: &Graph<'_>) -> Vec<u32> {
    let mut owners = vec![0; graph.objects().len()];
    for object in graph.objects() {
        for &held in object.objects() {
            owners[held as usize] += 1;
        }
    }
    owners
}

/// Writes an object up to the first one that it holds.
fn begin(object: &Object<'_>, mark: u8, out: &mut Vec<u8>) {
    match object {
        Object::Singleton(kind) => out.push(*kind),
        Object::Plain(kind, rest) => {
            out.push(kind | mark);
            out.extend_from_slice(rest);
        }
        Object::Text(text) => {
            let is_interned = text.iter().all(|&byte| is_of_name(byte));
            let kind = match (text.is_ascii(), text.len() < 256, is_interned) {
                (true, true, true) => kind::SHORT_INTERNED_ASCII,
                (true, true, false) => kind::SHORT_ASCII,
                (true, false, true) => kind::INTERNED_ASCII,
                (true, false, false) => kind::ASCII,
                (false, ..) => kind::TEXT,
            };
            begin_sized(
                kind | mark,
                matches!(kind, kind::SHORT_INTERNED_ASCII | kind::SHORT_ASCII),
                text.len(),
                out,
            );
            out.extend_from_slice(text);
        }
        Object::Tuple(objects) if objects.len() < 256 => {
            begin_sized(kind::SMALL_TUPLE | mark, true, objects.len(), out);
        }
        Object::Tuple(objects) => begin_sized(kind::TUPLE | mark, false, objects.len(), out),
        Object::Frozenset(objects) => {
            begin_sized(kind::FROZENSET | mark, false, objects.len(), out);
        }
        Object::Slice(_) => out.push(kind::SLICE | mark),
        Object::Code { numbers, .. } => {
            out.push(kind::CODE | mark);
            out.extend_from_slice(numbers);
        }
    }
}

/// A kind and a length of one or of four bytes.
fn begin_sized(kind: u8, is_short: bool, length: usize, out: &mut Vec<u8>) {
    out.push(kind);
    let length = u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    out.extend_from_slice(if is_short { &length[..1] } else { &length });
}

/// `all_name_chars` in `Objects/codeobject.c` of Python.
fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}
