/* The VMX tests: each case prints "ok NAME" or "BAD NAME: what was, what was expected". See start.s for the assembly around it. */
#include "../bare-metal/program.h"
#include "../bare-metal/hostile.h"

extern u8 g_end_int3[], g_end_sti_nop[];
int vm_enter(int resume);
#define G(name) extern u8 g_##name[], g_end_##name[];
G(vmcall) G(cpuid) G(hlt) G(invd) G(wbinvd) G(invlpg) G(rdpmc) G(rdtsc) G(rdtscp) G(pause) G(rdmsr) G(wrmsr) G(in8) G(in16) G(out32) G(outsb) G(repinsw)
G(mov_to_cr0) G(mov_to_cr3) G(mov_from_cr3) G(mov_to_cr4) G(mov_from_cr0) G(mov_from_cr4) G(mov_to_cr8) G(mov_from_cr8) G(clts) G(lmsw) G(mov_to_dr7) G(mov_from_dr0)
G(xsetbv) G(vmclear) G(vmptrld) G(vmptrst) G(vmxon) G(vmread) G(vmread_mem) G(vmwrite) G(vmlaunch) G(vmresume) G(vmxoff) G(invept) G(invvpid) G(sgdt) G(lidt) G(str) G(lldt)
G(rdrand) G(int3) G(ud2) G(div) G(gp) G(load) G(store) G(call_rsi) G(nop) G(sti_nop) G(loop) G(int20) G(popf_tf) G(iret) G(vmfunc) G(load32) G(store32) G(movss_cpuid) G(movss_nop) G(lss_nop) G(iret_only) G(iret_gp)

enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI };
enum {
  VPID = 0, G_ES = 0x800, G_CS = 0x802, G_SS = 0x804, G_LDTR = 0x80c, G_TR = 0x80e, H_ES = 0xc00, H_CS = 0xc02, H_SS = 0xc04, H_DS = 0xc06, H_TR = 0xc0c,
  IO_A = 0x2000, IO_B = 0x2002, MSR_BITMAP = 0x2004, EXIT_STORE = 0x2006, EXIT_LOAD = 0x2008, ENTRY_LOAD = 0x200a, TSC_OFFSET = 0x2010, VAPIC = 0x2012, VM_FUNCTIONS = 0x2018, EPTP = 0x201a, EPTP_LIST = 0x2024,
  GUEST_PHYSICAL = 0x2400, LINK = 0x2800, G_DEBUGCTL = 0x2802, G_PAT = 0x2804, G_EFER = 0x2806, H_PAT = 0x2c00, H_EFER = 0x2c02,
  PIN = 0x4000, PROC = 0x4002, EXCEPTIONS = 0x4004, PF_MASK = 0x4006, PF_MATCH = 0x4008, CR3_TARGETS = 0x400a, EXIT = 0x400c, EXIT_STORE_COUNT = 0x400e, EXIT_LOAD_COUNT = 0x4010,
  ENTRY = 0x4012, ENTRY_LOAD_COUNT = 0x4014, INJECT = 0x4016, INJECT_CODE = 0x4018, INJECT_LENGTH = 0x401a, TPR_THRESHOLD = 0x401c, PROC2 = 0x401e,
  ERROR = 0x4400, REASON = 0x4402, INFO = 0x4404, INFO_CODE = 0x4406, VECTORING = 0x4408, VECTORING_CODE = 0x440a, LENGTH = 0x440c, INSTRUCTION = 0x440e,
  G_ES_LIMIT = 0x4800, G_CS_LIMIT = 0x4802, G_TR_LIMIT = 0x480e, G_GDTR_LIMIT = 0x4810, G_IDTR_LIMIT = 0x4812, G_ES_RIGHTS = 0x4814, G_CS_RIGHTS = 0x4816, G_SS_RIGHTS = 0x4818,
  G_DS_RIGHTS = 0x481a, G_LDTR_RIGHTS = 0x4820, G_TR_RIGHTS = 0x4822, BLOCKING = 0x4824, ACTIVITY = 0x4826, TIMER = 0x482e,
  CR0_MASK = 0x6000, CR4_MASK = 0x6002, CR0_SHADOW = 0x6004, CR4_SHADOW = 0x6006, CR3_TARGET0 = 0x6008, QUALIFICATION = 0x6400, LINEAR = 0x640a,
  G_CR0 = 0x6800, G_CR3 = 0x6802, G_CR4 = 0x6804, G_ES_BASE = 0x6806, G_CS_BASE = 0x6808, G_FS_BASE = 0x680e, G_LDTR_BASE = 0x6812, G_TR_BASE = 0x6814, G_GDTR_BASE = 0x6816,
  G_IDTR_BASE = 0x6818, G_DR7 = 0x681a, G_RSP = 0x681c, G_RIP = 0x681e, G_RFLAGS = 0x6820, PENDING_DEBUG = 0x6822, G_SYSENTER_ESP = 0x6824, G_SYSENTER_EIP = 0x6826,
  H_CR0 = 0x6c00, H_CR3 = 0x6c02, H_CR4 = 0x6c04, H_FS_BASE = 0x6c06, H_TR_BASE = 0x6c0a, H_GDTR_BASE = 0x6c0c, H_IDTR_BASE = 0x6c0e, H_SYSENTER_ESP = 0x6c10, H_RSP = 0x6c14, H_RIP = 0x6c16,
};
enum { EXT_INT = 1, NMI_EXIT = 8, VNMI = 32, PREEMPTION = 64 };
#define INT_WINDOW (1u << 2)
#define TSC_OFFSETTING (1u << 3)
#define HLT_EXIT (1u << 7)
#define INVLPG_EXIT (1u << 9)
#define RDPMC_EXIT (1u << 11)
#define RDTSC_EXIT (1u << 12)
#define CR3_LOAD (1u << 15)
#define CR3_STORE (1u << 16)
#define CR8_LOAD (1u << 19)
#define CR8_STORE (1u << 20)
#define TPR_SHADOW (1u << 21)
#define NMI_WINDOW (1u << 22)
#define MOV_DR (1u << 23)
#define IO_ALWAYS (1u << 24)
#define IO_BITMAPS (1u << 25)
#define MTF (1u << 27)
#define MSR_BITMAPS (1u << 28)
#define PAUSE_EXIT (1u << 30)
#define SECONDARY (1u << 31)
#define EPT 2u
#define DESCRIPTORS 4u
#define RDTSCP_ON 8u
#define VPID_ON 32u
#define WBINVD_EXIT 64u
#define UNRESTRICTED 128u
#define VMFUNC (1u << 13)
#define RDRAND_EXIT (1u << 11)
#define EXCEPTIONS_BY_EPT (1u << 18)
#define BY_MODE (1u << 22)
#define VALID (1u << 31)

static u8 vmxon_region[4096] __attribute__((aligned(4096))), vmcs[4096] __attribute__((aligned(4096))), vmcs2[4096] __attribute__((aligned(4096)));
static u8 bitmap_a[4096] __attribute__((aligned(4096))), bitmap_b[4096] __attribute__((aligned(4096))), msr_bitmap[4096] __attribute__((aligned(4096)));
static u8 vapic[4096] __attribute__((aligned(4096))), page[8192] __attribute__((aligned(4096)));
static u64 ept4[512] __attribute__((aligned(4096))), ept3[512] __attribute__((aligned(4096))), ept2[512] __attribute__((aligned(4096))), ept1[512] __attribute__((aligned(4096)));
static u64 information[512] __attribute__((aligned(4096)));
static u64 guest_idt[512] __attribute__((aligned(4096)));
static u64 msr_list[64] __attribute__((aligned(16)));
static u64 posted[8] __attribute__((aligned(64)));
static u8 guest_stack[8192] __attribute__((aligned(16)));
static u64 pin, proc, proc2, proc2_may, exit_controls, entry_controls, misc, ept_vpid;
static int apicv;

/* --- instructions */
static u64 rdmsr(u32 n) { u32 a, d; asm volatile("rdmsr" : "=a"(a), "=d"(d) : "c"(n)); return a | (u64)d << 32; }
/* Outcomes: 0 success, 1 invalid, 2 valid failure, 100 + vector a fault. */
#define VMX(instruction, ...) ({ \
  u8 c_, z_; \
  fault_vector = ~0ul; \
  asm volatile("movq $1f, fault_resume\n" instruction "\n1: setc %0; setz %1" : "=&q"(c_), "=&q"(z_) : __VA_ARGS__ : "cc", "memory", "rax"); \
  fault_resume = 0; \
  fault_vector != ~0ul ? (int)(100 + fault_vector) : c_ ? 1 : z_ ? 2 : 0; })
static int vmwrite(u64 field, u64 value) { return VMX("vmwrite %3, %2", "r"(field), "rm"(value)); }
static u64 vmread(u64 field) { u64 v = 0; asm volatile("vmread %1, %0" : "=r"(v) : "r"(field) : "cc"); return v; }
static int vmread_outcome(u64 field) { return VMX("vmread %2, %%rax", "r"(field)); }
static int vmclear(u64 address) { return VMX("vmclear %2", "m"(address)); }
static int vmptrld(u64 address) { return VMX("vmptrld %2", "m"(address)); }
static int vmxon(u64 address) { return VMX("vmxon %2", "m"(address)); }
static int vmxoff(void) { return VMX("vmxoff", "i"(0)); }
static u64 vmptrst(void) { u64 v; asm volatile("vmptrst %0" : "=m"(v)::"cc"); return v; }
static int invept(u64 type, u64 a, u64 b) { u64 d[2] = {a, b}; return VMX("invept %3, %2", "r"(type), "m"(d)); }
static int invvpid(u64 type, u64 a, u64 b) { u64 d[2] = {a, b}; return VMX("invvpid %3, %2", "r"(type), "m"(d)); }
static u64 cr0(void) { u64 v; asm volatile("mov %%cr0, %0" : "=r"(v)); return v; }
static u64 cr3(void) { u64 v; asm volatile("mov %%cr3, %0" : "=r"(v)); return v; }
static u64 cr4(void) { u64 v; asm volatile("mov %%cr4, %0" : "=r"(v)); return v; }
static int set_cr4(u64 v) { return VMX("mov %2, %%cr4", "r"(v)); }
static int set_cr0(u64 v) { return VMX("mov %2, %%cr0", "r"(v)); }
static u64 address(const void *p) { return (u64)p; }

