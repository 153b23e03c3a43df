/* VMCS shadowing: a guest reads and writes the VMCS behind the link pointer without an exit, as the two bitmaps allow. SDM 3C, 25.6.2, 31.3. */
enum { VMREAD_BITMAP = 0x2026, VMWRITE_BITMAP = 0x2028 };
#define SHADOWING (1u << 14)
static u8 shadow[4096] __attribute__((aligned(4096)));

/* A field of the shadow, seen from root operation. */
static u64 shadow_field(u64 field) {
  vmptrld(address(shadow));
  u64 value = vmread(field);
  vmptrld(address(vmcs));
  return value;
}
/* A guest with the shadow behind its link pointer and all fields open. Bitmap a is for VMREAD, b for VMWRITE. */
static void shadow_base(const void *code) {
  base(code);
  vmclear(address(shadow));
  *(u32 *)shadow = (u32)rdmsr(0x480) | 0x80000000;
  vmptrld(address(shadow));
  vmwrite(G_CR3, 0x1234567890);
  vmptrld(address(vmcs));
  vmwrite(PROC2, proc2 | SHADOWING); vmwrite(LINK, address(shadow));
  vmwrite(VMREAD_BITMAP, address(bitmap_a)); vmwrite(VMWRITE_BITMAP, address(bitmap_b));
}
/* CF and ZF after the guest's VMREAD or VMWRITE: 0, 1 VMfailInvalid, 2 VMfailValid; 0x20000 with the reason of an exit. */
static u64 shadow_outcome(void) {
  u64 was = outcome(0), flags = vmread(G_RFLAGS);
  return was != VMCALL ? 0x20000 + was : flags & 1 ? 1 : flags >> 6 & 1 ? 2 : 0;
}

static void shadowing(void) {
  if (!(proc2_may & SHADOWING)) return;
  shadow_base(g_vmcall);
  expect("shadowing: VMLAUNCH of a shadow is VMfailInvalid", "outcome", (vmptrld(address(shadow)), vm_enter(0)), 1);
  shadow_base(g_vmcall); vmwrite(VMREAD_BITMAP, 8);
  expect("shadowing: VMREAD bitmap unaligned", "outcome", outcome(0), FAIL(7));
  shadow_base(g_vmcall); vmwrite(VMWRITE_BITMAP, 1ul << 50);
  expect("shadowing: VMWRITE bitmap beyond the physical addresses", "outcome", outcome(0), FAIL(7));
  shadow_base(g_vmcall); *(u32 *)shadow &= 0x7fffffff;
  expect("shadowing: the linked VMCS is no shadow", "outcome", outcome(0), GUEST_STATE);
  expect("shadowing: the linked VMCS is no shadow: qualification", "qualification", vmread(QUALIFICATION), 4);
  shadow_base(g_vmcall); vmwrite(PROC2, proc2);
  expect("a link to a shadow without the control", "outcome", outcome(0), GUEST_STATE);

  shadow_base(g_vmread); REG(RCX, G_CR3);
  expect("shadowing: VMREAD", "outcome", shadow_outcome(), 0);
  expect("shadowing: VMREAD: value", "value", guest_registers[RDX], 0x1234567890);
  shadow_base(g_vmread_mem); REG(RCX, G_CR3); REG(RSI, address(page) - 0x20); *(u64 *)page = 0;
  expect("shadowing: VMREAD to memory", "outcome", shadow_outcome(), 0);
  expect("shadowing: VMREAD to memory: value", "value", *(u64 *)page, 0x1234567890);
  shadow_base(g_vmread); REG(RCX, G_CR3); bitmap_a[G_CR3 / 8] = 1 << G_CR3 % 8;
  expect("shadowing: VMREAD with its bit set", "outcome", shadow_outcome(), 0x20000 + 23);
  shadow_base(g_vmread); REG(RCX, G_CR3); bitmap_b[G_CR3 / 8] = 1 << G_CR3 % 8;
  expect("shadowing: VMREAD with the bit for VMWRITE set", "outcome", shadow_outcome(), 0);
  shadow_base(g_vmread); REG(RCX, G_CR3 | 1 << 15);
  expect("shadowing: VMREAD of an encoding beyond 15 bits", "outcome", shadow_outcome(), 0x20000 + 23);
  shadow_base(g_vmread); REG(RCX, 0x6c18);
  expect("shadowing: VMREAD of no field", "outcome", shadow_outcome(), 2);
  shadow_base(g_vmread); REG(RCX, G_CR3); vmwrite(LINK, ~0ul);
  expect("shadowing: VMREAD without a linked VMCS is VMfailInvalid", "outcome", shadow_outcome(), 1);

  shadow_base(g_vmwrite); REG(RCX, G_RSP); REG(RDX, 0xabcdef);
  expect("shadowing: VMWRITE", "outcome", shadow_outcome(), 0);
  expect("shadowing: VMWRITE: value in the shadow", "value", shadow_field(G_RSP), 0xabcdef);
  expect("shadowing: VMWRITE: the guest's own RSP", "RSP", vmread(G_RSP), address(guest_stack) + 8000);
  shadow_base(g_vmwrite); REG(RCX, G_RSP); bitmap_b[G_RSP / 8] = 1 << G_RSP % 8;
  expect("shadowing: VMWRITE with its bit set", "outcome", shadow_outcome(), 0x20000 + 25);
  shadow_base(g_vmwrite); REG(RCX, REASON); REG(RDX, 0x77);
  expect("shadowing: VMWRITE of a read-only field", "outcome", shadow_outcome(), rdmsr(0x485) >> 29 & 1 ? 0 : 2);
  if (rdmsr(0x481) >> 32 & PREEMPTION) { /* the timer, far away, has the machine look at what waits between the entry and the instruction */
    shadow_base(g_vmread); REG(RCX, G_CR3); vmwrite(PIN, pin | PREEMPTION); vmwrite(TIMER, 0x10000000);
    expect("shadowing: VMREAD with a timer", "outcome", shadow_outcome(), 0);
  }
}
