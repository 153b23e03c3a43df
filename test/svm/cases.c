/* The SVM tests. The word `qemu` on the command line leaves out what QEMU's translator does otherwise than the manual. */
#include "../bare-metal/program.h"
#include "../bare-metal/hostile.h"

void svm_enter(u64 vmcb);
#define G(name) extern u8 g_##name[], g_end_##name[];
G(vmmcall) G(cpuid) G(hlt) G(invd) G(wbinvd) G(invlpg) G(rdpmc) G(rdtsc) G(pause) G(rdmsr) G(wrmsr) G(in8) G(out32) G(mov_to_cr0) G(mov_from_cr0) G(mov_to_cr3) G(mov_from_cr3)
G(mov_to_cr4) G(mov_to_cr8) G(mov_from_cr8) G(clts) G(mov_to_dr7) G(mov_from_dr0) G(vmrun) G(vmload) G(vmsave) G(stgi) G(clgi) G(skinit) G(invlpga) G(sgdt) G(sidt) G(sldt) G(str)
G(lidt) G(lgdt) G(lldt) G(int3) G(int20) G(ud2) G(gp) G(load) G(store) G(call_rsi) G(nop) G(sti_nop) G(iret) G(cli_nop)

enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI };
#define PAGE __attribute__((aligned(4096)))
static u8 vmcb[4096] PAGE, save_area[4096] PAGE, io_map[12288] PAGE, msr_map[8192] PAGE, page[8192] PAGE;
static u64 npt4[512] PAGE, npt3[512] PAGE, npt2[512] PAGE, npt1[512] PAGE, guest_idt[512] PAGE;
static u8 guest_stack[8192] PAGE;
static int nested_paging, next_rip;

static u64 rdmsr(u32 n) { u32 a, d; asm volatile("rdmsr" : "=a"(a), "=d"(d) : "c"(n)); return a | (u64)d << 32; }
static void wrmsr(u32 n, u64 v) { asm volatile("wrmsr" ::"c"(n), "a"((u32)v), "d"((u32)(v >> 32))); }
static u64 cr0(void) { u64 v; asm volatile("mov %%cr0, %0" : "=r"(v)); return v; }
static u64 cr3(void) { u64 v; asm volatile("mov %%cr3, %0" : "=r"(v)); return v; }
static u64 cr4(void) { u64 v; asm volatile("mov %%cr4, %0" : "=r"(v)); return v; }
static u64 address(const void *p) { return (u64)p; }
/* 100 + vector of a fault, or 0. */
#define TRY(instruction, ...) ({ fault_vector = ~0ul; \
  asm volatile("movq $1f, fault_resume\n" instruction "\n1:" : : __VA_ARGS__ : "cc", "memory"); fault_resume = 0; fault_vector == ~0ul ? 0 : (int)(100 + fault_vector); })

/* --- fields of the VMCB */
#define V8(offset) (*(volatile u8 *)(vmcb + (offset)))
#define V16(offset) (*(volatile u16 *)(vmcb + (offset)))
#define V32(offset) (*(volatile u32 *)(vmcb + (offset)))
#define V64(offset) (*(volatile u64 *)(vmcb + (offset)))
enum { IO_MAP = 0x40, MSR_MAP = 0x48, TSC_OFFSET = 0x50, ASID = 0x58, TLB = 0x5c, VIRTUAL = 0x60, SHADOW = 0x68, CODE = 0x70, INFO1 = 0x78, INFO2 = 0x80, EVENT = 0x88, NESTED = 0x90,
  INJECT = 0xa8, NESTED_CR3 = 0xb0, NEXT_RIP = 0xc8, GDTR = 0x460, IDTR = 0x480, CPL = 0x4cb, EFER = 0x4d0, CR4 = 0x548, CR3 = 0x550, CR0 = 0x558, DR7 = 0x560, DR6 = 0x568,
  RFLAGS = 0x570, RIP = 0x578, RSP_ = 0x5d8, RAX_ = 0x5f8, CR2 = 0x640, PAT = 0x668 };
