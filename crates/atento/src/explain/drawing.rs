//! The weights as one SVG drawing: a row of heads for each layer, with the tokens beside them.

use std::fmt::Write as _;

use minijinja::{AutoEscape, Environment, Value, context};

use super::page::name;
use super::{AttentionMaps, Error, Head, Layer, Stack};

/// The side of a cell, the room around heads and for headings, and about how wide a letter is, in the drawing's own
/// units.
const CELL: usize = 12;
const GAP: usize = 16;
const HEADING: usize = 34;
const CAPTION: usize = 20;
const LETTER: usize = 6;
/// The longest name of a token; the rest of a longer one is left out.
const LETTERS: usize = 16;
/// Shades that are told apart. A shade is the root of a weight, so that small weights can be seen.
const SHADES: usize = 20;

impl AttentionMaps {
    /// Draws all heads.
    ///
    /// # Errors
    /// The template has a mistake.
    pub fn to_svg(&self, title: &str) -> Result<String, Error> {
        let mut environment = Environment::new();
        environment.set_auto_escape_callback(|_| AutoEscape::Html);
        environment.add_template("drawing", include_str!("drawing.svg.j2"))?;
        let (mut width, mut height, mut stacks) = (0, GAP, Vec::new());
        for stack in self.stacks.iter().filter(|stack| stack.heads() > 0) {
            let drawn = Drawn::new(self, stack);
            height += HEADING;
            stacks.push(drawn.to_value(name(self, stack.between), stack, height));
            height += stack.layers.len() * drawn.layer_height();
            width = width.max(stack.layers.iter().map(|layer| drawn.width(layer)).max().unwrap_or(0));
        }
        let shades: Value =
            (1..=SHADES).map(|shade| format!("{:.2}", shade as f64 / SHADES as f64)).map(Value::from).collect();
        let page = context! { title, width, height => height + GAP, gap => GAP, cell => CELL, stacks, shades };
        Ok(environment.get_template("drawing")?.render(page)?)
    }
}

/// Where the parts of a stack lie.
struct Drawn {
    queries: Vec<String>,
    keys: Vec<String>,
    /// Room for names of queries, on the left.
    left: usize,
    /// Room for names of keys, above.
    above: usize,
}

impl Drawn {
    fn new(maps: &AttentionMaps, stack: &Stack) -> Self {
        let queries: Vec<String> = maps.queries(stack.between).iter().map(|token| short(token)).collect();
        let keys: Vec<String> = maps.keys(stack.between).iter().map(|token| short(token)).collect();
        let room = |names: &[String]| names.iter().map(|name| name.chars().count()).max().unwrap_or(0) * LETTER + 8;
        Self { left: room(&queries), above: room(&keys), queries, keys }
    }

    fn size(&self) -> [usize; 2] {
        [self.keys.len() * CELL, self.queries.len() * CELL]
    }

    fn width(&self, layer: &Layer) -> usize {
        GAP + self.left + layer.heads.len() * (self.size()[0] + GAP)
    }

    fn layer_height(&self) -> usize {
        CAPTION + self.above + self.size()[1] + GAP
    }

    /// What the template draws, from `top` on.
    fn to_value(&self, name: &str, stack: &Stack, top: usize) -> Value {
        let [width, height] = self.size();
        let layer = |(row, layer): (usize, &Layer)| {
            let y = top + row * self.layer_height() + CAPTION + self.above;
            let head = |(column, head): (usize, &Head)| {
                let x = GAP + self.left + column * (width + GAP);
                let shades = self.shades(head);
                context! { x, caption => format!("layer {} · head {}", layer.number, head.number), shades }
            };
            let heads: Value = layer.heads.iter().enumerate().map(head).collect();
            context! { y, caption_y => y - self.above - 6, heads }
        };
        let layers: Value = stack.layers.iter().enumerate().map(layer).collect();
        let (queries, keys) = (&self.queries, &self.keys);
        context! { name, name_y => top - 10, x => GAP + self.left, width, height, queries, keys, layers }
    }

    /// The cells of each shade as a path, the palest first; those too pale to be seen are left out.
    fn shades(&self, head: &Head) -> Vec<String> {
        let mut paths = vec![String::new(); SHADES];
        for (at, weight) in head.weights.iter().enumerate() {
            let shade = (weight.sqrt() * SHADES as f32).round() as usize;
            if let Some(path) = shade.checked_sub(1).and_then(|shade| paths.get_mut(shade)) {
                let (x, y) = (at % self.keys.len() * CELL, at / self.keys.len() * CELL);
                // Writing to a text cannot fail.
                let _ = write!(path, "M{x} {y}h{CELL}v{CELL}h-{CELL}z");
            }
        }
        paths
    }
}

/// The beginning of a long name.
fn short(token: &str) -> String {
    match token.chars().count() {
        0..=LETTERS => token.to_owned(),
        _ => token.chars().take(LETTERS - 1).chain(['…']).collect(),
    }
}