/* --- a VMCS whose guest runs `code` in this program's own address space */
static void base(const void *code) {
  vmclear(address(vmcs));
  vmptrld(address(vmcs));
  vmwrite(PIN, pin); vmwrite(PROC, proc); vmwrite(PROC2, proc2); vmwrite(EXIT, exit_controls); vmwrite(ENTRY, entry_controls);
  vmwrite(EXCEPTIONS, 0); vmwrite(PF_MASK, 0); vmwrite(PF_MATCH, 0); vmwrite(CR3_TARGETS, 0);
  vmwrite(EXIT_STORE_COUNT, 0); vmwrite(EXIT_LOAD_COUNT, 0); vmwrite(ENTRY_LOAD_COUNT, 0); vmwrite(INJECT, 0); vmwrite(INJECT_CODE, 0); vmwrite(INJECT_LENGTH, 0);
  vmwrite(EXIT_STORE, address(msr_list)); vmwrite(EXIT_LOAD, address(msr_list)); vmwrite(ENTRY_LOAD, address(msr_list));
  vmwrite(IO_A, address(bitmap_a)); vmwrite(IO_B, address(bitmap_b)); vmwrite(MSR_BITMAP, address(msr_bitmap)); vmwrite(TSC_OFFSET, 0);
  vmwrite(VAPIC, address(vapic)); vmwrite(TPR_THRESHOLD, 0); vmwrite(EPTP, address(ept4) | 0x1e); vmwrite(VPID, 1); vmwrite(LINK, ~0ul);
  vmwrite(CR0_MASK, 0); vmwrite(CR4_MASK, 0); vmwrite(CR0_SHADOW, cr0()); vmwrite(CR4_SHADOW, cr4());
  for (int n = 0; n < 6; n++) {
    vmwrite(G_ES + 2 * n, n == 1 ? 0x08 : n < 4 ? 0x10 : 0);
    vmwrite(G_ES_LIMIT + 2 * n, 0xffffffff);
    vmwrite(G_ES_RIGHTS + 2 * n, n == 1 ? 0xa09b : 0xc093);
    vmwrite(G_ES_BASE + 2 * n, 0);
  }
  vmwrite(G_LDTR, 0); vmwrite(G_LDTR_RIGHTS, 0x10000); vmwrite(G_LDTR_BASE, 0); vmwrite(G_ES_LIMIT + 12, 0);
  vmwrite(G_TR, 0x18); vmwrite(G_TR_RIGHTS, 0x8b); vmwrite(G_TR_BASE, address(tss)); vmwrite(G_TR_LIMIT, 0x67);
  vmwrite(G_GDTR_BASE, address(gdt)); vmwrite(G_GDTR_LIMIT, 0x37); vmwrite(G_IDTR_BASE, address(guest_idt)); vmwrite(G_IDTR_LIMIT, 0xfff);
  vmwrite(G_CR0, cr0()); vmwrite(G_CR3, cr3()); vmwrite(G_CR4, cr4()); vmwrite(G_DR7, 0x400); vmwrite(G_DEBUGCTL, 0); vmwrite(G_EFER, 0xd00); vmwrite(G_PAT, 0x0007040600070406);
  vmwrite(G_RSP, address(guest_stack) + 8000); vmwrite(G_RIP, address(code)); vmwrite(G_RFLAGS, 2); vmwrite(PENDING_DEBUG, 0); vmwrite(BLOCKING, 0); vmwrite(ACTIVITY, 0);
  vmwrite(0x482a, 0); vmwrite(G_SYSENTER_ESP, 0); vmwrite(G_SYSENTER_EIP, 0); vmwrite(TIMER, 0);
  for (int n = 0; n < 6; n++) vmwrite(H_ES + 2 * n, n == 1 ? 0x08 : n < 4 ? 0x10 : 0);
  vmwrite(H_TR, 0x18); vmwrite(H_CR0, cr0()); vmwrite(H_CR3, cr3()); vmwrite(H_CR4, cr4()); vmwrite(H_FS_BASE, 0); vmwrite(H_FS_BASE + 2, 0); vmwrite(H_TR_BASE, address(tss));
  vmwrite(H_GDTR_BASE, address(gdt)); vmwrite(H_IDTR_BASE, address(idt)); vmwrite(H_SYSENTER_ESP, 0); vmwrite(0x6c12, 0); vmwrite(0x4c00, 0); vmwrite(H_EFER, 0xd00);
  vmwrite(H_PAT, 0x0007040600070406);
  if (apicv) { vmwrite(0x2014, address(page)); vmwrite(0x2016, address(posted)); vmwrite(0x0002, 0xf2); vmwrite(0x0810, 0); }
  if (proc2_may & EXCEPTIONS_BY_EPT) vmwrite(0x202a, address(information));
  for (int n = 0; n < 16; n++) guest_registers[n] = 0;
  for (int n = 0; n < 4096; n++) bitmap_a[n] = bitmap_b[n] = msr_bitmap[n] = vapic[n] = 0;
}
/* What came of an entry: VMfail as 0x10000 + error (0x10000 for VMfailInvalid), otherwise the exit reason. */
static u64 outcome(int resume) {
  int failed = vm_enter(resume);
  if (failed == 1) return 0x10000;
  if (failed == 2) return 0x10000 + vmread(ERROR);
  return vmread(REASON);
}
#define FAIL(n) (0x10000u + (n))
#define GUEST_STATE (0x80000000u + 33)
#define MSR_LOADING (0x80000000u + 34)
enum { VMCALL = 18 };

/* An entry of a VMCS with up to four fields changed. */
static u64 changed(u64 f1, u64 v1, u64 f2, u64 v2, u64 f3, u64 v3, u64 f4, u64 v4) {
  base(g_vmcall);
  if (f1 != ~0ul) vmwrite(f1, v1);
  if (f2 != ~0ul) vmwrite(f2, v2);
  if (f3 != ~0ul) vmwrite(f3, v3);
  if (f4 != ~0ul) vmwrite(f4, v4);
  return outcome(0);
}
#define NONE ~0ul, 0
#define ENTRY1(name, wanted, f, v) expect(name, "outcome", changed(f, v, NONE, NONE, NONE), wanted)
#define ENTRY2(name, wanted, f, v, g, w) expect(name, "outcome", changed(f, v, g, w, NONE, NONE), wanted)
#define ENTRY3(name, wanted, f, v, g, w, h, x) expect(name, "outcome", changed(f, v, g, w, h, x, NONE), wanted)
#define ENTRY4(name, wanted, f, v, g, w, h, x, i, y) expect(name, "outcome", changed(f, v, g, w, h, x, i, y), wanted)

static void instructions(void) {
  u64 at = address(vmxon_region);
  expect("VMXON with CR4.VMXE clear is #UD", "outcome", vmxon(at), 106);
  expect("VMCALL outside VMX is #UD", "outcome", VMX("vmcall", "i"(0)), 106);
  expect("VMREAD outside VMX is #UD", "outcome", vmread_outcome(REASON), 106);
  expect("INVEPT outside VMX is #UD", "outcome", invept(2, 0, 0), 106);
  expect("CR4.VMXE can be set", "outcome", set_cr4(cr4() | 0x2000), 0);
  *(u32 *)vmxon_region = (u32)rdmsr(0x480) + 1;
  expect("VMXON with a foreign revision is VMfailInvalid", "outcome", vmxon(at), 1);
  *(u32 *)vmxon_region = (u32)rdmsr(0x480) | 0x80000000;
  expect("VMXON of a shadow is VMfailInvalid", "outcome", vmxon(at), 1);
  *(u32 *)vmxon_region = (u32)rdmsr(0x480);
  expect("VMXON unaligned is VMfailInvalid", "outcome", vmxon(at + 8), 1);
  expect("VMXON beyond the physical addresses is VMfailInvalid", "outcome", vmxon(1ul << 50), 1);
  expect("VMXON", "outcome", vmxon(at), 0);
  expect("CR4.VMXE cannot be cleared in VMX operation", "outcome", set_cr4(cr4() & ~0x2000ul), 113);
  expect("CR0.NE cannot be cleared in VMX operation", "outcome", set_cr0(cr0() & ~0x20ul), 113);
  expect("VMPTRST without a current VMCS", "pointer", vmptrst(), ~0ul);
  expect("VMXON in root operation without a VMCS is VMfailInvalid", "outcome", vmxon(at), 1);
  expect("VMREAD without a VMCS is VMfailInvalid", "outcome", vmread_outcome(REASON), 1);
  expect("VMWRITE without a VMCS is VMfailInvalid", "outcome", vmwrite(G_RIP, 0), 1);
  expect("VMPTRLD unaligned without a VMCS is VMfailInvalid", "outcome", vmptrld(address(vmcs) + 1), 1);
  *(u32 *)vmcs = *(u32 *)vmcs2 = (u32)rdmsr(0x480);
  expect("VMCLEAR", "outcome", vmclear(address(vmcs)), 0);
  expect("VMPTRLD", "outcome", vmptrld(address(vmcs)), 0);
  expect("VMPTRST gives it", "pointer", vmptrst(), address(vmcs));
#define ERRORS(name, call, number) do { expect(name ": VMfailValid", "outcome", call, 2); expect(name ": error number", "number", vmread(ERROR), number); } while (0)
  ERRORS("VMXON in root operation", vmxon(at), 15);
  ERRORS("VMCLEAR unaligned", vmclear(address(vmcs2) + 4), 2);
  ERRORS("VMCLEAR beyond the physical addresses", vmclear(1ul << 51), 2);
  ERRORS("VMCLEAR of the VMXON region", vmclear(at), 3);
  ERRORS("VMPTRLD unaligned", vmptrld(address(vmcs2) + 4), 9);
  ERRORS("VMPTRLD of the VMXON region", vmptrld(at), 10);
  *(u32 *)vmcs2 ^= 2;
  ERRORS("VMPTRLD with a foreign revision", vmptrld(address(vmcs2)), 11);
  *(u32 *)vmcs2 ^= 2;
  ERRORS("VMREAD of no field", vmread_outcome(0x6c18), 12);
  ERRORS("VMREAD of an encoding beyond 15 bits", vmread_outcome(0x1006800), 12);
  ERRORS("VMREAD with high bits in the register", vmread_outcome(1ul << 40 | G_RIP), 12);
  ERRORS("VMWRITE of no field", vmwrite(0x0c1e, 0), 12);
  if (!told("bochs")) ERRORS("VMCALL in root operation", VMX("vmcall", "i"(0)), 1);
  ERRORS("INVEPT of an unknown type", invept(3, 0, 0), 28);
  ERRORS("INVEPT of a bad pointer", invept(1, 7, 0), 28);
  ERRORS("INVVPID of an unknown type", invvpid(4, 1, 0), 28);
  ERRORS("INVVPID of VPID 0", invvpid(1, 0, 0), 28);
  ERRORS("INVVPID with reserved bits", invvpid(1, 0x10001, 0), 28);
  ERRORS("INVVPID of a non-canonical address", invvpid(0, 1, 1ul << 60), 28);
  expect("INVEPT all", "outcome", invept(2, 0, 0), 0);
  expect("INVVPID all", "outcome", invvpid(2, 0, 0), 0);
  expect("INVVPID of an address", "outcome", invvpid(0, 1, 0x1000), 0);
  expect("VMWRITE", "outcome", vmwrite(G_RIP, 0x123456789abcdef0), 0);
  expect("VMREAD gives what was written", "value", vmread(G_RIP), 0x123456789abcdef0);
  vmwrite(G_CS, 0x12345678);
  expect("a 16-bit field keeps 16 bits", "value", vmread(G_CS), 0x5678);
  vmwrite(EXCEPTIONS, 0x123456789abcdef0);
  expect("a 32-bit field keeps 32 bits", "value", vmread(EXCEPTIONS), 0x9abcdef0);
  vmwrite(TSC_OFFSET, 0x1122334455667788);
  expect("the high half of a 64-bit field", "value", vmread(TSC_OFFSET + 1), 0x11223344);
  vmwrite(TSC_OFFSET + 1, 0xaabbccdd);
  expect("the high half is written alone", "value", vmread(TSC_OFFSET), 0xaabbccdd55667788);
  vmclear(address(vmcs2));
  vmptrld(address(vmcs2));
  vmwrite(G_RIP, 77);
  vmptrld(address(vmcs));
  expect("two VMCSs hold their own fields", "value", vmread(G_RIP), 0x123456789abcdef0);
  vmclear(address(vmcs));
  expect("VMCLEAR of the current VMCS leaves none", "pointer", vmptrst(), ~0ul);
  vmptrld(address(vmcs));
  expect("fields outlive VMCLEAR", "value", vmread(G_RIP), 0x123456789abcdef0);
  for (u32 field = 0; field < 0x8000; field++) if ((field & 1) && (field >> 13) != 1 && vmread_outcome(field) == 0) { expect("only 64-bit fields have a high half", "field", field, 0); break; }
  base(g_vmcall);
  expect("VMRESUME of a clear VMCS", "outcome", outcome(1), FAIL(5));
  expect("VMLAUNCH", "outcome", outcome(0), VMCALL);
  expect("VMLAUNCH of a launched VMCS", "outcome", outcome(0), FAIL(4));
  expect("VMRESUME", "outcome", outcome(1), VMCALL);
  vmclear(address(vmcs));
  expect("VMLAUNCH without a VMCS is VMfailInvalid", "outcome", vm_enter(0), 1);
}

