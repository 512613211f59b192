//! Pictures, as SVG inside the page.

use std::fmt::Write;

use chrono::{Datelike, NaiveDate, Weekday};

use super::{Figure, escaped, euro};

const WIDTH: i64 = 960;
/// Where the plot begins, right of the axis's labels.
const LEFT: i64 = 72;
const TOP: i64 = 16;
const PLOT_HEIGHT: i64 = 220;

/// Columns by day; a day without a figure is empty.
pub(super) fn by_day(
    id: &str,
    title: &str,
    days: &[Figure],
    from: NaiveDate,
    to: NaiveDate,
) -> String {
    let count = (to - from).num_days().max(0) + 1;
    let largest = days.iter().map(|figure| figure.cents).max().unwrap_or(0).max(1);
    let step = round_step(largest, 5);
    let ceiling = (largest + step - 1) / step * step;
    let height = |cents: i64| PLOT_HEIGHT * cents.max(0) / ceiling;
    let floor = TOP + PLOT_HEIGHT;
    let busiest = days.iter().max_by_key(|figure| figure.cents);
    let description = busiest.map_or_else(String::new, |busiest| {
        let all = euro(days.iter().map(|figure| figure.cents).sum());
        format!("{all} in {count} days; most on {}: {}.", busiest.name, euro(busiest.cents))
    });
    let mut svg = opened(id, title, &description, WIDTH, floor + 34);
    let mut line = 0;
    while line <= ceiling {
        let y = floor - height(line);
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{y}\" y2=\"{y}\"/>\
             <text class=\"axis\" x=\"{}\" y=\"{}\" text-anchor=\"end\">€{}</text>",
            LEFT - 8,
            y + 5,
            super::grouped(line / 100)
        );
        line += step;
    }
    let place = |day: i64| LEFT + (WIDTH - LEFT) * day / count;
    for (index, day) in (0_i64..).zip(from.iter_days().take(usize::try_from(count).unwrap_or(0))) {
        let (x, width) = (place(index), (place(index + 1) - place(index) - 2).max(1));
        if day.weekday() == Weekday::Mon || (count <= 14) {
            let _ = writeln!(
                svg,
                "<text class=\"axis\" x=\"{x}\" y=\"{}\">{}</text>",
                floor + 22,
                day.format("%-d %b")
            );
        }
        let name = day.to_string();
        let Some(figure) = days.iter().find(|figure| figure.name == name) else { continue };
        let height = height(figure.cents).max(1);
        let weekend = matches!(day.weekday(), Weekday::Sat | Weekday::Sun);
        let _ = writeln!(
            svg,
            "<rect class=\"{}\" x=\"{x}\" y=\"{}\" width=\"{width}\" height=\"{height}\" rx=\"1.5\">\
             <title>{} {}: {}</title></rect>",
            if weekend { "bar weekend" } else { "bar" },
            floor - height,
            day.format("%a"),
            name,
            euro(figure.cents)
        );
    }
    svg.push_str("</svg>\n");
    svg
}

/// Bars by name, one below the other.
pub(super) fn by_name(id: &str, title: &str, figures: &[Figure]) -> String {
    let values: Vec<_> = figures.iter().map(|figure| (figure.name.clone(), figure.cents)).collect();
    bars(id, title, &values, euro)
}

/// Bars of any values, one below the other; the first is the longest.
pub(super) fn bars(
    id: &str,
    title: &str,
    values: &[(String, i64)],
    written: fn(i64) -> String,
) -> String {
    const ROW: i64 = 44;
    const ACROSS: i64 = 520;
    let largest = values.iter().map(|(_, value)| *value).max().unwrap_or(0).max(1);
    let rows = i64::try_from(values.len()).unwrap_or(0);
    let description = values.first().map_or_else(String::new, |(name, value)| {
        format!("{rows} bars; the longest is {name}: {}.", written(*value))
    });
    let mut svg = opened(id, title, &description, ACROSS, rows * ROW);
    for (row, (name, value)) in (0_i64..).zip(values) {
        let y = row * ROW;
        let width = (ACROSS * (*value).max(0) / largest).max(2);
        let _ = writeln!(
            svg,
            "<text class=\"label\" x=\"0\" y=\"{}\">{}</text>\
             <text class=\"value\" x=\"{ACROSS}\" y=\"{}\" text-anchor=\"end\">{}</text>\
             <rect class=\"track\" x=\"0\" y=\"{}\" width=\"{ACROSS}\" height=\"10\" rx=\"2\"/>\
             <rect class=\"bar\" x=\"0\" y=\"{}\" width=\"{width}\" height=\"10\" rx=\"2\"/>",
            y + 16,
            escaped(&shortened(name)),
            y + 16,
            written(*value),
            y + 24,
            y + 24,
        );
    }
    svg.push_str("</svg>\n");
    svg
}

fn opened(id: &str, title: &str, description: &str, width: i64, height: i64) -> String {
    format!(
        "<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-labelledby=\"{id}-title {id}-desc\">\n\
         <title id=\"{id}-title\">{}</title>\n<desc id=\"{id}-desc\">{}</desc>\n",
        escaped(title),
        escaped(description)
    )
}

/// A round number of which about `lines` reach `largest`.
fn round_step(largest: i64, lines: i64) -> i64 {
    let wanted = (largest / lines).max(1);
    let mut power = 1;
    while power * 10 <= wanted {
        power *= 10;
    }
    [1, 2, 5, 10]
        .map(|times| times * power)
        .into_iter()
        .find(|step| *step >= wanted)
        .unwrap_or(wanted)
}

/// A name that fits above its bar; the table behind has it whole.
fn shortened(name: &str) -> String {
    const LONGEST: usize = 48;
    if name.chars().count() <= LONGEST {
        return name.to_owned();
    }
    let mut short: String = name.chars().take(LONGEST - 1).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round() {
        assert_eq!(round_step(41_000, 4), 20_000);
        assert_eq!(round_step(100, 4), 50);
        assert_eq!(round_step(1, 4), 1);
    }
}
