//! A treemap: rectangles as large as their share, as square as they can be (Bruls, Huizing, van
//! Wijk: Squarified Treemaps, 2000).

/// A rectangle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Area {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

/// Divides `area` by `shares`, which are sorted, the largest first. Shares of nothing get nothing.
pub(super) fn squarified(shares: &[f64], area: Area) -> Vec<Area> {
    let total: f64 = shares.iter().sum();
    if total <= 0.0 || area.width <= 0.0 || area.height <= 0.0 {
        let nothing = Area {
            width: 0.0,
            height: 0.0,
            ..area
        };
        return vec![nothing; shares.len()];
    }
    let scale = area.width * area.height / total;
    let sizes: Vec<f64> = shares.iter().map(|share| share * scale).collect();
    let mut rest = area;
    let mut areas = Vec::with_capacity(sizes.len());
    let mut from = 0;
    while from < sizes.len() {
        let side = rest.width.min(rest.height);
        if sizes[from] <= 0.0 || side <= 0.0 {
            let nothing = Area {
                width: 0.0,
                height: 0.0,
                ..rest
            };
            areas.resize(sizes.len(), nothing);
            break;
        }
        let mut to = from + 1;
        while to < sizes.len() && worst(&sizes[from..=to], side) <= worst(&sizes[from..to], side) {
            to += 1;
        }
        rest = row(&sizes[from..to], rest, &mut areas);
        from = to;
    }
    areas
}

/// How far from a square the worst rectangle of a row is that stands along `side`.
fn worst(sizes: &[f64], side: f64) -> f64 {
    let sum: f64 = sizes.iter().sum();
    let thickness = sum / side;
    let ratio = |size: &f64| {
        let length = size / thickness;
        (length / thickness).max(thickness / length)
    };
    sizes.iter().map(ratio).fold(0.0, f64::max)
}

/// Places a row along the shorter side; what is left of the area.
fn row(sizes: &[f64], area: Area, areas: &mut Vec<Area>) -> Area {
    let sum: f64 = sizes.iter().sum();
    let upright = area.width >= area.height;
    let side = if upright { area.height } else { area.width };
    let thickness = sum / side;
    let mut at = 0.0;
    for size in sizes {
        let length = size / thickness;
        areas.push(if upright {
            Area {
                x: area.x,
                y: area.y + at,
                width: thickness,
                height: length,
            }
        } else {
            Area {
                x: area.x + at,
                y: area.y,
                width: length,
                height: thickness,
            }
        });
        at += length;
    }
    if upright {
        Area {
            x: area.x + thickness,
            width: (area.width - thickness).max(0.0),
            ..area
        }
    } else {
        Area {
            y: area.y + thickness,
            height: (area.height - thickness).max(0.0),
            ..area
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AREA: Area = Area {
        x: 0.0,
        y: 0.0,
        width: 6.0,
        height: 4.0,
    };

    #[test]
    fn areas_are_as_large_as_their_shares_and_inside() {
        // The example of the paper.
        let shares = [6.0, 6.0, 4.0, 3.0, 2.0, 2.0, 1.0];
        let areas = squarified(&shares, AREA);
        assert_eq!(areas.len(), shares.len());
        for (area, share) in areas.iter().zip(shares) {
            assert!((area.width * area.height - share).abs() < 1e-9, "{area:?}");
            assert!(area.x >= -1e-9 && area.x + area.width <= 6.0 + 1e-9);
            assert!(area.y >= -1e-9 && area.y + area.height <= 4.0 + 1e-9);
            let ratio = (area.width / area.height).max(area.height / area.width);
            assert!(ratio < 3.0, "{area:?}");
        }
        // As in figure 4 there: the first two fill the left half.
        assert!((areas[0].width - 3.0).abs() < 1e-9 && (areas[1].width - 3.0).abs() < 1e-9);
    }

    #[test]
    fn nothing_gets_no_area() {
        assert!(squarified(&[], AREA).is_empty());
        let areas = squarified(&[0.0, 0.0], AREA);
        assert!(areas.iter().all(|area| area.width * area.height < 1e-9));
        let areas = squarified(&[1.0, 0.0], AREA);
        assert!(areas[1].width * areas[1].height < 1e-9, "{areas:?}");
    }
}
