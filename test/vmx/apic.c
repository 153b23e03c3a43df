/* APIC virtualization: TPR, the APIC-access page, registers, virtual interrupts, x2APIC MSRs, posted interrupts. Part of cases.c. */
enum { POSTED_VECTOR = 0x0002, STATUS = 0x0810, APIC_ACCESS = 0x2014, POSTED = 0x2016, EOI_EXIT0 = 0x201c };
#define POSTED_ON (1u << 7)
#define ACCESSES 1u
#define X2APIC (1u << 4)
#define REGISTERS (1u << 8)
#define VID (1u << 9)
#define ACKNOWLEDGE (1u << 15)

static u32 *vregister(u32 offset) { return (u32 *)(vapic + offset); }
static int vbit(u32 bank, u32 vector) { return *vregister(bank + (vector >> 5) * 16) >> (vector & 31) & 1; }
static void set_vbit(u32 bank, u32 vector) { *vregister(bank + (vector >> 5) * 16) |= 1u << (vector & 31); }
/* A guest with a TPR shadow, `page` as its APIC-access page when it has one, and RSI in it. */
static void apic_base(const void *code, u32 secondary, u32 offset) {
  base(code);
  vmwrite(PROC, proc | TPR_SHADOW);
  vmwrite(PROC2, proc2 | secondary);
  vmwrite(APIC_ACCESS, address(page));
  if (secondary & VID) { vmwrite(PIN, pin | EXT_INT); vmwrite(STATUS, 0); }
  guest_registers[RSI] = address(page) + offset;
}
#define APIC(name, g, secondary, offset, wanted) do { apic_base(g_##g, secondary, offset); expect(name, "outcome", outcome(0), wanted); } while (0)
/* Exits with what an APIC access tells. */
#define ACCESS(name, g, secondary, offset, type) do { apic_base(g_##g, secondary, offset); \
  u64 was_ = outcome(0); \
  if (was_ != 44) expect(name, "outcome", was_, 44); \
  else if (vmread(QUALIFICATION) != ((offset) | (type) << 12)) expect(name, "qualification", vmread(QUALIFICATION), (offset) | (type) << 12); \
  else expect(name, "RIP", vmread(G_RIP), address((type) == 2 ? page + (offset) : (u8 *)g_##g)); } while (0)
#define READS(name, secondary, offset, value) do { apic_base(g_load32, secondary, offset); *vregister((offset) & ~3) = value; \
  u64 was_ = outcome(0); expect(name, "value", was_ == VMCALL ? guest_registers[RAX] : was_ << 32, value); } while (0)

static void apic_entry(void) {
  ENTRY2("virtual interrupts without external-interrupt exiting", FAIL(7), PROC, proc | TPR_SHADOW, PROC2, proc2 | VID);
  ENTRY3("virtual interrupts", VMCALL, PROC, proc | TPR_SHADOW, PROC2, proc2 | VID, PIN, pin | EXT_INT);
  ENTRY2("virtual interrupts without a TPR shadow", FAIL(7), PROC2, proc2 | VID, PIN, pin | EXT_INT);
  ENTRY1("register virtualization without a TPR shadow", FAIL(7), PROC2, proc2 | REGISTERS);
  ENTRY1("x2APIC virtualization without a TPR shadow", FAIL(7), PROC2, proc2 | X2APIC);
  ENTRY2("x2APIC virtualization", VMCALL, PROC, proc | TPR_SHADOW, PROC2, proc2 | X2APIC);
  ENTRY3("x2APIC virtualization and an APIC-access page", FAIL(7), PROC, proc | TPR_SHADOW, PROC2, proc2 | X2APIC | ACCESSES, APIC_ACCESS, address(page));
  ENTRY2("APIC-access page", VMCALL, PROC2, proc2 | ACCESSES, APIC_ACCESS, address(page));
  ENTRY2("APIC-access page unaligned", FAIL(7), PROC2, proc2 | ACCESSES, APIC_ACCESS, address(page) + 16);
  ENTRY2("APIC-access page beyond the physical addresses", FAIL(7), PROC2, proc2 | ACCESSES, APIC_ACCESS, 1ul << 50);
  if (rdmsr(0x48d) >> 32 & POSTED_ON) {
    ENTRY3("posted interrupts without virtual interrupts", FAIL(7), PROC, proc | TPR_SHADOW, EXIT, exit_controls | ACKNOWLEDGE, PIN, pin | EXT_INT | POSTED_ON);
#define POSTS(name, wanted, controls, field, value) do { apic_base(g_vmcall, VID, 0); vmwrite(PIN, pin | EXT_INT | POSTED_ON); vmwrite(EXIT, controls); \
  vmwrite(POSTED, address(posted)); vmwrite(POSTED_VECTOR, 0xf2); vmwrite(field, value); expect(name, "outcome", outcome(0), wanted); } while (0)
    POSTS("posted interrupts", VMCALL, exit_controls | ACKNOWLEDGE, POSTED_VECTOR, 0xff);
    POSTS("posted interrupts without acknowledgement at exits", FAIL(7), exit_controls & ~ACKNOWLEDGE, POSTED_VECTOR, 0xff);
    POSTS("posted interrupts: vector beyond 255", FAIL(7), exit_controls | ACKNOWLEDGE, POSTED_VECTOR, 0x100);
    POSTS("posted interrupts: descriptor unaligned", FAIL(7), exit_controls | ACKNOWLEDGE, POSTED, address(posted) + 32);
    POSTS("posted interrupts: descriptor beyond the physical addresses", FAIL(7), exit_controls | ACKNOWLEDGE, POSTED, 1ul << 50);
  }
  apic_base(g_vmcall, ACCESSES, 0); vmwrite(TPR_THRESHOLD, 3);
  expect("with an APIC-access page a TPR below the threshold is an exit at once", "outcome", outcome(0), 43);
  expect("with an APIC-access page a TPR below the threshold: RIP", "RIP", vmread(G_RIP), address(g_vmcall));
}

