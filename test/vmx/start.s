# The start of the VMX tests: from multiboot to 64-bit mode with identity paging, exception stubs, VM entry and exit, guest snippets.
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

# --- int vm_enter(int resume): 0 an exit, 1 VMfailInvalid, 2 VMfailValid. Registers of the guest are in `guest_registers`.
.globl vm_enter
vm_enter:
  push %rbx
  push %rbp
  push %r12
  push %r13
  push %r14
  push %r15
  mov $0x6c14, %edx
  lea -8(%rsp), %rax
  vmwrite %rax, %rdx
  mov $0x6c16, %edx
  lea vm_left(%rip), %rax
  vmwrite %rax, %rdx
  pushf
  test %edi, %edi
  mov guest_registers + 0, %rax
  mov guest_registers + 8, %rcx
  mov guest_registers + 16, %rdx
  mov guest_registers + 24, %rbx
  mov guest_registers + 48, %rsi
  mov guest_registers + 56, %rdi
  jnz 1f
  vmlaunch
  jmp 2f
1: vmresume
2: mov $1, %eax
  jc 3f
  mov $2, %eax
  jmp 3f
vm_left:
  mov %rax, guest_registers + 0
  mov %rcx, guest_registers + 8
  mov %rdx, guest_registers + 16
  mov %rbx, guest_registers + 24
  mov %rsi, guest_registers + 48
  mov %rdi, guest_registers + 56
  xor %eax, %eax
3: popf
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbp
  pop %rbx
  ret

# --- what guests run; each ends with VMCALL when it did not exit
.macro guest name, text
.globl g_\name, g_end_\name
g_\name:
  \text
g_end_\name:
  vmcall
.endm
.globl g_vmcall
g_vmcall: vmcall
guest cpuid, "cpuid"
guest hlt, "hlt"
guest invd, "invd"
guest wbinvd, "wbinvd"
guest invlpg, "invlpg 0x1234(%rsi)"
guest rdpmc, "rdpmc"
guest rdtsc, "rdtsc"
guest rdtscp, "rdtscp"
guest pause, "pause"
guest rdmsr, "rdmsr"
guest wrmsr, "wrmsr"
guest in8, "in $0x71, %al"
guest in16, "in %dx, %ax"
guest out32, "out %eax, %dx"
guest outsb, "outsb"
guest repinsw, "rep insw"
guest mov_to_cr0, "mov %rax, %cr0"
guest mov_to_cr3, "mov %rbx, %cr3"
guest mov_from_cr3, "mov %cr3, %rcx"
guest mov_to_cr4, "mov %rax, %cr4"
guest mov_from_cr0, "mov %cr0, %rax"
guest mov_from_cr4, "mov %cr4, %rax"
guest mov_to_cr8, "mov %rcx, %cr8"
guest mov_from_cr8, "mov %cr8, %rsi"
guest clts, "clts"
guest lmsw, "lmsw %ax"
guest mov_to_dr7, "mov %rdx, %dr7"
guest mov_from_dr0, "mov %dr0, %rdi"
guest xsetbv, "xsetbv"
guest vmclear, "vmclear 0x10(%rax, %rcx, 4)"
guest vmptrld, "vmptrld (%rsi)"
guest vmptrst, "vmptrst -8(%rdi)"
guest vmxon, "vmxon (%rbx)"
guest vmread, "vmread %rcx, %rdx"
guest vmread_mem, "vmread %rcx, 0x20(%rsi)"
guest vmwrite, "vmwrite %rdx, %rcx"
guest vmlaunch, "vmlaunch"
guest vmresume, "vmresume"
guest vmxoff, "vmxoff"
guest invept, "invept (%rsi), %rax"
guest invvpid, "invvpid (%rsi), %rcx"
guest sgdt, "sgdt (%rsi)"
guest lidt, "lidt (%rsi)"
guest str, "str %eax"
guest lldt, "lldt %bx"
guest rdrand, "rdrand %rcx"
guest int3, "int3"
guest ud2, "ud2"
guest div, "div %bl"
guest gp, "wrmsr"
guest load, "mov (%rsi), %rax"
guest store, "mov %rax, (%rsi)"
guest load32, "mov (%rsi), %eax"
guest store32, "mov %eax, (%rsi)"
guest call_rsi, "call *%rsi"
guest vmfunc, "vmfunc; mov (%rsi), %rdi"
guest nop, "nop; nop; nop"
guest sti_nop, "sti; nop; nop; nop"
guest loop, "1: jmp 1b"
guest int20, "int $0x20"
guest popf_tf, "pushf; orq $0x100, (%rsp); popf; nop; nop"
guest iret, "mov %rsp, %rax; push $0x10; push %rax; pushf; push $0x08; push $g_end_iret; iretq"

.align 4096
.globl guest_code_end
guest_code_end:

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
.section .note.GNU-stack, "", @progbits
