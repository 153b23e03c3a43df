# The assembly of the SVM tests: the world switch, guest snippets.
.include "../bare-metal/start.s"

# --- void svm_enter(u64 vmcb): runs the guest with `guest_registers` (RAX is in the VMCB) until it exits; interrupts stay off
.globl svm_enter
svm_enter:
  save_registers
  mov %rdi, %rax
  push %rax
  mov guest_registers + 8, %rcx
  mov guest_registers + 16, %rdx
  mov guest_registers + 24, %rbx
  mov guest_registers + 48, %rsi
  mov guest_registers + 56, %rdi
  vmload %rax
  vmrun %rax
  vmsave %rax
  mov %rcx, guest_registers + 8
  mov %rdx, guest_registers + 16
  mov %rbx, guest_registers + 24
  mov %rsi, guest_registers + 48
  mov %rdi, guest_registers + 56
  pop %rax
  restore_registers
  ret

# --- what guests run; each ends with VMMCALL when it did not exit
.macro leave_guest
  vmmcall
.endm
.globl g_vmmcall
g_vmmcall: vmmcall
guest cpuid, "cpuid"
guest hlt, "hlt"
guest invd, "invd"
guest wbinvd, "wbinvd"
guest invlpg, "invlpg 0x1234(%rsi)"
guest rdpmc, "rdpmc"
guest rdtsc, "rdtsc"
guest pause, "pause"
guest rdmsr, "rdmsr"
guest wrmsr, "wrmsr"
guest in8, "in $0x71, %al"
guest out32, "out %eax, %dx"
guest mov_to_cr0, "mov %rbx, %cr0"
guest mov_from_cr0, "mov %cr0, %rdx"
guest mov_to_cr3, "mov %rbx, %cr3"
guest mov_from_cr3, "mov %cr3, %rcx"
guest mov_to_cr4, "mov %rbx, %cr4"
guest mov_to_cr8, "mov %rcx, %cr8"
guest mov_from_cr8, "mov %cr8, %rsi"
guest clts, "clts"
guest mov_to_dr7, "mov %rdx, %dr7"
guest mov_from_dr0, "mov %dr0, %rdi"
guest vmrun, "vmrun %rax"
guest vmload, "vmload %rax"
guest vmsave, "vmsave %rax"
guest stgi, "stgi"
guest clgi, "clgi"
guest skinit, "skinit %eax"
guest invlpga, "invlpga %rax, %ecx"
guest sgdt, "sgdt (%rsi)"
guest sidt, "sidt (%rsi)"
guest sldt, "sldt (%rsi)"
guest str, "str (%rsi)"
guest lidt, "lidt idt_pointer"
guest lgdt, "lgdt gdt_pointer"
guest lldt, "lldt %bx"
guest int3, "int3"
guest int20, "int $0x20"
guest ud2, "ud2"
guest gp, "mov %rbx, (%rcx)"
guest load, "mov (%rsi), %rdx"
guest store, "mov %rdx, (%rsi)"
guest call_rsi, "call *%rsi"
guest nop, "nop; nop; nop"
guest sti_nop, "sti; nop; nop; nop"
guest iret, "mov %rsp, %rdx; push $0x10; push %rdx; pushf; push $0x08; push $g_end_iret; iretq"
guest cli_nop, "cli; nop"
.section .note.GNU-stack, "", @progbits