static void apic_accesses(void) {
  ACCESS("APIC read", load32, ACCESSES, 0x20, 0);
  expect("APIC read: length", "length", vmread(LENGTH), 2);
  ACCESS("APIC write", store32, ACCESSES, 0x300, 1);
  if (!told("bochs")) ACCESS("APIC fetch", call_rsi, ACCESSES, 0x80, 2);
  READS("TPR read", ACCESSES, 0x80, 0x12345670);
  ACCESS("TPR read of 8 bytes", load, ACCESSES, 0x80, 0);
  ACCESS("TPR read beside the register", load32, ACCESSES, 0x84, 0);
  ACCESS("TPR write of 8 bytes", store, ACCESSES, 0x80, 1);
  ACCESS("APIC read across the end of the page", load32, ACCESSES, 0xffe, 0);
  apic_base(g_load32, ACCESSES, 0x80); vmwrite(PROC, proc);
  expect("TPR read without a TPR shadow", "outcome", outcome(0), 44);
  apic_base(g_store32, ACCESSES, 0x80); guest_registers[RAX] = 0x12345670;
  expect("TPR write", "outcome", outcome(0), VMCALL);
  expect("TPR write: the virtual TPR", "TPR", *vregister(0x80), 0x70);
  apic_base(g_store32, ACCESSES, 0x80); guest_registers[RAX] = 0x40; vapic[0x80] = 0x60; vmwrite(TPR_THRESHOLD, 5);
  expect("TPR write below the threshold", "outcome", outcome(0), 43);
  expect("TPR write below the threshold: after the instruction", "RIP", vmread(G_RIP), address(g_end_store32));
  apic_base(g_load, 0, 0x80); page[0x80] = 0x77;
  expect("without the control the page is memory", "outcome", outcome(0), VMCALL);
  apic_base(g_int20, ACCESSES, 0); vmwrite(G_IDTR_BASE, address(page)); vmwrite(G_IDTR_LIMIT, 0xfff);
  expect("APIC access while an event is delivered", "outcome", outcome(0), 44);
  expect("APIC access while an event is delivered: type", "qualification", vmread(QUALIFICATION), 0x3200);
  expect("APIC access while an event is delivered: vectoring", "vectoring", vmread(VECTORING), VALID | 4 << 8 | 0x20);
  ((u64 *)pml4)[1] = address(page) | 7; /* the page as a table of the guest's */
  apic_base(g_load32, ACCESSES, 0); guest_registers[RSI] = 1ul << 39;
  expect("APIC access by a page walk", "outcome", outcome(0), 44);
  expect("APIC access by a page walk: type", "qualification", vmread(QUALIFICATION), 0xf000);
  apic_base(g_int20, ACCESSES, 0); vmwrite(G_IDTR_BASE, 1ul << 39); vmwrite(G_IDTR_LIMIT, 0xfff);
  expect("APIC access by a page walk while an event is delivered", "outcome", outcome(0), 44);
  expect("APIC access by a page walk while an event is delivered: type", "qualification", vmread(QUALIFICATION), 0xa000);
  expect("APIC access by a page walk while an event is delivered: vectoring", "vectoring", vmread(VECTORING), VALID | 4 << 8 | 0x20);
  ((u64 *)pml4)[1] = 0;
  if (!(proc2_may & REGISTERS)) return;
  static const u16 readable[] = {0x20, 0x30, 0x80, 0xb0, 0xd0, 0xe0, 0xf0, 0x100, 0x170, 0x180, 0x200, 0x270, 0x280, 0x300, 0x310, 0x320, 0x330, 0x340, 0x350, 0x360, 0x370, 0x380, 0x3e0};
  static const u16 closed[] = {0x00, 0x90, 0xa0, 0xc0, 0x290, 0x2f0, 0x390, 0x3a0, 0x3f0, 0x400, 0xff0};
  static const u16 written[] = {0x20, 0xb0, 0xd0, 0xe0, 0xf0, 0x280, 0x300, 0x320, 0x370, 0x380, 0x3e0};
  for (unsigned n = 0; n < sizeof readable / 2; n++) READS("APIC register read", ACCESSES | REGISTERS, readable[n], 0x10203040u + n);
  for (unsigned n = 0; n < sizeof closed / 2; n++) ACCESS("APIC register that is not read", load32, ACCESSES | REGISTERS, closed[n], 0);
  for (unsigned n = 0; n < sizeof written / 2; n++) {
    apic_base(g_store32, ACCESSES | REGISTERS, written[n]); guest_registers[RAX] = 0x55aa0123;
    expect("APIC register write", "outcome", outcome(0), 56);
    expect("APIC register write: offset", "qualification", vmread(QUALIFICATION), written[n]);
    expect("APIC register write: value", "value", *vregister(written[n]), 0x55aa0123);
    expect("APIC register write: after the instruction", "RIP", vmread(G_RIP), address(g_end_store32));
  }
  ACCESS("APIC register that is not written", store32, ACCESSES | REGISTERS, 0x100, 1);
  ACCESS("APIC version is not written", store32, ACCESSES | REGISTERS, 0x30, 1);
  apic_base(g_store32, ACCESSES | REGISTERS, 0x310); guest_registers[RAX] = 0x12345678;
  expect("ICR high write", "outcome", outcome(0), VMCALL);
  expect("ICR high write: the destination is kept", "value", *vregister(0x310), 0x12000000);
}

