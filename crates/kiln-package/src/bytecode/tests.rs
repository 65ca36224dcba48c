//! Code objects as a Python could write them, by a writer and a reader of their own.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

/// A constant, or code with one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Value {
    None,
    Int(i32),
    Bytes(Vec<u8>),
    Text(String),
    Tuple(Vec<Value>),
    /// Sorted, without repetition.
    Set(Vec<Value>),
    Code(Box<Value>),
}

/// Writes values as one of the many Pythons would whose choices are `choices`.
struct Writer<'a> {
    choices: &'a [bool],
    position: usize,
    numbers: HashMap<Value, u32>,
    marked: u32,
    out: Vec<u8>,
}

impl Writer<'_> {
    fn choose(&mut self) -> bool {
        self.position += 1;
        *self
            .choices
            .get(self.position % self.choices.len().max(1))
            .unwrap_or(&false)
    }

    fn sized(&mut self, kind: u8, length: usize) {
        self.out.push(kind);
        self.out
            .extend(u32::try_from(length).unwrap().to_le_bytes());
    }

    fn value(&mut self, value: &Value) {
        if *value == Value::None {
            return self.out.push(b'N');
        }
        if let Some(number) = self.numbers.get(value).copied()
            && self.choose()
        {
            return self.sized(b'r', number as usize);
        }
        let mark = if self.choose() { 0x80 } else { 0 };
        let number = self.marked;
        self.marked += u32::from(mark != 0);
        match value {
            Value::None => {}
            Value::Int(int) => {
                self.out.push(b'i' | mark);
                self.out.extend(int.to_le_bytes());
            }
            Value::Bytes(bytes) => {
                self.sized(b's' | mark, bytes.len());
                self.out.extend(bytes);
            }
            Value::Text(text) => {
                let interned = self.choose();
                let short = text.is_ascii() && text.len() < 256;
                let kind = match (short, text.is_ascii(), interned) {
                    (true, _, true) => b'Z',
                    (true, _, false) => b'z',
                    (false, true, true) => b'A',
                    (false, true, false) => b'a',
                    (false, false, true) => b't',
                    (false, false, false) => b'u',
                };
                if short {
                    self.out
                        .extend([kind | mark, u8::try_from(text.len()).unwrap()]);
                } else {
                    self.sized(kind | mark, text.len());
                }
                self.out.extend(text.as_bytes());
            }
            Value::Tuple(values) => {
                self.sized(b'(' | mark, values.len());
                for value in values {
                    self.value(value);
                }
            }
            Value::Set(values) => {
                self.sized(b'>' | mark, values.len());
                let mut values = values.clone();
                if self.choose() {
                    values.reverse();
                }
                for value in &values {
                    self.value(value);
                }
            }
            Value::Code(constant) => {
                self.out.push(b'c' | mark);
                self.out.extend([7; 20]);
                self.value(&Value::Bytes(vec![1]));
                self.value(constant);
                for _ in 2..8 {
                    self.value(&Value::Text("name".into()));
                }
                self.out.extend([9, 0, 0, 0]);
                self.value(&Value::Bytes(vec![1]));
                self.value(&Value::Bytes(vec![]));
            }
        }
        if mark != 0 && !matches!(value, Value::Code(_)) {
            self.numbers.insert(value.clone(), number);
        }
    }
}

fn written(value: &Value, choices: &[bool]) -> Vec<u8> {
    let mut writer = Writer {
        choices,
        position: 0,
        numbers: HashMap::new(),
        marked: 0,
        out: Vec::new(),
    };
    writer.value(value);
    writer.out
}

/// Reads what is known to be right.
struct Reader<'a> {
    rest: &'a [u8],
    marked: Vec<Option<Value>>,
}