static void entry_controls_cases(void) {
  ENTRY1("pin: a must-be-1 bit is 0", FAIL(7), PIN, pin & ~2ul);
  ENTRY1("pin: a bit that is not offered", FAIL(7), PIN, pin | 1u << 30);
  ENTRY1("primary: a must-be-1 bit is 0", FAIL(7), PROC, proc & ~2ul);
  ENTRY1("primary: a bit that is not offered", FAIL(7), PROC, proc | 1);
  ENTRY1("secondary: a bit that is not offered", FAIL(7), PROC2, proc2 | 1u << 29);
  ENTRY2("secondary controls do not matter when they are off", VMCALL, PROC, proc & ~SECONDARY, PROC2, ~0u);
  ENTRY1("CR3 targets: 4", VMCALL, CR3_TARGETS, 4);
  ENTRY1("CR3 targets: 5", FAIL(7), CR3_TARGETS, 5);
  ENTRY2("I/O bitmap A unaligned", FAIL(7), PROC, proc | IO_BITMAPS, IO_A, address(bitmap_a) + 1);
  ENTRY2("I/O bitmap B beyond the physical addresses", FAIL(7), PROC, proc | IO_BITMAPS, IO_B, 1ul << 50);
  ENTRY1("an unaligned I/O bitmap that is off", VMCALL, IO_A, 1);
  ENTRY2("MSR bitmap unaligned", FAIL(7), PROC, proc | MSR_BITMAPS, MSR_BITMAP, address(msr_bitmap) + 0x800);
  ENTRY1("virtual NMIs without NMI exiting", FAIL(7), PIN, pin | VNMI);
  ENTRY1("NMI window without virtual NMIs", FAIL(7), PROC, proc | NMI_WINDOW);
  ENTRY2("virtual-APIC page unaligned", FAIL(7), PROC, proc | TPR_SHADOW, VAPIC, address(vapic) + 16);
  ENTRY2("TPR threshold beyond 15", FAIL(7), PROC, proc | TPR_SHADOW, TPR_THRESHOLD, 16);
  ENTRY2("TPR threshold above the virtual TPR", FAIL(7), PROC, proc | TPR_SHADOW, TPR_THRESHOLD, 1);
  ENTRY2("VPID 0", FAIL(7), PROC2, proc2 | VPID_ON, VPID, 0);
  ENTRY2("VPID 1", VMCALL, PROC2, proc2 | VPID_ON, VPID, 1);
  ENTRY2("EPT pointer: memory type 1", FAIL(7), PROC2, proc2 | EPT, EPTP, address(ept4) | 0x19);
  ENTRY2("EPT pointer: walk of 3 levels", FAIL(7), PROC2, proc2 | EPT, EPTP, address(ept4) | 0x16);
  ENTRY2("EPT pointer: reserved bits", FAIL(7), PROC2, proc2 | EPT, EPTP, address(ept4) | 0x81e);
  ENTRY2("EPT pointer: beyond the physical addresses", FAIL(7), PROC2, proc2 | EPT, EPTP, 1ul << 50 | 0x1e);
  ENTRY1("unrestricted guest without EPT", FAIL(7), PROC2, proc2 | UNRESTRICTED);
  ENTRY1("exit controls: a must-be-1 bit is 0", FAIL(7), EXIT, exit_controls & ~1ul);
  ENTRY1("exit controls: the timer is saved but off", FAIL(7), EXIT, exit_controls | 1u << 22);
  ENTRY2("exit MSR-store area unaligned", FAIL(7), EXIT_STORE_COUNT, 1, EXIT_STORE, address(msr_list) + 8);
  ENTRY2("exit MSR-load area ends beyond the physical addresses", FAIL(7), EXIT_LOAD_COUNT, 1, EXIT_LOAD, 1ul << 50);
  ENTRY2("entry MSR-load area unaligned", FAIL(7), ENTRY_LOAD_COUNT, 1, ENTRY_LOAD, address(msr_list) + 4);
  ENTRY1("entry controls: a must-be-1 bit is 0", FAIL(7), ENTRY, entry_controls & ~1ul);
  ENTRY1("entry controls: entry to SMM", FAIL(7), ENTRY, entry_controls | 1u << 10);
  ENTRY1("event: reserved bits", FAIL(7), INJECT, VALID | 3 << 8 | 6 | 1 << 13);
  ENTRY1("event: reserved type 1", FAIL(7), INJECT, VALID | 1 << 8 | 6);
  ENTRY1("event: an NMI with vector 3", FAIL(7), INJECT, VALID | 2 << 8 | 3);
  ENTRY1("event: an exception with vector 32", FAIL(7), INJECT, VALID | 3 << 8 | 32);
  ENTRY1("event: #UD with an error code", FAIL(7), INJECT, VALID | 3 << 8 | 6 | 1 << 11);
  ENTRY1("event: #GP without an error code", FAIL(7), INJECT, VALID | 3 << 8 | 13);
  ENTRY2("event: error code with high bits", FAIL(7), INJECT, VALID | 3 << 8 | 13 | 1 << 11, INJECT_CODE, 0x10000);
  ENTRY2("event: INT n longer than an instruction", FAIL(7), INJECT, VALID | 4 << 8 | 0x20, INJECT_LENGTH, 16);
  if (!told("bochs")) ENTRY1("event: type 7 with a vector", FAIL(7), INJECT, VALID | 7 << 8 | 1);
}

static void entry_host_cases(void) {
  ENTRY1("host: not 64-bit in 64-bit mode", FAIL(8), EXIT, exit_controls & ~(1u << 9));
  ENTRY1("host CR0 without PE", FAIL(8), H_CR0, cr0() & ~1ul);
  ENTRY1("host CR0 with high bits", FAIL(8), H_CR0, cr0() | 1ul << 40);
  ENTRY1("host CR4 without VMXE", FAIL(8), H_CR4, cr4() & ~0x2000ul);
  ENTRY1("host CR4 with an unknown bit", FAIL(8), H_CR4, cr4() | 1ul << 30);
  ENTRY1("host CR4 without PAE", FAIL(8), H_CR4, cr4() & ~0x20ul);
  ENTRY1("host CR3 beyond the physical addresses", FAIL(8), H_CR3, 1ul << 52);
  ENTRY1("host CS is null", FAIL(8), H_CS, 0);
  ENTRY1("host TR is null", FAIL(8), H_TR, 0);
  ENTRY1("host SS is null in 64-bit mode", VMCALL, H_SS, 0);
  ENTRY1("host CS with RPL 3", FAIL(8), H_CS, 0x0b);
  ENTRY1("host DS in the LDT", FAIL(8), H_DS, 0x14);
  ENTRY1("host FS base non-canonical", FAIL(8), H_FS_BASE, 1ul << 47);
  ENTRY1("host TR base non-canonical", FAIL(8), H_TR_BASE, 1ul << 63);
  ENTRY1("host GDTR base non-canonical", FAIL(8), H_GDTR_BASE, 1ul << 63);
  ENTRY1("host IDTR base non-canonical", FAIL(8), H_IDTR_BASE, 1ul << 50);
  ENTRY1("host SYSENTER_ESP non-canonical", FAIL(8), H_SYSENTER_ESP, 1ul << 50);
  ENTRY2("host PAT with a bad type", FAIL(8), EXIT, exit_controls | 1u << 19, H_PAT, 2);
  ENTRY2("host EFER with reserved bits", FAIL(8), EXIT, exit_controls | 1u << 21, H_EFER, 0xd02);
  ENTRY2("host EFER without LMA", FAIL(8), EXIT, exit_controls | 1u << 21, H_EFER, 0x900);
}

