/* Debug traps that an exit comes before, and faults of an IRET that has ended the blocking of NMIs. SDM 3C, 27.7.3, 28.2.3 and 28.3.4. */
#define TF 0x100
enum { MOV_SS_BLOCKING = 2, NMI_BLOCKING = 8, SINGLE_STEP = 0x4000, ENABLED = 0x1000, LOAD_DEBUG = 4 };

static void pending_traps(void) {
  if (rdmsr(0x482) >> 32 & MTF) {
    base(g_nop); vmwrite(PROC, proc | MTF); vmwrite(G_RFLAGS, 2 | TF);
    expect("monitor trap of a single-stepped instruction", "outcome", outcome(0), 37);
    expect("monitor trap of a single-stepped instruction: RIP", "RIP", vmread(G_RIP), address(g_nop) + 1);
    expect("monitor trap of a single-stepped instruction: the step is pending", "value", vmread(PENDING_DEBUG), SINGLE_STEP);
    vmwrite(PROC, proc); vmwrite(EXCEPTIONS, 1 << 1);
    expect("a pending step at the next entry", "outcome", outcome(1), 0);
    expect("a pending step at the next entry: qualification", "qualification", vmread(QUALIFICATION), SINGLE_STEP);
    expect("a pending step at the next entry: no instruction ran", "RIP", vmread(G_RIP), address(g_nop) + 1);
    expect("a pending step at the next entry: none is pending then", "value", vmread(PENDING_DEBUG), 0);
    asm volatile("mov %0, %%dr0" ::"r"(address(page) + 8));
    base(g_store); vmwrite(PROC, proc | MTF); vmwrite(ENTRY, entry_controls | LOAD_DEBUG); vmwrite(G_DR7, 0x400 | 1 | 1 << 16 | 2 << 18); REG(RSI, address(page) + 8);
    expect("monitor trap of an instruction that met a breakpoint", "outcome", outcome(0), 37);
    expect("monitor trap of an instruction that met a breakpoint: it is pending", "value", vmread(PENDING_DEBUG), ENABLED | 1);
  }
  if (proc2_may & VPID_ON) {
    asm volatile("mov %0, %%dr0" ::"r"(address(page) + 8));
    base(g_store); vmwrite(PROC2, proc2 | VPID_ON); REG(RSI, address(page) + 8);
    expect("a store, with a VPID", "outcome", outcome(0), VMCALL);
    base(g_store); vmwrite(PROC2, proc2 | VPID_ON); vmwrite(EXCEPTIONS, 1 << 1); REG(RSI, address(page) + 8);
    vmwrite(ENTRY, entry_controls | LOAD_DEBUG); vmwrite(G_DR7, 0x400 | 1 | 1 << 16 | 2 << 18);
    expect("a breakpoint of the next entry, with the same VPID", "outcome", outcome(0), 0);
  }
  if (rdmsr(0x48e) >> 32 & TPR_SHADOW) {
    base(g_mov_to_cr8); vmwrite(PROC, proc | TPR_SHADOW); vapic[0x80] = 0x90; vmwrite(TPR_THRESHOLD, 5); REG(RCX, 4); vmwrite(G_RFLAGS, 2 | TF);
    expect("TPR below threshold by a single-stepped instruction", "outcome", outcome(0), 43);
    expect("TPR below threshold by a single-stepped instruction: the step is pending", "value", vmread(PENDING_DEBUG), SINGLE_STEP);
  }
  base(g_movss_cpuid); REG(RAX, 0x10); vmwrite(G_RFLAGS, 2 | TF);
  expect("MOV SS holds back a single step", "outcome", outcome(0), 10);
  expect("MOV SS holds back a single step: RIP", "RIP", vmread(G_RIP), address(g_movss_cpuid) + 2);
  expect("MOV SS holds back a single step: blocking", "blocking", vmread(BLOCKING) & 3, MOV_SS_BLOCKING);
  expect("MOV SS holds back a single step: it is pending", "value", vmread(PENDING_DEBUG), SINGLE_STEP);
  base(g_movss_cpuid); REG(RAX, 0x10);
  outcome(0);
  expect("MOV SS without a single step", "value", vmread(PENDING_DEBUG), 0);
  base(g_movss_nop); REG(RAX, 0x10); vmwrite(G_RFLAGS, 2 | TF); vmwrite(EXCEPTIONS, 1 << 1);
  expect("a single step after MOV SS and one instruction more", "outcome", outcome(0), 0);
  expect("a single step after MOV SS and one instruction more: RIP", "RIP", vmread(G_RIP), address(g_movss_nop) + 3);
  page[0] = page[1] = page[2] = page[3] = page[5] = 0; page[4] = 0x10;
  base(g_lss_nop); REG(RSI, address(page)); vmwrite(G_RFLAGS, 2 | TF); vmwrite(EXCEPTIONS, 1 << 1);
  expect("LSS holds back nothing", "outcome", outcome(0), 0);
  expect("LSS holds back nothing: RIP", "RIP", vmread(G_RIP), address(g_lss_nop) + 3);
  base(g_nop); vmwrite(G_RFLAGS, 2 | TF); vmwrite(EXCEPTIONS, 1 << 1); vmwrite(BLOCKING, MOV_SS_BLOCKING); vmwrite(PENDING_DEBUG, SINGLE_STEP);
  expect("an entry with a pending step and blocking by MOV SS", "outcome", outcome(0), 0);
  expect("an entry with a pending step and blocking by MOV SS: RIP", "RIP", vmread(G_RIP), address(g_nop) + 1);
  base(g_vmcall);
  expect("VMLAUNCH after MOV SS", "outcome", VMX("mov %2, %%ss\nvmlaunch", "r"(0x10)), 2);
  expect("VMLAUNCH after MOV SS: error", "error", vmread(ERROR), 26);
  for (int n = 0; n < 256; n++) gate(n, g_vmcall);
  base(g_nop); vmwrite(G_RFLAGS, 0x202 | TF); vmwrite(EXCEPTIONS, 1 << 1); vmwrite(PENDING_DEBUG, SINGLE_STEP); vmwrite(INJECT, VALID | 0x41);
  expect("an injected interrupt takes the place of a pending step", "outcome", outcome(0), VMCALL);
  base(g_nop); vmwrite(EXCEPTIONS, 1 << 1); vmwrite(PENDING_DEBUG, 3);
  expect("breakpoints that are not enabled are not pending", "outcome", outcome(0), VMCALL);
  base(g_nop); vmwrite(EXCEPTIONS, 1 << 1); vmwrite(PENDING_DEBUG, ENABLED | 3);
  expect("breakpoints that are enabled are", "outcome", outcome(0), 0);
  expect("breakpoints that are enabled are: qualification", "qualification", vmread(QUALIFICATION), 3);
}
/* An exit for a port comes before what may be wrong with the memory. SDM 3C, 26.1.1. */
static void port_before_memory(void) {
  base(g_outsb); vmwrite(PROC, proc | IO_ALWAYS); vmwrite(EXCEPTIONS, 1 << 14); REG(RSI, 0x100000000000); REG(RDX, 0x71);
  expect("OUTS from memory that is not there", "outcome", outcome(0), 30);
  base(g_repinsw); vmwrite(PROC, proc | IO_ALWAYS); vmwrite(EXCEPTIONS, 1 << 14); REG(RDI, 0x100000000000); REG(RDX, 0x71); REG(RCX, 1);
  expect("INS to memory that is not there", "outcome", outcome(0), 30);
}
static void nmi_unblocking(void) {
  u64 fault = VALID | 3 << 8 | 13 | 1 << 11;
  if (!(rdmsr(0x48d) >> 32 & VNMI)) return;
  base(g_iret_gp); vmwrite(PIN, pin | NMI_EXIT | VNMI); vmwrite(EXCEPTIONS, 1 << 13); vmwrite(BLOCKING, NMI_BLOCKING);
  expect("a fault of an IRET that ended the blocking of NMIs", "outcome", outcome(0), 0);
  expect("a fault of an IRET that ended the blocking of NMIs: information", "information", vmread(INFO), fault | 1 << 12);
  expect("a fault of an IRET that ended the blocking of NMIs: blocking", "blocking", vmread(BLOCKING), 0);
  base(g_iret_gp); vmwrite(PIN, pin | NMI_EXIT | VNMI); vmwrite(EXCEPTIONS, 1 << 13);
  outcome(0);
  expect("a fault of an IRET that had none to end: information", "information", vmread(INFO), fault);
  base(g_iret_gp); vmwrite(PIN, pin | NMI_EXIT); vmwrite(EXCEPTIONS, 1 << 13); vmwrite(BLOCKING, NMI_BLOCKING);
  expect("a fault of an IRET, with NMIs that are the hypervisor's", "outcome", outcome(0), 0);
  expect("a fault of an IRET, with NMIs that are the hypervisor's: blocking", "blocking", vmread(BLOCKING), NMI_BLOCKING);
  if (!(proc2_may & EPT)) return;
  map();
  *leaf_of(page) = 0; invept(2, 0, 0);
  UNDER_EPT(g_iret_only); vmwrite(PIN, pin | NMI_EXIT | VNMI); vmwrite(BLOCKING, NMI_BLOCKING); vmwrite(G_RSP, address(page) + 0x100);
  expect("an EPT violation of an IRET that ended the blocking of NMIs", "outcome", outcome(0), 48);
  expect("an EPT violation of an IRET that ended the blocking of NMIs: qualification", "qualification", vmread(QUALIFICATION) & 0x11ff, 0x1181);
  UNDER_EPT(g_iret_only); vmwrite(PIN, pin | NMI_EXIT | VNMI); vmwrite(G_RSP, address(page) + 0x100);
  outcome(0);
  expect("an EPT violation of an IRET that had none to end: qualification", "qualification", vmread(QUALIFICATION) & 0x11ff, 0x181);
  map();
}
