/* Runs recorded cases on the processor: each instruction between prepared registers and an INT3, ended by whatever signal comes. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#define CODE 0x10000000UL
#define WINDOW 0x20000000UL
#define STATE 0x30000000UL
#define WINDOW_BYTES 8192
#define LIVE_START (4096 - 256)
#define LIVE_BYTES 512

struct input {
  uint64_t gpr[16];
  uint64_t flags, ip, length;
  uint8_t code[16];
  uint8_t mode; /* 64 or 32 */
  uint8_t pad[7];
  uint8_t fx[512] __attribute__((aligned(16)));
  uint8_t live[LIVE_BYTES];
};
struct output {
  uint64_t gpr[16];
  uint64_t flags, ip, signal, code;
  uint8_t fx[512];
  uint8_t window[LIVE_BYTES + 256];
};

static sigjmp_buf back;
static struct output *current;
/* in the order of struct input, not of ucontext */
static const int order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                              REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

static void caught(int number, siginfo_t *info, void *context) {
  ucontext_t *u = context;
  for (int n = 0; n < 16; n++) current->gpr[n] = u->uc_mcontext.gregs[order[n]];
  current->flags = u->uc_mcontext.gregs[REG_EFL];
  current->ip = u->uc_mcontext.gregs[REG_RIP];
  current->signal = number;
  current->code = info->si_code;
  memcpy(current->fx, u->uc_mcontext.fpregs, 512);
  siglongjmp(back, 1);
}

/* At STATE: gpr[16], flags, ip; the FXSAVE image at STATE + 256. Absolute 32-bit addresses leave every register free. */
__attribute__((naked, noreturn)) static void launch(void) {
  __asm__ volatile(
      "fxrstor64 0x30000100\n"
      "mov 0x30000000, %rax\n mov 0x30000008, %rcx\n mov 0x30000010, %rdx\n mov 0x30000018, %rbx\n"
      "mov 0x30000028, %rbp\n mov 0x30000030, %rsi\n mov 0x30000038, %rdi\n"
      "mov 0x30000040, %r8\n mov 0x30000048, %r9\n mov 0x30000050, %r10\n mov 0x30000058, %r11\n"
      "mov 0x30000060, %r12\n mov 0x30000068, %r13\n mov 0x30000070, %r14\n mov 0x30000078, %r15\n"
      "pushq 0x30000080\n popfq\n"
      "mov 0x30000020, %rsp\n"
      "jmp *0x30000088\n");
}

static void *fixed(unsigned long at, size_t size, int protection) {
  void *p = mmap((void *)at, size, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  if (p == MAP_FAILED) { perror("mmap"); exit(1); }
  return p;
}

/* The same for 32-bit code: flat segments, then a far jump through the pointer at STATE + 144. */
__attribute__((naked, noreturn)) static void launch32(void) {
  __asm__ volatile(
      "fxrstor64 0x30000100\n"
      "mov $0x2b, %eax\n mov %eax, %ds\n mov %eax, %es\n"
      "mov 0x30000000, %rax\n mov 0x30000008, %rcx\n mov 0x30000010, %rdx\n mov 0x30000018, %rbx\n"
      "mov 0x30000028, %rbp\n mov 0x30000030, %rsi\n mov 0x30000038, %rdi\n"
      "pushq 0x30000080\n popfq\n"
      "mov 0x30000020, %rsp\n"
      "ljmpl *0x30000090\n");
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  FILE *in = fopen(argv[1], "rb"), *out = fopen(argv[2], "wb");
  if (!in || !out) { perror("open"); return 1; }
  uint8_t *code = fixed(CODE, 4096, PROT_READ | PROT_WRITE | PROT_EXEC);
  uint8_t *window = fixed(WINDOW, WINDOW_BYTES, PROT_READ | PROT_WRITE);
  uint8_t *state = fixed(STATE, 4096, PROT_READ | PROT_WRITE);
  stack_t alternate = {.ss_sp = malloc(1 << 16), .ss_size = 1 << 16};
  sigaltstack(&alternate, 0);
  struct sigaction action = {.sa_sigaction = caught, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
  int signals[] = {SIGTRAP, SIGILL, SIGFPE, SIGSEGV, SIGBUS};
  for (int n = 0; n < 5; n++) sigaction(signals[n], &action, 0);
  static struct input i;
  static struct output o;
  while (fread(&i, sizeof i, 1, in) == 1) {
    memset(code, 0xcc, 4096);
    memcpy(code + (i.ip - CODE), i.code, i.length);
    memset(window, 0, WINDOW_BYTES);
    memcpy(window + LIVE_START, i.live, LIVE_BYTES);
    memcpy(state, i.gpr, 128);
    memcpy(state + 128, &i.flags, 16);
    memcpy(state + 256, i.fx, 512);
    memset(&o, 0, sizeof o);
    current = &o;
    uint32_t pointer[2] = {(uint32_t)i.ip, 0x23};
    memcpy(state + 144, pointer, 6);
    if (sigsetjmp(back, 1) == 0) {
      if (i.mode == 32) launch32();
      else launch();
    }
    memcpy(o.window, window + LIVE_START - 128, LIVE_BYTES + 256);
    fwrite(&o, sizeof o, 1, out);
  }
  return fclose(out) != 0;
}