#define INTERCEPT(code) (V32((code) / 32 * 4) |= 1u << (code) % 32)
#define SPARE(code) (V32((code) / 32 * 4) &= ~(1u << (code) % 32))
#define VALID (1u << 31)
enum { INTR = 0x60, VINTR = 0x64, CR0_SELECTIVE, STORE_IDTR, STORE_GDTR, STORE_LDTR, STORE_TR, LOAD_IDTR, LOAD_GDTR, LOAD_LDTR, RDTSC = 0x6e, RDPMC, CPUID = 0x72, IRET = 0x74, SOFT, INVD, PAUSE,
  HLT, INVLPG, INVLPGA, IO, MSR, SHUTDOWN = 0x7f, VMRUN, VMMCALL, VMLOAD, VMSAVE, STGI, CLGI, SKINIT, WBINVD = 0x89, NPF = 0x400 };
#define INVALID (~0ul)

static void segment(int offset, u16 selector, u16 rights, u32 limit, u64 base) { V16(offset) = selector; V16(offset + 2) = rights; V32(offset + 4) = limit; V64(offset + 8) = base; }
/* A VMCB whose guest runs `code` in this program's own address space. */
static void base(const void *code) {
  for (int n = 0; n < 4096; n++) vmcb[n] = 0;
  for (int n = 0; n < 12288; n++) io_map[n] = 0;
  for (int n = 0; n < 8192; n++) msr_map[n] = 0;
  INTERCEPT(VMRUN); INTERCEPT(VMMCALL); INTERCEPT(SHUTDOWN);
  V64(IO_MAP) = address(io_map); V64(MSR_MAP) = address(msr_map); V32(ASID) = 1; V8(TLB) = 1;
  segment(0x400, 0x10, 0xc93, ~0u, 0); segment(0x410, 0x08, 0xa9b, ~0u, 0); segment(0x420, 0x10, 0xc93, ~0u, 0); segment(0x430, 0x10, 0xc93, ~0u, 0);
  segment(0x440, 0, 0xc93, ~0u, 0); segment(0x450, 0, 0xc93, ~0u, 0); segment(0x470, 0, 0, 0, 0); segment(0x490, 0x18, 0x8b, 0x67, address(tss));
  V32(GDTR + 4) = 0x37; V64(GDTR + 8) = address(gdt); V32(IDTR + 4) = 0xfff; V64(IDTR + 8) = address(guest_idt);
  V64(EFER) = rdmsr(0xc0000080); V64(CR0) = cr0(); V64(CR3) = cr3(); V64(CR4) = cr4(); V64(DR7) = 0x400; V64(DR6) = 0xffff0ff0; V64(PAT) = 0x0007040600070406;
  V64(RFLAGS) = 2; V64(RIP) = address(code); V64(RSP_) = address(guest_stack) + 8000;
  for (int n = 0; n < 16; n++) guest_registers[n] = 0;
}
static u64 outcome(void) { svm_enter(address(vmcb)); return V64(CODE); }
#define REG(n, v) (guest_registers[n] = (v))

static void instructions(void) {
  expect("VMRUN with EFER.SVME clear is #UD", "outcome", TRY("vmrun", "a"(vmcb)), 106);
  expect("CLGI with EFER.SVME clear is #UD", "outcome", TRY("clgi", "i"(0)), 106);
  expect("VMMCALL outside a guest is #UD", "outcome", TRY("vmmcall", "i"(0)), 106);
  wrmsr(0xc0000080, rdmsr(0xc0000080) | 0x1000);
  expect("EFER.SVME can be set", "EFER", rdmsr(0xc0000080) >> 12 & 1, 1);
  if (!told("qemu")) {
    wrmsr(0xc0010117, 0xfee00000);
    expect("VMRUN with a save area that is no memory is #GP", "outcome", TRY("vmrun", "a"(vmcb)), 113);
  }
  wrmsr(0xc0010117, address(save_area));
  expect("the host save area's address is kept", "value", rdmsr(0xc0010117), address(save_area));
  expect("VM_CR: SVM is not disabled", "bit", rdmsr(0xc0010114) >> 4 & 1, 0);
  expect("VMRUN of an unaligned address is #GP", "outcome", TRY("vmrun", "a"(vmcb + 8)), 113);
  if (!told("qemu")) expect("VMRUN beyond the physical addresses is #GP", "outcome", TRY("vmrun", "a"(1ul << 50)), 113);
  expect("VMLOAD of an unaligned address is #GP", "outcome", TRY("vmload", "a"(vmcb + 16)), 113);
  if (!told("qemu")) expect("SKINIT is #UD", "outcome", TRY("skinit", "a"(0)), 106);
  expect("INVLPGA", "outcome", TRY("invlpga %%rax, %%ecx", "a"(0), "c"(1)), 0);
  base(g_vmmcall); V64(0x620) = 0x1234567890;
  asm volatile("vmload" ::"a"(vmcb) : "memory");
  expect("VMLOAD: KERNEL_GS_BASE", "value", rdmsr(0xc0000102), 0x1234567890);
  wrmsr(0xc0000102, 0); wrmsr(0xc0000082, 0x7766);
  asm volatile("vmsave" ::"a"(vmcb) : "memory");
  expect("VMSAVE: KERNEL_GS_BASE", "value", V64(0x620), 0);
  expect("VMSAVE: LSTAR", "value", V64(0x608), 0x7766);
  expect("VMSAVE: TR", "base", V64(0x498), address(tss));
  base(g_vmmcall);
  expect("VMRUN", "outcome", outcome(), VMMCALL);
  expect("VMRUN: where it left", "RIP", V64(RIP), address(g_vmmcall));
  if (next_rip) expect("VMRUN: the next instruction", "RIP", V64(NEXT_RIP), address(g_vmmcall) + 3);
  expect("the host runs with its own flags", "CR0", cr0() & 1, 1);
}

