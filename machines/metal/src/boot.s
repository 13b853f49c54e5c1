# From the PVH entry point (32-bit protected mode, flat segments, paging off, EBX = start_info) to `kernel_start` in
# 64-bit mode in the higher half. AT&T syntax.
#
# The tables built here map the first 4 GiB three times: where they are (until the jump), at the direct map, and (the
# first 2 GiB) at the kernel's base. `paging.rs` replaces them.

.section .note.pvh, "a", @note
.balign 4
    .long 4                         # name size
    .long 8                         # descriptor size
    .long 18                        # XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .quad pvh_start

.section .boot, "awx"
.code32
.global pvh_start
pvh_start:
    cli
    cld
    # Which register holds start_info differs between loaders: take the one that points at its magic.
    movl %ebx, %ebp
    cmpl $0x336ec578, (%ebx)
    je 1f
    movl %eax, %ebp
    cmpl $0x336ec578, (%eax)
    je 1f
    movl %esi, %ebp
1:
    # Long mode (bit 29) and NX (bit 20) are what everything below needs.
    movl $0x80000000, %eax
    cpuid
    cmpl $0x80000001, %eax
    jb too_old
    movl $0x80000001, %eax
    cpuid
    andl $0x20100000, %edx
    cmpl $0x20100000, %edx
    jne too_old

    movl $boot_pml4, %edi
    xorl %eax, %eax
    movl $(7 * 1024), %ecx
    rep stosl

    movl $(boot_pdpt + 3), boot_pml4
    movl $(boot_pdpt + 3), boot_pml4 + 256 * 8
    movl $(boot_high + 3), boot_pml4 + 511 * 8
    movl $(boot_pds + 3), boot_high + 510 * 8
    movl $(boot_pds + 0x1003), boot_high + 511 * 8
    movl $(boot_pds + 3), boot_pdpt
    movl $(boot_pds + 0x1003), boot_pdpt + 8
    movl $(boot_pds + 0x2003), boot_pdpt + 16
    movl $(boot_pds + 0x3003), boot_pdpt + 24
    movl $boot_pds, %edi
    movl $0x83, %eax                # present, writable, 2 MiB
2:
    movl %eax, (%edi)
    addl $8, %edi
    addl $0x200000, %eax
    jnc 2b

    movl $0x20, %eax                # CR4.PAE
    movl %eax, %cr4
    movl $boot_pml4, %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx          # EFER: SCE, LME, NXE
    rdmsr
    orl $0x901, %eax
    wrmsr
    movl $0x80010021, %eax          # CR0: PG, WP, NE, PE
    movl %eax, %cr0
    lgdt boot_gdtr
    ljmp $8, $long_mode

.code64
long_mode:
    xorl %eax, %eax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %fs
    movw %ax, %gs
    movw %ax, %ss
    movabsq $stack_top, %rsp
    movl %ebp, %edi                 # start_info
    xorl %ebp, %ebp
    pushq %rbp                      # no return address: the stack ends here
    movabsq $kernel_start, %rax
    jmp *%rax

.code32
too_old:
    movl $too_old_text, %esi
    movw $0x3f8, %dx
3:
    lodsb
    testb %al, %al
    jz 4f
    outb %al, %dx
    jmp 3b
4:
    hlt
    jmp 4b
too_old_text:
    .asciz "Aurora needs an x86-64 processor with NX.\r\n"

.balign 8
boot_gdt:
    .quad 0
    .quad 0x00af9a000000ffff
boot_gdtr:
    .word 15
    .long boot_gdt

.section .boot.bss, "aw", @nobits
.balign 4096
boot_pml4: .skip 4096
boot_pdpt: .skip 4096
boot_high: .skip 4096
boot_pds: .skip 4 * 4096