impl Reader<'_> {
    fn take(&mut self, count: usize) -> Vec<u8> {
        let (taken, rest) = self.rest.split_at(count);
        self.rest = rest;
        taken.to_vec()
    }

    fn number(&mut self) -> usize {
        u32::from_le_bytes(self.take(4).try_into().unwrap()) as usize
    }

    fn values(&mut self, count: usize) -> Vec<Value> {
        (0..count).map(|_| self.value()).collect()
    }

    fn value(&mut self) -> Value {
        let first = self.take(1)[0];
        if first == b'r' {
            let number = self.number();
            return self.marked[number].clone().unwrap();
        }
        let mark = (first & 0x80 != 0).then_some(self.marked.len());
        self.marked.extend(mark.map(|_| None));
        let value = match first & 0x7f {
            b'N' => Value::None,
            b'i' => Value::Int(i32::from_le_bytes(self.take(4).try_into().unwrap())),
            b's' => {
                let length = self.number();
                Value::Bytes(self.take(length))
            }
            kind @ (b'z' | b'Z' | b'a' | b'A' | b'u') => {
                let is_short = kind.eq_ignore_ascii_case(&b'z');
                let length = if is_short {
                    self.take(1)[0].into()
                } else {
                    self.number()
                };
                Value::Text(String::from_utf8(self.take(length)).unwrap())
            }
            b')' => {
                let count = self.take(1)[0].into();
                Value::Tuple(self.values(count))
            }
            b'>' => {
                let count = self.number();
                let mut values = self.values(count);
                values.sort();
                Value::Set(values)
            }
            b'c' => {
                assert_eq!(self.take(20), [7; 20]);
                let mut objects = self.values(8);
                assert_eq!(self.take(4), [9, 0, 0, 0]);
                assert_eq!(
                    self.values(2),
                    [Value::Bytes(vec![1]), Value::Bytes(vec![])]
                );
                Value::Code(Box::new(objects.swap_remove(1)))
            }
            other => panic!("kind {other}"),
        };
        if let Some(mark) = mark {
            self.marked[mark] = Some(value.clone());
        }
        value
    }
}

fn element() -> impl Strategy<Value = Value> {
    let text = prop_oneof!["[a-b.é]{0,2}", Just("x".repeat(300)), Just("é".repeat(300)),];
    let leaf = prop_oneof![
        Just(Value::None),
        (-1..3).prop_map(Value::Int),
        prop::collection::vec(0..2_u8, 0..2).prop_map(Value::Bytes),
        text.prop_map(Value::Text),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop::collection::vec(inner, 0..3).prop_map(Value::Tuple)
    })
}

fn code() -> impl Strategy<Value = Value> {
    let set = prop::collection::btree_set(element(), 0..4)
        .prop_map(|values| Value::Set(values.into_iter().collect()));
    prop_oneof![element(), set]
        .prop_recursive(4, 24, 6, |inner| {
            prop_oneof![
                2 => prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Tuple),
                1 => inner.prop_map(|value| Value::Code(Box::new(value))),
            ]
        })
        .prop_map(|constant| Value::Code(Box::new(constant)))
}

fn canonical_of(bytes: &[u8]) -> Result<Vec<u8>, Fault> {
    canonical_marshal(bytes, CodeLayout::Since311)
}

proptest! {
    #[test]
    fn whatever_python_left_to_chance_the_canonical_form_is_one(
        value in code(),
        one: Vec<bool>,
        other: Vec<bool>,
    ) {
        let canonical = canonical_of(&written(&value, &one)).unwrap();
        prop_assert_eq!(&canonical, &canonical_of(&written(&value, &other)).unwrap());
        prop_assert_eq!(&canonical, &canonical_of(&canonical).unwrap());
    }

    #[test]
    fn the_canonical_form_has_the_same_value(value in code(), choices: Vec<bool>) {
        let canonical = canonical_of(&written(&value, &choices)).unwrap();
        let mut reader = Reader { rest: &canonical, marked: Vec::new() };
        prop_assert_eq!(reader.value(), value);
        prop_assert!(reader.rest.is_empty());
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        for layout in [CodeLayout::Until310, CodeLayout::Since311] {
            let _ = canonical_marshal(&bytes, layout);
        }
        for minor in 8..16 {
            let _ = canonical(&bytes, (3, minor));
        }
    }

    #[test]
    fn damaged_code_never_panics(value in code(), place: prop::sample::Index, byte: u8) {
        let mut bytes = written(&value, &[true]);
        let place = place.index(bytes.len());
        bytes[place] = byte;
        let _ = canonical_of(&bytes);
        let _ = canonical_of(&bytes[..place]);
    }
}

/// A code object whose constant is marshalled as `constant`.
fn code_with(constant: &[u8]) -> Vec<u8> {
    let empty = b"\xe9\x01\0\0\0";
    [
        &b"c"[..],
        &[0; 20],
        empty,
        constant,
        &empty.repeat(6),
        &[0; 4],
        &empty.repeat(2),
    ]
    .concat()
}