static void entry_guest_cases(void) {
#define BAD GUEST_STATE
  ENTRY1("guest CR0 without NE", BAD, G_CR0, cr0() & ~0x20ul);
  ENTRY1("guest CR0 without PG", BAD, G_CR0, cr0() & ~0x80000000ul);
  ENTRY1("guest CR4 without VMXE", BAD, G_CR4, cr4() & ~0x2000ul);
  ENTRY1("guest CR4 without PAE in IA-32e mode", BAD, G_CR4, cr4() & ~0x20ul);
  ENTRY1("guest CR3 beyond the physical addresses", BAD, G_CR3, 1ul << 52);
  ENTRY2("guest DR7 with high bits", BAD, ENTRY, entry_controls | 4, G_DR7, 1ul << 32);
  ENTRY1("guest SYSENTER_EIP non-canonical", BAD, G_SYSENTER_EIP, 1ul << 60);
  ENTRY2("guest PAT with a bad type", BAD, ENTRY, entry_controls | 1u << 14, G_PAT, 3);
  ENTRY2("guest EFER with reserved bits", BAD, ENTRY, entry_controls | 1u << 15, G_EFER, 0xd02);
  ENTRY2("guest EFER without LMA", BAD, ENTRY, entry_controls | 1u << 15, G_EFER, 0x900);
  ENTRY1("guest RFLAGS bit 1 clear", BAD, G_RFLAGS, 0);
  ENTRY1("guest RFLAGS bit 3 set", BAD, G_RFLAGS, 0xa);
  ENTRY1("guest RFLAGS high bits", BAD, G_RFLAGS, 1ul << 40 | 2);
  ENTRY1("guest RFLAGS.VM in IA-32e mode", BAD, G_RFLAGS, 0x20002);
  ENTRY1("guest RIP non-canonical", BAD, G_RIP, 1ul << 60);
  ENTRY1("guest TR in the LDT", BAD, G_TR, 0x1c);
  ENTRY1("guest SS.RPL is not CS.RPL", BAD, G_SS, 0x13);
  ENTRY1("guest CS type data", BAD, G_CS_RIGHTS, 0xa093);
  ENTRY1("guest CS not present", BAD, G_CS_RIGHTS, 0xa01b);
  ENTRY1("guest CS system", BAD, G_CS_RIGHTS, 0xa08b);
  ENTRY1("guest CS unusable", BAD, G_CS_RIGHTS, 0x1a08b);
  ENTRY1("guest CS with L and D", BAD, G_CS_RIGHTS, 0xe09b);
  ENTRY1("guest CS DPL is not SS DPL", BAD, G_CS_RIGHTS, 0xa0fb);
  ENTRY1("guest CS granularity against the limit", BAD, G_CS_LIMIT, 0xfffff000);
  ENTRY1("guest CS base with high bits", BAD, G_CS_BASE, 1ul << 32);
  ENTRY1("guest SS read-only", BAD, G_SS_RIGHTS, 0xc091);
  ENTRY1("guest SS not accessed", BAD, G_SS_RIGHTS, 0xc092);
  ENTRY1("guest SS unusable", VMCALL, G_SS_RIGHTS, 0x10000);
  ENTRY1("guest DS not accessed", BAD, G_DS_RIGHTS, 0xc092);
  ENTRY1("guest DS execute-only", BAD, G_DS_RIGHTS, 0xc099);
  ENTRY1("guest ES not present", BAD, G_ES_RIGHTS, 0xc013);
  ENTRY1("guest ES unusable", VMCALL, G_ES_RIGHTS, 0x10000);
  ENTRY1("guest ES base with high bits", BAD, G_ES_BASE, 1ul << 33);
  ENTRY1("guest FS base non-canonical", BAD, G_FS_BASE, 1ul << 48);
  ENTRY1("guest TR not busy", BAD, G_TR_RIGHTS, 0x89);
  ENTRY1("guest TR unusable", BAD, G_TR_RIGHTS, 0x1008b);
  ENTRY1("guest TR not present", BAD, G_TR_RIGHTS, 0x0b);
  ENTRY1("guest TR base non-canonical", BAD, G_TR_BASE, 1ul << 60);
  ENTRY1("guest LDTR of a wrong type", BAD, G_LDTR_RIGHTS, 0x83);
  ENTRY1("guest LDTR usable", VMCALL, G_LDTR_RIGHTS, 0x82);
  ENTRY1("guest GDTR base non-canonical", BAD, G_GDTR_BASE, 1ul << 50);
  ENTRY1("guest IDTR limit with high bits", BAD, G_IDTR_LIMIT, 0x10000);
  ENTRY1("guest activity 4", BAD, ACTIVITY, 4);
  if (!(misc >> 7 & 1)) ENTRY1("guest activity shutdown, which is not offered", BAD, ACTIVITY, 2);
  ENTRY3("#UD into a halted guest", BAD, ACTIVITY, 1, INJECT, VALID | 3 << 8 | 6, G_RFLAGS, 0x202);
  ENTRY2("halted with STI blocking", BAD, ACTIVITY, 1, BLOCKING, 1);
  ENTRY1("interruptibility: reserved bits", BAD, BLOCKING, 0x20);
  ENTRY2("interruptibility: STI and MOV SS", BAD, BLOCKING, 3, G_RFLAGS, 0x202);
  ENTRY1("interruptibility: STI with IF clear", BAD, BLOCKING, 1);
  ENTRY2("an external interrupt with IF clear", BAD, INJECT, VALID | 0x40, G_RFLAGS, 2);
  ENTRY3("an external interrupt under STI blocking", BAD, INJECT, VALID | 0x40, G_RFLAGS, 0x202, BLOCKING, 1);
  ENTRY2("an NMI under MOV SS blocking", BAD, INJECT, VALID | 2 << 8 | 2, BLOCKING, 2);
  ENTRY1("pending debug exceptions: reserved bits", BAD, PENDING_DEBUG, 1 << 5);
  ENTRY1("link pointer unaligned", BAD, LINK, 8);
  expect("link pointer unaligned: qualification", "qualification", vmread(QUALIFICATION), 4);
  ENTRY1("link pointer to the current VMCS", BAD, LINK, address(vmcs));
  ENTRY1("link pointer to another VMCS", VMCALL, LINK, address(vmcs2));
  base(g_vmcall);
  vmwrite(G_RFLAGS, 0);
  vmwrite(INJECT, VALID | 3 << 8 | 6);
  vmwrite(EXIT, exit_controls);
  u64 rip = vmread(G_RIP), length = vmread(LENGTH);
  expect("a failed entry exits", "outcome", outcome(0), GUEST_STATE);
  expect("a failed entry saves nothing", "RIP", vmread(G_RIP), rip);
  expect("a failed entry keeps the event", "event", vmread(INJECT), VALID | 3 << 8 | 6);
  expect("a failed entry leaves the length", "length", vmread(LENGTH), length);
  vmwrite(G_RFLAGS, 2);
  vmwrite(INJECT, 0);
  expect("a failed entry leaves the VMCS clear", "outcome", outcome(0), VMCALL);
  base(g_vmcall);
  msr_list[0] = 0xc0000100; msr_list[1] = 0;
  vmwrite(ENTRY_LOAD_COUNT, 1);
  expect("entry MSR list: FS base", "outcome", outcome(0), MSR_LOADING);
  expect("entry MSR list: its number", "qualification", vmread(QUALIFICATION), 1);
  base(g_vmcall);
  msr_list[0] = 0xc0000082; msr_list[1] = 0x1234; msr_list[2] = 0xc0000082 | 1ul << 32;
  vmwrite(ENTRY_LOAD_COUNT, 2);
  expect("entry MSR list: reserved bits in the second", "outcome", outcome(0), MSR_LOADING);
  expect("entry MSR list: number of the second", "qualification", vmread(QUALIFICATION), 2);
  base(g_vmcall);
  msr_list[0] = 0xc0000082; msr_list[1] = 0x5678; msr_list[4] = 0xc0000082; msr_list[5] = 0;
  vmwrite(ENTRY_LOAD_COUNT, 1);
  vmwrite(EXIT_STORE, address(msr_list + 4));
  vmwrite(EXIT_STORE_COUNT, 1);
  expect("MSR lists", "outcome", outcome(0), VMCALL);
  expect("MSR lists: loaded, then stored", "value", msr_list[5], 0x5678);
}

/* An exit with all that it tells. `length` 0: not looked at. */
static void exit_case(const char *name, const u8 *code, const u8 *end, u32 reason, u64 qualification, int has_length) {
  u64 was = outcome(0);
  if (was != reason) { expect(name, "outcome", was, reason); return; }
  if (vmread(G_RIP) != address(code)) { expect(name, "RIP", vmread(G_RIP), address(code)); return; }
  if (has_length && vmread(LENGTH) != (u64)(end - code)) { expect(name, "length", vmread(LENGTH), end - code); return; }
  expect(name, "qualification", vmread(QUALIFICATION), qualification);
}
#define RUN(name, g, controls, reason, qualification, setup) do { base(g_##g); vmwrite(PROC, controls); setup; exit_case(name, g_##g, g_end_##g, reason, qualification, 1); } while (0)
#define RUNS(name, g, controls, secondary, reason, qualification, setup) RUN(name, g, controls, reason, qualification, vmwrite(PROC2, secondary); setup)
#define REG(n, v) guest_registers[n] = (v)
/* The guest goes on to its VMCALL. */
#define PASSES(name, g, controls, setup) do { base(g_##g); vmwrite(PROC, controls); setup; u64 was_ = outcome(0); expect(name, "outcome", was_ == VMCALL && vmread(G_RIP) != address(g_end_##g) ? 0x20000 : was_, VMCALL); } while (0)

