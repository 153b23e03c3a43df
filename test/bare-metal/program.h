/* What every bare-metal test has: its console, on which each case is "ok NAME" or "BAD NAME: what was, what was expected"; the IDT; the command line. See start.s. */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;

extern u64 fault_vector, fault_code, fault_rip, fault_resume, interrupts_seen, guest_registers[16];
extern u8 stubs[], interrupt_stub[], gdt[], tss[], idt[], pml4[];
static int cases, wrong;

static void out8(u16 port, u8 value) { asm volatile("outb %0, %1" ::"a"(value), "Nd"(port)); }
static u8 in8(u16 port) { u8 v; asm volatile("inb %1, %0" : "=a"(v) : "Nd"(port)); return v; }
static void put(char c) { while (!(in8(0x3fd) & 0x20)); out8(0x3f8, c); }
static void say(const char *s) { for (; *s; s++) put(*s); }
static void hex(u64 v) {
  int started = 0;
  for (int n = 60; n >= 0; n -= 4) {
    int d = v >> n & 15;
    if (d || started || n == 0) { put("0123456789abcdef"[d]); started = 1; }
  }
}
static int result(const char *name, int good) {
  cases++;
  if (!good) wrong++;
  say(good ? "ok " : "BAD ");
  say(name);
  if (good) say("\n");
  return good;
}
static void expect(const char *name, const char *what, u64 was, u64 wanted) {
  if (result(name, was == wanted)) return;
  say(": "); say(what); say(" "); hex(was); say(", not "); hex(wanted); say("\n");
}

/* Whether the command line has a word: `bochs` leaves out what Bochs 2.7 does not have and stops at. */
extern u64 multiboot_information;
static int told(const char *word) {
  u32 *information = (u32 *)multiboot_information;
  if (!(information[0] & 4)) return 0;
  for (const char *at = (const char *)(u64)information[4]; *at; at++) {
    int n = 0;
    while (word[n] && at[n] == word[n]) n++;
    if (!word[n]) return 1;
  }
  return 0;
}


/* Exceptions go to their stubs, all interrupts to one. */
static void fill_idt(void) {
  for (int n = 0; n < 256; n++) {
    u64 handler = n < 32 ? (u64)stubs + 16 * n : (u64)interrupt_stub;
    u64 *entry = (u64 *)idt + 2 * n;
    entry[0] = (handler & 0xffff) | 0x08 << 16 | 0x8e00ul << 32 | (handler & 0xffff0000) << 32;
    entry[1] = 0;
  }
}
/* The last line, and the end of the machine by the exit device. */
static void finish(void) {
  say("done: ");
  hex(cases); say(" cases (hexadecimal), "); hex(wrong); say(" wrong\n");
  out8(0xf4, wrong ? 1 : 0);
}