/* After the delivery of a virtual interrupt: what is in service, requested, and the priority. */
static void delivered(const char *name, u32 vector, u32 requested) {
  expect(name, "status", vmread(STATUS), vector << 8 | requested);
  expect(name, "RIP", vmread(G_RIP), address(g_vmcall));
  expect(name, "service and request", vbit(0x100, vector) << 1 | vbit(0x200, vector), 2);
  expect(name, "priority", *vregister(0xa0), vector & 0xf0);
}
#define PENDING(code, vector) do { apic_base(code, VID, 0); vmwrite(G_RFLAGS, 0x202); set_vbit(0x200, vector); vmwrite(STATUS, vector); } while (0)
static void virtual_interrupts(void) {
  for (int n = 0; n < 256; n++) gate(n, g_vmcall);
  PENDING(g_nop, 0x61); set_vbit(0x200, 0x45);
  expect("virtual interrupt", "outcome", outcome(0), VMCALL);
  delivered("virtual interrupt", 0x61, 0x45);
  PENDING(g_nop, 0x61); vmwrite(G_RFLAGS, 2);
  expect("virtual interrupt with IF clear", "outcome", outcome(0), VMCALL);
  expect("virtual interrupt with IF clear: not delivered", "status", vmread(STATUS), 0x61);
  PENDING(g_sti_nop, 0x61); vmwrite(G_RFLAGS, 2);
  expect("virtual interrupt after STI", "outcome", outcome(0), VMCALL);
  delivered("virtual interrupt after STI", 0x61, 0);
  expect("virtual interrupt after STI and one instruction more", "RIP", ((u64 *)(address(guest_stack) + 8000 - 40))[0], address(g_sti_nop) + 2);
  PENDING(g_nop, 0x61); vapic[0x80] = 0x60;
  expect("virtual interrupt below the task's priority", "outcome", outcome(0), VMCALL);
  expect("virtual interrupt below the task's priority: not delivered", "status", vmread(STATUS), 0x61);
  PENDING(g_mov_to_cr8, 0x61); vapic[0x80] = 0x60; guest_registers[RCX] = 5;
  expect("virtual interrupt when the task's priority falls", "outcome", outcome(0), VMCALL);
  delivered("virtual interrupt when the task's priority falls", 0x61, 0);
  expect("virtual interrupt when the task's priority falls: after the MOV", "RIP", ((u64 *)(address(guest_stack) + 8000 - 40))[0], address(g_end_mov_to_cr8));
  PENDING(g_nop, 0x61); set_vbit(0x100, 0x67); vmwrite(STATUS, 0x6761);
  expect("virtual interrupt of the class in service", "outcome", outcome(0), VMCALL);
  expect("virtual interrupt of the class in service: not delivered", "status", vmread(STATUS), 0x6761);
  PENDING(g_nop, 0x61); vmwrite(PROC, proc | TPR_SHADOW | INT_WINDOW);
  expect("an interrupt window comes before a virtual interrupt", "outcome", outcome(0), 7);
  expect("an interrupt window comes before a virtual interrupt: not delivered", "status", vmread(STATUS), 0x61);
  if (!told("bochs")) {
    PENDING(g_nop, 0x61); vmwrite(ACTIVITY, 1);
    expect("virtual interrupt wakes from HLT", "outcome", outcome(0), VMCALL);
    delivered("virtual interrupt wakes from HLT", 0x61, 0);
  }
  PENDING(g_nop, 0x61); vmwrite(G_IDTR_LIMIT, 0); vmwrite(EXCEPTIONS, 1 << 13);
  expect("a fault while a virtual interrupt is delivered", "outcome", outcome(0), 0);
  expect("a fault while a virtual interrupt is delivered: vectoring", "vectoring", vmread(VECTORING), VALID | 0x61);

  /* the end of an interrupt */
  apic_base(g_store32, VID | ACCESSES, 0xb0); set_vbit(0x100, 0x61); set_vbit(0x100, 0x45); vmwrite(STATUS, 0x6100); *vregister(0xb0) = 7;
  expect("virtual EOI", "outcome", outcome(0), VMCALL);
  expect("virtual EOI: status", "status", vmread(STATUS), 0x4500);
  expect("virtual EOI: service", "bits", vbit(0x100, 0x61) << 1 | vbit(0x100, 0x45), 1);
  expect("virtual EOI: priority", "priority", *vregister(0xa0), 0x40);
  expect("virtual EOI: register", "value", *vregister(0xb0), 0);
  apic_base(g_store32, VID | ACCESSES, 0xb0); set_vbit(0x100, 0x61); vmwrite(STATUS, 0x6100); vmwrite(EOI_EXIT0 + 2, 1ul << 0x21);
  expect("virtual EOI that exits", "outcome", outcome(0), 45);
  expect("virtual EOI that exits: vector", "qualification", vmread(QUALIFICATION), 0x61);
  expect("virtual EOI that exits: after the instruction", "RIP", vmread(G_RIP), address(g_end_store32));
  vmwrite(EOI_EXIT0 + 2, 0);
  apic_base(g_store32, VID | ACCESSES, 0xb0); vmwrite(G_RFLAGS, 0x202); set_vbit(0x100, 0x61); set_vbit(0x200, 0x62); vmwrite(STATUS, 0x6162);
  expect("virtual EOI lets the next in", "outcome", outcome(0), VMCALL);
  delivered("virtual EOI lets the next in", 0x62, 0);

  /* interrupts to itself */
  apic_base(g_store32, VID | ACCESSES, 0x300); vmwrite(G_RFLAGS, 0x202); guest_registers[RAX] = 0x40061;
  expect("virtual IPI to itself", "outcome", outcome(0), VMCALL);
  delivered("virtual IPI to itself", 0x61, 0);
  apic_base(g_store32, VID | ACCESSES, 0x300); guest_registers[RAX] = 0x61;
  expect("virtual IPI to another", "outcome", outcome(0), 56);
  expect("virtual IPI to another: offset", "qualification", vmread(QUALIFICATION), 0x300);
  apic_base(g_store32, VID | ACCESSES, 0x300); guest_registers[RAX] = 0x4000f;
  expect("virtual IPI with an illegal vector", "outcome", outcome(0), 56);
  apic_base(g_store32, VID | ACCESSES, 0x300); guest_registers[RAX] = 0x40461;
  expect("virtual NMI to itself by IPI", "outcome", outcome(0), 56);
  ACCESS("with virtual interrupts alone other registers exit", store32, VID | ACCESSES, 0xf0, 1);
}

