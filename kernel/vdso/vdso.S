# What every program finds mapped as [vdso]: the clocks, read without a system call where the processor's counter tells the
# kernel's time (kernel/src/vdso.rs says when, and fills the page before this one).
#
# The names, versions and errors are those of Linux's vdso(7). What a function does not know by itself it asks the kernel.

  .equ START, 0                 # the counter when the monotonic clock showed 0
  .equ NS_PER_STEP, 8           # nanoseconds a step of the counter takes, times 2^32; 0 where the counter tells nothing
  .equ REAL, 16                 # nanoseconds from the monotonic to the real-time clock

  .equ SYS_gettimeofday, 96
  .equ SYS_time, 201
  .equ SYS_clock_gettime, 228
  .equ SYS_clock_getres, 229
  .equ SYS_getcpu, 309

  .equ REAL_CLOCKS, 1 << 0 | 1 << 5 | 1 << 11            # REALTIME, REALTIME_COARSE, TAI
  .equ MONOTONIC_CLOCKS, 1 << 1 | 1 << 4 | 1 << 6 | 1 << 7 # MONOTONIC, _RAW, _COARSE, BOOTTIME
  .equ COARSE_CLOCKS, 1 << 5 | 1 << 6
  .equ LAST_CLOCK, 11
  .equ TICK_NS, 4000000

  .hidden data
  .text

  .macro function name
  .globl __vdso_\name
  .weak \name
  .type __vdso_\name, @function
  .type \name, @function
  .balign 16
__vdso_\name:
\name:
  .cfi_startproc
  .endm

  .macro end name
  .cfi_endproc
  .size __vdso_\name, . - __vdso_\name
  .size \name, . - \name
  .endm

# Asks the kernel: the arguments are where they were.
  .macro ask number
  mov $\number, %eax
  syscall
  ret
  .endm

# rax: the monotonic clock in nanoseconds; r8: the data. Goes to `else` where the counter does not tell. Uses rcx, rdx.
  .macro monotonic else
  lea data(%rip), %r8
  mov NS_PER_STEP(%r8), %rcx
  test %rcx, %rcx
  jz \else
  lfence                        # what was read before stays before
  rdtsc
  shl $32, %rdx
  or %rdx, %rax
  sub START(%r8), %rax
  mul %rcx
  shrd $32, %rdx, %rax
  .endm

# Nanoseconds in rax become seconds in rdx and nanoseconds in rax. Uses rcx. A multiplication in place of the division:
# x / 10^9 is (x / 2^9) * m / 2^75, exact for all 64 bits.
  .macro split
  mov %rax, %rcx
  shr $9, %rax
  movabs $0x44b82fa09b5a53, %rdx
  mul %rdx
  shr $11, %rdx
  imul $1000000000, %rdx, %rax
  sub %rax, %rcx
  mov %rcx, %rax
  .endm

# int clock_gettime(clockid_t clock, struct timespec *time)
  function clock_gettime
  cmp $LAST_CLOCK, %edi
  ja 2f
  mov $(REAL_CLOCKS | MONOTONIC_CLOCKS), %eax
  bt %edi, %eax
  jnc 2f
  monotonic 2f
  mov $REAL_CLOCKS, %ecx
  bt %edi, %ecx
  jnc 1f
  add REAL(%r8), %rax
1:
  split
  mov %rdx, (%rsi)
  mov $COARSE_CLOCKS, %ecx
  bt %edi, %ecx
  jnc 3f
  mov %eax, %r8d                # whole ticks: a second has a whole number of them
  xor %edx, %edx
  mov $TICK_NS, %ecx
  div %ecx
  mov %r8d, %eax
  sub %edx, %eax
3:
  mov %rax, 8(%rsi)
  xor %eax, %eax
  ret
2:
  ask SYS_clock_gettime
  end clock_gettime

# int clock_getres(clockid_t clock, struct timespec *step)
  function clock_getres
  cmp $LAST_CLOCK, %edi
  ja 2f
  mov $(REAL_CLOCKS | MONOTONIC_CLOCKS), %eax
  bt %edi, %eax
  jnc 2f
  test %rsi, %rsi
  jz 1f
  mov $1, %eax
  mov $COARSE_CLOCKS, %ecx
  mov $TICK_NS, %edx
  bt %edi, %ecx
  cmovc %edx, %eax
  movq $0, (%rsi)
  mov %rax, 8(%rsi)
1:
  xor %eax, %eax
  ret
2:
  ask SYS_clock_getres
  end clock_getres

# int gettimeofday(struct timeval *time, struct timezone *zone)
  function gettimeofday
  test %rdi, %rdi
  jz 1f
  monotonic 3f
  add REAL(%r8), %rax
  split
  mov %rdx, (%rdi)
  imul $274877907, %rax, %rax   # x / 1000 is x * m / 2^38, exact below 10^9
  shr $38, %rax
  mov %rax, 8(%rdi)
1:
  test %rsi, %rsi
  jz 2f
  movq $0, (%rsi)               # the kernel keeps no time zone
2:
  xor %eax, %eax
  ret
3:
  ask SYS_gettimeofday
  end gettimeofday

# time_t time(time_t *seconds)
  function time
  monotonic 2f
  add REAL(%r8), %rax
  split
  mov %rdx, %rax
  test %rdi, %rdi
  jz 1f
  mov %rax, (%rdi)
1:
  ret
2:
  ask SYS_time
  end time

# int getcpu(unsigned *processor, unsigned *node, void *unused)
  function getcpu
  ask SYS_getcpu
  end getcpu

  .section .note.Linux, "a", @note
  .balign 4
  .long 2f - 1f, 4f - 3f, 0     # the version of Linux whose interface this is: 6.1.0
1:
  .asciz "Linux"
2:
  .balign 4
3:
  .long 0x060100
4:
  .balign 4

  .section .note.GNU-stack, "", @progbits
