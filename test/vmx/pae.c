/* PAE paging of a guest: where its page-directory pointers come from and go to. SDM 3C, 27.3.1.6, 27.3.2.4 and 28.3.1; SDM 3A, 4.4.1. */
enum { G_PDPTE0 = 0x280a };
static u64 directory[512] __attribute__((aligned(4096))), other_directory[512] __attribute__((aligned(4096)));
static u64 pointers[512] __attribute__((aligned(4096))), other_pointers[512] __attribute__((aligned(4096)));
#define LARGE 0x200000ul
/* RAM behind the program, and an address of the guest's second GiB. */
#define FAR 0x1400000ul
#define SECOND_GIB 0x40000000ul

/* A guest of 32-bit code with PAE paging; the pointers in memory are `pointers`, the first GiB lies where it is. */
static void pae_base(const void *code, u64 secondary) {
  base(code);
  for (int n = 0; n < 512; n++) { directory[n] = n * LARGE | 0xe3; pointers[n] = other_pointers[n] = other_directory[n] = 0; }
  pointers[0] = address(directory) | 1;
  vmwrite(PROC2, proc2 | secondary); vmwrite(ENTRY, entry_controls & ~(1u << 9));
  vmwrite(G_EFER, 0); vmwrite(G_CS_RIGHTS, 0xc09b); vmwrite(G_CR3, address(pointers)); vmwrite(G_CR4, cr4() & ~0x20000ul);
  for (int n = 0; n < 4; n++) vmwrite(G_PDPTE0 + 2 * n, n == 0 ? address(directory) | 1 : 0);
}
static void under_ept(void) {
  pae_base(g_load32, EPT);
  REG(RSI, address(page));
  pointers[0] = 0;
  expect("PAE under EPT: pointers of the fields", "outcome", outcome(0), VMCALL);
  pae_base(g_load32, EPT); vmwrite(EXCEPTIONS, 1 << 14); vmwrite(G_PDPTE0, 0);
  expect("PAE under EPT: none in the fields", "outcome", outcome(0), 0);
  expect("PAE under EPT: none in the fields: the fetch faults", "address", vmread(QUALIFICATION), address(g_load32));
  for (int n = 0; n < 4; n++) {
    pae_base(g_vmcall, EPT); vmwrite(G_PDPTE0 + 2 * n, 1 | 2 << n);
    expect("PAE under EPT: a reserved bit in a field", "outcome", outcome(0), n == 2 || n == 3 ? VMCALL : GUEST_STATE);
    if (n == 0) expect("PAE under EPT: a reserved bit in a field: qualification", "qualification", vmread(QUALIFICATION), 2);
  }
  pae_base(g_vmcall, EPT); vmwrite(G_PDPTE0 + 6, 1ul << 50);
  expect("PAE under EPT: reserved bits of an absent pointer", "outcome", outcome(0), VMCALL);

  pae_base(g_mov_to_cr3, EPT); REG(RBX, address(other_pointers));
  other_pointers[0] = address(directory) | 1; other_pointers[1] = address(other_directory) | 1 | 0xe00;
  expect("MOV to CR3 loads the pointers", "outcome", outcome(0), VMCALL);
  expect("MOV to CR3 loads the pointers: saved by the exit", "pointer", vmread(G_PDPTE0 + 2), address(other_directory) | 0xe01);
  pae_base(g_mov_to_cr3, EPT); REG(RBX, address(other_pointers)); vmwrite(EXCEPTIONS, 1 << 13);
  other_pointers[0] = address(directory) | 1; other_pointers[3] = 1ul << 50 | 1;
  expect("MOV to CR3: a reserved bit in memory", "outcome", outcome(0), 0);
  expect("MOV to CR3: a reserved bit in memory: #GP", "information", vmread(INFO), VALID | 3 << 8 | 13 | 1 << 11);
  expect("MOV to CR3: a reserved bit in memory: CR3 stays", "CR3", vmread(G_CR3), address(pointers));
  expect("MOV to CR3: a reserved bit in memory: the pointers stay", "pointer", vmread(G_PDPTE0), address(directory) | 1);
  pae_base(g_mov_to_cr3, EPT); REG(RBX, address(page)); *leaf_of(page) = 0; invept(2, 0, 0);
  expect("MOV to CR3: pointers where EPT has no page", "outcome", outcome(0), 48);
  expect("MOV to CR3: pointers where EPT has no page: qualification", "qualification", vmread(QUALIFICATION) & 0x1ff, 1);
  expect("MOV to CR3: pointers where EPT has no page: address", "address", vmread(GUEST_PHYSICAL), address(page));
  if (ept_vpid >> 21 & 1) {
    pae_base(g_mov_to_cr3, EPT); vmwrite(EPTP, address(ept4) | 0x5e); REG(RBX, address(page));
    for (int n = 0; n < 4096; n++) page[n] = 0;
    *(u64 *)page = address(directory) | 1;
    *leaf_of(page) = address(page) | 0x35; invept(2, 0, 0);
    expect("MOV to CR3: pointers are read, also with EPT's dirty flags", "outcome", outcome(0), VMCALL);
    expect("MOV to CR3: pointers are read: flags", "flags", *leaf_of(page) & 0x300, 0x100);
  }
  map();
  pae_base(g_mov_to_cr4, EPT); REG(RAX, (u32)(cr4() & ~0x20000ul) ^ 0x80);
  pointers[2] = address(other_directory) | 1;
  expect("MOV to CR4 of PGE loads the pointers", "outcome", outcome(0), VMCALL);
  expect("MOV to CR4 of PGE loads the pointers: saved by the exit", "pointer", vmread(G_PDPTE0 + 4), address(other_directory) | 1);
  pae_base(g_mov_to_cr4, EPT); REG(RAX, (u32)(cr4() & ~0x20000ul) ^ 4);
  pointers[2] = address(other_directory) | 1;
  outcome(0);
  expect("MOV to CR4 of TSD does not", "pointer", vmread(G_PDPTE0 + 4), 0);
}
static void pae(void) {
  u32 *value = (u32 *)(FAR + (address(page) & (LARGE - 1)));
  pae_base(g_load32, 0); REG(RSI, address(page)); vmwrite(G_PDPTE0, 0);
  expect("PAE without EPT: pointers of memory", "outcome", outcome(0), VMCALL);
  pae_base(g_vmcall, 0); pointers[3] = 1 | 2;
  expect("PAE without EPT: a reserved bit in memory", "outcome", outcome(0), GUEST_STATE);
  if (proc2_may & EPT) under_ept();
  if (!(proc2_may & VPID_ON) || !(ept_vpid >> 40 & 1)) return;
  /* translations of a VPID stay from exit to entry, until INVVPID */
  page[0] = 0x11; *value = 0x77;
  pae_base(g_load32, VPID_ON); REG(RSI, SECOND_GIB + (address(page) & (LARGE - 1)));
  pointers[1] = address(other_directory) | 1;
  other_directory[0] = (address(page) & -LARGE) | 0xe3;
  expect("a guest with a VPID", "outcome", outcome(0), VMCALL);
  expect("a guest with a VPID: what it reads", "RAX", guest_registers[RAX] & 0xff, 0x11);
  other_directory[0] = FAR | 0xe3;
  expect("INVVPID of another address in a large page", "outcome", invvpid(0, 1, SECOND_GIB + 0x1ff000), 0);
  vmwrite(G_RIP, address(g_load32)); REG(RSI, SECOND_GIB + (address(page) & (LARGE - 1)));
  expect("INVVPID of an address: the guest goes on", "outcome", outcome(1), VMCALL);
  expect("INVVPID of an address: what the guest reads", "RAX", guest_registers[RAX] & 0xff, 0x77);
}