#define MSR(g, secondary, number, value) do { apic_base(g, secondary, 0); vmwrite(PROC, proc | TPR_SHADOW | MSR_BITMAPS); if ((secondary) & VID) vmwrite(G_RFLAGS, 0x202); \
  guest_registers[RCX] = number; guest_registers[RAX] = (u32)(value); guest_registers[RDX] = (u64)(value) >> 32; } while (0)
static void x2apic_msrs(void) {
  MSR(g_rdmsr, X2APIC, 0x808, 0); *vregister(0x80) = 0x50;
  expect("RDMSR of the virtual TPR", "outcome", outcome(0), VMCALL);
  expect("RDMSR of the virtual TPR: value", "value", guest_registers[RAX], 0x50);
  MSR(g_rdmsr, X2APIC, 0x808, 0); msr_bitmap[0x808 >> 3] = 1;
  expect("RDMSR of the virtual TPR: the bitmap comes first", "outcome", outcome(0), 31);
  MSR(g_wrmsr, X2APIC, 0x808, 0x70);
  expect("WRMSR of the virtual TPR", "outcome", outcome(0), VMCALL);
  expect("WRMSR of the virtual TPR: value", "value", *vregister(0x80), 0x70);
  MSR(g_wrmsr, X2APIC, 0x808, 0x100); vmwrite(EXCEPTIONS, 1 << 13);
  expect("WRMSR of the virtual TPR: reserved bits", "outcome", outcome(0), 0);
  MSR(g_wrmsr, X2APIC, 0x808, 0x40); vapic[0x80] = 0x60; vmwrite(TPR_THRESHOLD, 5);
  expect("WRMSR of the virtual TPR below the threshold", "outcome", outcome(0), 43);
  if (proc2_may & REGISTERS) {
    MSR(g_rdmsr, X2APIC | REGISTERS, 0x830, 0); *vregister(0x300) = 0x1234; *vregister(0x304) = 0x5678;
    expect("RDMSR of a virtual register", "outcome", outcome(0), VMCALL);
    expect("RDMSR of a virtual register: low", "value", guest_registers[RAX], 0x1234);
    expect("RDMSR of a virtual register: high", "value", guest_registers[RDX], 0x5678);
  }
  if (!(proc2_may & VID)) return;
  MSR(g_wrmsr, X2APIC | VID, 0x80b, 0); set_vbit(0x100, 0x61); vmwrite(STATUS, 0x6100);
  expect("WRMSR of the virtual EOI", "outcome", outcome(0), VMCALL);
  expect("WRMSR of the virtual EOI: status", "status", vmread(STATUS), 0);
  MSR(g_wrmsr, X2APIC | VID, 0x80b, 1); vmwrite(EXCEPTIONS, 1 << 13);
  expect("WRMSR of the virtual EOI: not 0", "outcome", outcome(0), 0);
  MSR(g_wrmsr, X2APIC | VID, 0x83f, 0x61);
  expect("WRMSR of the virtual self-IPI", "outcome", outcome(0), VMCALL);
  delivered("WRMSR of the virtual self-IPI", 0x61, 0);
  MSR(g_wrmsr, X2APIC | VID, 0x83f, 0x0f);
  expect("WRMSR of the virtual self-IPI: illegal vector", "outcome", outcome(0), 56);
  expect("WRMSR of the virtual self-IPI: offset", "qualification", vmread(QUALIFICATION), 0x3f0);
}

