# Writes random values to random ports and device registers as fast as it can; as many rounds as the word after the header says, then exits with 0x10.
# Left alone are the ports that end the run on purpose: power off, reset, debug exit, interrupt commands.
# as --64 -o hostile.o hostile.s && ld -Ttext 0x100000 --oformat binary -o hostile.bin hostile.o
.code32
.globl _start
_start:
  .align 4
header:
  .long 0x1badb002, 0x00010000, -(0x1badb002 + 0x00010000)
  .long header, header, 0, 0, entry
rounds:
  .long 500000
windows:
  .long 0xfee00000, 0xfec00000, 0xfed00000, 0xb0000000, 0xb0008000, 0xb0010000, 0xc0000000, 0xc0008000
hot:
  .word 0x20, 0x40, 0x60, 0x70, 0xa0, 0x3f8, 0x4d0, 0x510
entry:
  mov $0x80000, %esp
  lgdt gdtr
  ljmp $0x08, $1f
1: mov $0x10, %ax
  mov %ax, %ds
  mov %ax, %es
  mov %ax, %ss
  # NMIs may come from what is written to the local APIC
  mov $ignore, %eax
  mov %ax, idt + 2 * 8
  movw $0x08, idt + 2 * 8 + 2
  movw $0x8e00, idt + 2 * 8 + 4
  shr $16, %eax
  mov %ax, idt + 2 * 8 + 6
  lidt idtr
  mov $12345, %esi           # the random state
  mov rounds, %ebp
again:
  call random
  test $0x100, %eax
  jz memory
  # a port: one of the hot ones plus 0 to 7, or any
  mov %eax, %edx
  shr $16, %edx
  test $0x200, %eax
  jz 2f
  and $7, %edx
  movzwl hot(,%edx,2), %edx
  mov %eax, %ecx
  shr $10, %ecx
  and $7, %ecx
  add %ecx, %edx
2: and $0xffff, %edx
  mov %edx, %ecx
  and $0xfffc, %ecx
  cmp $0xf4, %ecx
  je again
  cmp $0x604, %ecx
  je again
  cmp $0x600, %ecx
  je again
  cmp $0xcf8, %ecx
  je again
  call random
  test $0x1000, %eax
  jz 3f
  out %al, %dx
  in %dx, %al
  jmp next
3: test $0x2000, %eax
  jz 4f
  out %ax, %dx
  in %dx, %ax
  jmp next
4: out %eax, %dx
  in %dx, %eax
  jmp next
memory:
  mov %eax, %edx
  shr $12, %edx
  and $7, %edx
  mov windows(,%edx,4), %edi
  shr $16, %eax
  and $0x7ffc, %eax
  cmp $4, %edx
  jae 5f
  and $0xffc, %eax
5: add %eax, %edi
  cmp $0xfee00300, %edi       # INIT to itself would end the run
  je again
  call random
  cmp $0xfee00000, %edi
  jae 6f
  cmp $0xfec01000, %edi
  jae 7f
  cmp $0xfec00000, %edi
  jb 7f
6: and $0xfffff8ff, %eax      # interrupt controllers: fixed delivery, an INIT would start the machine again
7: mov %eax, (%edi)
  mov (%edi), %eax
  mov %al, 1(%edi)
next:
  dec %ebp
  jnz again
  mov $0x10, %al
  out %al, $0xf4
  hlt
ignore:
  iret
random:
  imul $1103515245, %esi, %esi
  add $12345, %esi
  mov %esi, %eax
  bswap %eax
  xor %esi, %eax
  ret
.align 8
gdt:
  .quad 0
  .quad 0x00cf9b000000ffff
  .quad 0x00cf93000000ffff
idtr:
  .word 31
  .long idt
.align 8
idt: .fill 4, 8, 0
gdtr:
  .word gdtr - gdt - 1
  .long gdt
