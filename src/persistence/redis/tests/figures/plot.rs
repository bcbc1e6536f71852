//! Lines over a logarithmic axis, as an SVG.

use std::fmt::Write as _;

/// One line of a plot.
pub struct Line {
    /// What it shows.
    pub name: String,
    /// Its colour, as CSS names it.
    pub colour: &'static str,
    /// To tell a percentile from another of the same colour.
    pub dashed: bool,
    /// x and y; x above 0.
    pub points: Vec<(f64, f64)>,
}

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 460.0;
/// Around the axes: left, top, right (for the names of lines), bottom.
const MARGINS: [f64; 4] = [70.0, 40.0, 200.0, 50.0];
/// Lines across, one per step of y.
const STEPS: u32 = 5;

/// The plot: x by powers of ten, y from 0.
pub fn svg(title: &str, x_name: &str, y_name: &str, lines: &[Line]) -> String {
    let [left, top, right, bottom] = MARGINS;
    let (inner_width, inner_height) = (WIDTH - left - right, HEIGHT - top - bottom);
    let points = || lines.iter().flat_map(|line| &line.points);
    let x_min = points().map(|point| point.0.log10()).fold(f64::INFINITY, f64::min);
    let x_max = points().map(|point| point.0.log10()).fold(f64::NEG_INFINITY, f64::max);
    let y_max = round_up(points().map(|point| point.1).fold(0.0, f64::max));
    let x_at = |x: f64| left + (x.log10() - x_min) / (x_max - x_min).max(1e-9) * inner_width;
    let y_at = |y: f64| top + inner_height - y / y_max * inner_height;
    let mut text = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' font-family='sans-serif' font-size='12'>\n\
         <rect width='100%' height='100%' fill='white'/>\n\
         <text x='{left}' y='{}' font-size='15'>{}</text>\n",
        top - 16.0,
        escaped(title),
    );
    let mut add = |part: String| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{part}");
    };
    let (x_end, y_end) = (left + inner_width, top + inner_height);
    for step in 0..=STEPS {
        let value = y_max * f64::from(step) / f64::from(STEPS);
        let y = y_at(value);
        add(format!("<path d='M{left} {y:.1}H{x_end:.1}' stroke='#ddd'/>"));
        let (x, y) = (left - 8.0, y + 4.0);
        add(format!("<text x='{x}' y='{y:.1}' text-anchor='end'>{value}</text>"));
    }
    for power in x_min.ceil() as i32..=x_max.floor() as i32 {
        let x = x_at(10f64.powi(power));
        add(format!("<path d='M{x:.1} {top}V{y_end:.1}' stroke='#ddd'/>"));
        let y = y_end + 18.0;
        add(format!(
            "<text x='{x:.1}' y='{y:.1}' text-anchor='middle'>10<tspan dy='-5' font-size='9'>{power}</tspan></text>"
        ));
    }
    let (x, y) = (left + inner_width / 2.0, HEIGHT - 10.0);
    add(format!("<text x='{x:.1}' y='{y:.1}' text-anchor='middle'>{}</text>", escaped(x_name)));
    let y = top + inner_height / 2.0;
    add(format!(
        "<text transform='translate(16 {y:.1}) rotate(-90)' text-anchor='middle'>{}</text>",
        escaped(y_name)
    ));
    for (at, line) in lines.iter().enumerate() {
        let Line { name, colour, dashed, points } = line;
        let dashes = if *dashed { " stroke-dasharray='6 4'" } else { "" };
        let style = format!("fill='none' stroke='{colour}' stroke-width='2'{dashes}");
        let places: Vec<_> =
            points.iter().map(|&(x, y)| format!("{:.1},{:.1}", x_at(x), y_at(y))).collect();
        add(format!("<polyline points='{}' {style}/>", places.join(" ")));
        for &(x, y) in points {
            add(format!("<circle cx='{:.1}' cy='{:.1}' r='3' fill='{colour}'/>", x_at(x), y_at(y)));
        }
        let (x, y) = (x_end + 16.0, top + 10.0 + at as f64 * 20.0);
        add(format!("<path d='M{x:.1} {y:.1}h28' {style}/>"));
        add(format!("<text x='{:.1}' y='{:.1}'>{}</text>", x + 36.0, y + 4.0, escaped(name)));
    }
    text + "</svg>\n"
}

/// The next of 1, 2 and 5 by a power of ten.
fn round_up(value: f64) -> f64 {
    let power = 10f64.powf(value.max(1e-9).log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .map(|step| step * power)
        .into_iter()
        .find(|&step| step >= value)
        .unwrap_or(value)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[test]
fn a_plot_is_by_powers_of_ten_and_from_zero() {
    let line = |name: &str, points: &[(f64, f64)]| Line {
        name: name.to_owned(),
        colour: "black",
        dashed: false,
        points: points.to_vec(),
    };
    let lines = [line("a<b", &[(1e3, 0.0), (1e5, 50.0)]), line("middle", &[(1e4, 25.0)])];
    let text = svg("title", "x", "y", &lines);
    assert!(text.contains("points='70.0,410.0 660.0,40.0'"), "from corner to corner: {text}");
    assert!(text.contains("points='365.0,225.0'"), "half of both ways: {text}");
    assert!(text.contains("a&lt;b"));
}