static void posted_interrupts(void) {
  if (!(rdmsr(0x48d) >> 32 & POSTED_ON)) return;
  volatile u32 *local = (u32 *)0xfee00000ul;
  local[0xf0 / 4] = 0x1ff;
  for (int other = 0; other < 2; other++) {
    apic_base(g_nop, VID, 0); vmwrite(G_RFLAGS, 0x202); vmwrite(PIN, pin | EXT_INT | POSTED_ON); vmwrite(EXIT, exit_controls | ACKNOWLEDGE);
    vmwrite(POSTED, address(posted)); vmwrite(POSTED_VECTOR, 0xf2);
    for (int n = 0; n < 8; n++) posted[n] = 0;
    posted[0x61 >> 6] = 1ul << (0x61 & 63); posted[4] = 1;
    local[0x300 / 4] = 0x40000 | (0xf2 + other); /* to itself; waits: interrupts are off here */
    if (other) {
      expect("another vector than the notification's exits", "outcome", outcome(0), 1);
      expect("another vector than the notification's exits: vector", "information", vmread(INFO), VALID | 0xf3);
      local[0xb0 / 4] = 0;
      continue;
    }
    expect("posted interrupt", "outcome", outcome(0), VMCALL);
    delivered("posted interrupt", 0x61, 0);
    expect("posted interrupt: descriptor", "value", posted[1] | (posted[4] & 1), 0);
    expect("posted interrupt: the notification has ended", "service", local[0x170 / 4], 0);
  }
}

static void apic(void) {
  if (!(proc2_may & ACCESSES)) return;
  out8(0x21, 0xff); out8(0xa1, 0xff); /* a firmware's timer */
  apic_entry();
  apic_accesses();
  if (proc2_may & VID) virtual_interrupts();
  if (proc2_may & X2APIC) x2apic_msrs();
  posted_interrupts();
}