#[test]
fn objects_that_only_hold_many_others_by_reference_cost_nothing() {
    // (t0, t1 = (t0, t0), t2 = (t1, t1), …): half a billion objects if spelt out.
    let mut constant = b")\x1e\xa9\x00".to_vec();
    for number in 1..30_u8 {
        let previous = [b'r', number, 0, 0, 0];
        constant.extend([&b"\xa9\x02"[..], &previous, &previous].concat());
    }
    let with_set = [&b")\x02"[..], &constant, b">\x01\0\0\0r\x1e\0\0\0"].concat();
    for constant in [constant, with_set] {
        let code = code_with(&constant);
        assert!(canonical_of(&code).unwrap().len() <= code.len());
    }
}

#[test]
fn depth_is_bounded_without_a_stack_to_overflow() {
    let nested = |depth: usize| code_with(&[&b")\x01".repeat(depth)[..], b"N"].concat());
    assert!(canonical_of(&nested(1999)).is_ok());
    assert_eq!(canonical_of(&nested(2000)), Err(Fault::Depth));
    assert_eq!(canonical_of(&nested(1_000_000)), Err(Fault::Depth));
    let in_set =
        |depth: usize| code_with(&[&b">\x01\0\0\0"[..], &b")\x01".repeat(depth), b"N"].concat());
    assert!(canonical_of(&in_set(250)).is_ok());
    assert_eq!(canonical_of(&in_set(251)), Err(Fault::Depth));
}

#[test]
fn what_no_compiler_writes_is_refused() {
    let refused = |constant: &[u8]| canonical_of(&code_with(constant)).unwrap_err();
    assert_eq!(refused(b"[\0\0\0\0"), Fault::Kind(b'['));
    assert_eq!(refused(b"{0"), Fault::Kind(b'{'));
    assert_eq!(refused(b"\xce"), Fault::Kind(b'N'));
    assert_eq!(refused(b"r\x09\0\0\0"), Fault::Reference);
    assert_eq!(refused(b">\x01\0\0\0>\0\0\0\0"), Fault::Element);
    assert_eq!(refused(b"s\xff\xff\xff\xff"), Fault::Truncated);
    assert_eq!(canonical_of(b"N"), Err(Fault::Kind(b'N')));
    assert_eq!(canonical_of(b"(\xff\xff\xff\xffN"), Err(Fault::Truncated));
    let code = code_with(b"N");
    assert_eq!(
        canonical_of(&[&code[..], b"N"].concat()),
        Err(Fault::TrailingBytes)
    );
    assert_eq!(canonical_of(&code[..code.len() - 1]), Err(Fault::Truncated));
}

#[test]
fn numbers_that_differ_from_themselves_stay_apart() {
    let nan = [&b"g"[..], &f64::NAN.to_le_bytes()].concat();
    let two = [&b")\x02"[..], &nan, &nan].concat();
    let canonical = canonical_of(&code_with(&two)).unwrap();
    assert!(canonical.windows(two.len()).any(|window| window == two));
}

#[test]
fn the_header_must_be_that_of_the_python() {
    let module = |magic: u16, flags: u8| {
        let header = [
            &magic.to_le_bytes()[..],
            b"\r\n",
            &[flags, 0, 0, 0],
            b"the hash",
        ]
        .concat();
        [header, code_with(b"N")].concat()
    };
    let good = canonical(&module(3495, 1), (3, 11)).unwrap();
    assert_eq!(good[..16], module(3495, 1)[..16]);
    assert_eq!(
        canonical(&module(3495, 1), (3, 12)),
        Err(ModuleError::OtherPython((3, 12)))
    );
    assert_eq!(
        canonical(&module(3495, 0), (3, 11)),
        Err(ModuleError::Checked)
    );
    assert_eq!(
        canonical(&module(3495, 3), (3, 11)),
        Err(ModuleError::Checked)
    );
    assert_eq!(
        canonical(&[0; 15], (3, 11)),
        Err(ModuleError::OtherPython((3, 11)))
    );
    assert_eq!(
        canonical(&module(3400, 1), (3, 8)),
        Err(ModuleError::UnknownPython((3, 8)))
    );
}
