# From a loader to `kernel_start` in 64-bit mode in the higher half, at an address no one can foretell. AT&T syntax.
#
# Three ways in: PVH (QEMU's -kernel; EBX = start_info) and Multiboot2 (GRUB; EBX = boot information) in 32-bit mode with
# flat segments and paging off, the image where its headers say; Limine in 64-bit mode, in the higher half already.
#
# The first two share all that follows. The tables built here map the first 4 GiB where they are (until the jump) and at
# the direct map, and the image at its link address plus a random slide; `paging.rs` replaces them. Here symbols are used
# as distances from `boot_begin`, whose physical address is known: code that is about to move cannot have itself relocated.

.equ LOADED, 0x200000                       # physical address of boot_begin, as in link.ld
.equ KERNEL_BASE, 0xffffffff80000000        # link address of physical 0
.equ IMAGE_TABLES, 9                        # page tables for the image: 16 MiB, wherever it starts in a 2 MiB page
.equ SLOTS, (1 << 18) - 512 * (IMAGE_TABLES + 1)    # places of 4 KiB in the kernel's GiB

.equ PROTOCOL_PVH, 0
.equ PROTOCOL_MULTIBOOT2, 1

.section .note.pvh, "a", @note
.balign 4
    .long 4                                 # name size
    .long 8                                 # descriptor size
    .long 18                                # XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .quad pvh_start - boot_begin + LOADED

.section .boot, "awx"
boot_begin:

.balign 8
multiboot_header:
    .long 0xe85250d6
    .long 0                                 # i386, 32-bit protected mode
    .long multiboot_end - multiboot_header
    .long -(0xe85250d6 + (multiboot_end - multiboot_header))
    .word 2, 0                              # where everything goes: GRUB does not take an ELF file with relocations
    .long 24
    .long LOADED, LOADED, physical_data_end, physical_image_end
    .balign 8
    .word 3, 0                              # where to enter
    .long 12
    .long multiboot_start - boot_begin + LOADED
    .balign 8
    .word 5, 1                              # a screen, if there is one
    .long 20, 1024, 768, 32
    .balign 8
    .word 6, 0                              # modules at page boundaries
    .long 8
    .word 0, 0
    .long 8
multiboot_end:

.code32
pvh_start:
    # Which register holds start_info differs between loaders: take the one that points at its magic.
    movl %ebx, %edi
    cmpl $0x336ec578, (%ebx)
    je 1f
    movl %eax, %edi
    cmpl $0x336ec578, (%eax)
    je 1f
    movl %esi, %edi
1:
    movl $PROTOCOL_PVH, %esi
    jmp protected_mode

multiboot_start:
    movl %ebx, %edi
    movl $PROTOCOL_MULTIBOOT2, %esi

# EDI: what the loader left; ESI: which protocol. Both stay untouched until kernel_start gets them.
protected_mode:
    cli
    cld
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

    movl %edi, %ebp
    movl $(boot_pml4 - boot_begin + LOADED), %edi
    xorl %eax, %eax
    movl $((boot_tables_end - boot_pml4) / 4), %ecx
    rep stosl
    movl %ebp, %edi

    # The first 4 GiB, twice.
    movl $(boot_pdpt - boot_begin + LOADED + 3), %eax
    movl %eax, boot_pml4 - boot_begin + LOADED
    movl %eax, boot_pml4 - boot_begin + LOADED + 256 * 8
    movl $(boot_pds - boot_begin + LOADED + 3), %eax
    movl $(boot_pdpt - boot_begin + LOADED), %edx
    movl $4, %ecx
1:
    movl %eax, (%edx)
    addl $0x1000, %eax
    addl $8, %edx
    loop 1b
    movl $(boot_pds - boot_begin + LOADED), %edx
    movl $0x83, %eax                        # present, writable, 2 MiB
2:
    movl %eax, (%edx)
    addl $8, %edx
    addl $0x200000, %eax
    jnc 2b

    movl $0x20, %eax                        # CR4.PAE
    movl %eax, %cr4
    movl $(boot_pml4 - boot_begin + LOADED), %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx                  # EFER: LME, NXE
    rdmsr
    orl $0x900, %eax
    wrmsr
    movl $0x80010021, %eax                  # CR0: PG, WP, NE, PE
    movl %eax, %cr0
    lgdt boot_gdtr - boot_begin + LOADED
    ljmp $8, $(long_mode - boot_begin + LOADED)