static void exits(void) {
  RUN("CPUID", cpuid, proc, 10, 0, );
  RUN("HLT", hlt, proc | HLT_EXIT, 12, 0, );
  RUN("INVD", invd, proc, 13, 0, );
  RUNS("WBINVD", wbinvd, proc, proc2 | WBINVD_EXIT, 54, 0, );
  PASSES("WBINVD without its control", wbinvd, proc, );
  RUN("INVLPG", invlpg, proc | INVLPG_EXIT, 14, 0x11234, REG(RSI, 0x10000));
  PASSES("INVLPG without its control", invlpg, proc, );
  RUN("RDPMC", rdpmc, proc | RDPMC_EXIT, 15, 0, );
  RUN("RDTSC", rdtsc, proc | RDTSC_EXIT, 16, 0, );
  PASSES("RDTSC without its control", rdtsc, proc, );
  if (proc2_may & RDTSCP_ON) RUNS("RDTSCP", rdtscp, proc | RDTSC_EXIT, proc2 | RDTSCP_ON, 51, 0, );
  RUN("PAUSE", pause, proc | PAUSE_EXIT, 40, 0, );
  PASSES("PAUSE without its control", pause, proc, );
  RUN("RDMSR without a bitmap", rdmsr, proc, 31, 0, REG(RCX, 0x10));
  RUN("WRMSR without a bitmap", wrmsr, proc, 32, 0, REG(RCX, 0x277));
  PASSES("RDMSR with its bit clear", rdmsr, proc | MSR_BITMAPS, REG(RCX, 0x277));
  RUN("RDMSR with its bit set", rdmsr, proc | MSR_BITMAPS, 31, 0, REG(RCX, 0x277); msr_bitmap[0x277 / 8] = 1 << (0x277 % 8));
  RUN("RDMSR of a high MSR with its bit set", rdmsr, proc | MSR_BITMAPS, 31, 0, REG(RCX, 0xc0000080); msr_bitmap[0x400 + 0x80 / 8] = 1);
  RUN("WRMSR with its bit set", wrmsr, proc | MSR_BITMAPS, 32, 0, REG(RCX, 0x174); msr_bitmap[0x800 + 0x174 / 8] = 1 << (0x174 % 8));
  RUN("RDMSR outside the bitmap's ranges", rdmsr, proc | MSR_BITMAPS, 31, 0, REG(RCX, 0x40000000));
  RUN("RDMSR of an MSR that does not exist", rdmsr, proc, 31, 0, REG(RCX, 0x12345));
  RUN("IN with an immediate port", in8, proc | IO_ALWAYS, 30, 0x710048, );
  RUN("IN from DX", in16, proc | IO_ALWAYS, 30, 0x1f00009, REG(RDX, 0x1f0));
  RUN("OUT of 32 bits", out32, proc | IO_ALWAYS, 30, 0xcf80003, REG(RDX, 0xcf8));
  PASSES("IN without its control", in8, proc, );
  PASSES("IN with its bit clear", in8, proc | IO_BITMAPS | IO_ALWAYS, );
  RUN("IN with its bit set", in8, proc | IO_BITMAPS, 30, 0x710048, bitmap_a[0x71 / 8] = 2);
  RUN("OUT with the bit of its last byte set", out32, proc | IO_BITMAPS, 30, 0x80000003, REG(RDX, 0x8000); bitmap_b[0] = 8);
  RUN("OUT around the end of the ports", out32, proc | IO_BITMAPS, 30, 0xfffe0003, REG(RDX, 0xfffe));
  RUN("OUTSB", outsb, proc | IO_ALWAYS, 30, 0x800010, REG(RDX, 0x80); REG(RSI, address(page)));
  expect("OUTSB: address", "address", vmread(LINEAR), address(page));
  expect("OUTSB: information", "information", vmread(INSTRUCTION) & 0x38380, 3 << 15 | 2 << 7);
  RUN("REP INSW", repinsw, proc | IO_ALWAYS, 30, 0x1f00039, REG(RDX, 0x1f0); REG(RCX, 5); REG(RDI, address(page)));
  expect("REP INSW: count", "RCX", guest_registers[RCX], 5);
  RUN("MOV to CR0 of an owned bit", mov_to_cr0, proc, 28, 0, vmwrite(CR0_MASK, 8); REG(RAX, cr0() ^ 8));
  PASSES("MOV to CR0 as the shadow has it", mov_to_cr0, proc, vmwrite(CR0_MASK, 8); vmwrite(CR0_SHADOW, 8); REG(RAX, cr0() | 8));
  expect("MOV to CR0: owned bits keep their real values", "CR0", vmread(G_CR0) & 8, cr0() & 8);
  RUN("MOV to CR3", mov_to_cr3, proc | CR3_LOAD, 28, 0x303, REG(RBX, cr3()));
  PASSES("MOV to CR3 of a target", mov_to_cr3, proc | CR3_LOAD, vmwrite(CR3_TARGETS, 1); vmwrite(CR3_TARGET0, cr3()); REG(RBX, cr3()));
  RUN("MOV from CR3", mov_from_cr3, proc | CR3_STORE, 28, 0x113, );
  RUN("MOV to CR4 of an owned bit", mov_to_cr4, proc, 28, 4, vmwrite(CR4_MASK, 0x80); REG(RAX, cr4() ^ 0x80));
  PASSES("MOV from CR0 reads the shadow", mov_from_cr0, proc, vmwrite(CR0_MASK, 8); vmwrite(CR0_SHADOW, cr0() ^ 8));
  expect("MOV from CR0: the owned bit", "CR0", guest_registers[RAX], cr0() ^ 8);
  PASSES("MOV from CR4 reads the shadow", mov_from_cr4, proc, vmwrite(CR4_MASK, 0x2000); vmwrite(CR4_SHADOW, 0));
  expect("MOV from CR4: the owned bit", "CR4", guest_registers[RAX], cr4() & ~0x2000ul);
  RUN("MOV to CR8", mov_to_cr8, proc | CR8_LOAD, 28, 0x108, );
  RUN("MOV from CR8", mov_from_cr8, proc | CR8_STORE, 28, 0x618, );
  PASSES("MOV from CR8 with a TPR shadow", mov_from_cr8, proc | TPR_SHADOW, vapic[0x80] = 0x50);
  expect("MOV from CR8: the virtual TPR", "CR8", guest_registers[RSI], 5);
  PASSES("MOV to CR8 with a TPR shadow", mov_to_cr8, proc | TPR_SHADOW, REG(RCX, 7));
  expect("MOV to CR8: the virtual TPR", "TPR", vapic[0x80], 0x70);
  base(g_mov_to_cr8); vmwrite(PROC, proc | TPR_SHADOW); vapic[0x80] = 0x90; vmwrite(TPR_THRESHOLD, 5); REG(RCX, 4);
  expect("TPR below the threshold", "outcome", outcome(0), 43);
  expect("TPR below the threshold: after the instruction", "RIP", vmread(G_RIP), address(g_end_mov_to_cr8));
  RUN("CLTS", clts, proc, 28, 0x20, vmwrite(CR0_MASK, 8); vmwrite(CR0_SHADOW, 8));
  PASSES("CLTS of a shadow that is clear", clts, proc, vmwrite(CR0_MASK, 8); vmwrite(CR0_SHADOW, 0));
  RUN("LMSW", lmsw, proc, 28, 0x90030, vmwrite(CR0_MASK, 8); vmwrite(CR0_SHADOW, 1); REG(RAX, 9));
  RUN("MOV to DR7", mov_to_dr7, proc | MOV_DR, 29, 0x207, );
  RUN("MOV from DR0", mov_from_dr0, proc | MOV_DR, 29, 0x710, );
  RUN("VMCLEAR", vmclear, proc, 19, 0x10, );
  expect("VMCLEAR: information", "information", vmread(INSTRUCTION) & 0xffff83, 2 | 2 << 7 | 3 << 15 | 1 << 18);
  RUN("VMPTRLD", vmptrld, proc, 21, 0, );
  RUN("VMPTRST", vmptrst, proc, 22, -8ul, );
  RUN("VMXON", vmxon, proc, 27, 0, );
  RUN("VMREAD to a register", vmread, proc, 23, 0, );
  expect("VMREAD: information", "information", vmread(INSTRUCTION) & 0xf0000478, (u64)RCX << 28 | 1 << 10 | RDX << 3);
  RUN("VMREAD to memory", vmread_mem, proc, 23, 0x20, );
  expect("VMREAD to memory: information", "information", vmread(INSTRUCTION) & 0xffc38400, (u64)RCX << 28 | RSI << 23 | 1 << 22 | 3 << 15);
  RUN("VMWRITE", vmwrite, proc, 25, 0, );
  RUN("VMLAUNCH", vmlaunch, proc, 20, 0, );
  RUN("VMRESUME", vmresume, proc, 24, 0, );
  RUN("VMXOFF", vmxoff, proc, 26, 0, );
  RUN("INVEPT", invept, proc, 50, 0, );
  RUN("INVVPID", invvpid, proc, 53, 0, );
  if (proc2_may & DESCRIPTORS) {
    RUNS("SGDT", sgdt, proc, proc2 | DESCRIPTORS, 46, 0, );
    RUNS("LIDT", lidt, proc, proc2 | DESCRIPTORS, 46, 0, );
    expect("LIDT: information", "information", vmread(INSTRUCTION) >> 28 & 3, 3);
    RUNS("STR", str, proc, proc2 | DESCRIPTORS, 47, 0, );
    RUNS("LLDT", lldt, proc, proc2 | DESCRIPTORS, 47, 0, );
    expect("LLDT: information", "information", vmread(INSTRUCTION) >> 28 & 3, 2);
  }
  if (proc2_may & RDRAND_EXIT) {
    RUNS("RDRAND", rdrand, proc, proc2 | RDRAND_EXIT, 57, 0, );
    expect("RDRAND: information", "information", vmread(INSTRUCTION) & 0x1878, RCX << 3 | 2 << 11);
  }
  PASSES("TSC offset", rdtsc, proc | TSC_OFFSETTING, vmwrite(TSC_OFFSET, 0x1000000000000000));
  expect("TSC offset: what RDTSC read", "high half", guest_registers[RDX] >> 24, 0x10);
}

