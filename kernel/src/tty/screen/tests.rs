//! What appears where.
#![allow(clippy::cast_possible_truncation)]

use alloc::string::String;
use alloc::vec::Vec;
use std::sync::Mutex;

use aurora_machine::Display;

use super::Screen;
use super::keyboard::Keyboard;

/// Twenty columns and five rows, counting the cells drawn.
struct Glass(Mutex<usize>);

impl Display for Glass {
    fn size(&self) -> (u32, u32) {
        (165, 90)
    }
    fn draw(&self, x: u32, y: u32, width: u32, pixels: &[u32]) {
        assert!(x + width <= 165 && y + 16 <= 90 && pixels.len() == 128);
        *self.0.lock().unwrap() += 1;
    }
}

fn screen() -> Screen {
    Screen::new(&Glass(Mutex::new(0)))
}

fn after(output: &str) -> Vec<String> {
    let mut screen = screen();
    screen.write(output.as_bytes());
    (0..5).map(|row| screen.row_text(row)).collect()
}

#[test]
fn a_display_holds_whole_cells() {
    assert_eq!(screen().size(), (5, 20));
}

#[test]
fn text_wraps_after_the_last_column_and_only_when_there_is_more() {
    assert_eq!(after("12345678901234567890"), ["12345678901234567890", "", "", "", ""]);
    assert_eq!(after("12345678901234567890\r\nx"), ["12345678901234567890", "x", "", "", ""]);
    assert_eq!(after("12345678901234567890x"), ["12345678901234567890", "x", "", "", ""]);
    assert_eq!(after("\x1b[?7l12345678901234567890xyz"), ["1234567890123456789z", "", "", "", ""]);
}

#[test]
fn lines_scroll_off_the_top() {
    assert_eq!(after("a\r\nb\r\nc\r\nd\r\ne\r\nf"), ["b", "c", "d", "e", "f"]);
}

#[test]
fn a_region_scrolls_alone() {
    assert_eq!(after("a\r\nb\r\nc\r\nd\r\ne\x1b[2;4r\x1b[4;1H\nX"), ["a", "c", "d", "X", "e"]);
    assert_eq!(after("a\r\nb\r\nc\r\nd\r\ne\x1b[2;4r\x1b[2;1H\x1bMX"), ["a", "X", "b", "c", "e"]);
    assert_eq!(after("a\r\nb\r\nc\r\nd\r\ne\x1b[2;1H\x1b[2L"), ["a", "", "", "b", "c"]);
    assert_eq!(after("a\r\nb\r\nc\r\nd\r\ne\x1b[2;1H\x1b[2M"), ["a", "d", "e", "", ""]);
}

#[test]
fn cells_are_erased_inserted_and_deleted() {
    assert_eq!(after("abcdef\x1b[1;3H\x1b[K")[0], "ab");
    assert_eq!(after("abcdef\x1b[1;3H\x1b[1K")[0], "   def");
    assert_eq!(after("abcdef\x1b[1;3H\x1b[2P")[0], "abef");
    assert_eq!(after("abcdef\x1b[1;3H\x1b[2@")[0], "ab  cdef");
    assert_eq!(after("abcdef\x1b[1;3H\x1b[2X")[0], "ab  ef");
    assert_eq!(after("abcdef\x1b[1;3H\x1b[4hXY\x1b[4l")[0], "abXYcdef");
    assert_eq!(after("a\r\nb\r\nc\x1b[2;1H\x1b[J"), ["a", "", "", "", ""]);
    assert_eq!(after("a\r\nb\x1b[2J"), ["", "", "", "", ""]);
}

#[test]
fn the_alternate_screen_gives_the_main_one_back() {
    assert_eq!(after("shell\x1b[?1049h\x1b[2J\x1b[Hvi\x1b[?1049l$"), ["shell$", "", "", "", ""]);
    assert_eq!(after("shell\x1b[?1049h\x1b[Hvi"), ["vi", "", "", "", ""]);
}

#[test]
fn lines_are_drawn_with_decs_set() {
    assert_eq!(after("\x1b(0lqk\x1b(Blqk")[0], "┌─┐lqk");
    assert_eq!(after("\x1b)0\x0ex\x0fx")[0], "│x");
}

#[test]
fn questions_are_answered() {
    let mut screen = screen();
    screen.write(b"\x1b[3;4H\x1b[6n\x1b[5n\x1b[c");
    assert_eq!(screen.take_replies(), b"\x1b[3;4R\x1b[0n\x1b[?6c");
    assert!(screen.take_replies().is_empty());
}

#[test]
fn any_bytes_leave_a_screen_that_works() {
    let mut screen = screen();
    let mut state = 1_u64;
    for _ in 0..200 {
        let bytes: Vec<u8> = (0..500)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let word = (state >> 33) as u32;
                if word.is_multiple_of(3) {
                    b"\x1b[;?0123459rHJKLMPX@hlmSTd"[word as usize / 3 % 26]
                } else {
                    word.to_le_bytes()[0]
                }
            })
            .collect();
        screen.write(&bytes);
        screen.paint(&Glass(Mutex::new(0)));
    }
    screen.write(b"\x18\x1bc\x1b[3;3Hok");
    assert_eq!(screen.row_text(2), "  ok");
}

#[test]
fn only_what_changed_is_drawn() {
    let glass = Glass(Mutex::new(0));
    let mut screen = Screen::new(&glass);
    screen.paint(&glass);
    assert_eq!(*glass.0.lock().unwrap(), 100);
    screen.write(b"ab");
    screen.paint(&glass);
    // Two characters and the cursor.
    assert_eq!(*glass.0.lock().unwrap(), 103);
    screen.paint(&glass);
    assert_eq!(*glass.0.lock().unwrap(), 103);
}

fn typed(codes: &[u8], application: bool) -> Vec<u8> {
    let (mut keyboard, mut typed) = (Keyboard::default(), Vec::new());
    codes.iter().for_each(|&code| keyboard.scan_code(code, application, &mut typed));
    typed
}

#[test]
fn keys_type_what_they_say() {
    // h, shift and i, enter.
    assert_eq!(typed(&[0x23, 0xa3, 0x2a, 0x17, 0x97, 0xaa, 0x1c, 0x9c], false), b"hI\r");
    // Control and c; alt and x; backspace; tab.
    assert_eq!(typed(&[0x1d, 0x2e, 0xae, 0x9d], false), b"\x03");
    assert_eq!(typed(&[0x38, 0x2d, 0xad, 0xb8, 0x2d], false), b"\x1bxx");
    assert_eq!(typed(&[0x0e, 0x8e, 0x0f, 0x8f], false), b"\x7f\t");
    // Up, in both modes; F5; delete.
    assert_eq!(typed(&[0xe0, 0x48, 0xe0, 0xc8], false), b"\x1b[A");
    assert_eq!(typed(&[0xe0, 0x48], true), b"\x1bOA");
    assert_eq!(typed(&[0x3f, 0xe0, 0x53], false), b"\x1b[[E\x1b[3~");
}
