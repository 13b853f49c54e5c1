# The border between user mode and the kernel. AT&T syntax.
#
# What always holds: interrupts are off in the kernel except at its `sti; hlt`, so between entry and exit there is one
# `current_context`, the UserContext being run, and one `kernel_rsp`, where `enter_user` left off. A trap from user mode
# stores every register there and returns from `enter_user`; a trap from the kernel calls `kernel_trap` and resumes.
# NMI, #DB, #DF and #MC have stacks of their own, so they are safe even while RSP is still the program's.

.section .text.trap, "ax"
.code64

.macro save_but_rax base
    movq %rcx, {RCX}(\base)
    movq %rdx, {RDX}(\base)
    movq %rbx, {RBX}(\base)
    movq %rbp, {RBP}(\base)
    movq %rsi, {RSI}(\base)
    movq %rdi, {RDI}(\base)
    movq %r8, {R8}(\base)
    movq %r9, {R9}(\base)
    movq %r10, {R10}(\base)
    movq %r11, {R11}(\base)
    movq %r12, {R12}(\base)
    movq %r13, {R13}(\base)
    movq %r14, {R14}(\base)
    movq %r15, {R15}(\base)
.endm

# All but RSP, RDI, and for SYSRET's sake RCX and R11.
.macro load_most
    movq {RAX}(%rdi), %rax
    movq {RDX}(%rdi), %rdx
    movq {RBX}(%rdi), %rbx
    movq {RBP}(%rdi), %rbp
    movq {RSI}(%rdi), %rsi
    movq {R8}(%rdi), %r8
    movq {R9}(%rdi), %r9
    movq {R10}(%rdi), %r10
    movq {R12}(%rdi), %r12
    movq {R13}(%rdi), %r13
    movq {R14}(%rdi), %r14
    movq {R15}(%rdi), %r15
.endm

# Back to the caller of `enter_user`, with RAX the vector and RDX the error code.
.macro return_from_user
    movq kernel_rsp(%rip), %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbp
    popq %rbx
    ret
.endm

# enter_user(rdi: context, esi: whether SYSRET will do) -> (rax: vector, rdx: error code)
.global enter_user
enter_user:
    pushq %rbx
    pushq %rbp
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, kernel_rsp(%rip)
    movq %rdi, current_context(%rip)
    testl %esi, %esi
    jz 1f
    load_most
    movq {RIP}(%rdi), %rcx
    movq {RFLAGS}(%rdi), %r11
    movq {RSP}(%rdi), %rsp
    movq {RDI}(%rdi), %rdi
    sysretq
1:
    pushq ${USER_SS}
    pushq {RSP}(%rdi)
    pushq {RFLAGS}(%rdi)
    pushq ${USER_CS}
    pushq {RIP}(%rdi)
    load_most
    movq {RCX}(%rdi), %rcx
    movq {R11}(%rdi), %r11
    movq {RDI}(%rdi), %rdi
    iretq

# SYSCALL: RCX is the program's RIP, R11 its flags; RSP is still the program's.
.global syscall_entry
.balign 16
syscall_entry:
    movq %rsp, user_rsp(%rip)
    movq current_context(%rip), %rsp
    movq %rax, {RAX}(%rsp)
    save_but_rax %rsp
    movq %rcx, {RIP}(%rsp)
    movq %r11, {RFLAGS}(%rsp)
    movq user_rsp(%rip), %rax
    movq %rax, {RSP}(%rsp)
    movl ${SYSCALL_VECTOR}, %eax
    xorl %edx, %edx
    return_from_user

# One stub per vector, 16 bytes each: pushes an error code where the processor does not, then the vector.
.global trap_stubs
.balign 16
trap_stubs:
.set vector, 0
.rept 256
    .balign 16
    .if (vector != 8) && (vector != 10) && (vector != 11) && (vector != 12) && (vector != 13) && (vector != 14) && (vector != 17) && (vector != 21) && (vector != 29) && (vector != 30)
    pushq $0
    .endif
    pushq $vector
    jmp trap_common
    .set vector, vector + 1
.endr

# On the stack: vector, error code, RIP, CS, RFLAGS, RSP, SS.
.balign 16
trap_common:
    testb $3, 24(%rsp)
    jz trap_from_kernel
    pushq %rax
    movq current_context(%rip), %rax
    save_but_rax %rax
    popq {RAX}(%rax)
    popq %rcx                       # vector
    popq %rdx                       # error code
    popq {RIP}(%rax)
    popq %rsi                       # CS
    popq {RFLAGS}(%rax)
    popq {RSP}(%rax)
    movq %rcx, %rax
    movq kernel_rsp(%rip), %rsp
    pushq $2                        # the program's DF and AC must not reach the kernel
    popfq
    return_from_user

trap_from_kernel:
    pushq %rax
    pushq %rcx
    pushq %rdx
    pushq %rbx
    pushq %rbp
    pushq %rsi
    pushq %rdi
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    cld
    movq %rsp, %rdi
    call kernel_trap
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %r11
    popq %r10
    popq %r9
    popq %r8
    popq %rdi
    popq %rsi
    popq %rbp
    popq %rbx
    popq %rdx
    popq %rcx
    popq %rax
    addq $16, %rsp
    iretq

.section .bss.trap, "aw", @nobits
.balign 8
current_context: .skip 8
kernel_rsp: .skip 8
user_rsp: .skip 8