static void exceptions(void) {
#define INFORMATION(name, wanted) expect(name, "interruption information", vmread(INFO), wanted)
  RUN("INT3 in the bitmap", int3, proc, 0, 0, vmwrite(EXCEPTIONS, 1 << 3));
  INFORMATION("INT3: information", VALID | 6 << 8 | 3);
  base(g_ud2); vmwrite(EXCEPTIONS, 1 << 6); exit_case("#UD in the bitmap", g_ud2, 0, 0, 0, 0);
  INFORMATION("#UD: information", VALID | 3 << 8 | 6);
  expect("#UD: RF is set in the saved flags", "RF", vmread(G_RFLAGS) >> 16 & 1, 1);
  base(g_div); vmwrite(EXCEPTIONS, 1 << 0); exit_case("#DE in the bitmap", g_div, 0, 0, 0, 0);
  base(g_gp); vmwrite(PROC, proc | MSR_BITMAPS); vmwrite(EXCEPTIONS, 1 << 13); REG(RCX, 0x1234); exit_case("#GP in the bitmap", g_gp, 0, 0, 0, 0);
  INFORMATION("#GP: information", VALID | 3 << 8 | 13 | 1 << 11);
  expect("#GP: error code", "code", vmread(INFO_CODE), 0);
  asm volatile("mov %0, %%cr2" ::"r"(0x77ul));
  base(g_load); vmwrite(EXCEPTIONS, 1 << 14); REG(RSI, 0x100000000000); exit_case("#PF in the bitmap", g_load, 0, 0, 0x100000000000, 0);
  INFORMATION("#PF: information", VALID | 3 << 8 | 14 | 1 << 11);
  u64 cr2; asm volatile("mov %%cr2, %0" : "=r"(cr2));
  expect("#PF: CR2 is untouched", "CR2", cr2, 0x77);
  base(g_store); vmwrite(EXCEPTIONS, 1 << 14); vmwrite(PF_MASK, 2); vmwrite(PF_MATCH, 2); REG(RSI, 0x100000000000); exit_case("#PF: a write matches the mask", g_store, 0, 0, 0x100000000000, 0);
  expect("#PF: error code of a write", "code", vmread(INFO_CODE), 2);
  base(g_load); vmwrite(EXCEPTIONS, 0); vmwrite(PF_MASK, 2); vmwrite(PF_MATCH, 2); REG(RSI, 0x100000000000); exit_case("#PF: a mismatch turns the bit around", g_load, 0, 0, 0x100000000000, 0);
  base(g_popf_tf); vmwrite(EXCEPTIONS, 1 << 1);
  expect("single step in the bitmap", "outcome", outcome(0), 0);
  expect("single step: qualification", "qualification", vmread(QUALIFICATION), 0x4000);
  INFORMATION("single step: information", VALID | 3 << 8 | 1);
  base(g_ud2); vmwrite(G_IDTR_LIMIT, 0);
  expect("a triple fault", "outcome", outcome(0), 2);
  base(g_ud2); vmwrite(G_IDTR_LIMIT, 0); vmwrite(EXCEPTIONS, 1 << 13);
  expect("#GP while #UD is delivered", "outcome", outcome(0), 0);
  expect("#GP while #UD is delivered: vectoring", "vectoring", vmread(VECTORING), VALID | 3 << 8 | 6);
  expect("#GP while #UD is delivered: error code", "code", vmread(INFO_CODE), 6 * 8 + 2 + 1);
  base(g_ud2); vmwrite(G_IDTR_LIMIT, 0); vmwrite(EXCEPTIONS, 1 << 8); 
  base(g_int20); vmwrite(G_IDTR_LIMIT, 0); vmwrite(EXCEPTIONS, 1 << 13);
  expect("#GP while INT n is delivered", "outcome", outcome(0), 0);
  expect("#GP while INT n is delivered: vectoring", "vectoring", vmread(VECTORING), VALID | 4 << 8 | 0x20);
  expect("#GP while INT n is delivered: length", "length", vmread(LENGTH), 2);
}

/* A gate of the guest's IDT. */
static void gate(int vector, const void *handler) {
  guest_idt[2 * vector] = (address(handler) & 0xffff) | 0x08 << 16 | 0x8e00ul << 32 | (address(handler) & 0xffff0000) << 32;
  guest_idt[2 * vector + 1] = 0;
}
static void injection(void) {
  for (int n = 0; n < 256; n++) gate(n, g_vmcall);
  u64 top = address(guest_stack) + 8000, *frame = (u64 *)(top - 40);
  base(g_nop); vmwrite(INJECT, VALID | 3 << 8 | 6);
  expect("#UD injected", "outcome", outcome(0), VMCALL);
  expect("#UD injected: the handler runs", "RIP", vmread(G_RIP), address(g_vmcall));
  expect("#UD injected: return address", "RIP", frame[0], address(g_nop));
  expect("#UD injected: RF as it was", "flags", frame[2], 2);
  expect("#UD injected: the event is done", "event", vmread(INJECT) >> 31, 0);
  base(g_nop); vmwrite(INJECT, VALID | 3 << 8 | 13 | 1 << 11); vmwrite(INJECT_CODE, 0xabc);
  expect("#GP injected", "outcome", outcome(0), VMCALL);
  expect("#GP injected: error code", "code", frame[-1], 0xabc);
  base(g_nop); vmwrite(INJECT, VALID | 4 << 8 | 0x80); vmwrite(INJECT_LENGTH, 2);
  expect("INT 80 injected", "outcome", outcome(0), VMCALL);
  expect("INT 80 injected: return address", "RIP", frame[0], address(g_nop) + 2);
  base(g_nop); vmwrite(INJECT, VALID | 0x40); vmwrite(G_RFLAGS, 0x202);
  expect("an interrupt injected", "outcome", outcome(0), VMCALL);
  expect("an interrupt injected: IF is clear in the handler", "flags", vmread(G_RFLAGS) & 0x200, 0);
  base(g_nop); vmwrite(INJECT, VALID | 2 << 8 | 2);
  expect("an NMI injected", "outcome", outcome(0), VMCALL);
  expect("an NMI injected: NMIs are blocked", "blocking", vmread(BLOCKING), 8);
  base(g_nop); vmwrite(EXCEPTIONS, 1 << 6); vmwrite(INJECT, VALID | 3 << 8 | 6);
  expect("an injected exception is not intercepted", "outcome", outcome(0), VMCALL);
  base(g_nop); vmwrite(G_IDTR_LIMIT, 0x10); vmwrite(EXCEPTIONS, 1 << 13); vmwrite(INJECT, VALID | 3 << 8 | 6);
  expect("a fault while injecting", "outcome", outcome(0), 0);
  expect("a fault while injecting: vectoring", "vectoring", vmread(VECTORING), VALID | 3 << 8 | 6);
  expect("a fault while injecting: RIP", "RIP", vmread(G_RIP), address(g_nop));
  base(g_nop); vmwrite(ACTIVITY, 1); vmwrite(INJECT, VALID | 0x41); vmwrite(G_RFLAGS, 0x202);
  expect("an injected interrupt wakes from HLT", "outcome", outcome(0), VMCALL);
  expect("an injected interrupt wakes from HLT: activity", "activity", vmread(ACTIVITY), 0);
  base(g_iret); vmwrite(PIN, pin | NMI_EXIT | VNMI); vmwrite(BLOCKING, 8);
  expect("IRET ends the blocking of virtual NMIs", "outcome", outcome(0), VMCALL);
  expect("IRET ends the blocking of virtual NMIs: blocking", "blocking", vmread(BLOCKING), 0);
}

static void windows(void) {
  base(g_nop); vmwrite(PROC, proc | INT_WINDOW); vmwrite(G_RFLAGS, 0x202);
  expect("interrupt window with IF set", "outcome", outcome(0), 7);
  expect("interrupt window: before the first instruction", "RIP", vmread(G_RIP), address(g_nop));
  base(g_sti_nop); vmwrite(PROC, proc | INT_WINDOW);
  expect("interrupt window after STI", "outcome", outcome(0), 7);
  expect("interrupt window after STI and one instruction more", "RIP", vmread(G_RIP), address(g_sti_nop) + 2);
  base(g_nop); vmwrite(PROC, proc | INT_WINDOW);
  expect("no interrupt window with IF clear", "outcome", outcome(0), VMCALL);
  base(g_nop); vmwrite(PIN, pin | NMI_EXIT | VNMI); vmwrite(PROC, proc | NMI_WINDOW);
  expect("NMI window", "outcome", outcome(0), 8);
  base(g_iret); vmwrite(PIN, pin | NMI_EXIT | VNMI); vmwrite(PROC, proc | NMI_WINDOW); vmwrite(BLOCKING, 8);
  expect("NMI window after IRET", "outcome", outcome(0), 8);
  expect("NMI window after IRET: RIP", "RIP", vmread(G_RIP), address(g_end_iret));
  if (rdmsr(0x481) >> 32 & PREEMPTION) {
    base(g_nop); vmwrite(PIN, pin | PREEMPTION); vmwrite(TIMER, 0);
    expect("preemption timer of 0", "outcome", outcome(0), 52);
    expect("preemption timer of 0: no instruction ran", "RIP", vmread(G_RIP), address(g_nop));
    base(g_loop); vmwrite(PIN, pin | PREEMPTION); vmwrite(TIMER, 1000);
    expect("preemption timer ends a loop", "outcome", outcome(0), 52);
    base(g_nop); vmwrite(PIN, pin | PREEMPTION); vmwrite(TIMER, 0x10000000); vmwrite(EXIT, exit_controls | 1u << 22);
    expect("preemption timer that does not expire", "outcome", outcome(0), VMCALL);
    expect("preemption timer: what is left is saved", "value", vmread(TIMER) <= 0x10000000 && vmread(TIMER) > 0xf000000, 1);
    base(g_nop); vmwrite(PIN, pin | PREEMPTION); vmwrite(TIMER, 0); vmwrite(INJECT, VALID | 3 << 8 | 6);
    expect("the timer comes after an injected event", "outcome", outcome(0), 52);
    expect("the timer comes after an injected event: in the handler", "RIP", vmread(G_RIP), address(g_vmcall));
    base(g_nop); vmwrite(PIN, pin | PREEMPTION); vmwrite(TIMER, 1000); vmwrite(ACTIVITY, 1);
    expect("the timer ends HLT", "outcome", outcome(0), 52);
    expect("the timer ends HLT: activity", "activity", vmread(ACTIVITY), 1);
  }
  if (rdmsr(0x482) >> 32 & MTF) {
    base(g_nop); vmwrite(PROC, proc | MTF);
    expect("monitor trap", "outcome", outcome(0), 37);
    expect("monitor trap: after one instruction", "RIP", vmread(G_RIP), address(g_nop) + 1);
    if (!told("bochs")) {
      base(g_nop); vmwrite(INJECT, VALID | 7 << 8);
      expect("monitor trap injected", "outcome", outcome(0), 37);
      expect("monitor trap injected: no instruction ran", "RIP", vmread(G_RIP), address(g_nop));
    }
  }
}

