//! The date from the CMOS clock (Motorola MC146818 and its descendants), taken to be UTC.

use x86_64::instructions::port::Port;

const SECONDS: u8 = 0x00;
const MINUTES: u8 = 0x02;
const HOURS: u8 = 0x04;
const DAY: u8 = 0x07;
const MONTH: u8 = 0x08;
const YEAR: u8 = 0x09;
const STATUS_A: u8 = 0x0a;
const STATUS_B: u8 = 0x0b;
const CENTURY: u8 = 0x32;

const UPDATING: u8 = 0x80;
const BINARY: u8 = 0x04;
const HOURS_24: u8 = 0x02;
const AFTERNOON: u8 = 0x80;

#[derive(Clone, Copy, PartialEq, Eq)]
struct Raw {
    fields: [u8; 7],
}

fn cmos(register: u8) -> u8 {
    // SAFETY: the CMOS index and data ports; bit 7 keeps NMI as the firmware left it: enabled.
    unsafe {
        Port::<u8>::new(0x70).write(register);
        Port::<u8>::new(0x71).read()
    }
}

/// What an empty bus answers; no register A of a clock that runs is so.
const NOBODY: u8 = 0xff;

/// Seconds since the Unix epoch; `None` without a clock that makes sense. Looks as long as `patient`.
pub(crate) fn read(patient: impl FnMut() -> bool) -> Option<u64> {
    let raw = stable(patient)?;
    let status = cmos(STATUS_B);
    let decode = |v: u8| if status & BINARY != 0 { u64::from(v) } else { u64::from(v >> 4) * 10 + u64::from(v & 15) };
    let [second, minute, hour, day, month, year, century] = raw.fields;
    let mut hours = decode(hour & !AFTERNOON);
    if status & HOURS_24 == 0 {
        hours = hours % 12 + if hour & AFTERNOON != 0 { 12 } else { 0 };
    }
    let century = match decode(century) {
        c @ 19..=22 => c,
        _ => 20,
    };
    let year = century * 100 + decode(year);
    let (month, day) = (decode(month), decode(day));
    let valid = (1..=12).contains(&month) && (1..=31).contains(&day) && hours < 24;
    valid.then(|| days(year, month, day) * 86400 + hours * 3600 + decode(minute) * 60 + decode(second))
}

/// Two equal readings in a row, neither during an update. That takes 2 ms at most by the data sheet, and as long as its host
/// is busy elsewhere if the clock is emulated: then it stays at "during an update".
fn stable(mut patient: impl FnMut() -> bool) -> Option<Raw> {
    let mut last = None;
    while patient() {
        match cmos(STATUS_A) {
            NOBODY => return None,
            status if status & UPDATING != 0 => continue,
            _ => {}
        }
        let raw = Raw { fields: [SECONDS, MINUTES, HOURS, DAY, MONTH, YEAR, CENTURY].map(cmos) };
        if last == Some(raw) {
            return Some(raw);
        }
        last = Some(raw);
    }
    None
}

/// Days from 1970-01-01 to a date of the Gregorian calendar, from 1970 on.
fn days(year: u64, month: u64, day: u64) -> u64 {
    // Count years from March, so that the leap day comes last.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    y * 365 + y / 4 - y / 100 + y / 400 + (m * 153 + 2) / 5 + day - 1 - 719_468
}
