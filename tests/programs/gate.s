# An example of the Aurora gate, without any library: asks for a name, greets, and lets a child count.
# docs/aurora-calls.md has the calls.

    .set EXIT, 0
    .set WRITE, 1
    .set FORK, 3
    .set WAIT, 5
    .set READ, 8

    .section .note.aurora, "a", @note
    .balign 4
    .long 7, 4, 1               # lengths of owner and descriptor, type
    .asciz "Aurora"
    .balign 4
    .long 1                     # version of the table

    .bss
name:   .skip 64
status: .skip 4

    .section .rodata
ask:    .ascii "Who is there?\n"
    .set ask_len, . - ask
hello:  .ascii "Hello, "
    .set hello_len, . - hello
child:  .ascii "a child was here\n"
    .set child_len, . - child
done:   .ascii "and is gone, with status 7\n"
    .set done_len, . - done

    .macro print text, len
    mov $WRITE, %eax
    mov $1, %edi
    lea \text(%rip), %rsi
    mov \len, %rdx
    int $0x80
    .endm

    .text
    .globl _start
_start:
    print ask, $ask_len
    mov $READ, %eax
    xor %edi, %edi
    lea name(%rip), %rsi
    mov $64, %edx
    int $0x80
    mov %rax, %rbx              # the gate keeps every register but RAX
    print hello, $hello_len
    print name, %rbx

    mov $FORK, %eax
    int $0x80
    test %eax, %eax
    jz in_child
    mov %rax, %rdi
    mov $WAIT, %eax
    lea status(%rip), %rsi
    xor %edx, %edx
    xor %r10d, %r10d
    int $0x80
    movzbl status+1(%rip), %ebx # the status stands in the second byte
    cmp $7, %ebx
    jne fail
    print done, $done_len
    xor %edi, %edi
    mov $EXIT, %eax
    int $0x80

in_child:
    print child, $child_len
    mov $7, %edi
    mov $EXIT, %eax
    int $0x80

fail:
    mov $1, %edi
    mov $EXIT, %eax
    int $0x80