/* --- EPT: identity for the first GiB by 2 MiB, the 2 MiB around `page` by 4 KiB */
static u64 *leaf_of(const void *p) { return &ept1[address(p) >> 12 & 511]; }
static void map(void) {
  for (int n = 0; n < 512; n++) { ept4[n] = ept3[n] = 0; ept2[n] = n * 0x200000ul | 0xb7; ept1[n] = (address(page) & ~0x1ffffful) | n * 0x1000ul | 0x37; }
  ept4[0] = address(ept3) | 7;
  ept3[0] = address(ept2) | 7;
  for (int n = 1; n < 4; n++) ept3[n] = n * 0x40000000ul | 0xb7;
  ept2[address(page) >> 21] = address(ept1) | 7;
  invept(2, 0, 0);
}
#define UNDER_EPT(g) do { base(g); vmwrite(PROC2, proc2 | EPT); } while (0)
static void violation(const char *name, const void *code, u64 rsi, u32 reason, u64 qualification, u64 physical) {
  UNDER_EPT(code);
  REG(RSI, rsi);
  u64 was = outcome(0);
  if (was != reason) { expect(name, "outcome", was, reason); return; }
  if (reason == 48 && (vmread(QUALIFICATION) & 0x1ff) != qualification) { expect(name, "qualification", vmread(QUALIFICATION) & 0x1ff, qualification); return; }
  expect(name, "physical address", vmread(GUEST_PHYSICAL), physical);
}
/* Mode-based execute control; every linear address here is a user-mode one. Virtualization exceptions. */
static void ept_exceptions(u64 at) {
  if (proc2_may & BY_MODE) {
    for (int n = 0; n < 512; n++) { ept2[n] |= 0x400; ept1[n] |= 0x400; }
    ept4[0] |= 0x400; ept3[0] |= 0x400;
    page[0x123] = 0x0f; page[0x124] = 0x01; page[0x125] = 0xc1; /* VMCALL */
#define BY_MODE_FETCH(name, rights, wanted) do { *leaf_of(page) = address(page) | (rights) | 0x30; invept(2, 0, 0); \
  base(g_call_rsi); vmwrite(PROC2, proc2 | EPT | BY_MODE); REG(RSI, at); u64 was_ = outcome(0); \
  expect(name, "outcome", was_ == 48 ? vmread(QUALIFICATION) : was_, wanted); } while (0)
    BY_MODE_FETCH("mode-based execution: allowed", 0x407, VMCALL);
    BY_MODE_FETCH("mode-based execution: for the user only", 0x401, VMCALL);
    BY_MODE_FETCH("mode-based execution: for the supervisor only", 0x7, 0x1bc);
    BY_MODE_FETCH("mode-based execution: not at all", 0x3, 0x19c);
    map();
    *leaf_of(page) = address(page) | 0x430; invept(2, 0, 0);
    base(g_load); vmwrite(PROC2, proc2 | EPT); REG(RSI, at);
    expect("without the control an entry with the user's right alone is absent", "outcome", outcome(0), 48);
    ENTRY1("mode-based execution without EPT", FAIL(7), PROC2, proc2 | BY_MODE);
  }
  if (!(proc2_may & EXCEPTIONS_BY_EPT)) return;
  map();
  for (int n = 0; n < 256; n++) gate(n, g_vmcall);
#define VIOLATES(entry) do { *leaf_of(page) = entry; invept(2, 0, 0); base(g_load); vmwrite(PROC2, proc2 | EPT | EXCEPTIONS_BY_EPT); vmwrite(4, 7); REG(RSI, at); } while (0)
  information[0] = 0;
  VIOLATES(0);
  expect("virtualization exception", "outcome", outcome(0), VMCALL);
  expect("virtualization exception: the handler runs", "RIP", vmread(G_RIP), address(g_vmcall));
  expect("virtualization exception: reason", "value", information[0], 0xffffffff00000030);
  expect("virtualization exception: qualification", "value", information[1] & 0x1ff, 0x181);
  expect("virtualization exception: linear address", "value", information[2], at);
  expect("virtualization exception: physical address", "value", information[3], at);
  expect("virtualization exception: index", "value", information[4] & 0xffff, 7);
  VIOLATES(0);
  expect("no virtualization exception while the area is in use", "outcome", outcome(0), 48);
  information[0] = 0;
  VIOLATES(1ul << 63);
  expect("no virtualization exception where it is suppressed", "outcome", outcome(0), 48);
  VIOLATES(0); vmwrite(EXCEPTIONS, 1 << 20);
  expect("virtualization exception in the bitmap", "outcome", outcome(0), 0);
  expect("virtualization exception in the bitmap: information", "information", vmread(INFO), VALID | 3 << 8 | 20);
  ENTRY2("virtualization exceptions: area unaligned", FAIL(7), PROC2, proc2 | EXCEPTIONS_BY_EPT, 0x202a, address(information) + 8);
}
static void ept(void) {
  u64 at = address(page) + 0x123;
  map();
  UNDER_EPT(g_load); REG(RSI, at); page[0x123] = 0x42; for (int n = 1; n < 8; n++) page[0x123 + n] = 0;
  expect("a guest under EPT", "outcome", outcome(0), VMCALL);
  expect("a guest under EPT: what it reads", "RAX", guest_registers[RAX], 0x42);
  *leaf_of(page) = 0; invept(2, 0, 0);
  violation("EPT violation: read of an absent page", g_load, at, 48, 0x181, at);
  violation("EPT violation: write", g_store, at, 48, 0x182, at);
  violation("EPT violation: fetch", g_call_rsi, at, 48, 0x184, at);
  expect("EPT violation: linear address", "address", vmread(LINEAR), at);
  *leaf_of(page) = address(page) | 0x31; invept(2, 0, 0);
  violation("EPT violation: write to a read-only page", g_store, at, 48, 0x18a, at);
  violation("EPT violation: fetch from a read-only page", g_call_rsi, at, 48, 0x18c, at);
  *leaf_of(page) = address(page) | 0x32; invept(2, 0, 0);
  violation("EPT misconfiguration: writable but not readable", g_load, at, 49, 0, at);
  *leaf_of(page) = address(page) | 0x17; invept(2, 0, 0);
  violation("EPT misconfiguration: memory type 2", g_load, at, 49, 0, at);
  *leaf_of(page) = address(page) | 0x37 | 1ul << 50; invept(2, 0, 0);
  violation("EPT misconfiguration: beyond the physical addresses", g_load, at, 49, 0, at);
  u64 kept = ept2[address(page) >> 21];
  ept2[address(page) >> 21] = kept | 0x40; invept(2, 0, 0);
  UNDER_EPT(g_load);
  expect("EPT misconfiguration: reserved bits of a table's entry", "outcome", outcome(0), 49);
  ept2[address(page) >> 21] = kept;
  *leaf_of(page) = address(page + 4096) | 0x37; page[4096 + 0x123] = 0x55; invept(2, 0, 0);
  UNDER_EPT(g_load); REG(RSI, at);
  outcome(0);
  expect("EPT maps to another page", "RAX", guest_registers[RAX] & 0xff, 0x55);
  *leaf_of(page) = address(page) | 0x31; invept(2, 0, 0);
  UNDER_EPT(g_store); REG(RSI, at); REG(RAX, 0x66);
  expect("EPT: a right that is missing", "outcome", outcome(0), 48);
  *leaf_of(page) = address(page) | 0x37; /* no INVEPT: rights may grow without it */
  expect("EPT: the right is given without INVEPT", "outcome", outcome(1), VMCALL);
  expect("EPT: the store happened", "value", page[0x123], 0x66);
  if (ept_vpid >> 21 & 1) {
    *leaf_of(page) = address(page) | 0x37; invept(2, 0, 0);
    UNDER_EPT(g_load); vmwrite(EPTP, address(ept4) | 0x5e); REG(RSI, at);
    outcome(0);
    expect("EPT accessed flag", "flags", *leaf_of(page) & 0x300, 0x100);
    UNDER_EPT(g_store); vmwrite(EPTP, address(ept4) | 0x5e); REG(RSI, at);
    outcome(0);
    expect("EPT dirty flag", "flags", *leaf_of(page) & 0x300, 0x300);
  }
  if (ept_vpid & 1) {
    *leaf_of(page) = address(page) | 0x34; page[0x123] = 0x0f; page[0x124] = 0x01; page[0x125] = 0xc1; invept(2, 0, 0); /* VMCALL */
    UNDER_EPT(g_call_rsi); REG(RSI, at);
    expect("EPT execute-only: fetch", "outcome", outcome(0), VMCALL);
    violation("EPT execute-only: read", g_load, at, 48, 0x1a1, at);
  }
  map();
  ept_exceptions(at);
  map();
  if (proc2_may & VMFUNC) {
    static u64 list[512] __attribute__((aligned(4096))), other4[512] __attribute__((aligned(4096)));
#define FUNCTION do { UNDER_EPT(g_vmfunc); vmwrite(PROC2, proc2 | EPT | VMFUNC); vmwrite(VM_FUNCTIONS, 1); vmwrite(EPTP_LIST, address(list)); REG(RSI, at); } while (0)
    for (int n = 0; n < 512; n++) { list[n] = 0; other4[n] = ept4[n]; }
    list[3] = address(other4) | 0x1e;
    FUNCTION; REG(RCX, 3);
    expect("VMFUNC switches the EPT pointer", "outcome", outcome(0), VMCALL);
    expect("VMFUNC: the field", "pointer", vmread(EPTP), list[3]);
    other4[0] = 0; invept(2, 0, 0);
    FUNCTION; REG(RCX, 3);
    expect("VMFUNC: the new tables hold at once", "outcome", outcome(0), 48);
    FUNCTION; REG(RCX, 2);
    expect("VMFUNC of an invalid pointer", "outcome", outcome(0), 59);
    expect("VMFUNC of an invalid pointer: length", "length", vmread(LENGTH), 3);
    FUNCTION; REG(RCX, 512);
    expect("VMFUNC beyond the list", "outcome", outcome(0), 59);
    FUNCTION; REG(RAX, 1);
    expect("VMFUNC of an unknown function", "outcome", outcome(0), 59);
    FUNCTION; vmwrite(VM_FUNCTIONS, 0);
    expect("VMFUNC that is not enabled", "outcome", outcome(0), 59);
    FUNCTION; vmwrite(VM_FUNCTIONS, 2);
    expect("an unknown VM function", "outcome", outcome(0), FAIL(7));
    FUNCTION; vmwrite(EPTP_LIST, 8);
    expect("EPTP list unaligned", "outcome", outcome(0), FAIL(7));
    UNDER_EPT(g_vmfunc); vmwrite(EXCEPTIONS, 1 << 6);
    expect("VMFUNC without its control is #UD", "outcome", outcome(0), 0);
  }
  if (proc2_may & UNRESTRICTED) {
    page[0] = 0x0f; page[1] = 0x01; page[2] = 0xc1;
    /* real mode: the page is reached with a CS base of its own */
    UNDER_EPT(g_vmcall);
    vmwrite(PROC2, proc2 | EPT | UNRESTRICTED); vmwrite(ENTRY, entry_controls & ~(1u << 9)); vmwrite(G_CR0, 0x30); vmwrite(G_CR4, 0x2000); vmwrite(G_EFER, 0);
    for (int n = 0; n < 6; n++) { vmwrite(G_ES_LIMIT + 2 * n, 0xffff); vmwrite(G_ES_RIGHTS + 2 * n, n == 1 ? 0x9b : 0x93); }
    vmwrite(G_CS, 0); vmwrite(G_CS_BASE, address(page)); vmwrite(G_RIP, 0);
    expect("unrestricted guest in real mode", "outcome", outcome(0), VMCALL);
    expect("unrestricted guest: CR0 stays", "CR0", vmread(G_CR0) & 0x80000001, 0);
    expect("unrestricted guest: the entry control follows LMA", "control", vmread(ENTRY) >> 9 & 1, 0);
  }
}