#define ILLEGAL(name, setup) do { base(g_vmmcall); setup; expect(name, "outcome", outcome(), INVALID); } while (0)
#define LEGAL(name, setup) do { base(g_vmmcall); setup; expect(name, "outcome", outcome(), VMMCALL); } while (0)
static void entry(void) {
  ILLEGAL("EFER.SVME clear in the guest", V64(EFER) &= ~0x1000ul);
  ILLEGAL("CR0.NW without CD", V64(CR0) |= 1 << 29);
  ILLEGAL("CR0 beyond 32 bits", V64(CR0) |= 1ul << 40);
  ILLEGAL("CR4 reserved bits", V64(CR4) |= 1ul << 40);
  ILLEGAL("DR6 beyond 32 bits", V64(DR6) |= 1ul << 32);
  ILLEGAL("DR7 beyond 32 bits", V64(DR7) |= 1ul << 32);
  ILLEGAL("EFER reserved bits", V64(EFER) |= 1ul << 40);
  static u64 pointers[4] __attribute__((aligned(32)));
  pointers[1] = 3;
  if (!told("qemu")) ILLEGAL("page-directory pointers with a reserved bit", V64(EFER) = 0x1000; V16(0x412) = 0xc9b; V64(CR3) = address(pointers));
  ILLEGAL("long mode without PAE", V64(CR4) &= ~0x20ul);
  ILLEGAL("long mode without protection", V64(CR0) &= ~1ul);
  ILLEGAL("CS.L and CS.D", V16(0x412) |= 0x400);
  ILLEGAL("VMRUN not intercepted", SPARE(VMRUN));
  ILLEGAL("ASID 0", V32(ASID) = 0);
  if (!told("qemu")) ILLEGAL("an event of a reserved type", V32(INJECT) = VALID | 1 << 8 | 0x20);
  if (!told("qemu")) ILLEGAL("an exception beyond 31", V32(INJECT) = VALID | 3 << 8 | 0x20);
  LEGAL("ASID 2", V32(ASID) = 2);
  LEGAL("TLB control: this ASID", V8(TLB) = 3);
}

