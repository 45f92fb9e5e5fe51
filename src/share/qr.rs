//! A QR code (ISO/IEC 18004) in half blocks: two modules in a character, which is about twice as high as wide.

use qrcodegen::{Mask, QrCode, QrCodeEcc, QrSegment, Version};

/// Light modules around it, which readers need.
const QUIET_ZONE: i32 = 4;

/// The largest that a terminal shows: 117 modules, with the quiet zone 125 columns. 1,273 bytes fit.
const LARGEST: u8 = 25;

/// Draws a text as a QR code; `None` where it is too long for one. With `colours` it is black on white wherever it
/// stands, and else the colours of the reader's text: dark on light.
pub(super) fn draw(text: &str, colours: bool) -> Option<String> {
    let segments = [QrSegment::make_bytes(text.as_bytes())];
    let (least, most) = (Version::new(1), Version::new(LARGEST));
    let level = QrCodeEcc::Low;
    // (a higher level of correction where the same size holds it)
    let code = QrCode::encode_segments_advanced(&segments, level, least, most, None::<Mask>, true).ok()?;
    let side = -QUIET_ZONE..code.size() + QUIET_ZONE;
    let mut drawn = String::new();
    for y in side.clone().step_by(2) {
        // Exactly black and white, whatever a terminal's theme makes of the first 16 colours.
        drawn.push_str(if colours { "\u{1b}[38;5;16;48;5;231m" } else { "" });
        drawn.extend(side.clone().map(|x| match (code.get_module(x, y), code.get_module(x, y + 1)) {
            (false, false) => ' ',
            (true, false) => '▀',
            (false, true) => '▄',
            (true, true) => '█',
        }));
        drawn.push_str(if colours { "\u{1b}[0m\n" } else { "\n" });
    }
    Some(drawn)
}

/// Whether a code fits into lines of so many columns. (Lines that are broken make no code.)
pub(super) fn fits(drawn: &str, columns: usize) -> bool {
    width(drawn) <= columns
}

/// How many columns a code takes, whatever its colours.
pub(super) fn width(drawn: &str) -> usize {
    let is_module = |c: &char| matches!(c, ' ' | '▀' | '▄' | '█');
    drawn.lines().map(|line| line.chars().filter(is_module).count()).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a drawing without colours as a camera would.
    fn read(drawn: &str) -> String {
        let rows: Vec<Vec<char>> = drawn.lines().map(|line| line.chars().collect()).collect();
        let pixels = 3;
        let (width, height) = (rows[0].len() * pixels, rows.len() * 2 * pixels);
        let mut image = rqrr::PreparedImage::prepare_from_greyscale(width, height, |x, y| {
            let (x, y) = (x / pixels, y / pixels);
            let dark = match rows[y / 2][x] {
                '▀' => y % 2 == 0,
                '▄' => y % 2 == 1,
                '█' => true,
                _ => false,
            };
            if dark { 0 } else { 255 }
        });
        let grids = image.detect_grids();
        assert_eq!(grids.len(), 1);
        grids[0].decode().unwrap().1
    }

    #[test]
    fn what_is_drawn_is_read() {
        for length in [1, 40, 200, 900] {
            let text: String =
                "ss://YWVzLTI1Ni1nY20@www.example.com:443/".chars().cycle().take(length).collect();
            assert_eq!(read(&draw(&text, false).unwrap()), text);
        }
    }

    #[test]
    fn a_quiet_zone_is_around_it_and_colours_are_set_on_each_line() {
        let plain = draw("ss://a", false).unwrap();
        let rows: Vec<&str> = plain.lines().collect();
        assert!(rows[..2].iter().all(|row| row.trim().is_empty()), "{plain}");
        assert!(rows.iter().all(|row| row.starts_with("    ") && row.ends_with("    ")), "{plain}");
        let coloured = draw("ss://a", true).unwrap();
        assert_eq!(coloured.replace("\u{1b}[38;5;16;48;5;231m", "").replace("\u{1b}[0m", ""), plain);
        assert!(coloured.lines().all(|row| row.starts_with('\u{1b}') && row.ends_with("\u{1b}[0m")));
    }

    #[test]
    fn its_width_is_that_of_its_modules() {
        for colours in [false, true] {
            // Version 1: 21 modules, and the quiet zone on both sides.
            let drawn = draw("ss://a", colours).unwrap();
            assert_eq!(width(&drawn), 29);
            assert!(fits(&drawn, 29) && !fits(&drawn, 28));
        }
    }

    #[test]
    fn too_long_is_told() {
        assert!(draw(&"a".repeat(1273), false).is_some());
        assert_eq!(draw(&"a".repeat(1274), false), None);
    }
}
