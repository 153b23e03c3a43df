# The start of a bare-metal test: from multiboot to 64-bit mode with identity paging, exception stubs, tables, and `main`.
.code32
.section .boot, "ax"
.align 4
header:
  .long 0x1badb002, 0, -0x1badb002
.globl _start
_start:
  mov $stack_top, %esp
  mov %ebx, multiboot_information
  lgdt gdt_pointer
  mov $pml4, %eax
  mov %eax, %cr3
  mov %cr4, %eax
  or $0x620, %eax
  mov %eax, %cr4
  mov $0xc0000080, %ecx
  rdmsr
  or $0x900, %eax
  wrmsr
  mov %cr0, %eax
  and $~0x4, %eax
  or $0x80010023, %eax
  mov %eax, %cr0
  ljmp $0x08, $1f
.code64
1: mov $0x10, %ax
  mov %ax, %ds
  mov %ax, %es
  mov %ax, %ss
  xor %eax, %eax
  mov %ax, %fs
  mov %ax, %gs
  mov $0x18, %ax
  lea tss(%rip), %rdx
  mov %dx, gdt + 0x1a
  shr $16, %rdx
  mov %dl, gdt + 0x1c
  mov %dh, gdt + 0x1f
  ltr %ax
  lidt idt_pointer
  call main
2: hlt
  jmp 2b

.text
# --- exceptions: the vector goes to `fault_vector`, and control to `fault_resume` when it is set
.macro stub n, code
  .if \code == 0
    push $0
  .endif
  push $\n
  jmp exception
  .align 16
.endm
.align 16
.globl stubs
stubs:
  .set n, 0
  .rept 32
    .if (n == 8) || ((n >= 10) && (n <= 14)) || (n == 17)
      stub n, 1
    .else
      stub n, 0
    .endif
    .set n, n + 1
  .endr
exception:
  push %rax
  mov 8(%rsp), %rax
  mov %rax, fault_vector
  mov 16(%rsp), %rax
  mov %rax, fault_code
  mov 24(%rsp), %rax
  mov %rax, fault_rip
  mov fault_resume, %rax
  test %rax, %rax
  jz 1f
  mov %rax, 24(%rsp)
  movq $0, fault_resume
1: pop %rax
  add $16, %rsp
  iretq
.globl interrupt_stub
interrupt_stub:
  incq interrupts_seen
  iretq

# --- the registers that a C function keeps, around a world switch
.macro save_registers
  .irp register, rbx, rbp, r12, r13, r14, r15
    push %\register
  .endr
.endm
.macro restore_registers
  .irp register, r15, r14, r13, r12, rbp, rbx
    pop %\register
  .endr
.endm
# --- what guests run; each ends with `leave_guest` of the including file when it did not exit
.macro guest name, text
.globl g_\name, g_end_\name
g_\name:
  \text
g_end_\name:
  leave_guest
.endm

.data
.align 16
gdt:
  .quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff
  .quad 0x00008b0000000067 - 0x0000020000000000, 0
  .quad 0x00cffb000000ffff, 0x00cff3000000ffff
gdt_end:
.globl gdt_pointer, idt_pointer, gdt, tss
gdt_pointer: .word gdt_end - gdt - 1
  .quad gdt
idt_pointer: .word 256 * 16 - 1
  .quad idt
.align 4096
pml4: .quad pdpt + 7
  .fill 511, 8, 0
pdpt:
  .quad directory + 7, directory + 0x1007, directory + 0x2007, directory + 0x3007
  .fill 508, 8, 0
directory:
  .set n, 0
  .rept 2048
    .quad n * 0x200000 + 0x87
    .set n, n + 1
  .endr
.globl pml4
.bss
.align 16
tss: .skip 0x68
multiboot_information: .skip 8
.globl multiboot_information
.globl idt, guest_registers, fault_vector, fault_code, fault_rip, fault_resume, interrupts_seen
idt: .skip 4096
guest_registers: .skip 128
fault_vector: .skip 8
fault_code: .skip 8
fault_rip: .skip 8
fault_resume: .skip 8
interrupts_seen: .skip 8
.align 4096
  .skip 16384
stack_top:
.text