/* An intercept on: the exit with its information. Off: the guest reaches its VMMCALL. */
#define EXITS(name, g, code, information, setup) do { base(g_##g); INTERCEPT(code); setup; \
  u64 was_ = outcome(); \
  if (was_ != (code)) expect(name, "outcome", was_, code); \
  else if (V64(RIP) != address(g_##g)) expect(name, "RIP", V64(RIP), address(g_##g)); \
  else if (next_rip && V64(NEXT_RIP) != address(g_end_##g)) expect(name, "next RIP", V64(NEXT_RIP), address(g_end_##g)); \
  else expect(name, "information", V64(INFO1), information); } while (0)
#define PASSES(name, g, setup) do { base(g_##g); setup; u64 was_ = outcome(); expect(name, "outcome", was_ == VMMCALL && V64(RIP) != address(g_end_##g) ? 0x20000 : was_, VMMCALL); } while (0)
static void exits(void) {
  EXITS("CPUID", cpuid, CPUID, 0, );
  PASSES("CPUID that is not intercepted", cpuid, );
  EXITS("HLT", hlt, HLT, 0, );
  EXITS("INVD", invd, INVD, 0, );
  EXITS("WBINVD", wbinvd, WBINVD, 0, );
  PASSES("WBINVD that is not intercepted", wbinvd, );
  if (!told("qemu")) EXITS("INVLPG", invlpg, INVLPG, address(page) + 0x1234, REG(RSI, address(page)));
  PASSES("INVLPG that is not intercepted", invlpg, );
  EXITS("RDTSC", rdtsc, RDTSC, 0, );
  EXITS("RDPMC", rdpmc, RDPMC, 0, );
  if (!told("qemu")) EXITS("PAUSE", pause, PAUSE, 0, );
  PASSES("PAUSE that is not intercepted", pause, );
  base(g_rdmsr); INTERCEPT(MSR); msr_map[0x800 + 0x82 / 4] = 1 << 4; REG(RCX, 0xc0000082);
  expect("RDMSR in the map", "outcome", outcome(), MSR);
  expect("RDMSR in the map: information", "information", V64(INFO1), 0);
  PASSES("RDMSR not in the map", rdmsr, INTERCEPT(MSR); msr_map[0x800 + 0x82 / 4] = 1 << 5; REG(RCX, 0xc0000082));
  base(g_wrmsr); INTERCEPT(MSR); msr_map[0x800 + 0x82 / 4] = 1 << 5; REG(RCX, 0xc0000082);
  expect("WRMSR in the map", "outcome", outcome(), MSR);
  expect("WRMSR in the map: information", "information", V64(INFO1), 1);
  base(g_rdmsr); INTERCEPT(MSR); REG(RCX, 0x40000000);
  expect("RDMSR outside the map's ranges", "outcome", outcome(), MSR);
  EXITS("IN", in8, IO, 0x71ul << 16 | 1 | 1 << 4 | (told("qemu") ? V64(INFO1) & 0xff80 : 1 << 9), io_map[0x71 / 8] = 1 << (0x71 & 7));
  expect("IN: the next instruction", "RIP", V64(INFO2), address(g_end_in8));
  PASSES("IN that is not in the map", in8, INTERCEPT(IO); io_map[0x71 / 8] = ~(1 << (0x71 & 7)));
  EXITS("OUT of 4 bytes", out32, IO, 0x80ul << 16 | 4 << 4 | (told("qemu") ? V64(INFO1) & 0xff80 : 1 << 9), io_map[0x83 / 8] = 1 << (0x83 & 7); REG(RDX, 0x80));
#define GENERAL(n) (told("qemu") ? 0 : 1ul << 63 | (n))
  EXITS("MOV to CR0", mov_to_cr0, 0x10, GENERAL(RBX), REG(RBX, cr0()));
  EXITS("MOV from CR0", mov_from_cr0, 0x00, GENERAL(RDX), );
  EXITS("MOV to CR3", mov_to_cr3, 0x13, GENERAL(RBX), REG(RBX, cr3()));
  EXITS("MOV from CR3", mov_from_cr3, 0x03, GENERAL(RCX), );
  EXITS("MOV to CR4", mov_to_cr4, 0x14, GENERAL(RBX), REG(RBX, cr4()));
  EXITS("MOV to CR8", mov_to_cr8, 0x18, GENERAL(RCX), );
  PASSES("MOV to CR3 that is not intercepted", mov_to_cr3, REG(RBX, cr3()));
  EXITS("CR0: a bit but TS and MP", mov_to_cr0, CR0_SELECTIVE, GENERAL(RBX), REG(RBX, cr0() ^ 0x40000));
  PASSES("CR0: TS alone", mov_to_cr0, INTERCEPT(CR0_SELECTIVE); REG(RBX, cr0() | 8));
  EXITS("CLTS", clts, 0x10, 0, );
  EXITS("MOV to DR7", mov_to_dr7, 0x37, GENERAL(RDX), REG(RDX, 0x400));
  EXITS("MOV from DR0", mov_from_dr0, 0x20, GENERAL(RDI), );
  EXITS("VMRUN in a guest", vmrun, VMRUN, 0, V64(RAX_) = address(page));
  EXITS("VMLOAD in a guest", vmload, VMLOAD, 0, V64(RAX_) = address(page));
  EXITS("VMSAVE in a guest", vmsave, VMSAVE, 0, V64(RAX_) = address(page));
  EXITS("STGI in a guest", stgi, STGI, 0, );
  EXITS("CLGI in a guest", clgi, CLGI, 0, );
  EXITS("SKINIT in a guest", skinit, SKINIT, 0, );
  EXITS("INVLPGA in a guest", invlpga, INVLPGA, 0, );
  EXITS("SGDT", sgdt, STORE_GDTR, 0, REG(RSI, address(page)));
  EXITS("SIDT", sidt, STORE_IDTR, 0, REG(RSI, address(page)));
  EXITS("SLDT", sldt, STORE_LDTR, 0, REG(RSI, address(page)));
  EXITS("STR", str, STORE_TR, 0, REG(RSI, address(page)));
  EXITS("LIDT", lidt, LOAD_IDTR, 0, );
  EXITS("LGDT", lgdt, LOAD_GDTR, 0, );
  EXITS("LLDT", lldt, LOAD_LDTR, 0, );
  PASSES("SGDT that is not intercepted", sgdt, REG(RSI, address(page)));
  if (!told("qemu")) EXITS("INT n", int20, SOFT, 0x20, );
  base(g_iret); INTERCEPT(IRET);
  expect("IRET", "outcome", outcome(), IRET);
  PASSES("IRET that is not intercepted", iret, );
  base(g_int20); V32(IDTR + 4) = 0;
  expect("a triple fault", "outcome", outcome(), SHUTDOWN);
}

static void exceptions(void) {
  base(g_ud2); INTERCEPT(0x46);
  expect("#UD", "outcome", outcome(), 0x46);
  expect("#UD: RIP", "RIP", V64(RIP), address(g_ud2));
  base(g_gp); INTERCEPT(0x4d); REG(RCX, 1ul << 60);
  expect("#GP", "outcome", outcome(), 0x4d);
  expect("#GP: error code", "information", V64(INFO1), 0);
  base(g_load); INTERCEPT(0x4e); REG(RSI, 1ul << 40); V64(CR2) = 0x1111;
  expect("#PF", "outcome", outcome(), 0x4e);
  expect("#PF: error code", "information", V64(INFO1), 0);
  expect("#PF: address", "information", V64(INFO2), 1ul << 40);
  expect("#PF: CR2 stays", "CR2", V64(CR2), 0x1111);
  base(g_int3); INTERCEPT(0x43);
  expect("#BP", "outcome", outcome(), 0x43);
  base(g_int20); INTERCEPT(0x4d); V32(IDTR + 4) = 0;
  expect("#GP while INT n is delivered", "outcome", outcome(), 0x4d);
  expect("#GP while INT n is delivered: the event", "event", V64(EVENT) & 0xffffffff, VALID | 4 << 8 | 0x20);
  base(g_ud2); INTERCEPT(0x4d); V32(IDTR + 4) = 0;
  expect("#GP while #UD is delivered", "outcome", outcome(), 0x4d);
  expect("#GP while #UD is delivered: the event", "event", V64(EVENT) & 0xffffffff, VALID | 3 << 8 | 6);
}

static void gate(int vector, const void *handler) {
  guest_idt[2 * vector] = (address(handler) & 0xffff) | 0x08 << 16 | 0x8e00ul << 32 | (address(handler) & 0xffff0000) << 32;
  guest_idt[2 * vector + 1] = 0;
}
static void injection(void) {
  for (int n = 0; n < 256; n++) gate(n, g_vmmcall);
  u64 *frame = (u64 *)(address(guest_stack) + 8000 - 40);
  base(g_nop); V32(INJECT) = VALID | 3 << 8 | 6;
  expect("#UD injected", "outcome", outcome(), VMMCALL);
  expect("#UD injected: the handler runs", "RIP", V64(RIP), address(g_vmmcall));
  expect("#UD injected: return address", "RIP", frame[0], address(g_nop));
  expect("#UD injected: the event is done", "event", V32(INJECT) >> 31, 0);
  base(g_nop); V32(INJECT) = VALID | 3 << 8 | 13 | 1 << 11; V32(INJECT + 4) = 0xabc;
  expect("#GP injected", "outcome", outcome(), VMMCALL);
  expect("#GP injected: error code", "code", frame[-1], 0xabc);
  base(g_nop); V32(INJECT) = VALID | 0x40; V64(RFLAGS) = 0x202;
  expect("an interrupt injected", "outcome", outcome(), VMMCALL);
  expect("an interrupt injected: IF is clear in the handler", "flags", V64(RFLAGS) & 0x200, 0);
  base(g_nop); V32(INJECT) = VALID | 2 << 8 | 2;
  expect("an NMI injected", "outcome", outcome(), VMMCALL);
  base(g_nop); V32(INJECT) = VALID | 3 << 8 | 6; INTERCEPT(0x46);
  expect("an injected exception is not intercepted", "outcome", outcome(), VMMCALL);
  base(g_nop); V32(INJECT) = VALID | 3 << 8 | 6; INTERCEPT(0x4d); V32(IDTR + 4) = 0x10;
  expect("a fault while injecting", "outcome", outcome(), 0x4d);
  expect("a fault while injecting: the event", "event", V64(EVENT) & 0xffffffff, VALID | 3 << 8 | 6);
}

/* --- virtual interrupts; MASKING gives the guest a TPR and an IF of its own */
#define MASKING (1u << 24)
#define REQUEST(vector, priority) (V64(VIRTUAL) = (u64)(vector) << 32 | (priority) << 16 | 1 << 8 | MASKING)
static void interrupts(void) {
  for (int n = 0; n < 256; n++) gate(n, g_vmmcall);
  u64 *frame = (u64 *)(address(guest_stack) + 8000 - 40);
  base(g_nop); REQUEST(0x61, 6); V64(RFLAGS) = 0x202;
  expect("virtual interrupt", "outcome", outcome(), VMMCALL);
  expect("virtual interrupt: the handler runs", "RIP", V64(RIP), address(g_vmmcall));
  expect("virtual interrupt: before the first instruction", "RIP", frame[0], address(g_nop));
  expect("virtual interrupt: it is taken", "field", V64(VIRTUAL) >> 8 & 1, 0);
  base(g_nop); REQUEST(0x61, 6);
  expect("virtual interrupt with IF clear", "outcome", outcome(), VMMCALL);
  expect("virtual interrupt with IF clear: it waits", "field", V64(VIRTUAL) >> 8 & 1, 1);
  expect("virtual interrupt with IF clear: RIP", "RIP", V64(RIP), address(g_end_nop));
  base(g_nop); REQUEST(0x61, 6); V64(VIRTUAL) |= 6; V64(RFLAGS) = 0x202;
  expect("virtual interrupt below the TPR", "outcome", outcome(), VMMCALL);
  expect("virtual interrupt below the TPR: it waits", "field", V64(VIRTUAL) >> 8 & 1, 1);
  base(g_mov_to_cr8); REQUEST(0x61, 6); V64(VIRTUAL) |= 6; V64(RFLAGS) = 0x202; REG(RCX, 5);
  expect("virtual interrupt when the TPR falls", "outcome", outcome(), VMMCALL);
  if (!told("qemu")) expect("virtual interrupt when the TPR falls: after the MOV", "RIP", frame[0], address(g_end_mov_to_cr8));
  expect("MOV to CR8: the virtual TPR", "TPR", V64(VIRTUAL) & 0xff, 5);
  base(g_mov_from_cr8); V64(VIRTUAL) = MASKING | 9;
  expect("MOV from CR8", "outcome", outcome(), VMMCALL);
  expect("MOV from CR8: the virtual TPR", "CR8", guest_registers[RSI], 9);
  base(g_nop); REQUEST(0x61, 6); V64(RFLAGS) = 0x202; INTERCEPT(VINTR);
  expect("virtual interrupt that is intercepted", "outcome", outcome(), VINTR);
  expect("virtual interrupt that is intercepted: no instruction ran", "RIP", V64(RIP), address(g_nop));
  base(g_sti_nop); REQUEST(0x61, 6); INTERCEPT(VINTR);
  expect("virtual interrupt after STI", "outcome", outcome(), VINTR);
  expect("virtual interrupt after STI and one instruction more", "RIP", V64(RIP), address(g_sti_nop) + 2);
  base(g_nop); REQUEST(0x61, 6); V64(RFLAGS) = 0x202; INTERCEPT(VINTR); V64(SHADOW) = 1;
  expect("virtual interrupt in a shadow", "outcome", outcome(), VINTR);
  expect("virtual interrupt in a shadow: after one instruction", "RIP", V64(RIP), address(g_nop) + 1);

  /* the machine's own interrupts: held while the global flag is clear, whatever RFLAGS says */
  volatile u32 *local = (u32 *)0xfee00000ul;
  out8(0x21, 0xff); out8(0xa1, 0xff);
  local[0xf0 / 4] = 0x1ff;
  interrupts_seen = 0;
  asm volatile("clgi; sti");
  local[0x300 / 4] = 0x40000 | 0xf0;
  for (int n = 0; n < 100; n++) asm volatile("nop");
  expect("CLGI holds interrupts", "seen", interrupts_seen, 0);
  asm volatile("stgi; nop; nop");
  expect("STGI lets them in", "seen", interrupts_seen, 1);
  local[0xb0 / 4] = 0;
  asm volatile("cli");
  base(g_nop); V64(VIRTUAL) = MASKING; INTERCEPT(INTR);
  asm volatile("clgi; sti");
  local[0x300 / 4] = 0x40000 | 0xf1;
  expect("an interrupt leaves the guest, whatever its IF", "outcome", outcome(), INTR);
  expect("an interrupt leaves the guest: no instruction ran", "RIP", V64(RIP), address(g_nop));
  expect("an exit leaves the global flag clear", "seen", interrupts_seen, 1);
  asm volatile("stgi; nop; nop");
  expect("the interrupt comes at STGI", "seen", interrupts_seen, 2);
  local[0xb0 / 4] = 0;
  asm volatile("cli");
}

/* --- nested paging: identity for 4 GiB by 2 MiB, the 2 MiB around `page` by 4 KiB */
static u64 *leaf_of(const void *p) { return &npt1[address(p) >> 12 & 511]; }
static void map(void) {
  for (int n = 0; n < 512; n++) { npt4[n] = npt3[n] = 0; npt2[n] = n * 0x200000ul | 0x87; npt1[n] = (address(page) & ~0x1ffffful) | n * 0x1000ul | 7; }
  npt4[0] = address(npt3) | 7;
  npt3[0] = address(npt2) | 7;
  for (int n = 1; n < 4; n++) npt3[n] = n * 0x40000000ul | 0x87;
  npt2[address(page) >> 21] = address(npt1) | 7;
}
#define NESTED_BASE(g) do { base(g); V64(NESTED) = 1; V64(NESTED_CR3) = address(npt4); } while (0)
static void fault(const char *name, const void *code, u64 rsi, u64 information, u64 physical) {
  NESTED_BASE(code);
  REG(RSI, rsi);
  u64 was = outcome();
  if (was != NPF) { expect(name, "outcome", was, NPF); return; }
  if (V64(INFO1) != information) { expect(name, "information", V64(INFO1), information); return; }
  expect(name, "physical address", V64(INFO2), physical);
}
static void nested(void) {
  u64 at = address(page) + 0x128;
#define FINAL (1ul << 32)
#define TABLE (1ul << 33)
  map();
  NESTED_BASE(g_load); REG(RSI, at); *(u64 *)at = 0x42;
  expect("a guest under nested paging", "outcome", outcome(), VMMCALL);
  expect("a guest under nested paging: what it reads", "RDX", guest_registers[RDX], 0x42);
  expect("nested paging: accessed and dirty flags", "flags", *leaf_of(page) & 0x60, 0x20);
  NESTED_BASE(g_store); REG(RSI, at); outcome();
  expect("nested paging: the dirty flag of a write", "flags", *leaf_of(page) & 0x60, 0x60);
  *leaf_of(page) = 0;
  fault("nested page fault: read of an absent page", g_load, at, FINAL | 4, at);
  fault("nested page fault: write", g_store, at, FINAL | 6, at);
  fault("nested page fault: fetch", g_call_rsi, at, FINAL | 0x14, at);
  *leaf_of(page) = address(page) | 5;
  fault("nested page fault: write to a read-only page", g_store, at, FINAL | 7, at);
  *leaf_of(page) = address(page) | 7 | 1ul << 63;
  fault("nested page fault: fetch from a page that is not executed", g_call_rsi, at, FINAL | 0x15, at);
  *leaf_of(page) = address(page) | 3;
  fault("nested page fault: a supervisor's page", g_load, at, FINAL | 5, at);
  *leaf_of(page) = address(page) | 7 | 1ul << 51;
  fault("nested page fault: reserved bits", g_load, at, FINAL | 0xd, at);
  *leaf_of(page) = address(page + 4096) | 7; *(u64 *)(at + 4096) = 0x55;
  NESTED_BASE(g_load); REG(RSI, at); outcome();
  expect("nested paging maps to another page", "RDX", guest_registers[RDX], 0x55);
  /* the guest's own tables: in `page`, which is not writable */
  u64 *table = (u64 *)page;
  for (int n = 0; n < 512; n++) table[n] = ((u64 *)cr3())[n];
  *leaf_of(page) = address(page) | 5;
  NESTED_BASE(g_vmmcall); V64(CR3) = address(page);
  expect("nested page fault: the guest's table is not writable", "outcome", outcome(), NPF);
  expect("nested page fault: the guest's table: information", "information", V64(INFO1), TABLE | 7);
  map();
  NESTED_BASE(g_int20); V32(IDTR + 4) = 0xfff; V64(IDTR + 8) = address(page); *leaf_of(page) = 0;
  expect("nested page fault while an event is delivered", "outcome", outcome(), NPF);
  expect("nested page fault while an event is delivered: the event", "event", V64(EVENT) & 0xffffffff, VALID | 4 << 8 | 0x20);
}

/* --- a hostile hypervisor: random VMCBs and tables, entered again and again. Nothing is expected but that the machine goes on. */
static void hostile(void) {
  static const u8 *const code[] = {g_vmmcall, g_cpuid, g_hlt, g_load, g_store, g_call_rsi, g_int20, g_ud2, g_iret, g_rdmsr, g_wrmsr, g_in8, g_out32, g_mov_to_cr0, g_mov_to_cr3, g_mov_to_cr4, g_mov_to_cr8,
    g_vmrun, g_vmload, g_vmsave, g_stgi, g_clgi, g_sgdt, g_lldt, g_sti_nop, g_int3};
  start_chance();
  for (int round = 0; round < 2000; round++) {
    base(code[chance() % (sizeof code / sizeof *code)]);
    map();
    for (int n = chance() % 4; n > 0; n--) ((u64 *[]){npt4, npt3, npt2, npt1})[chance() % 4][chance() % 512] = odd_value(address(page) | 7);
    for (int n = 0; n < 5; n++) V32(4 * n) |= chance() & chance() & chance();
    INTERCEPT(HLT);
    if (chance() % 2) { V64(NESTED) = 1; V64(NESTED_CR3) = address(npt4); }
    for (int n = 0; n < 16; n++) guest_registers[n] = odd_value(address(page));
    V64(RAX_) = odd_value(address(page));
    for (int n = chance() % 4; n > 0; n--) { u64 offset = (chance() % 2 ? 0x400 + chance() % 0x280 : chance() % 0xc8) & ~7ul; V64(offset) = odd_value(V64(offset)); }
    for (int n = 0; n < 4; n++) {
      u64 was = outcome();
      if (was == INVALID || was == SHUTDOWN) break;
      if (chance() % 2) V64(RIP) = V64(NEXT_RIP);
    }
  }
  say("survived\n");
  out8(0xf4, 0);
}

void main(void) {
  fill_idt();
  u32 a = 0x8000000a, b, c, d;
  asm volatile("cpuid" : "+a"(a), "=b"(b), "=c"(c), "=d"(d));
  nested_paging = d & 1;
  next_rip = d >> 3 & 1;
  if (told("hostile")) {
    wrmsr(0xc0000080, rdmsr(0xc0000080) | 0x1000);
    wrmsr(0xc0010117, address(save_area));
    hostile();
  }
  instructions();
  entry();
  exits();
  exceptions();
  injection();
  interrupts();
  if (nested_paging) nested();
  finish();
}
