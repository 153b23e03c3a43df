# Walks through the processor's modes and says so on the first serial port: protected, real, virtual-8086, a task switch, long, compatibility; then exits with 0x10.
# as --64 -o modes.o modes.s && ld -Ttext 0x100000 --oformat binary -o modes.bin modes.o
.macro say c
  mov $0x3f8, %dx
  mov $\c, %al
  out %al, %dx
.endm
.code32
.globl _start
_start:
  .align 4
header:
  .long 0x1badb002, 0x00010000, -(0x1badb002 + 0x00010000)
  .long header, header, 0, 0, entry
entry:
  cmp $0x2badb002, %eax
  jne bad
  mov $0x80000, %esp
  lgdt gdtr
  ljmp $0x08, $1f
1: mov $0x10, %ax
  mov %ax, %ds
  mov %ax, %es
  mov %ax, %ss
  say 'P'
  # copy the real-mode part below 1 MiB and go there
  mov $real, %esi
  mov $0x7000, %edi
  mov $(real_end - real), %ecx
  rep movsb
  ljmp $0x18, $0x7000
back:
  mov $0x10, %ax
  mov %ax, %ds
  mov %ax, %es
  mov %ax, %ss
  mov $0x80000, %esp
  # virtual-8086: a TSS for the way back, an IDT whose #GP handler catches HLT
  movl $0x80000, tss + 4
  movw $0x10, tss + 8
  mov $tss, %eax
  mov %ax, gdt + 0x2a
  shr $16, %eax
  mov %al, gdt + 0x2c
  mov %ah, gdt + 0x2f
  mov $0x28, %ax
  ltr %ax
  mov $caught, %eax
  mov %ax, idt + 13 * 8
  movw $0x08, idt + 13 * 8 + 2
  movw $0x8e00, idt + 13 * 8 + 4
  shr $16, %eax
  mov %ax, idt + 13 * 8 + 6
  lidt idtr
  movl $0xf4f4f4f4, 0x6000   # HLT: #GP in virtual-8086 mode
  pushl $0
  pushl $0
  pushl $0
  pushl $0
  pushl $0x500               # SS
  pushl $0x100               # SP
  pushl $0x20002             # VM
  pushl $0x600               # CS
  pushl $0
  iretl
caught:
  mov $0x10, %ax
  mov %ax, %ds
  mov %ax, %es
  testl $0x20000, 12(%esp)
  jz bad
  say 'V'
  # a task that is called, says T and returns
  mov $task, %eax
  mov %eax, tss2 + 0x20
  movl $2, tss2 + 0x24
  movl $'T', tss2 + 0x28
  movl $0x7f000, tss2 + 0x38
  movw $0x10, tss2 + 0x48
  movw $0x08, tss2 + 0x4c
  movw $0x10, tss2 + 0x50
  movw $0x10, tss2 + 0x54
  mov $tss2, %eax
  mov %ax, gdt + 0x3a
  shr $16, %eax
  mov %al, gdt + 0x3c
  mov %ah, gdt + 0x3f
  lcall $0x38, $0
  str %ax
  cmp $0x28, %ax
  jne bad
  say 'K'
  # long mode: identity map of 1 GiB by 2 MiB pages
  mov $0x10000, %edi
  xor %eax, %eax
  mov $0x3000, %ecx
  rep stosb
  movl $0x11003, 0x10000
  movl $0x12003, 0x11000
  movl $0x83, %eax
  mov $0x12000, %edi
  mov $512, %ecx
2: mov %eax, (%edi)
  add $0x200000, %eax
  add $8, %edi
  loop 2b
  mov $0x10000, %eax
  mov %eax, %cr3
  mov %cr4, %eax
  or $0x20, %eax
  mov %eax, %cr4
  mov $0xc0000080, %ecx
  rdmsr
  or $0x100, %eax
  wrmsr
  mov %cr0, %eax
  or $0x80000000, %eax
  mov %eax, %cr0
  ljmp $0x30, $long
task:
  mov $0x3f8, %dx
  out %al, %dx
  iret
bad:
  say '!'
  mov $0, %al
  out %al, $0xf4
  hlt
.code64
long:
  mov $0x123456789abcdef0, %rax
  bswap %rax
  mov $0xf0debc9a78563412, %rbx
  cmp %rbx, %rax
  jne 9f
  say 'L'
  lea compat(%rip), %rax
  push $0x08
  push %rax
  lretq
9: jmp bad64
bad64:
  say '?'
  hlt
.code32
compat:
  mov $0x10, %ax
  mov %ax, %ss
  mov $0x80000, %esp
  push %esp
  pop %ecx
  cmp $0x80000, %ecx
  jne bad
  say 'C'
  mov $0x10, %al
  out %al, $0xf4
  hlt
.code16
real:                        # runs at 0x7000, first as 16-bit protected code
  mov $0x20, %ax
  mov %ax, %ds
  mov %ax, %es
  mov %ax, %ss
  mov %cr0, %eax
  and $0xfffffffe, %eax
  mov %eax, %cr0
  ljmp $0x700, $(3f - real)
3: xor %ax, %ax
  mov %ax, %ds
  mov %ax, %ss
  mov $0x5000, %sp
  lidt %cs:(realidtr - real)
  movw $(isr - real), 0x21 * 4
  movw $0x700, 0x21 * 4 + 2
  int $0x21
  cmp $0x5a, %bl
  jne 4f
  say 'R'
4: mov %cr0, %eax
  or $1, %eax
  mov %eax, %cr0
  ljmpl $0x08, $back
isr:
  mov $0x5a, %bl
  iret
realidtr:
  .word 0x3ff
  .long 0
real_end:
.align 8
gdt:
  .quad 0
  .quad 0x00cf9b000000ffff   # 08 code, 32-bit
  .quad 0x00cf93000000ffff   # 10 data
  .quad 0x000f9b000000ffff   # 18 code, 16-bit
  .quad 0x000093000000ffff   # 20 data, 64 KiB
  .quad 0x0000890000000067   # 28 TSS
  .quad 0x00af9b000000ffff   # 30 code, 64-bit
  .quad 0x0000890000000067   # 38 another TSS
gdtr:
  .word gdtr - gdt - 1
  .long gdt
idtr:
  .word 14 * 8 - 1
  .long idt
.align 8
idt: .fill 14, 8, 0
tss: .fill 104, 1, 0
tss2: .fill 104, 1, 0
