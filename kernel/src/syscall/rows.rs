//! How a table of system calls is written: one line a call, from which come the number, the decoding of the arguments, the
//! capability check, the handler, the trace and the documentation.

/// The capability a row names.
macro_rules! needed {
    () => {
        None
    };
    ($kind:ident $right:ident) => {
        Some((Kind::$kind, Rights::$right))
    };
}

/// One line a call: `number name(arguments) [capability right] = handler`.
macro_rules! syscalls {
    ($($number:literal $name:ident($($arg:ident),*) [$($kind:ident $right:ident)?] = $family:ident::$handler:ident;)*) => {
        /// Every row, by number.
        pub const ROWS: &[Row] = &[$(Row {
            number: $number,
            name: stringify!($name),
            arguments: &[$(stringify!($arg)),*],
            capability: needed!($($kind $right)?),
            handler: stringify!($handler),
        }),*];

        pub(super) async fn call(cx: &mut Context<'_>, number: u64, args: [u64; 6]) -> SysResult {
            match number {
                $($number => {
                    check(cx.thread, needed!($($kind $right)?))?;
                    #[allow(unused_mut)]
                    let mut args = args.into_iter();
                    $(let $arg = Argument::from_register(args.next().unwrap_or_default());)*
                    let _ = args;
                    $family::$handler(cx, $($arg),*).await
                })*
                _ => Err(Errno::ENOSYS),
            }
        }
    };
}
