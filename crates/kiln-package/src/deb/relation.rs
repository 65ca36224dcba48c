//! Relations between packages in the form in which dpkg writes them into its database:
//! `libc6 (>= 2.36), foo | bar (<< 3)`, deb-control(5).

/// One line with single blanks, whatever line breaks and blanks the package has.
pub(super) fn normalised(relations: &str) -> String {
    let groups = relations.split(',').map(|group| {
        let alternatives: Vec<String> = group.split('|').map(alternative).collect();
        alternatives.join(" | ")
    });
    let groups: Vec<String> = groups.filter(|group| !group.is_empty()).collect();
    groups.join(", ")
}

fn alternative(text: &str) -> String {
    let text = text.trim_ascii();
    let Some((name, rest)) = text.split_once('(') else {
        return text.to_owned();
    };
    let bound = rest.trim_ascii_end().trim_end_matches(')').trim_ascii();
    let sign_end = bound
        .find(|sign| !['<', '=', '>'].contains(&sign))
        .unwrap_or(bound.len());
    let (sign, bound) = bound.split_at(sign_end);
    // A single `<` or `>` is an old spelling that includes equality; no sign is an equality.
    let sign = match sign {
        "<" => "<=",
        ">" => ">=",
        "" => "=",
        other => other,
    };
    let name = name.trim_ascii_end();
    let version = version(bound.trim_ascii_start());
    format!("{name} ({sign} {version})")
}

/// Without an epoch of zero, unless a colon in the rest makes it necessary.
pub(super) fn version(version: &str) -> &str {
    match version.split_once(':') {
        Some((epoch, rest))
            if !epoch.is_empty()
                && epoch.bytes().all(|digit| digit == b'0')
                && !rest.contains(':') =>
        {
            rest
        }
        _ => version,
    }
}