/* What was checked once is checked again when it is written. */
static void again(void) {
  base(g_vmcall);
  outcome(0);
  expect("an entry after another", "outcome", outcome(1), VMCALL);
  vmwrite(G_CS_RIGHTS, 0xa093);
  expect("a bad guest field written between entries", "outcome", outcome(1), GUEST_STATE);
  vmwrite(G_CS_RIGHTS, 0xa09b);
  expect("and put right", "outcome", outcome(1), VMCALL);
  vmwrite(PIN, pin & ~2ul);
  expect("a bad control written between entries", "outcome", outcome(1), FAIL(7));
  vmwrite(PIN, pin);
  vmwrite(H_CS, 0);
  expect("a bad host field written between entries", "outcome", outcome(1), FAIL(8));
  vmwrite(H_CS, 8);
  vmwrite(G_RIP, 1ul << 60);
  expect("a bad RIP written between entries", "outcome", outcome(1), GUEST_STATE);
  vmwrite(G_RIP, address(g_vmcall));
  expect("and a good one", "outcome", outcome(1), VMCALL);
}

static void host_state(void) {
  struct __attribute__((packed)) { u16 limit; u64 base; } table;
  u16 selector;
  base(g_vmcall);
  outcome(0);
  asm volatile("sgdt %0" : "=m"(table));
  expect("host GDTR limit after an exit", "limit", table.limit, 0xffff);
  asm volatile("str %0" : "=r"(selector));
  expect("host TR after an exit", "selector", selector, 0x18);
  asm volatile("sldt %0" : "=r"(selector));
  expect("host LDTR after an exit", "selector", selector, 0);
  u64 dr7;
  asm volatile("mov %%dr7, %0" : "=r"(dr7));
  expect("host DR7 after an exit", "DR7", dr7, 0x400);
  expect("guest state: RIP", "RIP", vmread(G_RIP), address(g_vmcall));
  expect("guest state: CS rights", "rights", vmread(G_CS_RIGHTS), 0xa09b);
  expect("guest state: the LDTR is unusable", "rights", vmread(G_LDTR_RIGHTS) >> 16 & 1, 1);
  expect("exit information: no interruption", "information", vmread(INFO), 0);
  expect("exit information: no vectoring", "information", vmread(VECTORING), 0);
}

#include "apic.c"
#include "shadowing.c"
#include "pae.c"
#include "traps.c"

/* --- a hostile hypervisor: random VMCS fields, EPT tables and registers, entered again and again. Nothing is expected but that the machine goes on. */
static void hostile(void) {
  static const u8 *const code[] = {g_vmcall, g_cpuid, g_hlt, g_loop, g_load, g_store, g_call_rsi, g_int20, g_ud2, g_popf_tf, g_iret, g_rdmsr, g_wrmsr, g_in8, g_outsb, g_repinsw, g_mov_to_cr0,
    g_mov_to_cr3, g_mov_to_cr4, g_mov_to_cr8, g_lmsw, g_vmread, g_vmwrite, g_vmlaunch, g_vmptrld, g_invept, g_sgdt, g_lldt, g_sti_nop, g_int3};
  start_chance();
  for (int round = 0; round < 2000; round++) {
    base(code[chance() % (sizeof code / sizeof *code)]);
    map();
    for (int n = chance() % 4; n > 0; n--) ((u64 *[]){ept4, ept3, ept2, ept1})[chance() % 4][chance() % 512] = odd_value(address(page) | 0x37);
    u32 to_pin = pin | (chance() & 0xff & rdmsr(0x481) >> 32), to_proc = proc | (chance() & chance() & rdmsr(0x482) >> 32), to_proc2 = chance() & chance() & proc2_may;
    if (chance() % 16) { /* mostly what an entry takes together */
      if (to_proc2 & (X2APIC | REGISTERS | VID)) to_proc |= TPR_SHADOW;
      if (to_proc2 & X2APIC) to_proc2 &= ~ACCESSES;
      if (to_proc2 & VID) to_pin |= EXT_INT;
      else to_pin &= ~POSTED_ON;
      if (to_pin & POSTED_ON) vmwrite(EXIT, exit_controls | ACKNOWLEDGE);
      if (to_proc2 & (UNRESTRICTED | 1 << 17 | BY_MODE | VMFUNC)) to_proc2 |= EPT;
    }
    vmwrite(PIN, to_pin);
    vmwrite(PROC, to_proc);
    vmwrite(PROC2, to_proc2);
    if (chance() % 2) for (int n = 0; n < 20; n++) *vregister(chance() & 0xff0) = chance();
    if (chance() % 4 == 0) vmwrite(STATUS, chance());
    for (int n = 0; n < 16; n++) guest_registers[n] = odd_value(address(page));
    for (int n = 1 + chance() % 6; n > 0; n--) {
      u64 field = (chance() & 0x1f) << 1 | (chance() % 4) << 10 | (chance() % 4) << 13;
      if ((field >> 10 & 3) == 3 && chance() % 1000) continue; /* the host's state: mostly left alone, so that the program goes on */
      vmwrite(field, odd_value(vmread(field)));
    }
    if (chance() % 512) { vmwrite(PIN, vmread(PIN) | PREEMPTION); vmwrite(TIMER, 500); }
    u64 was = outcome(0);
    for (int n = 0; n < 4 && was < 0x10000; n++) {
      if (chance() % 2) vmwrite(G_RIP, vmread(G_RIP) + vmread(LENGTH));
      was = outcome(1);
    }
  }
  say("survived\n");
  out8(0xf4, 0);
}

static u32 fitted(u32 msr, u32 wanted) {
  u64 allowed = rdmsr(msr);
  return (wanted | (u32)allowed) & (u32)(allowed >> 32);
}
void main(void) {
  fill_idt();
  if (!(rdmsr(0x3a) & 1)) asm volatile("wrmsr" ::"c"(0x3a), "a"(5), "d"(0));
  pin = fitted(0x48d, 0);
  proc = fitted(0x48e, SECONDARY);
  proc2_may = rdmsr(0x48b) >> 32;
  apicv = (proc2_may & 0x311) == 0x311 && (rdmsr(0x48d) >> 32 & 1 << 7);
  proc2 = 0;
  exit_controls = fitted(0x48f, 1 << 9 | 1 << 21 | 1 << 20);
  entry_controls = fitted(0x490, 1 << 9 | 1 << 15);
  misc = rdmsr(0x485);
  ept_vpid = rdmsr(0x48c);
  if (told("hostile")) {
    set_cr4(cr4() | 0x2000);
    *(u32 *)vmxon_region = *(u32 *)vmcs = rdmsr(0x480);
    vmxon(address(vmxon_region));
    hostile();
  }
  instructions();
  entry_controls_cases();
  entry_host_cases();
  entry_guest_cases();
  exits();
  exceptions();
  injection();
  windows();
  ept();
  apic();
  shadowing();
  pae();
  pending_traps();
  port_before_memory();
  nmi_unblocking();
  host_state();
  again();
  vmclear(address(vmcs));
  expect("VMXOFF", "outcome", vmxoff(), 0);
  expect("VMREAD after VMXOFF is #UD", "outcome", vmread_outcome(REASON), 106);
  expect("CR4.VMXE can be cleared again", "outcome", set_cr4(cr4() & ~0x2000ul), 0);
  finish();
}