too_old:
    movl $(too_old_text - boot_begin + LOADED), %esi
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

# Where the code is loaded, so RIP-relative addresses are physical ones.
.code64
long_mode:
    xorl %eax, %eax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %fs
    movw %ax, %gs
    movw %ax, %ss
    movl %edi, %edi
    movl %esi, %esi

    # R12: random bits, of RDRAND if there is one and of the time in any case.
    rdtsc
    shlq $32, %rdx
    orq %rdx, %rax
    movabsq $0x9e3779b97f4a7c15, %rcx
    mulq %rcx
    leaq (%rax, %rdx), %r12
    movl $1, %eax
    cpuid
    btl $30, %ecx
    jnc 2f
    movl $16, %ecx
1:
    rdrandq %rax
    jc 1f
    loop 1b
    jmp 2f
1:
    xorq %rax, %r12
2:
    # R13: the slide. R12: bits that are left.
    movq %r12, %rax
    xorl %edx, %edx
    movl $SLOTS, %ecx
    divq %rcx
    movq %rax, %r12
    movq %rdx, %r13
    shlq $12, %r13

    # The image's pages: from LOADED to image_end, at KERNEL_BASE + slide.
    leaq (KERNEL_BASE + LOADED)(%r13), %rax
    movq %rax, %rbx
    shrq $12, %rax
    andl $511, %eax
    leaq boot_pts(%rip), %r14
    leaq (%r14, %rax, 8), %rdx
    movl $(LOADED + 3), %eax
    leaq image_end(%rip), %rcx
3:
    movq %rax, (%rdx)
    addq $8, %rdx
    addq $0x1000, %rax
    cmpq %rcx, %rax
    jb 3b
    shrq $21, %rbx
    andl $511, %ebx
    leaq boot_high_pd(%rip), %rdx
    leaq (%rdx, %rbx, 8), %rdx
    leaq 3(%r14), %rax
    movl $IMAGE_TABLES, %ecx
4:
    movq %rax, (%rdx)
    addq $8, %rdx
    addq $0x1000, %rax
    loop 4b
    leaq boot_high_pd + 3(%rip), %rax
    movq %rax, boot_high_pdpt + 510 * 8(%rip)
    leaq boot_high_pdpt + 3(%rip), %rax
    movq %rax, boot_pml4 + 511 * 8(%rip)
    movq %cr3, %rax
    movq %rax, %cr3

    # What in the image is an absolute address (R_X86_64_RELATIVE is all the linker leaves) moves with it.
    leaq relocations_start(%rip), %rbx
    leaq relocations_end(%rip), %rcx
    movq $-KERNEL_BASE, %r8
5:
    cmpq %rcx, %rbx
    jae 6f
    cmpl $8, 8(%rbx)
    jne broken
    movq (%rbx), %rdx
    movq 16(%rbx), %rax
    addq %r13, %rax
    movq %rax, (%rdx, %r8)
    addq $24, %rbx
    jmp 5b
6:
    movq $KERNEL_BASE, %rdx
    addq %r13, %rdx                         # where physical 0 of the image's mapping is
    leaq stack_top(%rip), %rsp
    addq %rdx, %rsp
    leaq kernel_start(%rip), %rax
    addq %rdx, %rax
    movq %r12, %rcx
    xorl %ebp, %ebp
    pushq %rbp                              # no return address: the stack ends here
    jmp *%rax
broken:
    hlt
    jmp broken

# Limine has relocated and mapped the image and made a stack, but its stack is in memory that is to become free.
.global limine_entry
limine_entry:
    cli
    cld
    leaq stack_top(%rip), %rsp
    xorl %ebp, %ebp
    pushq %rbp
    jmp limine_start

.balign 8
boot_gdt:
    .quad 0
    .quad 0x00af9a000000ffff
boot_gdtr:
    .word 15
    .long boot_gdt - boot_begin + LOADED

.balign 4096
boot_pml4: .skip 4096
boot_pdpt: .skip 4096
boot_pds: .skip 4 * 4096
boot_high_pdpt: .skip 4096
boot_high_pd: .skip 4096
boot_pts: .skip IMAGE_TABLES * 4096
boot_tables_end:
