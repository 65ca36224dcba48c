//! Sizes as people write them: `2 GB`, `1.5 GiB`.

use crate::{
    model::SizeLimit,
    reader::{Table, Text},
};

/// Units and what they count in bytes: powers of ten as storage is sold, powers of two with an `i`.
const UNITS: [(&str, u64); 9] = [
    ("B", 1),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// Reads `max-size`.
pub(crate) fn limit(table: &mut Table<'_>) -> Option<SizeLimit> {
    let text = table.text("max-size")?;
    let Some(bytes) = bytes(&text.value) else {
        refuse(&text);
        return None;
    };
    if bytes == 0 {
        text.error("no image is as small as that", None);
        return None;
    }
    let at = text.source.spot(&text.span).at;
    Some(SizeLimit { bytes, at })
}

fn refuse(text: &Text<'_>) {
    let wanted = text
        .value
        .trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let units = UNITS.map(|(name, _)| name);
    let near = units
        .into_iter()
        .find(|unit| unit.eq_ignore_ascii_case(wanted.trim()));
    let hint = match near {
        Some(unit) => format!("the unit is written `{unit}`"),
        None => format!(
            "a number and a unit, such as `2 GB`; units are {}",
            units.join(", ")
        ),
    };
    text.error(format!("`{}` is not a size", text.value), Some(hint));
}

/// The bytes of a size; `None` where it is none, or is no whole number of bytes.
fn bytes(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(end);
    let unit = unit.strip_prefix(' ').unwrap_or(unit);
    let (_, unit) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || fraction.is_empty() || fraction.len() > 9 {
        return None;
    }
    let scale = 10_u64.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let part = u128::from(fraction.parse::<u64>().ok()?) * u128::from(unit);
    if part % u128::from(scale) != 0 {
        return None;
    }
    let part = u64::try_from(part / u128::from(scale)).ok()?;
    whole
        .parse::<u64>()
        .ok()?
        .checked_mul(unit)?
        .checked_add(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_numbers_with_a_unit() {
        for (text, expected) in [
            ("0 B", 0),
            ("17B", 17),
            ("2 GB", 2_000_000_000),
            ("1.5 GB", 1_500_000_000),
            ("0.25 kB", 250),
            ("1.5 KiB", 1536),
            ("3 MiB", 3 << 20),
            ("18446744.073709551 TB", 18_446_744_073_709_551_000),
        ] {
            assert_eq!(bytes(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in [
            "",
            "2",
            "GB",
            "2 gb",
            "2  GB",
            " 2 GB",
            "2 GB ",
            "-2 GB",
            "2. GB",
            ".5 GB",
            "1.2.3 GB",
            "1.5 B",
            "0.1 KiB",
            "18446745 TB",
            "99999999999999999999 B",
            "1.0000000000 GB",
            "2 GBit",
        ] {
            assert_eq!(bytes(text), None, "{text}");
        }
    }
}
