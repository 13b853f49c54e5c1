//! How a table of system calls is written: one line a call, from which come the number, the decoding of the arguments, the
//! capability check, the handler, the trace and the documentation.

use aurora_machine::Reg;

/// Where the arguments are, at both gates.
pub(super) const ARGUMENTS: [Reg; 6] = [Reg::Rdi, Reg::Rsi, Reg::Rdx, Reg::R10, Reg::R8, Reg::R9];

/// The capability a row names.
macro_rules! needed {
    () => {
        None
    };
    ($kind:ident $right:ident) => {
        Some((Kind::$kind, Rights::$right))
    };
}

/// The answer of a row's handler.
macro_rules! answer {
    (=, $answer:expr) => {
        $answer.await
    };
    (now, $answer:expr) => {
        $answer
    };
}

/// The answer of a row's handler, if that never waits.
macro_rules! answer_now {
    (now, $answer:expr) => {
        Some($answer)
    };
    (=, $answer:expr) => {
        None
    };
}

/// One line a call: `number name(arguments) [capability right] = handler`, or `now` instead of `=` if the handler never
/// waits: it is an ordinary function then, which makes a short call a third cheaper.
macro_rules! syscalls {
    ($($number:literal $name:ident($($arg:ident),*) [$($kind:ident $right:ident)?] $how:tt $family:ident::$handler:ident;)*) => {
        /// Every row, by number.
        pub const ROWS: &[Row] = &[$(Row {
            number: $number,
            name: stringify!($name),
            arguments: &[$(stringify!($arg)),*],
            capability: needed!($($kind $right)?),
            handler: stringify!($handler),
        }),*];

        /// Does a call whose handler never waits.
        pub(super) fn call_now(cx: &mut Context<'_>, number: u64) -> Option<SysResult> {
            match number {
                $($number => answer_now!($how, {
                    check(cx.thread, needed!($($kind $right)?)).and_then(|()| {
                        #[allow(unused_mut)]
                        let mut registers = ARGUMENTS.iter();
                        $(let $arg = cx.argument(registers.next());)*
                        let _ = registers;
                        $family::$handler(cx, $($arg),*)
                    })
                }),)*
                _ => None,
            }
        }

        /// Does any call.
        pub(super) async fn call(cx: &mut Context<'_>, number: u64) -> SysResult {
            match number {
                $($number => {
                    check(cx.thread, needed!($($kind $right)?))?;
                    #[allow(unused_mut)]
                    let mut registers = ARGUMENTS.iter();
                    $(let $arg = cx.argument(registers.next());)*
                    let _ = registers;
                    answer!($how, $family::$handler(cx, $($arg),*))
                })*
                _ => Err(Errno::ENOSYS),
            }
        }
    };
}
