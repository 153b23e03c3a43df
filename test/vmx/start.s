# The assembly of the VMX tests: VM entry and exit, guest snippets.
.include "../bare-metal/start.s"

# --- int vm_enter(int resume): 0 an exit, 1 VMfailInvalid, 2 VMfailValid. Registers of the guest are in `guest_registers`.
.globl vm_enter
vm_enter:
  save_registers
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
  restore_registers
  ret

# --- what guests run; each ends with VMCALL when it did not exit
.macro leave_guest
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
guest movss_cpuid, "mov %eax, %ss; cpuid"
guest movss_nop, "mov %eax, %ss; nop; nop; nop"
guest lss_nop, "lss (%rsi), %eax; nop"
guest iret_only, "iretq"
guest iret_gp, "mov %rsp, %rax; push $0x10; push %rax; pushf; push $0x7ff8; push $g_end_iret_gp; iretq"
guest iret, "mov %rsp, %rax; push $0x10; push %rax; pushf; push $0x08; push $g_end_iret; iretq"

.align 4096
.globl guest_code_end
guest_code_end:
.section .note.GNU-stack, "", @progbits
